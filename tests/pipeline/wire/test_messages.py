"""Every message survives the wire, and nothing else does."""

from __future__ import annotations

import dataclasses
import math
import typing
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from posestream.models.registry import load_registry
from posestream.pipeline.errors import DecodeError
from posestream.pipeline.wire.codec import record_check
from posestream.pipeline.wire.convert import image_of, is_whole, maps_of, people_payloads, posed_of, poses_of
from posestream.pipeline.wire.envelope import MAX_HEADER_BYTES, array, decode, encode
from posestream.pipeline.wire.messages import (
    Fields,
    Finished,
    Join,
    LaneDrop,
    Message,
    OtherProtocol,
    Posed,
    ReplicaHello,
    Task,
    Work,
)
from posestream.stages.group.group import Group, GroupSettings
from posestream.stages.group.synthetic import planted_maps, random_people
from posestream.stages.items import FieldMaps, FrameKey, Reason, Stage, Transform

KINDS = typing.get_args(Message)

# What the wire's own types may hold; hypothesis builds the records from their fields' types.
st.register_type_strategy(int, st.integers(0, 2**62 - 1))
st.register_type_strategy(float, st.floats(0, allow_nan=False, allow_infinity=False))
st.register_type_strategy(str, st.text(st.characters(codec="utf-8"), max_size=30))

#: The most that fields of these names may be, in whichever message that a worker sends.
LIMITS = {"batch": 1 << 16, "fresh": 1 << 16, "height": 1 << 20, "width": 1 << 20, "keypoints": 1 << 10}

#: Whatever msgpack can carry.
msgpack_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | st.binary(max_size=20)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=12))
    | st.builds(msgpack.Timestamp, st.integers(0, 2**34), st.integers(0, 10**9 - 1)),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


def frames(*parts: bytes) -> list[zmq.Frame]:
    """Make parts as a socket gives them."""
    return [zmq.Frame(part) for part in parts]


def read(header: bytes) -> object:
    """Decode a header; None where it is refused, and any other error is the test's."""
    try:
        return decode(frames(header)).message
    except DecodeError:
        return None


def task(**changes: Any) -> Task:
    """Make a valid task but for some fields."""
    return dataclasses.replace(Task("door", 3, 1.5, 16, 24, 0.5, 0.5, 48, 32), **changes)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_message_comes_back_as_it_was(kind: type[Message]) -> None:
    """Encoding and decoding gives an equal record of the same kind, with its payloads untouched."""

    @settings(max_examples=25, deadline=None)
    @given(message=st.from_type(kind), payloads=st.lists(st.binary(max_size=40), max_size=3))
    def check(message: Message, payloads: list[bytes]) -> None:
        envelope = decode(frames(*encode(message, payloads)))
        assert envelope.message == message
        assert type(envelope.message) is kind
        assert [payload.bytes for payload in envelope.payloads] == payloads

    check()


def test_payloads_are_not_copied_when_encoded() -> None:
    """A picture's array goes to the socket as it is."""
    image = np.zeros((16, 24, 3), np.uint8)
    assert encode(task(), [image])[1] is image


def test_an_enum_and_an_integer_for_a_float_come_back_as_their_fields_say() -> None:
    """Enums come back as enums, and a whole number where a float belongs as a float."""
    drop = decode(frames(*encode(LaneDrop("door", 1, Stage.DECODE, Reason.UNDECODABLE)))).message
    assert isinstance(drop, LaneDrop)
    assert isinstance(drop.stage, Stage)
    back = decode(frames(*encode(task(captured_s=7)))).message
    assert isinstance(back, Task)
    assert isinstance(back.captured_s, float)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    """Bytes that are not a message raise DecodeError and nothing else."""
    message = read(data)
    assert message is None or type(message) in KINDS


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KINDS).flatmap(st.from_type), st.data())
def test_cut_and_changed_messages_are_refused_or_valid(message: Message, data: st.DataObject) -> None:
    """A message cut short is refused; one with a changed byte is refused or is a valid record."""
    header = encode(message)[0]
    assert read(header[: data.draw(st.integers(0, len(header) - 1))]) is None
    at = data.draw(st.integers(0, len(header) - 1))
    changed = header[:at] + bytes([data.draw(st.integers(0, 255))]) + header[at + 1 :]
    read(changed)
    assert read(header + b"\xc0") is None


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from([kind.__name__ for kind in KINDS]), values=st.lists(msgpack_values, max_size=9))
def test_wrong_fields_are_refused(kind: str, values: list[object]) -> None:
    """Known kinds with any other fields give a record whose every field has its type, or DecodeError."""
    message = read(msgpack.packb([kind, *values]))
    if message is not None:
        check_types(message)


