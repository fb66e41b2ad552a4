"""The pipeline from Python."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import posestream.pipeline
from posestream.models.engines.fake import FakeEngine
from posestream.models.errors import EngineError
from posestream.models.spec import NetworkSpec
from posestream.pipeline import PosesResult, run
from posestream.stages.errors import OutputError, SettingsError, SourceError
from posestream.stages.output.display import Display

from .conftest import DEADLINE_S, Runs, Workshop

SMALL = {"net_height": 64}


def somebody(spec: NetworkSpec) -> FakeEngine:
    """Make an engine that sees each keypoint once, in a row."""

    def fields(image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        height, width = image.shape[0] // spec.stride, image.shape[1] // spec.stride
        heatmaps = np.zeros((spec.heatmaps.count, height, width), np.float32)
        for part in range(spec.heatmaps.count - 2):
            heatmaps[part, 4, 1 + part % 8] = 0.9
        return heatmaps, np.zeros((spec.pafs.count, height, width), np.float32)

    return FakeEngine(spec, fields)


def test_results_come_typed_and_in_order(runs: Runs, workshop: Workshop, pictures: Callable[..., Path]) -> None:
    """Each posed frame comes as a `PosesResult`: numbers, names, and keypoints as read-only float32, NaN if missing."""
    workshop.make = somebody
    results = list(run(pictures(5), network=SMALL, group={"single_person": True}))
    assert [result.seq for result in results] == list(range(5))
    first = results[0]
    assert isinstance(first, PosesResult)
    assert (first.source, first.name, first.pts, first.width, first.height) == ("pictures", "0.png", None, 64, 48)
    assert (first.model, first.layout) == (workshop.spec.name, workshop.spec.layout_name)
    (person,) = first.people
    assert person.id is None
    assert 0 < person.score <= 1
    assert (person.keypoints.dtype, person.keypoints.shape) == (np.float32, (18, 3))
    assert not person.keypoints.flags.writeable
    assert np.isnan(person.keypoints[17]).all()
    assert np.isfinite(person.keypoints[:17]).all()
    x, y, width, height = person.bbox
    assert x <= person.keypoints[0, 0] <= x + width
    assert y <= person.keypoints[0, 1] <= y + height
    runs.check_nothing_is_left()


def test_dropped_frames_are_no_results(workshop: Workshop, runs: Runs, pictures: Callable[..., Path]) -> None:
    """The loop sees frames with poses; a gap in `seq` tells of what was dropped."""
    results = list(run(pictures(4, broken=[1]), network=SMALL))
    assert [result.seq for result in results] == [0, 2, 3]


def test_leaving_the_loop_stops_and_closes(
    runs: Runs, workshop: Workshop, pictures: Callable[..., Path], tmp_path: Path
) -> None:
    """After a `break` every output is closed and whole, and no thread is left."""
    path = tmp_path / "out.jsonl"
    results = run(pictures(200), network=SMALL, replicas={"window": 4}, output={"jsonl": {"path": str(path)}})
    for result in results:
        if result.seq == 2:
            break
    results.close()  # type: ignore[attr-defined]
    runs.check_nothing_is_left()
    seqs = [json.loads(line)["seq"] for line in path.read_text().splitlines()]
    assert seqs == list(range(len(seqs)))
    assert 3 <= len(seqs) < 200


def test_an_error_in_the_loop_stops_too(runs: Runs, workshop: Workshop, pictures: Callable[..., Path]) -> None:
    """The caller's own error comes through, and the run is closed."""
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the loop is what is tested
        for result in run(pictures(50), network=SMALL):
            _ = 1 / (result.seq - result.seq)
    runs.check_nothing_is_left()


@pytest.mark.parametrize(("leave", "code"), [("break", 0), ("raise SystemExit(3)", 3)])
def test_a_loop_left_at_the_programs_end_is_closed(tmp_path: Path, leave: str, code: int) -> None:
    """A program that ends with its generator still held ends as it would without it, and every output is whole."""
    path = tmp_path / "lines.jsonl"
    program = (
        "from posestream.pipeline import run\n"
        "network = {'device': 'simulated:2', 'net_height': 64}\n"
        f"held = run('synthetic:64x64', network=network, output={{'jsonl': {{'path': {str(path)!r}}}}})\n"
        "for poses in held:\n"
        f"    if poses.seq == 5: {leave}\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)  # noqa: S603
    assert (done.returncode, done.stderr) == (code, "")
    numbers = [json.loads(line)["n"] for line in path.read_text().splitlines()]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 5


def test_a_run_that_is_never_looped_over_starts_nothing(
    runs: Runs, workshop: Workshop, pictures: Callable[..., Path]
) -> None:
    """The call checks, the first `next` starts."""
    run(pictures(3), network=SMALL)
    assert workshop.engines == []
    runs.check_nothing_is_left()


def test_a_wrong_setting_is_raised_at_the_call(workshop: Workshop, tmp_path: Path) -> None:
    """What is wrong with the settings is known before the loop begins."""
    with pytest.raises(SettingsError, match=r"run\(\): unknown key network\.net_hight"):
        run("a.mp4", network={"net_hight": 64})
    with pytest.raises(SettingsError, match="no source"):
        run()
    config = tmp_path / "job.toml"
    config.write_text("[network]\nnet_height = 100\n")
    with pytest.raises(SettingsError, match=r"job\.toml: network\.net_height = 100"):
        run("a.mp4", config=config)


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"net_height": 368}, r"net_height = 368 is no table of settings; give network=\{'net_height': 368\}"),
        ({"nonsense": 1}, r"nonsense = 1 is no table of settings; give tables such as network="),
        ({"display": True}, r"give output=\{'display': True\}"),
        ({"pipeline": {"mode": "processes"}}, "only with pipeline.mode"),
        ({"pipeline": {"status": ["tcp://127.0.0.1:*"]}}, "publishes a status"),
    ],
)
def test_what_python_does_not_do_is_refused_at_the_call(workshop: Workshop, tables: dict[str, Any], told: str) -> None:
    """A setting outside its table, and what only the command line does, is refused before any work."""
    with pytest.raises(SettingsError, match=told):
        run("a.mp4", **tables)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (["a.mp4", "b.mp4"], r"\['a.mp4', 'b.mp4'\] is no source, .*; give each source as an argument of its own"),
        (None, r"None is no source, which is a path, an address or a camera's number$"),
        (True, "True is no source"),
        (b"a.mp4", "b'a.mp4' is no source"),
    ],
)
def test_what_is_no_source_is_refused_at_the_call(workshop: Workshop, source: Any, told: str) -> None:
    """A list, nothing, and whatever else is no source's address are refused with what is expected."""
    with pytest.raises(SettingsError, match=told):
        run(source)


