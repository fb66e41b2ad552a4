"""Whether a file is a whole frozen graph of TensorFlow's: OpenVINO has much to say of one that is not."""

from __future__ import annotations

from pathlib import Path

from posestream.models.errors import ModelError

__all__ = ["check_frozen_graph"]

#: Fields of a GraphDef (graph.proto), with protobuf's type of each: nodes, library, version, versions.
_FIELDS = {0x0A: True, 0x12: True, 0x18: False, 0x22: True}
#: A number has at most so many bytes of seven bits.
_NUMBER_BYTES = 10


def check_frozen_graph(path: Path) -> None:
    """Make sure that a file is made of a graph's fields from its first byte to its last.

    Raises:
        ModelError: it cannot be read, is cut off, or is something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    place = 0
    while place < len(content):
        has_length = _FIELDS.get(content[place])
        number, place = _number(content, place + 1)
        if has_length is None or number < 0:
            raise ModelError(f"cannot read {path}: it is damaged, or no frozen graph of TensorFlow's")
        place += number if has_length else 0
    if not content or place > len(content):
        raise ModelError(f"cannot read {path}: it is {'cut off' if content else 'empty'}")


def _number(content: bytes, place: int) -> tuple[int, int]:
    """Give the number at a place, and the place after it; a number below 0 where there is none."""
    number = 0
    for count, byte in enumerate(content[place : place + _NUMBER_BYTES]):
        number |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return number, place + count + 1
    return -1, place
