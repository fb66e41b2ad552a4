"""Whole runs in threads: lanes, dispatcher, replicas and supervisor with fake engines."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from posestream.models.engines.base import Completed
from posestream.models.engines.fake import FakeEngine
from posestream.models.errors import EngineError
from posestream.models.spec import NetworkSpec
from posestream.pipeline.errors import ExitCode
from posestream.pipeline.lane import intake as intake_module
from posestream.pipeline.lane.store import FrameStore
from posestream.stages.errors import OutputError, SourceError
from posestream.stages.output.held import Held
from posestream.stages.output.sink import Ended
from posestream.stages.picture import ArrayPicture
from posestream.stages.render import Renderer
from posestream.stages.source.opening import SourceInfo

from .conftest import DEADLINE_S, Runs, Workshop


class Probe:
    """An output that keeps what it is given, after what a test wants to happen first."""

    def __init__(self, before: Callable[[Ended], None] = lambda _: None) -> None:
        self.name = "probe"
        self.paths: tuple[Path, ...] = ()
        self.seqs: list[int] = []
        self.calls: list[str] = []
        self._before = before

    def resume(self, source: str, since_s: float = 0.0) -> Held | None:
        return None

    def open(self, info: SourceInfo) -> None:
        self.calls.append("open")

    def write(self, ended: Ended) -> None:
        self._before(ended)
        self.seqs.append(ended.frame.key.seq)

    def close(self) -> None:
        self.calls.append("close")


def lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def number_in(image: np.ndarray) -> int:
    """Read the number of a picture, scaled or not."""
    return round((float(image[:40, :40].mean()) - 16) / 4)


def source(folder: Path, **more: object) -> dict[str, Any]:
    """Make the table of a source."""
    return {"url": str(folder), **more}


def test_a_clips_messages_are_in_order_and_its_counts_add_up(runs: Runs, media: ModuleType, tmp_path: Path) -> None:
    """A video of ten frames gives ten messages in order, without a gap, and everything taken was posed."""
    clip = media.write_video(tmp_path / "clip.mp4", media.numbered(10))
    path = tmp_path / "out.jsonl"
    summary = runs.run({"source": [source(clip)], "output": {"jsonl": {"path": str(path)}}})
    messages = lines(path)
    assert [m["seq"] for m in messages] == [m["n"] for m in messages] == list(range(10))
    assert {m["type"] for m in messages} == {"poses"}
    assert [m["pts"] for m in messages] == pytest.approx([n / 10 for n in range(10)])
    assert summary.exit_code is ExitCode.DONE
    (report,) = summary.sources
    assert (report.counts.taken, report.counts.posed, report.counts.in_flight) == (10, 10, 0)
    assert (report.progress.ended, report.paths) == (10, (path,))
    assert summary.engine == "fake engine"


def test_several_replicas_and_sources_lose_nothing(runs: Runs, pictures: Callable[..., Path], tmp_path: Path) -> None:
    """Results that come back from two replicas in any order are written in order, for each of two sources."""
    folders = [pictures(25, "front"), pictures(13, "back")]
    summary = runs.run(
        {
            "source": [source(folder) for folder in folders],
            "replicas": {"devices": ["cpu", "cpu"]},
            "output": {"jsonl": {"path": str(tmp_path / "{source}.jsonl")}},
        }
    )
    assert summary.exit_code is ExitCode.DONE
    assert [m["seq"] for m in lines(tmp_path / "front.jsonl")] == list(range(25))
    assert [m["seq"] for m in lines(tmp_path / "back.jsonl")] == list(range(13))


def test_frames_of_several_sources_are_inferred_together(
    runs: Runs, workshop: Workshop, pictures: Callable[..., Path], tmp_path: Path
) -> None:
    """An engine that likes batches is given them, of one size each; the people are each frame's own, in order."""
    workshop.make = lambda spec: FakeEngine(spec, capacity=8, batch=4)
    folders = [pictures(21, "front"), pictures(13, "back")]
    summary = runs.run(
        {
            "source": [source(folder) for folder in folders],
            "replicas": {"batch_wait_ms": 200.0},
            "output": {"jsonl": {"path": str(tmp_path / "{source}.jsonl")}},
        }
    )
    assert summary.exit_code is ExitCode.DONE
    assert [m["seq"] for m in lines(tmp_path / "front.jsonl")] == list(range(21))
    assert [m["seq"] for m in lines(tmp_path / "back.jsonl")] == list(range(13))
    (engine,) = workshop.engines
    assert sum(map(len, engine.begun)) == 34
    assert max(map(len, engine.begun)) == 4