@settings(max_examples=120, deadline=None)
@given(value=msgpack_values)
def test_headers_that_are_no_message_are_refused(value: object) -> None:
    """Anything that msgpack can carry and that is not [kind, fields …] is refused."""
    assert read(msgpack.packb(value)) is None


@settings(max_examples=150, deadline=None)
@given(message=st.sampled_from(KINDS).flatmap(st.from_type), value=msgpack_values, data=st.data())
def test_one_wrong_field_is_refused(message: Message, value: object, data: st.DataObject) -> None:
    """A message with one field replaced by anything is valid in its types or refused."""
    values = list(msgpack.unpackb(encode(message)[0]))
    values[data.draw(st.integers(0, len(values) - 1))] = value
    changed = read(msgpack.packb(values))
    if changed is not None:
        check_types(changed)


def check_types(record: object) -> None:
    """Every number is finite and in range, and every field of its type, all the way down."""
    assert dataclasses.is_dataclass(record)
    hints = typing.get_type_hints(type(record))
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if dataclasses.is_dataclass(value):
            check_types(value)
        elif isinstance(value, tuple):
            for item in value:
                if dataclasses.is_dataclass(item):
                    check_types(item)
        elif typing.get_args(hints[field.name]):
            assert value is None or type(value) in typing.get_args(hints[field.name])
        else:
            assert type(value) is hints[field.name]
        if isinstance(value, float):
            assert math.isfinite(value)
            assert value >= 0
        if type(value) is int:
            assert 0 <= value <= LIMITS.get(field.name, 2**62 - 1)


@pytest.mark.parametrize("number", [-1, -1000, (1 << 16) + 1, 2**40, 2**62])
@pytest.mark.parametrize("at", [4, 5, 6], ids=["credits", "batch", "fresh"])
def test_counts_out_of_range_are_refused(at: int, number: int) -> None:
    """A replica cannot have less than no room, which would be taken from all others, nor more than any can have."""
    values: list[object] = ["Heartbeat", "worker", "head", False, 4, 1, 0, []]
    assert decode(frames(msgpack.packb(values))).message
    values[at] = number
    with pytest.raises(DecodeError, match="out of range"):
        decode(frames(msgpack.packb(values)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.5])
def test_numbers_that_are_none_are_refused(value: float) -> None:
    """NaN, infinities and what is below 0 are no times and no scales."""
    with pytest.raises(DecodeError, match="not finite"):
        decode(frames(*encode(task(captured_s=value))))


@pytest.mark.parametrize("value", [2**62, -(2**62), 2**64 - 1, True, 1.0, "1", None])
def test_what_is_not_a_whole_number_in_range_is_refused(value: object) -> None:
    """A count must be an integer that arithmetic on it cannot take out of 64 bits."""
    with pytest.raises(DecodeError):
        decode(frames(msgpack.packb(["ReplicaHello", "r1", "cpu", value, 1, 0])))


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"", "msgpack"),
        (msgpack.packb([]), "not .kind"),
        (msgpack.packb(["Task"]), "fields"),
        (msgpack.packb(["Finished", "door", 1]), "1 fields"),
        (msgpack.packb(["Nonsense" * 1000]), "unknown kind"),
        (msgpack.packb([7, "door"]), "not .kind"),
        (msgpack.packb({"kind": "Finished"}), "not .kind"),
        (msgpack.packb(["LaneDrop", "door", 1, "decode", "boredom"]), "unknown reason"),
        (msgpack.packb(["LaneDrop", "door", 1, ["decode"], "newer"]), "unknown stage"),
        (msgpack.packb(["Finished", b"door"]), "bytes where str"),
        (b"\x92\xa8Finished\xa2\xff\xfe", "msgpack"),  # not UTF-8
        (b"\xdd\xff\xff\xff\xff", "msgpack"),  # a list of four thousand million
        (b"\xc6\xff\xff\xff\xff", "msgpack"),  # as many bytes
        (b"\x91" * 5000, "msgpack"),
        (b"\x92\xa4Work" + b"\x91" * 60_000, "msgpack"),
        (b"\x00" * (MAX_HEADER_BYTES + 1), "bytes"),
    ],
)
def test_each_kind_of_malformed_header_has_its_reason(header: bytes, reason: str) -> None:
    """The error says in a few words what is wrong with the bytes."""
    with pytest.raises(DecodeError, match=reason) as caught:
        decode(frames(header))
    assert len(str(caught.value)) < 200


