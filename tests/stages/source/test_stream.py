"""Addresses as sources, read from a real server on this machine."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from av.error import FFmpegError

from posestream.stages.errors import SourceError
from posestream.stages.source.codec import StreamCodec
from posestream.stages.source.opening import SourceSettings, open_source
from posestream.stages.source.reconnect import ReconnectSettings
from posestream.stages.source.stamp import Stamp
from posestream.stages.source.stream import StreamSource
from posestream.stages.source.trouble import LinkError, link_error

from .quiet_files import QuietFiles


class EndlessStream(BaseHTTPRequestHandler):
    """Sends a file's bytes as a stream without a length."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args, path, **kwargs):
        self._path = path
        super().__init__(*args, **kwargs)

    def do_GET(self):
        """Send it, then close."""
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        data = Path(self._path).read_bytes()
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))

    def log_message(self, *args):
        """Say nothing."""


class GivesUp(BaseHTTPRequestHandler):
    """Sends half of a file and gives up, as servers do with who is paused; asked for the rest, it sends that."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args, path, **kwargs):
        self._path = path
        super().__init__(*args, **kwargs)

    def do_GET(self):
        """Send from where it is asked for."""
        data = Path(self._path).read_bytes()
        begin = int(self.headers.get("Range", "bytes=0-").partition("=")[2].partition("-")[0])
        self.send_response(206)
        self.send_header("Content-Length", str(len(data) - begin))
        self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[begin:] if begin else data[: len(data) // 2])
        self.close_connection = True

    def log_message(self, *args):
        """Say nothing."""


def test_a_server_that_gives_up_a_reader(media, tmp_path, serve):
    """A recording whose server closed the connection in its midst is read on from there, every frame once."""
    path = media.write_video(tmp_path / "clip.mkv", media.numbered(30))
    with open_source(SourceSettings(f"http://{serve(partial(GivesUp, path=path))}/clip.mkv")) as source:
        source.open()
        assert [frame.key.seq for frame in source.frames()] == list(range(30))


def test_recording_over_http(media, tmp_path, serve):
    """A file behind an address is a recording: it waits, has a length and can start in the middle."""
    media.write_video(tmp_path / "clip.mp4", media.numbered(20), options={"g": "5"})
    address = serve(partial(QuietFiles, directory=str(tmp_path)))
    with StreamSource(SourceSettings(f"http://user:secret@{address}/clip.mp4", start_s=0.7)) as source:
        info = source.open()
        frames = list(source.frames())
    assert [media.number_of(frame.picture.bgr()) for frame in frames] == list(range(7, 20))
    assert (info.is_live, info.path, info.duration_s) == (False, None, pytest.approx(2.0))
    assert info.name == "127.0.0.1"


def test_live_over_http(media, tmp_path, serve):
    """A stream without a length is live, and its end is no error."""
    path = media.write_video(tmp_path / "clip.ts", media.numbered(20))
    address = serve(partial(EndlessStream, path=path))
    with StreamSource(SourceSettings(f"http://{address}/live")) as source:
        info = source.open()
        frames = list(source.frames())
        assert source.is_live
    assert (info.is_live, info.duration_s, info.frame_count) == (True, None, None)
    assert [media.number_of(frame.picture.bgr()) for frame in frames] == list(range(20))


#: As many frames as come again after a change of codec: the decoder was changed up to two packets too early.
_CODECS = {"h264": {"bf": "0"}, "mpeg2video": {"bf": "0"}, "libx265": {"x265-params": "log-level=none:bframes=0"}}


@pytest.mark.parametrize("order", [["h264", "mpeg2video", "libx265"], ["mpeg2video", "h264"], ["libx265", "h264"]])
def test_another_codec_in_midstream(media, tmp_path, serve, order):
    """A stream that changes its codec goes on at once, in the same connection."""
    whole = tmp_path / "whole.ts"
    for codec in order:
        path = media.write_video(tmp_path / f"{codec}.ts", media.numbered(40), codec=codec, options=_CODECS[codec])
        with whole.open("ab") as file:
            file.write(path.read_bytes())
    address = serve(partial(EndlessStream, path=whole))
    with StreamSource(SourceSettings(f"http://{address}/live")) as source:
        source.open()
        numbers = [media.number_of(frame.picture.bgr()) for frame in source.frames() if frame.picture is not None]
    begins = [place for place, number in enumerate(numbers) if number < 3 and (not place or numbers[place - 1] > 30)]
    assert len(begins) == len(order)
    for first, end in zip(begins, [*begins[1:], len(numbers)], strict=True):
        assert end - first >= 37


def test_a_codec_that_nothing_follows(media, tmp_path, serve):
    """A stream that changes to a codec that is not followed ends as one that is to be connected anew, and says why."""
    first = media.write_video(tmp_path / "a.ts", media.numbered(30), options={"bf": "0"})
    second = media.write_video(tmp_path / "b.ts", media.numbered(30), codec="mpeg1video", rate=25)
    whole = tmp_path / "whole.ts"
    whole.write_bytes(first.read_bytes() + second.read_bytes())
    address = serve(partial(EndlessStream, path=whole))
    with StreamSource(SourceSettings(f"http://{address}/live")) as source:
        source.open()
        with pytest.raises(LinkError, match=r"^http://127\.0\.0\.1:\d+/live: its codec has changed$") as caught:
            list(source.frames())
    assert not caught.value.is_final


def test_a_rate_limit_after_a_jump(media, tmp_path, serve):
    """With a limit on the rate, a clock that jumps back or forth changes nothing about how many frames are taken."""
    pieces = [media.numbered(20, 64 + 16 * piece) for piece in range(3)]
    whole = tmp_path / "whole.ts"
    for piece, offset_s in zip(pieces, (5000, 0, 9000), strict=True):
        muxing = {"output_ts_offset": str(offset_s)}
        path = media.write_video(tmp_path / "piece.ts", piece, options={"bf": "0"}, muxing=muxing)
        with whole.open("ab") as file:
            file.write(path.read_bytes())
    address = serve(partial(EndlessStream, path=whole))
    times = iter(range(10_000))
    settings = SourceSettings(f"http://{address}/live", fps=2.0)
    with StreamSource(settings, lambda: Stamp(next(times) / 10, 0.0)) as source:
        source.open()
        widths = [frame.width for frame in source.frames()]
    assert [widths.count(64 + 16 * piece) for piece in range(3)] == [4, 4, 4]


def test_packets_without_pictures(media, tmp_path, serve, monkeypatch):
    """A stream of which packets come and nothing can be decoded is given up after `stall_s`, and says why."""
    path = media.write_video(tmp_path / "a.ts", media.numbered(40), options={"bf": "0"})
    decode, decoded = StreamCodec.decode, []

    def decode_ten(codec, packet):
        decoded.append(packet)
        return decode(codec, packet) if len(decoded) <= 10 else []

    monkeypatch.setattr(StreamCodec, "decode", decode_ten)
    times = iter(range(1000))
    address = serve(partial(EndlessStream, path=path))
    settings = SourceSettings(f"http://{address}/live", reconnect=ReconnectSettings(stall_s=12))
    with StreamSource(settings, lambda: Stamp(float(next(times)), 0.0)) as source:
        source.open()
        with pytest.raises(LinkError, match="/live: next to nothing of it could be decoded for 12 s"):
            list(source.frames())
    # One picture in the first twelve seconds is few enough, and the second twelve have none.
    assert len(decoded) == 25


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_nobody_there(scheme, capfd):
    """An address where nobody answers is told without its password, in the message and in its traceback."""
    with pytest.raises(SourceError) as caught:
        StreamSource(SourceSettings(f"{scheme}://user:secret@127.0.0.1:9/live?key=secret")).open()
    assert str(caught.value) == f"{scheme}://127.0.0.1:9/live?… cannot be opened: Connection refused"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("name", "start_s"), [("clip.mp4", 0.0), ("clip.mp4", 3.0), ("clip.mkv", 3.0)])
def test_a_server_that_sends_whole_files_only(media, tmp_path, serve, name, start_s):
    """Where a file cannot be read since its server gives no parts of it, that is told, and no damage or start."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 120, 160, 3), np.uint8)
    path = media.write_video(tmp_path / name, noise, options={"g": "10", "preset": "ultrafast", "qp": "4"})
    assert path.stat().st_size > 1_000_000
    address = serve(partial(QuietFiles, directory=str(tmp_path)))
    with pytest.raises(SourceError) as caught:
        StreamSource(SourceSettings(f"http://{address}/{name}", start_s=start_s)).open()
    assert str(caught.value) == (
        f"http://{address}/{name} cannot be read: the connection broke, or its server gives no parts of files (HTTP "
        "ranges), which this file or its start needs; fetch the file first"
    )


