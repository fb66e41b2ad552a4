from __future__ import annotations

import pytest

from posestream.models.engines import _ENGINES
from posestream.models.errors import ModelError
from posestream.models.layout import LAYOUTS
from posestream.models.registry import find_network, packaged_registry, parse_registry
from posestream.models.spec import DEVICE_FAMILIES, Access

ENTRY = """
[[network]]
name = "net"
title = "A network"
layout_name = "openpose-15"
licence = "MIT"
is_restricted = false
access = "url"
stride = 8
devices = ["cpu"]
input = { layout = "nchw" }
heatmaps = { tensor = "maps", layout = "nchw", first = 0, count = 16 }
pafs = { tensor = "maps", layout = "nchw", first = 16, count = 28 }
files = [{ name = "net.xml", digest = "md5:00000000000000000000000000000000", source = "https://example.org/net.xml" }]
"""


def test_networks_come_in_the_order_of_preference():
    """The registry holds the networks of the design, the fastest first."""
    assert list(packaged_registry()) == [
        "human-pose-estimation-0001-int8",
        "mobilenet-thin",
        "openpose-mpi",
        "openpose-coco",
        "openpose-body25",
    ]


@pytest.mark.parametrize("spec", packaged_registry().values(), ids=str)
def test_entry_fits_its_layout(spec):
    """Every entry's channels are those of its layout, and its digests, devices and licence are told."""
    layout = LAYOUTS[spec.layout_name]
    assert (spec.heatmaps.count, spec.pafs.count) == (len(layout.keypoints) + 1, 2 * len(layout.limbs))
    assert sorted(channel for pair in layout.paf_channels for channel in pair) == list(range(spec.pafs.count))
    assert spec.devices
    assert spec.licence_url.startswith("https://")
    assert spec.is_restricted == (spec.access is Access.IMPORT)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("human-pose-estimation-0001-int8", None),
        ("mobilenet-thin", 57),
        ("openpose-mpi", 44),
        ("openpose-coco", 57),
        ("openpose-body25", 78),
    ],
)
def test_outputs_cover_all_channels(name, channels):
    """Heatmaps and PAFs of one tensor make up all of its channels; the int8 network has a tensor for each."""
    spec = packaged_registry()[name]
    if channels is None:
        assert spec.heatmaps.tensor != spec.pafs.tensor
    else:
        assert spec.heatmaps.tensor == spec.pafs.tensor
        assert spec.pafs.first == spec.heatmaps.count
        assert spec.heatmaps.count + spec.pafs.count == channels


def test_openpose_input_is_centred():
    """CMU's networks take x/256 − 0.5, and the small ones take 0…255 as it is."""
    registry = packaged_registry()
    assert (registry["openpose-coco"].input.scale, registry["openpose-coco"].input.shift) == (1 / 256, -0.5)
    assert (registry["mobilenet-thin"].input.scale, registry["mobilenet-thin"].input.shift) == (1.0, 0.0)


def test_unknown_name_gets_the_nearest():
    """A misspelt name is answered with the nearest known one, a name like none with all there are."""
    registry = packaged_registry()
    with pytest.raises(ModelError, match="did you mean 'mobilenet-thin'"):
        find_network("mobilenet_thin", registry)
    with pytest.raises(ModelError, match="did you mean 'openpose-coco'"):
        find_network("openpose-coc", registry)
    for name in ("xyzzy", "nope"):
        with pytest.raises(ModelError, match=f"known are: {', '.join(registry)}$"):
            find_network(name, registry)
    assert find_network("openpose-mpi", registry) is registry["openpose-mpi"]


def test_sound_entry_is_read():
    """The entry that the next test breaks is sound as it stands."""
    assert parse_registry(ENTRY)["net"].files[0].source == "https://example.org/net.xml"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("count = 28", "count = 26", "has 28 channels, not 26"),
        ("first = 16", "first = 15", "overlap"),
        ('layout_name = "openpose-15"', 'layout_name = "openpose-16"', "unknown layout 'openpose-16'"),
        ('access = "url"', 'access = "post"', "access is 'post' instead of one of url, package, import, local"),
        ('access = "url"', 'access = "package"', "does not fit access"),
        ('access = "url"', 'access = "url"\npackage = "x==1"', "'package' goes with"),
        ("md5:0", "md5:g", "is no sha256:"),
        ("stride = 8", "stride = 16", "no whole cells"),
        ("stride = 8", "", "'stride' is missing"),
        ("stride = 8", 'stride = "8"', "stride is '8' instead of a whole number"),
        ("is_restricted = false", "is_restricted = 0", "is_restricted is 0 instead of true or false"),
        ("digest =", "size_bytes = 1.5, digest =", "files[0].size_bytes is 1.5 instead of a whole number"),
        ("files = [{", "files = [3, {", "files[0] is 3 instead of a table"),
        ("files = [", "files = [] # ", "needs files"),
        ("stride = 8", "stride = 8\nspeed = 3", "speed"),
        ('name = "net.xml"', 'name = "../net.xml"', "has no folder"),
        ('name = "net"', 'name = "Net"', "lower-case"),
        ('devices = ["cpu"]', "devices = []", "needs devices"),
        ('pafs = { tensor = "maps", layout = "nchw"', 'pafs = { tensor = "maps", layout = "nhwc"', "different axes"),
    ],
)
def test_wrong_entry_is_named(old, new, said):
    """An entry that contradicts itself is refused in one line that names it and what is wrong."""
    assert old in ENTRY
    with pytest.raises(ModelError, match="registry's network") as caught:
        parse_registry(ENTRY.replace(old, new, 1))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_name_is_given_once():
    """Two networks of one name are refused."""
    with pytest.raises(ModelError, match="appears twice"):
        parse_registry(ENTRY + ENTRY)


def test_damaged_file_is_one_line():
    """A registry that is no TOML is refused in one line."""
    for text in ("[[network", "network = 5"):
        with pytest.raises(ModelError, match="damaged"):
            parse_registry(text)
    with pytest.raises(ModelError, match="instead of a table"):
        parse_registry("network = [5]")


def test_devices_are_those_that_engines_are_for():
    """What an entry may name as a device is what there is an engine for, the pretending one aside."""
    assert set(DEVICE_FAMILIES) == set(_ENGINES) - {"simulated"}