def test_an_envelope_without_parts_is_refused() -> None:
    """A peer that sends only its identity has sent no message."""
    with pytest.raises(DecodeError, match="without parts"):
        decode([])


@settings(max_examples=120, deadline=None)
@given(
    sizes=st.tuples(*[st.sampled_from([-1, 0, 1, 2, 8, 2**31, 2**61]) | st.integers(-9, 9)] * 2),
    payload=st.binary(max_size=60),
)
def test_payloads_of_another_size_are_refused(sizes: tuple[int, int], payload: bytes) -> None:
    """Sizes that are negative, huge or not the payload's give DecodeError, never another error or a wrong array."""
    rows, columns = sizes
    posed = Posed("door", 1, rows, columns, False, 0.1, 0.1)
    fields = Fields(task(), rows, columns, 2, 2, "float32", 0.1)
    part = zmq.Frame(payload)
    for call, size in (
        (lambda: image_of(task(height=rows, width=columns), part), rows * columns * 3),
        (lambda: poses_of(posed, [part, zmq.Frame(bytes(4 * max(0, min(rows, 20))))]), rows * columns * 12),
        (lambda: maps_of(fields, [part, zmq.Frame(bytes(16 * max(0, min(columns, 20))))], 8), rows * 16),
        (lambda: array(part, np.float32, (rows, columns)), rows * columns * 4),
    ):
        try:
            call()
        except DecodeError:
            continue
        assert size == len(payload)
        assert rows >= 0 or columns >= 0


def test_a_payload_is_viewed_read_only_and_not_copied() -> None:
    """The array shares the message's memory, and nobody can write to it."""
    part = zmq.Frame(np.arange(6, dtype=np.float32).tobytes())
    view = array(part, np.float32, (2, 3))
    assert view.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert not view.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0] = 1


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_payloads_is_refused(count: int) -> None:
    """People and field maps come in two payloads each."""
    parts = [zmq.Frame(b"")] * count
    with pytest.raises(DecodeError):
        poses_of(Posed("door", 1, 0, 18, False, 0.1, 0.1), parts)
    with pytest.raises(DecodeError):
        maps_of(Fields(task(), 0, 0, 0, 0, "float32", 0.1), parts, 8)


@pytest.mark.parametrize("dtype", ["object", "float64", "", "U1", "nonsense"])
def test_field_maps_of_another_type_are_refused(dtype: str) -> None:
    """Field maps are float32 or float16; no other name reaches NumPy."""
    with pytest.raises(DecodeError):
        maps_of(Fields(task(), 1, 1, 1, 1, dtype, 0.1), [zmq.Frame(bytes(8))] * 2, 8)


def test_work_carries_its_tasks() -> None:
    """Nested records come back as records."""
    work = Work((task(), task(seq=4)))
    assert decode(frames(*encode(work))).message == work


def test_a_record_that_the_wire_cannot_carry_is_found_at_once() -> None:
    """A field of a type without a check is an error when the table is made, not when a message comes."""

    @dataclasses.dataclass
    class Unfit:
        values: dict[str, int]

    with pytest.raises(TypeError, match="cannot carry"):
        record_check(Unfit)


