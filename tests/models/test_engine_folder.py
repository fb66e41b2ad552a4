from __future__ import annotations

import logging

import pytest
from filelock import FileLock, Timeout

from posestream.models.engines.engine_folder import EngineFolder
from posestream.models.errors import EngineError


@pytest.fixture
def folder(tmp_path):
    """Give a folder that does not wait for long."""
    return EngineFolder(tmp_path / "tensorrt" / "abc-f16", patience_s=0.05)


def test_only_one_builds_at_a_time(folder):
    """While an engine is built the folder is locked; afterwards it is free."""
    lock = FileLock(folder.path.with_name("abc-f16.lock"), timeout=0)

    def build():
        with pytest.raises(Timeout):
            lock.acquire()
        return "engine"

    assert folder.built(build) == "engine"
    with lock, pytest.raises(EngineError, match=r"another process has been compiling in .*abc-f16 for 0\.05 s"):
        folder.built(build)


def test_damaged_engine_is_built_anew_once(folder, caplog):
    """What cannot be read is deleted and built once more, which is logged; a second failure is raised."""
    caplog.set_level(logging.WARNING)
    folder.path.mkdir(parents=True)
    (folder.path / "x.engine").write_bytes(b"half")
    seen = []

    def build():
        seen.append([path.name for path in folder.path.iterdir()])
        (folder.path / "y.engine").write_bytes(b"whole")
        raise RuntimeError("could not deserialize engine from cache")

    with pytest.raises(RuntimeError):
        folder.built(build)
    assert seen == [["x.engine"], []]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("text", ["no libnvinfer.so.10", "out of memory"])
def test_other_failures_delete_nothing(text, folder):
    """An engine that failed for another reason stays."""
    folder.path.mkdir(parents=True)
    (folder.path / "x.engine").write_bytes(b"whole")
    calls = []

    def build():
        calls.append(1)
        raise EngineError(text)

    with pytest.raises(EngineError, match=text):
        folder.built(build)
    assert (folder.path / "x.engine").read_bytes() == b"whole"
    assert calls == [1]


def test_new_engine_that_fails_is_not_tried_again(folder):
    """Where nothing was kept, a failure is the network's own."""
    calls = []

    def build():
        calls.append(1)
        raise RuntimeError("failed to deserialize")

    with pytest.raises(RuntimeError):
        folder.built(build)
    assert calls == [1]


def test_folder_that_cannot_be_made_is_one_line(tmp_path):
    """A place that cannot be written to is an error that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match=r"cannot write to .*file/abc"):
        EngineFolder(tmp_path / "file" / "abc").built(lambda: None)
