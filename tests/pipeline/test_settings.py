"""Settings: what is wrong is told in one line, with the key and the file, and nothing else is ever raised."""

from __future__ import annotations

from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posestream.pipeline.settings import Settings
from posestream.pipeline.toml_tables import load_toml, merged, parse_assignment
from posestream.stages.errors import SettingsError

#: What `--set` can come to.
raw_values = st.recursive(
    st.integers() | st.booleans() | st.text(max_size=6) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["0", "url", "path", "folder", "x"]), inner)
    ),
    max_leaves=5,
)


def wrong(raw: dict[str, Any], origin: str = "job.toml") -> str:
    """Give the line that tells what is wrong with raw tables."""
    with pytest.raises(SettingsError) as caught:
        Settings.parse(raw, origin)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_without_settings_everything_has_its_default() -> None:
    """No table is obligatory."""
    assert Settings.parse({}) == Settings()


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    """Every table arrives where it belongs, with its types."""
    path = tmp_path / "job.toml"
    path.write_text(
        """
        [[source]]
        url = "a.mp4"
        name = "front"
        [[source]]
        url = "rtsp://host/b"
        max_frames = 10
        [network]
        net_height = 368
        [group]
        peak_threshold = 0.1
        [output]
        overwrite = true
        jsonl.path = "out/{source}.jsonl"
        """
    )
    parsed = Settings.parse(load_toml(path), str(path))
    assert [source.url for source in parsed.source] == ["a.mp4", "rtsp://host/b"]
    assert (parsed.source[0].name, parsed.source[1].max_frames) == ("front", 10)
    assert parsed.network.net_height == 368
    assert parsed.group.peak_threshold == 0.1
    assert parsed.output.overwrite
    assert parsed.output.jsonl is not None
    assert parsed.output.jsonl.path == Path("out/{source}.jsonl")


@pytest.mark.parametrize(
    ("raw", "unknown", "nearest"),
    [
        ({"netwrok": {}}, "netwrok", "network"),
        ({"network": {"net_hight": 368}}, "network.net_hight", "network.net_height"),
        ({"source": [{"url": "a"}, {"url": "b", "max_frame": 1}]}, "source.1.max_frame", "source.1.max_frames"),
        ({"group": {"peak_treshold": 0.1}}, "group.peak_treshold", "group.peak_threshold"),
        ({"output": {"jsnol": {"path": "a"}}}, "output.jsnol", "output.jsonl"),
        ({"output": {"jsonl": {"paht": "a"}}}, "output.jsonl.paht", "output.jsonl.path"),
    ],
)
def test_an_unknown_key_names_the_nearest_one(raw: dict[str, Any], unknown: str, nearest: str) -> None:
    """At every depth, a misspelt key is told with the file and what was probably meant."""
    assert wrong(raw) == f"job.toml: unknown key {unknown}; did you mean {nearest}?"


def test_an_unknown_key_that_is_like_no_other_lists_the_known_ones() -> None:
    """Where nothing is near, the line says what there is."""
    line = wrong({"output": {"jsonl": {"zzz": 1}}})
    assert line == "job.toml: unknown key output.jsonl.zzz; known are: path"


def test_a_key_that_is_far_from_all_lists_the_known_ones() -> None:
    """No guess is better than a wrong one."""
    assert "address; known are: url, name" in wrong({"source": [{"address": "a.mp4"}]})


def test_a_lists_table_is_addressed_by_number() -> None:
    """Who forgets the number is told where it goes."""
    with pytest.raises(SettingsError, match=r"^source is a list, counted from 0: write source\.0\.name$"):
        merged({"source": [{"url": "a"}]}, parse_assignment("source.name=abc"))


