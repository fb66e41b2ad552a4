"""An RTSP server, GStreamer's, as a program for the system's own Python: it sends what was encoded before, endlessly.

It imports nothing of posestream: GStreamer's bindings are Debian's and belong to Debian's Python.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - the versions are chosen first

#: One access unit after another as it comes, each at its time.
_LAUNCH = (
    "( appsrc name=source is-live=true format=time max-bytes=200000 "
    "caps={kind},framerate={rate}/1 ! {parts} name=pay0 )"
)
#: What the units are and who sends them, by how the clip's file name ends.
_KINDS = {
    ".units": (
        "video/x-h264,stream-format=byte-stream,alignment=au",
        "h264parse ! rtph264pay pt=96 config-interval=-1",
    ),
    ".jpegs": ("image/jpeg", "jpegparse ! rtpjpegpay pt=26"),
}
#: What stands before each access unit in the file: its length in bytes.
_LENGTH = struct.Struct("<I")


def read_units(path: Path) -> list[bytes]:
    """Read a file of access units, each after its length."""
    data, units, at = path.read_bytes(), [], 0
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        units.append(data[at : at + length])
        at += length
    return units


class Feed:
    """Gives one client's stream its access units, from the first one on and over again."""

    def __init__(self, units: list[bytes], rate: int) -> None:
        self._units = units
        self._duration_ns = Gst.SECOND // rate
        self._next = 0

    def push(self, source: Any, _length: int) -> None:
        """Give the next one: GStreamer asks when it has room, and sends each when its time comes."""
        buffer = Gst.Buffer.new_wrapped(self._units[self._next % len(self._units)])
        buffer.pts = buffer.dts = self._next * self._duration_ns
        buffer.duration = self._duration_ns
        self._next += 1
        source.emit("push-buffer", buffer)


def factory_of(clip: Path, rate: int) -> Any:
    """Make what serves one address: every client has a stream of its own, from the clip's beginning."""
    units, (kind, parts) = read_units(clip), _KINDS[clip.suffix]
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(_LAUNCH.format(kind=kind, parts=parts, rate=rate))
    factory.set_shared(False)

    def configure(_factory: Any, media: Any) -> None:
        source = media.get_element().get_child_by_name("source")
        source.connect("need-data", Feed(units, rate).push)

    factory.connect("media-configure", configure)
    return factory


def protect(server: Any, factory: Any, user: str, password: str) -> None:
    """Let nobody in without this name and password."""
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", user)
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    for permission in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role(user, permission, True)
    factory.set_permissions(permissions)


def main(port: str, rate: str, units: str, login: str = "") -> None:
    """Serve one clip at /live until killed, and tell the port that was taken."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = factory_of(Path(units), int(rate))
    if login:
        protect(server, factory, *login.split(":", 1))
    server.get_mount_points().add_factory("/live", factory)
    if not server.attach(None):
        sys.exit(f"port {port} is taken")
    sys.stdout.write(f"{server.get_bound_port()}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
