"""Transport streams over UDP, sent by this test: who sends may change, and be silent in between."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from posestream.stages.source.opening import SourceSettings, open_source
from posestream.stages.source.port import UdpPort
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


@pytest.mark.parametrize("service", [{}, {"mpegts_service_id": "7", "mpegts_pmt_start_pid": "4000"}])
@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_another_service_that_goes_on(media, tmp_path, port, service, codec):
    """A sender that gives another service or codec, and is not silent, is connected anew although its port is held."""
    first = media.write_video(tmp_path / "a.ts", media.numbered(20), options={"bf": "0"})
    muxing = {"mpegts_start_pid": "512", **service}
    second = media.write_video(
        tmp_path / "b.ts", media.numbered(20, 96), options={"bf": "0"}, muxing=muxing, codec=codec
    )
    waits = ReconnectSettings(0.05, 0.1, stall_s=0.5)
    settings = SourceSettings(f"udp://127.0.0.1:{port}", policy="every-frame", reconnect=waits)
    sender = Sender(port)
    with open_source(settings) as source:
        taker = threading.Thread(target=sender.take, args=(source,), daemon=True)
        taker.start()
        sender.send_until(first, 64, 10)
        sender.send_until(second, 96, 10)
        source.link.stop()
        taker.join(DEADLINE_S)
        assert not taker.is_alive()


def test_a_port_is_taken_from_who_reads_it(port):
    """What holds a port hears nothing any more and the port is free; other sockets of the process stay as they are."""
    ours = UdpPort(f"udp://@:{port}?fifo_size=100")
    assert not ours.is_taken
    open_before = len(list(Path("/dev/fd").iterdir()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reader, socket.socket(type=socket.SOCK_DGRAM) as other:
        reader.bind(("0.0.0.0", port))  # noqa: S104 — as a reader does
        other.bind(("127.0.0.1", 0))
        assert (ours.is_taken, ours.hears()) == (True, False)
        other.sendto(b"x", ("127.0.0.1", port))
        assert ours.hears()
        ours.take_back()
        assert (ours.is_taken, ours.hears()) == (False, False)
        with socket.socket(type=socket.SOCK_DGRAM) as follower:
            follower.bind(("0.0.0.0", port))  # noqa: S104 — as a reader does
            other.sendto(b"y", ("127.0.0.1", port))
            assert follower.recv(9) == b"y"
            reader.setblocking(False)
            with pytest.raises(BlockingIOError):
                reader.recv(9)
    assert len(list(Path("/dev/fd").iterdir())) == open_before


def test_which_port_an_address_holds():
    """`localport` wins over the port that senders are told, as FFmpeg has it."""
    assert repr(UdpPort("udp://host:1?localport=2&ttl=3")) == "<UdpPort 2 taken=False>"