def test_keys_are_checked_before_values() -> None:
    """A misspelt key is told first, since a wrong value may only follow from it."""
    assert "unknown key" in wrong({"network": {"net_height": "tall", "devise": "cpu"}})


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ({"network": {"net_height": "tall"}}, "network.net_height = 'tall': "),
        ({"network": {"net_height": 100}}, "network.net_height = 100: "),
        ({"network": {"net_height": 0}}, "network.net_height = 0: "),
        ({"network": {"flip": "maybe"}}, "network.flip = 'maybe': input should be true or false"),
        ({"replicas": {"batch": "x"}}, "replicas.batch = 'x': input should be a whole number"),
        ({"network": {"precision": "f8"}}, "network.precision = 'f8': "),
        ({"network": "cpu"}, "network = 'cpu': "),
        ({"replicas": {"requests": -1}}, "replicas.requests = -1: "),
        ({"replicas": {"window": 1001}}, "replicas.window = 1001: "),
        ({"replicas": {"devices": "cpu"}}, "replicas.devices = 'cpu': "),
        ({"source": [{"url": "a", "start_s": "soon"}]}, "source.0.start_s = …: "),
        ({"source": [{"url": 7}]}, "source.0.url = 7: "),
        ({"output": {"overwrite": "perhaps"}}, "output.overwrite = 'perhaps': "),
        ({"output": {"jsonl": {"path": 7}}}, "output.jsonl.path = 7: "),
        ({"output": {"jsonl": {}}}, "output.jsonl.path"),
        ({"source": [{"name": "front"}]}, "source.0.url"),
        ({"group": {"peak_threshold": True}}, "group.peak_threshold = True: input should be a number"),
        ({"group": {"single_person": "yes"}}, "group.single_person = 'yes': input should be true or false"),
        ({"group": {"least_parts": True}}, "group.least_parts = True: input should be a whole number"),
        ({"network": {"flip": 1}}, "network.flip = 1: input should be true or false"),
        ({"network": {"net_height": "256"}}, "network.net_height = '256': input should be a whole number"),
        ({"network": {"scales": [True]}}, "network.scales.0 = True: input should be a number"),
        ({"source": [{"url": "a", "step": True}]}, "source.0.step = True: input should be a whole number"),
        ({"source": [{"url": "a", "reconnect": {"min_s": "1"}}]}, "source.0.reconnect.min_s = …: "),
        ({"source": [{"url": "a", "roi": [0, 0, "9", 9]}]}, "source.0.roi.2 = …: input should be a whole number"),
        ({"output": {"segment_s": True}}, "output.segment_s = True: input should be a number"),
        ({"replicas": {"batch_wait_ms": nan}}, "replicas.batch_wait_ms = nan: input should be a finite number"),
        ({"publish": {"log_age_s": inf}}, "publish.log_age_s = inf: input should be a finite number"),
        ({"source": [{"url": "a", "max_age_s": nan}]}, "source.0.max_age_s = nan: input should be a finite number"),
        ({"output": {"jsonl": {"path": ""}}}, "output.jsonl.path = '': input should be a path, and is empty"),
        ({"security": {"key": ""}}, "security.key = '': input should be a path, and is empty"),
    ],
)
def test_a_wrong_value_is_told_with_its_key_and_file(raw: dict[str, Any], key: str) -> None:
    """A type or value that does not fit gives one line: file, key, value, what belongs there."""
    assert wrong(raw).startswith(f"job.toml: {key}")


@pytest.mark.parametrize(
    "raw",
    [
        {"group": {"peak_threshold": 2.0}},
        {"group": {"most_people": 0}},
        {"network": {"scales": [0.5]}},
        {"network": {"scales": [1.0, 2.0]}},
        {"output": {"video": {"path": "a.avi"}}},
        {"replicas": {"devices": ["none", "cpu"]}},
        {"output": {"images": {"folder": "a", "format": "gif"}}},
    ],
)
def test_a_stages_own_refusal_is_told_as_it_is(raw: dict[str, Any]) -> None:
    """What a stage's settings refuse is a settings error too."""
    assert wrong(raw)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["source", "network", "replicas", "group", "output", "x"]), raw_values, max_size=3)
)
def test_any_tables_parse_or_are_refused(raw: dict[str, Any]) -> None:
    """Whatever a TOML file holds, it gives settings or a settings error."""
    try:
        parsed = Settings.parse(raw)
    except SettingsError:
        return
    assert isinstance(parsed, Settings)


# files


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """A settings file that is not there is named with the system's reason."""
    with pytest.raises(SettingsError, match=r"cannot read settings file .*job\.toml: No such file"):
        load_toml(tmp_path / "job.toml")


@pytest.mark.parametrize("data", [b"a = ", b"[x\n", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_not_toml_is_told(tmp_path: Path, data: bytes) -> None:
    """Broken syntax, another encoding and doubled keys name the file."""
    path = tmp_path / "job.toml"
    path.write_bytes(data)
    with pytest.raises(SettingsError, match=r"job\.toml is not TOML"):
        load_toml(path)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    """A settings file that begins with a byte-order mark, as some editors write it, is read."""
    path = tmp_path / "job.toml"
    path.write_text("[network]\nnet_height = 368\n", "utf-8-sig")
    assert load_toml(path) == {"network": {"net_height": 368}}


# --set


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("network.net_height=368", {"network": {"net_height": 368}}),
        ("group.peak_threshold=0.1", {"group": {"peak_threshold": 0.1}}),
        ("output.overwrite=true", {"output": {"overwrite": True}}),
        ("network.device=cpu", {"network": {"device": "cpu"}}),
        ("network.device='cpu'", {"network": {"device": "cpu"}}),
        ('network.device="opencv-cuda:0"', {"network": {"device": "opencv-cuda:0"}}),
        ("network.device=opencv-cuda:0", {"network": {"device": "opencv-cuda:0"}}),
        ('replicas.devices=["cpu", "cpu"]', {"replicas": {"devices": ["cpu", "cpu"]}}),
        ("source.0.name=front", {"source": {"0": {"name": "front"}}}),
        ("source.0.url=rtsp://h/p?a=b", {"source": {"0": {"url": "rtsp://h/p?a=b"}}}),
        ("output.jsonl.path=-", {"output": {"jsonl": {"path": "-"}}}),
        ("network.device=", {"network": {"device": ""}}),
        ("network.net_height = 368", {"network": {"net_height": 368}}),
        ("network.device = cpu", {"network": {"device": "cpu"}}),
        ("output={overwrite = true}", {"output": {"overwrite": True}}),
    ],
)
def test_an_assignment_is_toml_or_a_plain_string(text: str, raw: dict[str, Any]) -> None:
    """Numbers, lists and quoted strings are TOML; anything else is taken as it is written."""
    assert parse_assignment(text) == raw