def test_every_output_gets_every_frame(runs: Runs, pictures: Callable[..., Path], tmp_path: Path) -> None:
    """Lines, files of OpenPose, pictures and a video are made in one run, each complete."""
    summary = runs.run(
        {
            "source": [source(pictures(4))],
            "output": {
                "jsonl": {"path": str(tmp_path / "a.jsonl")},
                "openpose_json": {"folder": str(tmp_path / "openpose")},
                "images": {"folder": str(tmp_path / "rendered")},
                "video": {"path": str(tmp_path / "a.mp4"), "picture_s": 0.1},
            },
        }
    )
    assert (summary.exit_code, summary.error) == (ExitCode.DONE, None)
    assert len(lines(tmp_path / "a.jsonl")) == 4
    assert len(list((tmp_path / "openpose").iterdir())) == len(list((tmp_path / "rendered").iterdir())) == 4
    capture = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    frames = sum(1 for _ in iter(lambda: capture.read()[0], False))
    capture.release()
    assert frames == 4


def test_undecodable_pictures_are_told_as_dropped(runs: Runs, pictures: Callable[..., Path], tmp_path: Path) -> None:
    """A broken picture is a `drop` message at its place; the others are posed."""
    folder, path = pictures(5, broken=[1, 3]), tmp_path / "out.jsonl"
    summary = runs.run({"source": [source(folder)], "output": {"jsonl": {"path": str(path)}}})
    messages = lines(path)
    assert [m["seq"] for m in messages] == list(range(5))
    drops = [(m["seq"], m["stage"], m["reason"]) for m in messages if m["type"] == "drop"]
    assert drops == [(1, "decode", "undecodable"), (3, "decode", "undecodable")]
    assert summary.sources[0].counts.dropped == {"decode/undecodable": 2}
    assert summary.exit_code is ExitCode.DONE


