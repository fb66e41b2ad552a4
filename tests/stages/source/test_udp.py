"""Transport streams over UDP, sent by this test: who sends may change, and be silent in between."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from posestream.stages.source.opening import SourceSettings, open_source
from posestream.stages.source.reconnect import ReconnectSettings

from .fake_link import DEADLINE_S

#: What a transport stream carries over UDP at once: seven of its packets.
_DATAGRAM = 7 * 188


@pytest.fixture
def port():
    """Give a port that is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Sender:
    """Sends stream after stream until as many frames have come of each."""

    def __init__(self, port):
        self._port = port
        self.widths = []

    def take(self, source):
        """Take every frame of a source."""
        source.open()
        for frame in source.frames():
            self.widths.append(frame.width)

    def send_until(self, path, width, count):
        """Send a stream again and again until so many of its frames have come."""
        deadline_s = time.monotonic() + DEADLINE_S
        data = path.read_bytes()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while self.widths.count(width) < count:
                for start in range(0, len(data), _DATAGRAM):
                    out.sendto(data[start : start + _DATAGRAM], ("127.0.0.1", self._port))
                    time.sleep(0.002)
                assert time.monotonic() < deadline_s, (width, self.widths)


def test_another_sender_after_a_silence(media, tmp_path, port):
    """After a silence beyond `stall_s` a sender with another size and numbering is read by the same connection."""
    first = media.write_video(tmp_path / "a.ts", media.numbered(20), options={"bf": "0"})
    muxing = {"mpegts_start_pid": "512"}
    second = media.write_video(tmp_path / "b.ts", media.numbered(20, 96), options={"bf": "0"}, muxing=muxing)
    settings = SourceSettings(
        f"udp://127.0.0.1:{port}", policy="every-frame", reconnect=ReconnectSettings(0.05, 0.1, stall_s=0.4)
    )
    sender = Sender(port)
    with open_source(settings) as source:
        taker = threading.Thread(target=sender.take, args=(source,), daemon=True)
        taker.start()
        sender.send_until(first, 64, 10)
        with source.link.changed:
            assert source.link.changed.wait_for(lambda: source.link.now.phase == "stalled", DEADLINE_S)
        time.sleep(0.5)
        sender.send_until(second, 96, 10)
        assert source.link.connections == 1
        source.link.stop()
        taker.join(DEADLINE_S)
        assert not taker.is_alive()
