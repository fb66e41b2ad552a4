from __future__ import annotations

import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from posestream.models import download as module
from posestream.models.download import Patience, download
from posestream.models.errors import FetchError, ModelError
from posestream.models.spec import FileSpec

CONTENT = bytes(range(256)) * 2000
QUICK = Patience(connect_s=30.0, read_s=30.0, retries=2, backoff_s=0.0)


class Server(ThreadingHTTPServer):
    """Serves CONTENT as it is told to."""

    daemon_threads = True

    def __init__(self):
        self.content = CONTENT
        #: For each request in turn, after how many bytes the connection is cut; the last one is for all others.
        self.cuts = [None]
        self.is_resuming = True
        self.status = 200
        self.ranges = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/net.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        cut = server.cuts.pop(0) if len(server.cuts) > 1 else server.cuts[0]
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.is_resuming else 0
        if server.status != 200:
            self.send_error(server.status)
            return
        if start >= len(server.content) and start:
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])
        self.close_connection = True

    def log_message(self, *args):
        """Keep stderr clean."""


@pytest.fixture
def server():
    """A web server on this machine."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def spec(url, content=CONTENT, size=None):
    """Describe the file."""
    return FileSpec("net.bin", f"sha256:{hashlib.sha256(content).hexdigest()}", size, url)


def names(folder):
    """List a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_file_gets_its_name_when_it_is_whole(server, tmp_path):
    """A file arrives whole under its name, in a new folder, with progress up to its end and nothing left beside."""
    seen = []
    path = download(spec(server.url), tmp_path / "new", lambda done, total: seen.append((done, total)), QUICK)
    assert path.read_bytes() == CONTENT
    assert names(tmp_path / "new") == ["net.bin"]
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)


def test_broken_download_goes_on_where_it_was(server, tmp_path):
    """When the connection breaks, the rest is asked for and not the whole again."""
    server.cuts = [100_000, 50_000, None]
    path = download(spec(server.url), tmp_path, patience=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]


def test_given_up_download_is_taken_up_later(server, tmp_path):
    """A download that keeps breaking ends in one line, leaves no file under the name, and goes on next time."""
    server.cuts = [1000]
    with pytest.raises(FetchError, match=r"broke off after 0\.0 MB .*: run it again, it goes on from there"):
        download(spec(server.url), tmp_path, patience=QUICK)
    assert names(tmp_path) == ["net.bin.part"]
    assert (tmp_path / "net.bin.part").stat().st_size == 3000
    server.cuts = [None]
    assert download(spec(server.url), tmp_path, patience=QUICK).read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=3000-"
    assert names(tmp_path) == ["net.bin"]


def test_server_that_cannot_resume_sends_all(server, tmp_path):
    """A server that ignores the range sends the whole file, and it is not appended to what is there."""
    server.is_resuming = False
    (tmp_path / "net.bin.part").write_bytes(CONTENT[:5000])
    assert download(spec(server.url), tmp_path, patience=QUICK).read_bytes() == CONTENT
    assert server.ranges == ["bytes=5000-"]


@pytest.mark.parametrize("left", [b"something else", CONTENT + b"more", CONTENT[:-1] + b"?"])
def test_unfitting_remainder_is_thrown_away(server, tmp_path, left):
    """What an earlier try left is thrown away where the file does not come out right with it."""
    (tmp_path / "net.bin.part").write_bytes(left)
    assert download(spec(server.url, size=len(CONTENT)), tmp_path, patience=QUICK).read_bytes() == CONTENT


def test_whole_remainder_needs_no_network(tmp_path):
    """A part that was complete when the process died gets its name without another request."""
    (tmp_path / "net.bin.part").write_bytes(CONTENT)
    file = spec("http://127.0.0.1:9/net.bin", size=len(CONTENT))
    assert download(file, tmp_path, patience=QUICK).read_bytes() == CONTENT


def test_wrong_content_is_never_kept(server, tmp_path):
    """A file whose digest differs is deleted, and the error says where it came from."""
    server.content = b"a captive portal's page"
    with pytest.raises(ModelError, match=r"net.bin from .* is not the recorded file \(sha256 differs\)"):
        download(spec(server.url), tmp_path, patience=QUICK)
    assert names(tmp_path) == []


def test_endless_content_is_cut(server, tmp_path):
    """A file longer than recorded is not downloaded to its end."""
    server.content = CONTENT * 8
    seen = []
    with pytest.raises(ModelError, match="is not the recorded file"):
        download(spec(server.url, size=len(CONTENT)), tmp_path, lambda done, total: seen.append(done), QUICK)
    assert seen[-1] < 2 * len(CONTENT)
    assert names(tmp_path) == []


def test_refusal_is_one_line(server, tmp_path):
    """A server's refusal ends in one line that names the file, the host and the refusal, and leaves nothing."""
    server.status = 404
    with pytest.raises(
        FetchError, match=r"cannot fetch net.bin from 127.0.0.1: the server says 404 .*POSESTREAM_MODELS"
    ):
        download(spec(server.url), tmp_path, patience=QUICK)
    assert names(tmp_path) == []
    assert len(server.ranges) == 1


def test_nobody_listening_is_one_line(tmp_path):
    """A port where nobody listens ends in one line."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/net.bin"
        with pytest.raises(FetchError, match="Connection refused: check the network"):
            download(spec(url), tmp_path, patience=QUICK)


def test_silence_ends_after_the_connect_time(tmp_path, monkeypatch):
    """A look-up or connection that never ends is given up after `connect_s`, whatever the system's resolver does."""
    release = threading.Event()

    def stuck(request, timeout):
        release.wait()
        raise OSError("too late")

    monkeypatch.setattr(module.urllib.request, "urlopen", stuck)
    with pytest.raises(FetchError, match=r"no answer within 0\.01 s"):
        download(spec("http://example.org/net.bin"), tmp_path, patience=Patience(connect_s=0.01))
    release.set()


def test_other_schemes_are_refused(tmp_path):
    """Only http and https addresses are opened."""
    with pytest.raises(ModelError, match="only http and https"):
        download(spec("file:///etc/passwd"), tmp_path, patience=QUICK)


def test_unwritable_folder_is_one_line(tmp_path):
    """A folder that cannot be made ends in one line that names the file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"cannot write .*net.bin"):
        download(spec("http://127.0.0.1:9/net.bin"), tmp_path / "file" / "folder", patience=QUICK)


def test_two_at_once_do_not_disturb_each_other(server, tmp_path):
    """While one download holds the part file, another one of the same file ends well, and so does the first."""
    paths = []

    def second(done, total):
        if not paths:
            paths.append(None)
            paths[0] = download(spec(server.url), tmp_path, patience=QUICK)

    first = download(spec(server.url), tmp_path, second, QUICK)
    assert first == paths[0]
    assert first.read_bytes() == CONTENT
    assert names(tmp_path) == ["net.bin"]
    assert server.ranges == [None, None]