def test_a_picture_that_cannot_be_scaled_stops_neither_lane_nor_renderer(
    runs: Runs, pictures: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only fails at scaling is dropped, and the renderer does not try again what cannot be done."""
    scaled, full = ArrayPicture.scaled_bgr, ArrayPicture.bgr

    def checked(image: np.ndarray) -> np.ndarray:
        if number_in(image) == 1:
            raise ValueError("an exotic format")
        return image

    monkeypatch.setattr(ArrayPicture, "scaled_bgr", lambda *args: checked(scaled(*args)))
    monkeypatch.setattr(ArrayPicture, "bgr", lambda *args: checked(full(*args)))
    summary = runs.run({"source": [source(pictures(3))], "output": {"images": {"folder": str(tmp_path / "out")}}})
    assert (summary.exit_code, summary.error) == (ExitCode.DONE, None)
    assert summary.sources[0].counts.dropped == {"preprocess/undecodable": 1}
    assert sorted(path.name[:1] for path in (tmp_path / "out").iterdir()) == ["0", "2"]


def test_a_slow_output_makes_the_source_wait(
    runs: Runs, pictures: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an output writes, at most `window` frames are in flight; nothing is dropped."""
    most, full = [0], threading.Event()
    put = FrameStore.put

    def counted(store: FrameStore, *args: Any) -> None:
        put(store, *args)
        most[0] = max(most[0], len(store))
        if len(store) == 5:
            full.set()

    monkeypatch.setattr(FrameStore, "put", counted)
    probe = Probe(lambda ended: None if ended.frame.key.seq else (full.wait(DEADLINE_S), None)[1])
    summary = runs.run({"source": [source(pictures(30))], "replicas": {"window": 5}}, [lambda _: probe])
    assert full.is_set()
    assert most[0] == 5
    assert probe.seqs == list(range(30))
    assert summary.sources[0].counts.posed == 30


def test_a_stop_in_the_middle_drains_and_closes(runs: Runs, pictures: Callable[..., Path], tmp_path: Path) -> None:
    """After a stop no frame is taken, those in flight are finished, outputs are closed, and it is no failure."""
    reached, go_on = threading.Event(), threading.Event()

    def hold(ended: Ended) -> None:
        if ended.frame.key.seq == 3:
            reached.set()
            go_on.wait(DEADLINE_S)

    probe, path = Probe(hold), tmp_path / "out.jsonl"
    raw = {
        "source": [source(pictures(60))],
        "replicas": {"window": 8},
        "output": {"jsonl": {"path": str(path)}},
    }
    supervisor = runs.start(raw, [lambda _: probe])
    assert reached.wait(DEADLINE_S)
    supervisor.stop()
    go_on.set()
    summary = runs.finish(supervisor)
    counts = summary.sources[0].counts
    assert summary.exit_code is ExitCode.DONE
    assert 4 <= counts.taken < 60
    assert (counts.posed, counts.in_flight) == (counts.taken, 0)
    assert [m["seq"] for m in lines(path)] == list(range(counts.taken))
    assert probe.calls == ["open", "close"]


def test_closing_at_once_drops_what_is_in_flight_as_stopped(
    runs: Runs, workshop: Workshop, media: ModuleType, pictures: Callable[..., Path], tmp_path: Path
) -> None:
    """A close without draining ends every frame in flight, tells so in its lines, and leaves nothing running."""
    busy, told = threading.Event(), threading.Event()

    class Stuck(FakeEngine):
        """Finishes nothing until frames were told to be stopped."""

        def __init__(self, spec: NetworkSpec) -> None:
            super().__init__(spec, is_manual=True)

        def submit(self, tickets: Sequence[int], images: Sequence[np.ndarray]) -> None:
            super().submit(tickets, images)
            busy.set()

        def completed(self) -> list[Completed]:
            if told.is_set():
                self.finish(len(self.running))
            return super().completed()

    workshop.make = Stuck
    path = tmp_path / "out.jsonl"
    raw = {"source": [source(pictures(9))], "output": {"jsonl": {"path": str(path)}}}
    supervisor = runs.start(raw, [lambda _: Probe(lambda _: told.set())])
    assert busy.wait(DEADLINE_S)
    summary = supervisor.close()
    runs.check_nothing_is_left()
    counts = summary.sources[0].counts
    assert counts.dropped == {"dispatch/stopped": counts.taken}
    assert [(m["seq"], m["reason"]) for m in lines(path)] == [(seq, "stopped") for seq in range(counts.taken)]
    assert summary.exit_code is ExitCode.DONE


def test_a_source_that_cannot_be_opened_does_not_disturb_another(
    runs: Runs, pictures: Callable[..., Path], tmp_path: Path
) -> None:
    """The others finish, the missing one has its error, and the exit code says so."""
    raw = {
        "source": [source(tmp_path / "missing.mp4"), source(pictures(6))],
        "output": {"jsonl": {"path": str(tmp_path / "{source}.jsonl")}},
    }
    summary = runs.run(raw)
    missing, good = summary.sources
    assert isinstance(missing.error, SourceError)
    assert (missing.counts.taken, missing.paths) == (0, (tmp_path / "missing.jsonl",)) or not missing.paths
    assert (good.error, good.counts.posed) == (None, 6)
    assert len(lines(tmp_path / "pictures.jsonl")) == 6
    assert summary.exit_code is ExitCode.SOURCE


def test_a_file_that_is_cut_off_gives_what_it_has(runs: Runs, media: ModuleType, tmp_path: Path) -> None:
    """Everything that could be read is posed; the end is told as the source's error."""
    clip = media.cut(
        media.write_video(tmp_path / "clip.avi", media.numbered(20), codec="mjpeg", pix_fmt="yuvj420p"), 0.5
    )
    path = tmp_path / "out.jsonl"
    summary = runs.run({"source": [source(clip)], "output": {"jsonl": {"path": str(path)}}})
    assert isinstance(summary.sources[0].error, SourceError)
    assert 0 < len(lines(path)) < 20
    assert [m["seq"] for m in lines(path)] == list(range(len(lines(path))))
    assert summary.exit_code is ExitCode.SOURCE


def test_an_engine_that_cannot_be_opened_ends_the_run(
    runs: Runs, workshop: Workshop, pictures: Callable[..., Path], tmp_path: Path
) -> None:
    """Without any replica nothing can be done: the run ends with the engine's error, every frame told as stopped."""

    def fail(_: NetworkSpec) -> FakeEngine:
        raise EngineError("no such device")

    workshop.make = fail
    path = tmp_path / "out.jsonl"
    summary = runs.run({"source": [source(pictures(40))], "output": {"jsonl": {"path": str(path)}}})
    assert summary.exit_code is ExitCode.ENGINE
    assert str(summary.error) == "no such device"
    counts = summary.sources[0].counts
    assert counts.dropped == ({"dispatch/stopped": counts.taken} if counts.taken else {})


def test_an_output_that_fails_is_left_out(runs: Runs, pictures: Callable[..., Path], tmp_path: Path) -> None:
    """The other outputs are whole, the failed one is told, and the exit code says so, before a source's."""

    def full(ended: Ended) -> None:
        if ended.frame.key.seq == 2:
            raise OutputError("cannot write probe: no space left")

    probe, path = Probe(full), tmp_path / "{source}.jsonl"
    raw = {"source": [source(pictures(6)), source(tmp_path / "missing.mp4")], "output": {"jsonl": {"path": str(path)}}}
    summary = runs.run(raw, [lambda _: probe])
    assert summary.exit_code is ExitCode.OUTPUT
    assert [str(error) for error in summary.output_errors] == ["cannot write probe: no space left"]
    assert probe.seqs == [0, 1]
    assert len(lines(tmp_path / "pictures.jsonl")) == 6


def test_the_last_output_that_fails_ends_its_lane(runs: Runs, pictures: Callable[..., Path]) -> None:
    """A source of which nobody takes anything is not read to its end."""

    def full(_: Ended) -> None:
        raise OutputError("cannot write probe: no space left")

    raw = {"source": [source(pictures(200))], "replicas": {"window": 4}}
    summary = runs.run(raw, [lambda _: Probe(full)])
    assert summary.exit_code is ExitCode.OUTPUT
    assert summary.sources[0].counts.taken < 200
    assert summary.sources[0].counts.in_flight == 0


def test_a_frame_that_fails_twice_is_poison(
    runs: Runs, workshop: Workshop, pictures: Callable[..., Path], tmp_path: Path
) -> None:
    """A frame that no replica can do is told as poison; all others are posed, in order."""

    class Allergic(FakeEngine):
        """Fails on the picture with number 4."""

        def submit(self, tickets: Sequence[int], images: Sequence[np.ndarray]) -> None:
            if 4 in map(number_in, images):
                raise EngineError("cannot do this one")
            super().submit(tickets, images)

    workshop.make = Allergic
    path = tmp_path / "out.jsonl"
    summary = runs.run({"source": [source(pictures(8))], "output": {"jsonl": {"path": str(path)}}})
    messages = lines(path)
    assert [m["seq"] for m in messages] == list(range(8))
    assert [(m["seq"], m["reason"]) for m in messages if m["type"] == "drop"] == [(4, "poison")]
    assert summary.redelivered == 1
    assert summary.exit_code is ExitCode.DONE


def test_failed_inferences_are_done_again(runs: Runs, workshop: Workshop, pictures: Callable[..., Path]) -> None:
    """An inference that fails once costs nothing but a second one."""

    class Hiccup(FakeEngine):
        has_failed = False

        def finish(self, count: int = 1) -> None:
            if not self.has_failed and self.running[0] == 2:
                self.has_failed = True
                self.fail()
            else:
                super().finish(count)

    workshop.make = Hiccup
    probe = Probe()
    summary = runs.run({"source": [source(pictures(8))]}, [lambda _: probe])
    assert probe.seqs == list(range(8))
    assert summary.sources[0].counts.posed == 8
    assert summary.redelivered == 1


def test_a_replica_that_dies_is_followed_by_another(
    runs: Runs, workshop: Workshop, pictures: Callable[..., Path]
) -> None:
    """A replica that stops on an error is started again, and what it held is done by its successor."""

    class Dying(FakeEngine):
        def completed(self) -> list[Completed]:
            done = super().completed()
            if done and len(workshop.engines) == 1:
                raise ZeroDivisionError
            return done

    workshop.make = Dying
    probe = Probe()
    summary = runs.run({"source": [source(pictures(8))]}, [lambda _: probe])
    assert probe.seqs == list(range(8))
    assert (summary.exit_code, summary.replica_restarts) == (ExitCode.DONE, 1)
    assert summary.redelivered >= 1


@pytest.mark.parametrize("where", ["preprocess", "output", "render"])
def test_an_error_in_a_lanes_thread_ends_the_run(
    runs: Runs, pictures: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A bug in a lane stops the run with what is written so far kept, and without waiting for a deadline."""

    def bug(*_: Any) -> None:
        raise ZeroDivisionError

    output = {"jsonl": {"path": str(tmp_path / "out.jsonl")}, "images": {"folder": str(tmp_path / "out")}}
    if where == "preprocess":
        monkeypatch.setattr(intake_module, "task_of", bug)
    if where == "render":
        monkeypatch.setattr(Renderer, "draw", bug)
    sinks = [lambda _: Probe(bug)] if where == "output" else []
    summary = runs.run({"source": [source(pictures(20))], "output": output}, sinks)
    assert summary.exit_code is ExitCode.BUG
    assert isinstance(summary.error, ZeroDivisionError)