class FakeWindows:
    """Windows without a desktop: they remember what they were shown, and by which thread."""

    def __init__(self, closing_after: int) -> None:
        self.shown: list[tuple[str, int]] = []
        self.is_closed = False
        self._closing_after = closing_after

    def show(self, title: str, picture_bgr: NDArray[np.uint8]) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.shown.append((title, picture_bgr.shape[1]))

    def pressed(self) -> int:
        return ord("q") if len(self.shown) >= self._closing_after else -1

    def is_open(self, title: str) -> bool:
        return True

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize("closing_after", [3, 10_000])
def test_windows_are_shown_between_the_results(
    runs: Runs,
    workshop: Workshop,
    pictures: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    closing_after: int,
) -> None:
    """Python's loop can show windows too: they live between the results, and q ends the loop without an error."""
    windows = FakeWindows(closing_after)
    monkeypatch.setattr("posestream.pipeline.api.open_display", lambda *, is_wanted: Display(windows))

    count = len(list(run(pictures(60), network=SMALL, replicas={"window": 4}, output={"display": {"title": "door"}})))

    assert set(windows.shown) == {("door", 64)}
    assert windows.is_closed
    assert (count < 60) is (closing_after == 3)
    runs.check_nothing_is_left()


def test_windows_without_a_desktop_or_the_main_thread_are_refused_at_the_call(
    workshop: Workshop, pictures: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no window can be shown, the call says so before any work."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    folder = pictures(1)
    if sys.platform.startswith("linux"):
        with pytest.raises(OutputError, match="there is no desktop"):
            run(folder, network=SMALL, output={"display": {}})
    with ThreadPoolExecutor(1) as pool, pytest.raises(SettingsError, match="in the main thread only"):
        pool.submit(run, folder, network=SMALL, output={"display": {}}).result(DEADLINE_S)


def test_tables_beat_the_file(runs: Runs, workshop: Workshop, pictures: Callable[..., Path], tmp_path: Path) -> None:
    """A settings file may hold the sources, and what is given at the call is laid over it."""
    config = tmp_path / "job.toml"
    config.write_text(f'[[source]]\nurl = "{pictures(3)}"\nname = "front"\n[network]\nnet_height = 4096\n')
    results = list(run(config=config, network=SMALL))
    assert [(result.source, result.seq) for result in results] == [("front", 0), ("front", 1), ("front", 2)]
    assert workshop.engines[0].prepared == [(64, 88)]


def test_a_sources_error_is_raised_after_everything_that_could_be_read(
    runs: Runs, workshop: Workshop, pictures: Callable[..., Path], tmp_path: Path
) -> None:
    """A missing source among others is told when the loop has seen all of theirs."""
    seen = []
    with pytest.raises(SourceError, match="missing"):  # noqa: PT012 - the loop is what is tested
        for result in run(pictures(3), tmp_path / "missing.mp4", network=SMALL):
            seen += [result.seq]
    assert seen == [0, 1, 2]
    runs.check_nothing_is_left()


def test_an_engines_error_is_raised(runs: Runs, workshop: Workshop, pictures: Callable[..., Path]) -> None:
    """An engine that cannot be opened ends the loop with its own error."""

    def fail(_: NetworkSpec) -> FakeEngine:
        raise EngineError("no such device")

    workshop.make = fail
    with pytest.raises(EngineError, match="no such device"):
        list(run(pictures(3), network=SMALL))
    runs.check_nothing_is_left()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_outputs_error_is_raised_at_the_end(
    runs: Runs, workshop: Workshop, pictures: Callable[..., Path], tmp_path: Path
) -> None:
    """All results come although a file could not be written; then it is told."""
    (tmp_path / "a.jsonl").symlink_to("/dev/full")
    seen = []
    with pytest.raises(OutputError, match="cannot write"):  # noqa: PT012 - the loop is what is tested
        for result in run(pictures(3), network=SMALL, output={"jsonl": {"path": str(tmp_path / "a.jsonl")}}):
            seen += [result.seq]
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("module", ["posestream.pipeline", "posestream.pipeline.result"])
def test_importing_the_results_types_loads_no_library(module: str) -> None:
    """Who only reads results pays for neither OpenCV, OpenVINO, FFmpeg nor ZeroMQ."""
    heavy = ["cv2", "openvino", "av", "zmq", "pydantic"]
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"


def test_the_package_offers_what_it_lists() -> None:
    """Every name of `__all__` can be had, and nothing else by accident."""
    for name in posestream.pipeline.__all__:
        assert getattr(posestream.pipeline, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        posestream.pipeline.nonsense  # noqa: B018 - looking it up is what is tested
