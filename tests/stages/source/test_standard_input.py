"""Standard input as a source: what passed is looked at where a file would be looked at again."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from posestream.stages.errors import SettingsError, SourceError
from posestream.stages.source.settings import SourceSettings
from posestream.stages.source.standard_input import StandardInput, check_standard_input
from posestream.stages.source.stream import StreamSource


@contextmanager
def piped(data):
    """Pipe bytes to whoever reads the descriptor."""
    reads, writes = os.pipe()

    def write():
        with os.fdopen(writes, "wb") as pipe:
            pipe.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield reads
    finally:
        while os.read(reads, 1 << 16):
            pass
        writer.join()
        os.close(reads)


@pytest.fixture
def read(monkeypatch):
    """Give a function that reads piped bytes as a source does, and tells how many frames came and what was said."""

    def read_frames(data):
        with piped(data) as reads:
            monkeypatch.setattr(
                "posestream.stages.source.stream.StandardInput", lambda: StandardInput(descriptor=reads)
            )
            count = 0
            try:
                with StreamSource(SourceSettings("-")) as source:
                    source.open()
                    for _ in source.frames():
                        count += 1
            except SourceError as error:
                return count, str(error)
            return count, ""

    return read_frames


@pytest.mark.parametrize(("name", "packet"), [("clip.ts", 188), ("clip.m2ts", 192)])
def test_a_transport_stream_that_is_cut(media, tmp_path, read, name, packet):
    """A piped transport stream of whose last packet a part is missing has ended early; one of whole packets has not."""
    muxing = {"mpegts_m2ts_mode": "1"} if packet == 192 else {}
    data = media.write_video(tmp_path / name, media.numbered(30), muxing=muxing).read_bytes()
    assert read(data) == (30, "")
    count, said = read(data[: len(data) // packet // 2 * packet + 77])
    assert 0 < count < 30
    assert said == "standard input ended early: it ends in the midst of a packet and seems to be cut off"


def test_an_mp4_that_cannot_be_piped(media, tmp_path, read):
    """Of an MP4 with its index at its end it is said that it cannot be piped, and what to do."""
    noise = list(np.random.default_rng(5).integers(0, 256, (30, 96, 128, 3), np.uint8))
    data = media.write_video(tmp_path / "clip.mp4", noise).read_bytes()
    # What is small enough lies in FFmpeg's buffer as a whole.
    assert len(data) > 100_000
    count, said = read(data)
    assert count == 0
    assert "an MP4 of which the index stands at its end, which cannot be piped; give the file itself" in said


def test_what_cannot_be_read(tmp_path):
    """A folder as standard input is an error in words."""
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(SourceError, match="standard input cannot be read: Is a directory"):
            StandardInput(folder).read(10)
    finally:
        os.close(folder)


def test_a_closed_standard_input(monkeypatch):
    """Standard input that is closed is not called a terminal."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SettingsError, match=r"standard input \(-\) is closed; pipe a video into it"):
        check_standard_input()
