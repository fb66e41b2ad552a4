"""Addresses of every kind, as users give them, from real servers and senders on this machine."""

from __future__ import annotations

import contextlib
import socket
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler

import cv2
import pytest
from av import open as open_media

from posestream.stages.errors import SourceError
from posestream.stages.source.link_state import LinkPhase
from posestream.stages.source.opening import SourceSettings, open_source

from .fake_link import DEADLINE_S
from .quiet_files import QuietFiles


class MotionJpeg(BaseHTTPRequestHandler):
    """Sends pictures as many cameras do: one JPEG after another, for ever."""

    def __init__(self, *args, pictures, **kwargs):
        self._pictures = pictures
        super().__init__(*args, **kwargs)

    def do_GET(self):
        """Send them until the client goes."""
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        try:
            for picture in self._pictures:
                data = cv2.imencode(".jpg", picture)[1].tobytes()
                head = b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
                self.wfile.write(head + data + b"\r\n")
        except OSError:
            return

    def log_message(self, *args):
        """Say nothing."""


def test_motion_jpeg(media, serve):
    """A camera's JPEGs over HTTP are live, and when they end it is connected anew."""
    address = serve(partial(MotionJpeg, pictures=media.numbered(10)))
    settings = SourceSettings(f"http://{address}/video", policy="every-frame", max_frames=15)
    with open_source(settings) as source:
        info = source.open()
        frames = list(source.frames())
    assert (info.is_live, info.max_age_s, info.keeps_newest) == (True, None, False)
    numbers = [media.number_of(frame.picture.bgr()) for frame in frames]
    assert numbers[:10] == list(range(10))
    assert [frame.epoch for frame in frames] == [0] * 10 + [1] * 5


@pytest.mark.parametrize("name", ["clip.m3u8", "clip.mp4"])
def test_recordings_over_http(media, tmp_path, serve, name):
    """An HLS playlist with an end, and a file, are recordings: every frame with its own time, and then the end."""
    muxing = {"hls_time": "1", "hls_list_size": "0"} if name.endswith("m3u8") else {}
    media.write_video(tmp_path / name, media.numbered(20), options={"g": "5"}, muxing=muxing)
    address = serve(partial(QuietFiles, directory=str(tmp_path)))
    with open_source(SourceSettings(f"http://{address}/{name}")) as source:
        info = source.open()
        frames = list(source.frames())
        assert source.link.now.phase is LinkPhase.ENDED
    assert (info.is_live, info.keeps_newest, info.duration_s) == (False, False, pytest.approx(2.0, abs=0.1))
    assert [media.number_of(frame.picture.bgr()) for frame in frames] == list(range(20))
    first_s = frames[0].pts_s
    assert [frame.pts_s - first_s for frame in frames] == pytest.approx([number / 10 for number in range(20)])


def test_a_recording_that_is_not_there(serve, tmp_path):
    """What is known to be a recording fails where it is missing, and is not waited for."""
    address = serve(partial(QuietFiles, directory=str(tmp_path)))
    with (
        open_source(SourceSettings(f"http://{address}/clip.mp4")) as source,
        pytest.raises(SourceError, match="404 Not Found"),
    ):
        source.open()
    assert source.link.now.phase is LinkPhase.FAILED


def test_the_newest_of_a_recording(media, tmp_path, serve):
    """The policy that the newest wins is refused for what turns out to be a recording: it would lose nearly all."""
    media.write_video(tmp_path / "clip.mp4", media.numbered(20))
    address = serve(partial(QuietFiles, directory=str(tmp_path)))
    with (
        open_source(SourceSettings(f"http://{address}/clip.mp4", policy="newest")) as source,
        pytest.raises(SourceError, match="the policy newest is for live sources"),
    ):
        source.open()


def test_udp(media, tmp_path):
    """A transport stream over UDP is live, from whenever a key frame comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = media.write_video(tmp_path / "clip.ts", media.numbered(40), options={"g": "5", "bf": "0"})
    has_enough = threading.Event()

    def send():
        while not has_enough.is_set():
            with (
                open_media(str(path)) as clip,
                open_media(f"udp://127.0.0.1:{port}?pkt_size=1316", "w", format="mpegts") as out,
            ):
                stream = out.add_stream_from_template(clip.streams.video[0])
                for packet in clip.demux(video=0):
                    if packet.dts is None or has_enough.wait(0.01):
                        break
                    packet.stream = stream
                    out.mux(packet)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        with open_source(SourceSettings(f"udp://127.0.0.1:{port}", max_frames=10)) as source:
            info = source.open()
            frames = list(source.frames())
    finally:
        has_enough.set()
        sender.join(DEADLINE_S)
    assert (info.is_live, info.keeps_newest, info.max_age_s, len(frames)) == (True, True, 0.5, 10)


def test_an_unknown_host_is_told_apart():
    """A name that nobody knows is told as that, and not as some error of input or output."""
    source = open_source(SourceSettings("rtsp://no-such-host.invalid/live"))
    opening = threading.Thread(target=open_or_not, args=(source,), daemon=True)
    opening.start()
    with source.link.changed:
        assert source.link.changed.wait_for(lambda: source.link.now.phase is LinkPhase.BACKING_OFF, DEADLINE_S)
        why = source.link.now.why
    source.link.stop()
    opening.join(DEADLINE_S)
    source.close()
    assert "rtsp://no-such-host.invalid/live cannot be opened: the host no-such-host.invalid cannot be found" in why


def open_or_not(source):
    """Open a source until it is stopped."""
    with contextlib.suppress(SourceError):
        source.open()