def test_sound_that_stays_behind_is_known(media, tmp_path, serve):
    """A recording behind an address tells that it has sound, which only a local file can give to a video."""
    media.write_video(tmp_path / "loud.mp4", media.numbered(5), sound_s=1.0)
    media.write_video(tmp_path / "quiet.mp4", media.numbered(5))
    address = serve(partial(QuietFiles, directory=str(tmp_path)))
    for name, has_sound in (("loud.mp4", True), ("quiet.mp4", False)):
        with StreamSource(SourceSettings(f"http://{address}/{name}")) as source:
            assert source.open().has_unread_sound is has_sound
    with open_source(SourceSettings(str(tmp_path / "loud.mp4"))) as source:
        assert source.open().has_unread_sound is False


def test_who_accepts_and_says_nothing():
    """Of a listener that closes at once it is told that nothing was answered, not that its video is damaged."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def close_at_once():
            with contextlib.suppress(OSError):
                while True:
                    listener.accept()[0].close()

        threading.Thread(target=close_at_once, daemon=True).start()
        source = StreamSource(SourceSettings(f"rtsp://127.0.0.1:{listener.getsockname()[1]}/live"))
        with pytest.raises(LinkError, match="closed the connection without an answer, or does not speak RTSP"):
            source.open()
        listener.shutdown(socket.SHUT_RDWR)


def test_an_encrypted_stream_that_breaks_off_is_not_said_to_lack_tls() -> None:
    """Only a connection that never came about may have been meant without TLS; one that gave frames had it."""
    url = "https://127.0.0.1/live"
    error = FFmpegError(errno.EIO, "Input/output error")
    assert "without TLS it is http://" in str(link_error(url, url, error))
    assert str(link_error(url, url, error, "broke off", is_new=False)) == f"{url} broke off: Input/output error"
