"""What is decided about a live source: waits, times, which frames are taken, its state, and what is kept secret."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posestream.stages.errors import SettingsError
from posestream.stages.redact import redacted_text
from posestream.stages.source.frame_gate import FrameGate
from posestream.stages.source.link_state import LinkPhase, LinkStates
from posestream.stages.source.live_clock import LIVE_TIME_BASE, EpochClock, LiveClock
from posestream.stages.source.reconnect import Backoff, ReconnectSettings
from posestream.stages.source.settings import SourceSettings
from posestream.stages.source.stream import StreamSource


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0.01, 5), st.floats(1, 50))
def test_waits_grow_to_their_cap(draws, min_s, factor):
    """Each wait lies between half of its whole and its whole, which doubles up to the cap and begins anew on reset."""
    settings = ReconnectSettings(min_s, min_s * factor)
    left = iter([*draws, 1.0])
    backoff = Backoff(settings, lambda: next(left))
    for number in range(len(draws)):
        whole_s = min(min_s * 2.0**number, settings.max_s)
        assert whole_s / 2 <= backoff.next_s() <= whole_s
    backoff.reset()
    assert backoff.next_s() == pytest.approx(min_s)


@pytest.mark.parametrize(("min_s", "max_s"), [(0, 1), (2, 1), (1, float("inf")), (float("nan"), 1)])
def test_waits_without_sense(min_s, max_s):
    """Waits that never come, or end before they begin, are refused."""
    with pytest.raises(SettingsError, match="reconnect"):
        ReconnectSettings(min_s, max_s)


_FRAMES = st.lists(
    st.tuples(st.none() | st.fractions(-1000, 100_000), st.floats(0, 100), st.booleans()), min_size=1, max_size=50
)


@given(_FRAMES)
def test_time_never_runs_backwards(frames):
    """Whatever the source's clock does, and however often it is connected, times begin at 0 and always grow."""
    connection, source, epoch, host_s = LiveClock(), EpochClock(), 0, 0.0
    within, ticks = [], []
    for source_s, passed_s, is_new in frames:
        if is_new:
            connection, epoch, within = LiveClock(), epoch + 1, []
        host_s += passed_s
        within.append(connection.ticks(source_s, host_s))
        ticks.append(source.ticks(within[-1] * LIVE_TIME_BASE, host_s, epoch))
        assert within[0] == 0
        assert all(before < after for before, after in pairwise(within))
    assert ticks[0] == 0
    assert all(before < after for before, after in pairwise(ticks))


@pytest.mark.parametrize("anew_s", [0, 10, 10.04, 5000])
def test_a_connection_goes_on_after_what_passed(anew_s):
    """A new connection begins after what passed on the host and keeps its distances, whatever its clock says."""
    clock = EpochClock()
    assert [clock.ticks(Fraction(10) + n, 100.0 + n, 0) * LIVE_TIME_BASE for n in range(3)] == [0, 1, 2]
    anew = [clock.ticks(Fraction(anew_s) + Fraction(n, 25), 105.0, 1) * LIVE_TIME_BASE for n in range(3)]
    assert anew == [5, 5 + Fraction(1, 25), 5 + Fraction(2, 25)]


def test_a_connection_that_follows_at_once_is_behind_the_one_before():
    """Where no time passed between two connections the later one's first frame still comes after the last."""
    clock = EpochClock()
    assert [clock.ticks(Fraction(7), 100.0, epoch) for epoch in range(3)] == [0, 1, 2]


def test_even_times_stay_exact():
    """Frames keep the distances that the source gave them, however late they come."""
    clock = LiveClock()
    times = [clock.ticks(Fraction(7) + Fraction(n, 25), 100 + n / 25 + n % 3 / 50) for n in range(50)]
    assert [time * LIVE_TIME_BASE for time in times] == [Fraction(n, 25) for n in range(50)]


@pytest.mark.parametrize("source_s", [0, 5000, None])
def test_jumps_become_what_passed(source_s):
    """A clock that jumps back or forth and a frame without a time go on after the host's time."""
    clock = LiveClock()
    clock.ticks(Fraction(10), 100.0)
    after = clock.ticks(None if source_s is None else Fraction(source_s), 102.0)
    assert after * LIVE_TIME_BASE == 2


@pytest.mark.parametrize("jump_s", [1.5, 4.0, 9.5, 60.0, -0.5, -9.0])
def test_a_jump_is_no_lost_time(jump_s):
    """A clock that jumps, by little more than a second or much, moves no frame's time by more than what passed."""
    clock = LiveClock()
    given = [Fraction(n, 25) + (Fraction(jump_s) if n >= 50 else 0) for n in range(100)]
    times = [clock.ticks(given_s, 100 + n / 25) * LIVE_TIME_BASE for n, given_s in enumerate(given)]
    assert [float(time) for time in times] == pytest.approx([n / 25 for n in range(100)], abs=1e-4)


@pytest.mark.parametrize("lost", [0, 60])
def test_a_burst_is_no_jump(lost):
    """What a stall held up keeps the source's times when it comes at once, also where some of it was lost."""
    clock = LiveClock()
    arrivals = [n / 25 if n < 50 else max(n / 25, 8.0) for n in range(300)]
    wanted = [n for n in range(300) if not 100 <= n < 100 + lost]
    times = [clock.ticks(Fraction(n, 25), 100 + arrivals[n]) * LIVE_TIME_BASE for n in wanted]
    assert times == [Fraction(n, 25) for n in wanted]