def test_a_name_is_read_back_exactly() -> None:
    """Names in any script survive."""
    for name in ("door", "Tür-7", "門", "🚪"):
        assert decode(frames(*encode(Finished(name)))).message == Finished(name)
        assert decode(frames(*encode(ReplicaHello(name, "head", "", 0, 1)))).message == ReplicaHello(
            name, "head", "", 0, 1
        )


NAN = math.nan


@pytest.mark.parametrize(
    ("keypoints", "score", "is_right"),
    [
        ([(1.5, 2.5, 0.5), (NAN, NAN, NAN)], 0.5, True),
        ([(0.0, 0.0, 0.0), (7680.0, 4320.0, 1.0)], 1.0, True),
        ([(1.5, 2.5, 0.5)], 0.5, False),
        ([(1.5, 2.5, 0.5)] * 3, 0.5, False),
        ([(NAN, 2.5, 0.5), (NAN, NAN, NAN)], 0.5, False),
        ([(1.5, 2.5, NAN), (NAN, NAN, NAN)], 0.5, False),
        ([(-5.0, 2.5, 0.5), (NAN, NAN, NAN)], 0.5, False),
        ([(1.5, 1e30, 0.5), (NAN, NAN, NAN)], 0.5, False),
        ([(math.inf, 2.5, 0.5), (NAN, NAN, NAN)], 0.5, False),
        ([(1.5, 2.5, 1.5), (NAN, NAN, NAN)], 0.5, False),
        ([(1.5, 2.5, -0.5), (NAN, NAN, NAN)], 0.5, False),
        ([(1.5, 2.5, 0.5), (NAN, NAN, NAN)], NAN, False),
        ([(1.5, 2.5, 0.5), (NAN, NAN, NAN)], math.inf, False),
        ([(1.5, 2.5, 0.5), (NAN, NAN, NAN)], -1.0, False),
    ],
)
def test_only_people_of_the_served_layout_and_of_a_picture_are_taken(
    keypoints: list[tuple[float, float, float]], score: float, is_right: bool
) -> None:
    """People have the layout's keypoints, each found somewhere in a picture or missing whole, and scores."""
    payloads = frames(
        np.array([keypoints, keypoints], np.float32).tobytes(), np.array([score] * 2, np.float32).tobytes()
    )
    assert is_whole(Posed("door", 1, 2, len(keypoints), False, 0.1, 0.1), payloads, 2) is is_right


def test_people_without_payloads_of_their_number_are_not_taken() -> None:
    """Nobody needs empty payloads; other sizes than the header's are refused."""
    nobody, one = Posed("door", 1, 0, 2, False, 0.1, 0.1), Posed("door", 1, 1, 2, False, 0.1, 0.1)
    assert is_whole(nobody, frames(b"", b""), 2)
    assert not is_whole(nobody, frames(b"", b"", b""), 2)
    assert not is_whole(one, frames(bytes(20), bytes(4)), 2)
    assert is_whole(one, frames(bytes(24), bytes(4)), 2)


@given(seed=st.integers(0, 1000), count=st.integers(0, 6))
def test_what_grouping_finds_is_taken(seed: int, count: int) -> None:
    """No result of a real grouping is refused."""
    layout, size = load_registry()["mobilenet-thin"].layout, (32, 57)
    maps = planted_maps(layout, random_people(layout, np.random.default_rng(seed), count, size), size)
    transform = Transform(0.25, 0.25, 1824, 1024)
    poses = Group(layout, GroupSettings())(FieldMaps(FrameKey("door", 1), *maps, 8, transform))
    parts = frames(*[payload.tobytes() for payload in people_payloads(poses)])
    assert is_whole(posed_of(poses, 18, 0.1, 0.1), parts, 18)


def test_what_tells_versions_apart_never_changes() -> None:
    """Every version asks to join, and turns another one away, in these very bytes."""
    assert encode(Join("w", "cpu", 7)) == [msgpack.packb(["Join", "w", "cpu", 7])]
    assert encode(OtherProtocol(7)) == [msgpack.packb(["OtherProtocol", 7])]
