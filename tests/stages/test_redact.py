"""No secret of an address is left in any text."""

from __future__ import annotations

import logging
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from posestream.pipeline.logs import _TextFormatter, json_entry
from posestream.stages.errors import SettingsError
from posestream.stages.redact import redacted, redacted_text
from posestream.stages.source.link_state import LinkPhase, LinkStates
from posestream.stages.source.name import derive_names
from posestream.stages.source.opening import SourceSettings

#: A mark that is in every secret and nowhere else.
MARK = "Xq7"
schemes = st.sampled_from(["rtsp://", "RTSP://", "http://", "rtmp://", "ftp://", "rtsp:/", "rtsp:", ""])
users = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=8)
odd = st.text(string.ascii_letters + string.digits + "/?#@:%&=+!$~*()[]{}|\\^`,;._-", max_size=12)
#: Of digits up to a sign that ends a port, too.
passwords = st.tuples(st.sampled_from(["", "", "12/", "7?", "8080#"]), odd, odd).map(
    lambda parts: f"{parts[0]}{parts[1]}{MARK}{parts[2]}"
)
hosts = st.sampled_from(["host", "cam.local:554", "10.0.0.7", "[::1]:8554"])
paths = st.sampled_from(["", "/l", "/live/main?x=1", "/a/b.mp4"])


@settings(max_examples=400, deadline=None)
@example("rtsp://", "me", f"@{MARK}?", "host", "")
@example("http://", "me", f"a@{MARK}/b", "host", "/@me")
@given(schemes, users, passwords, hosts, paths)
def test_a_password_is_nowhere(scheme: str, user: str, password: str, host: str, path: str) -> None:
    """Whatever it holds, a password is in no address shown, log line, error, state, name or `repr`."""
    url = f"{scheme}{user}:{password}@{host}{path}"
    told = [redacted(url), derive_names([url])[0], json_entry(0, "error", "a", f"{url} failed")]
    told += [redacted_text(text) for text in (url, f"cannot open '{url}': refused", f"/work/{url} does not exist")]
    record = logging.LogRecord("a", logging.ERROR, "", 0, "%s is lost", (url,), None)
    told.append(_TextFormatter().format(record))
    states = LinkStates()
    states.go(LinkPhase.BACKING_OFF, f"{url}: refused")
    told.append(states.now.why)
    try:
        told.append(repr(SourceSettings(url)))
    except SettingsError as error:
        told.append(str(error))
    assert not [text for text in told if MARK.lower() in text.lower()]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ipc://@abstract", "ipc://@abstract"),
        ("rtsps://10.0.0.1:7441/AbCdEf123456gh?enableSrtp", "rtsps://10.0.0.1:7441/…?…"),
        ("http://cam/550e8400-e29b-41d4-a716-446655440000/live", "http://cam/…/live"),
        ("rtsp://cam/QWRTZPLMKNBVCXYA/1", "rtsp://cam/…/1"),
        ("rtsp://cam/h264Preview_01_main", "rtsp://cam/h264Preview_01_main"),
        ("rtsp://cam/Streaming/Channels/101", "rtsp://cam/Streaming/Channels/101"),
        ("rtmp://host/live/key", "rtmp://host/live/…"),
        ("rtmps://host/app/room/key", "rtmps://host/app/room/…"),
        ("rtmp://host/live", "rtmp://host/live"),
        ("http://cam:8080/@me/x.mp4", "http://cam:8080/…"),
        ("bob:pw@host/l", "…@host/l"),
        ("rtsp:/bob:pw@h/l", "…@h/l"),
    ],
)
def test_tokens_and_bare_logins(url: str, shown: str) -> None:
    """A part of a path that looks like a token is not shown, nor a login without a scheme; ordinary names are."""
    assert redacted(url) == shown
    assert redacted_text(f"'{url}' is lost") == f"'{shown}' is lost"


@pytest.mark.parametrize(
    "text", ["at 12:30 me@home wrote", "clip@home.mp4", "C:\\a@b.mp4", "rtsp://cam/stream@1", "a: b@c"]
)
def test_what_is_no_login_is_kept(text: str) -> None:
    """Times, mail addresses, drives and paths with an `@` are told as they are."""
    assert redacted_text(text) == text