@pytest.mark.parametrize("text", ["network.net_height", "=5", "network..x=5", ".x=5", "", "network.=1"])
def test_an_assignment_without_key_or_value_is_refused(text: str) -> None:
    """The line shows how to write it."""
    with pytest.raises(SettingsError, match=r"write it as table\.key=value"):
        parse_assignment(text)


# precedence


def test_later_tables_beat_earlier_ones_key_by_key() -> None:
    """What is laid over changes only the keys it has."""
    base = {"network": {"device": "cpu", "net_height": 256}, "output": {"overwrite": True}}
    over = {"network": {"net_height": 368}, "group": {"least_parts": 3}}
    assert merged(base, over) == {
        "network": {"device": "cpu", "net_height": 368},
        "output": {"overwrite": True},
        "group": {"least_parts": 3},
    }
    assert base["network"] == {"device": "cpu", "net_height": 256}


def test_a_sources_table_is_addressed_by_its_number() -> None:
    """`source.1.name` changes one source; the list that was given stays as it was."""
    base = {"source": [{"url": "a"}, {"url": "b"}]}
    assert merged(base, parse_assignment("source.1.name=back")) == {
        "source": [{"url": "a"}, {"url": "b", "name": "back"}]
    }
    assert base == {"source": [{"url": "a"}, {"url": "b"}]}


def test_a_plain_value_in_a_list_is_replaced_by_its_number() -> None:
    """`replicas.devices.0` names one device of several."""
    base = {"replicas": {"devices": ["cpu", "cpu"]}}
    assert merged(base, parse_assignment("replicas.devices.1=opencv-cpu")) == {
        "replicas": {"devices": ["cpu", "opencv-cpu"]}
    }


def test_a_table_in_a_list_is_not_replaced_by_a_value() -> None:
    """`source.0=x` says how to write what was probably meant."""
    with pytest.raises(SettingsError, match=r"source\.0 is a table: give source\.0\.KEY"):
        merged({"source": [{"url": "a"}]}, parse_assignment("source.0=b.mp4"))


@pytest.mark.parametrize("number", ["2", "-1", "²"])
def test_a_number_that_a_list_does_not_have_is_told(number: str) -> None:
    """The line says how many there are."""
    with pytest.raises(SettingsError, match="there are 2 of source, counted from 0"):
        merged({"source": [{}, {}]}, {"source": {number: {"name": "x"}}})


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abc"), raw_values, max_size=3),
    st.dictionaries(st.sampled_from("abc"), raw_values, max_size=3),
)
def test_any_tables_merge_or_are_refused(base: dict[str, Any], over: dict[str, Any]) -> None:
    """Whatever lies under an assignment, merging gives tables or a settings error."""
    try:
        result = merged(base, over)
    except SettingsError:
        return
    assert result.keys() == base.keys() | over.keys()


def test_wrong_values_are_told_without_passwords():
    """A source that is no table is told, but not the password in it."""
    with pytest.raises(SettingsError) as caught:
        Settings.parse({"source": ["rtsp://me:secret@door/live"]})
    assert "rtsp://door/live" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "table",
    [
        {"transport": "secret"},
        {"url": {"a": "secret"}},
        {"max_age_s": "secret"},
        {"roi": ["secret"]},
        {"fps": "se@cret"},
    ],
)
def test_a_password_under_a_wrong_key_is_not_told(table: dict[str, Any]) -> None:
    """A text that does not fit its key in a source's table may be anything: the key is told, and what belongs there."""
    line = wrong({"source": [{"url": "rtsp://door/live", **table}]})
    assert f"source.0.{next(iter(table))}" in line
    assert "cret" not in line


def test_numbers_of_a_source_are_told() -> None:
    """A number that does not fit is told as it is."""
    assert "source.0.step = 1.5" in wrong({"source": [{"url": "rtsp://door/live", "step": 1.5}]})


@pytest.mark.parametrize("table", [{"log_folder": "replay"}, {"replay": ["tcp://127.0.0.1:5557"]}])
def test_what_belongs_to_publishing_is_refused_without_it(table: dict[str, object]) -> None:
    """A log for replay, or where to ask for it, is no setting that may be ignored in silence."""
    with pytest.raises(SettingsError, match=f"publish.{next(iter(table))} .*is given without publish.addresses"):
        Settings.parse({"publish": table})
    Settings.parse({"publish": table | {"addresses": ["tcp://127.0.0.1:5556"]}})