def test_a_burst_at_the_start_is_no_jump():
    """A server that first sends what it kept of the last seconds is not taken for one whose clock jumps."""
    clock = LiveClock()
    times = [clock.ticks(Fraction(n, 25), 100 + max(0, n - 100) / 25) * LIVE_TIME_BASE for n in range(200)]
    assert times == [Fraction(n, 25) for n in range(200)]


def test_a_slow_clock_hides_no_jump():
    """Months of a clock that runs slow do not add up to a lateness in which a jump goes unseen."""
    clock = LiveClock()
    for n in range(10_000):
        before = clock.ticks(Fraction(n) * Fraction(9999, 10_000), 100.0 + n)
    after = clock.ticks(Fraction(9999) * Fraction(9999, 10_000) + Fraction(5), 100.0 + 10_000)
    assert float((after - before) * LIVE_TIME_BASE) == pytest.approx(1.0)


def test_gate_takes_every_third():
    """With a step of three, the first frame and every third after it are taken."""
    gate = FrameGate(step=3)
    assert [gate.takes(None) for _ in range(7)] == [True, False, False, True, False, False, True]


@given(st.sampled_from([24, 25, 30, 50, 60]), st.floats(1, 24))
def test_gate_limits_the_rate(source_fps, fps):
    """An even stream is thinned to the limit: ten seconds give the first frame more, and one may come a bit early."""
    gate = FrameGate(fps=fps)
    taken = sum(gate.takes(n / source_fps) for n in range(10 * source_fps))
    assert taken == pytest.approx(10 * fps, abs=1.11)


def test_gate_survives_a_jump():
    """After a clock that jumped, back or forth, the next frame is taken."""
    gate = FrameGate(fps=1)
    assert [gate.takes(pts_s) for pts_s in (0.0, 0.5, 1000.0, 1000.5, 3.0, 3.5)] == [True, False] * 3


def test_an_absence_keeps_its_beginning():
    """However often it is tried again, it is told since when no frames come."""
    seconds = iter(range(10))
    states = LinkStates(lambda: next(seconds))
    states.go(LinkPhase.LIVE)
    for phase in (LinkPhase.STALLED, LinkPhase.BACKING_OFF, LinkPhase.CONNECTING, LinkPhase.BACKING_OFF):
        states.go(phase)
        assert (states.now.phase, states.now.since_s) == (phase, 2)
    states.go(LinkPhase.LIVE)
    assert states.now.since_s == 3


def test_states_keep_their_beginning():
    """A phase that goes on keeps its beginning though its reason changes, and nothing follows an end."""
    seconds = iter(range(10))
    states = LinkStates(lambda: next(seconds))
    assert states.go(LinkPhase.LIVE)
    assert states.go(LinkPhase.BACKING_OFF, "refused")
    assert states.go(LinkPhase.BACKING_OFF, "wrong password for rtsp://me:secret@host/a")
    assert (states.now.since_s, states.now.why) == (2, "wrong password for rtsp://host/a")
    assert not states.go(LinkPhase.BACKING_OFF, states.now.why)
    assert states.go(LinkPhase.ENDED)
    assert not states.go(LinkPhase.LIVE)


@given(
    st.text("abcXYZ019:/?#!$%&*+,;=-._~@[]", min_size=1, max_size=20),
    st.sampled_from(["rtsp", "rtsps", "rtmp", "http"]),
)
def test_no_password_is_left_in_a_text(password, scheme):
    """Whatever a password is made of, a text that repeats its address does not tell it."""
    secret = f"Q{password}Q"
    assert secret not in redacted_text(f"cannot open '{scheme}://me:{secret}@cam/live?key={secret}': refused")


def test_texts_without_addresses_stay():
    """What holds no address comes back as it is."""
    assert redacted_text("a@b: 3 // 4") == "a@b: 3 // 4"


def test_settings_do_not_show_passwords():
    """A source's settings can be written into a log."""
    shown = repr(SourceSettings("rtsp://me:secret@door/live?key=secret", name="door"))
    assert shown == "SourceSettings(url='rtsp://door/live?…', name='door')"


@pytest.mark.parametrize("name", ["min_s", "max_s", "stall_s", "connect_s"])
def test_waits_of_more_than_a_day(name):
    """Waits that are longer than any outage are refused: they come of a slip."""
    with pytest.raises(SettingsError, match="a day"):
        ReconnectSettings(**{"max_s": 86_400.0, name: 1e300})


@pytest.mark.parametrize(
    ("url", "key", "told"),
    [
        ("rtsp://door/live", "timeout", "2000000000"),
        ("udp://127.0.0.1:9", "timeout", "2000000000"),
        ("http://door/live", "rw_timeout", "4005000000"),
    ],
)
def test_patience_that_ffmpeg_cannot_have(url, key, told):
    """FFmpeg, which counts the microseconds of some protocols in 31 bits, is told no longer limit than it takes."""
    settings = SourceSettings(url, reconnect=ReconnectSettings(stall_s=4000))
    assert StreamSource(settings)._options()[key] == told
