"""An RTSP server in a process of its own that can be killed, stopped and started again; it needs Debian's GStreamer."""

from __future__ import annotations

import functools
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["INSTALL", "RtspServer", "server_python"]

#: What to install where the server's parts are missing.
INSTALL = (
    "apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad"
)
_PROGRAM = Path(__file__).with_name("rtsp_program.py")
#: The system's own Python, which Debian's bindings belong to, whatever environment this one is.
_PYTHONS = ("/usr/bin/python3", "python3")
_CHECK = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0');"
    "from gi.repository import Gst, GstRtspServer; Gst.init(None);"
    "assert all(map(Gst.ElementFactory.find, ('appsrc', 'h264parse', 'rtph264pay', 'jpegparse', 'rtpjpegpay')))"
)
#: How long it may take to start, in seconds.
_START_S = 30.0


@functools.cache
def server_python() -> str | None:
    """Give the Python that can run the server; None where none can (`INSTALL` says what is missing)."""
    for python in filter(None, map(shutil.which, _PYTHONS)):
        if subprocess.run([python, "-c", _CHECK], capture_output=True, check=False).returncode == 0:  # noqa: S603
            return python
    return None


class RtspServer:
    """Serves one clip at rtsp://127.0.0.1:PORT/live, to each client from its beginning and over again.

    Args:
        units: the clip's access units (`rtsp_clip.write_units`).
        rate: frames per second.
        login: `USER:PASSWORD` that clients must give; empty: none.

    Raises:
        RuntimeError: its parts are not installed, or it does not start.
    """

    def __init__(self, units: Path, rate: int = 25, login: str = "") -> None:
        self._units, self._rate, self._login = units, rate, login
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing running."""
        self.kill()

    @property
    def pid(self) -> int | None:
        """Its process's number; None while it does not run."""
        return None if self._process is None else self._process.pid

    def start(self, units: Path | None = None) -> None:
        """Start it, again on the same port; `units` is another clip from now on."""
        python = server_python()
        if python is None:
            raise RuntimeError(f"no RTSP server is here: {INSTALL}")
        self._units = units or self._units
        words = [python, _PROGRAM, self.port, self._rate, self._units, self._login]
        self._process = subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE)  # noqa: S603 - ours
        self.port = self._told_port(self._process)

    def kill(self) -> None:
        """End it at once, as a camera does whose plug is pulled."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def freeze(self) -> None:
        """Let it do nothing, with its connections open."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def _told_port(self, process: subprocess.Popen[bytes]) -> int:
        """Wait until it says where it listens."""
        assert process.stdout is not None  # noqa: S101 - it was asked for
        deadline_s, told = time.monotonic() + _START_S, b""
        while not told.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline_s - time.monotonic()))
            chunk = os.read(process.stdout.fileno(), 100) if ready else b""
            if not chunk:
                self.kill()
                raise RuntimeError("the RTSP server did not start")
            told += chunk
        return int(told)
