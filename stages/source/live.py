"""A source whose frames come by themselves: read by a thread of its own, and connected anew whenever it is lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from posestream.stages.errors import SourceError
from posestream.stages.items import Frame, FrameKey
from posestream.stages.redact import redacted
from posestream.stages.source.link import Link
from posestream.stages.source.link_news import ABSENT_S, LinkNews
from posestream.stages.source.link_state import LinkPhase, LinkStates
from posestream.stages.source.live_clock import LIVE_TIME_BASE, EpochClock
from posestream.stages.source.mailbox import Mailbox
from posestream.stages.source.name import derive_names
from posestream.stages.source.port import NoPort, Port
from posestream.stages.source.protocol import ClosedAtExit, SourceInfo
from posestream.stages.source.reader import Connect, Reader
from posestream.stages.source.reconnect import Backoff
from posestream.stages.source.settings import SourceSettings
from posestream.stages.source.stamp import Stamp, now
from posestream.stages.source.trouble import LinkError

__all__ = ["LiveSource"]

#: A connection that lasted so long proves that the source is there: the waits begin anew, in seconds.
_PROVEN_S = 5.0
#: Readers that were given up and still hang in a foreign library; with more of them nothing is tried.
_MOST_HUNG = 3
#: Longest wait between two looks at the clock, in seconds.
_LOOK_S = 0.5
#: How long one of them has to let go of its port before that is taken from it, in seconds.
_LET_GO_S = 1.0
#: How long the readers have to let go of their connections when the source is closed, in seconds.
_CLOSE_S = 0.2


@dataclass(slots=True)
class _Attempt:
    """One connection, from its beginning."""

    reader: Reader
    began_s: float
    #: When its first frame came.
    live_s: float | None = None


class LiveSource(ClosedAtExit):
    """Frames of a source that is connected again and again, as `Source` has it; one that ends, or is recorded, once.

    Args:
        settings: which source, and how patient.
        connect: makes the source of one connection.
        is_lasting: False for what ends when its first connection does; a recording turns out to be one. Its times are
            its own, and while it is paused its reader stands still and keeps its connection.
        port: what a connection takes of this host, and the next one needs: one that gave frames is not given up while
            nothing at all comes there but ends by itself, and none is begun before the one before has let go.
        passed: so many of its frames at the beginning the connection passes over.
        clock: reads both clocks.
    """

    def __init__(
        self,
        settings: SourceSettings,
        connect: Connect,
        *,
        is_lasting: bool = True,
        port: Port | None = None,
        passed: int = 0,
        clock: Callable[[], Stamp] = now,
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._is_lasting = is_lasting
        self._port = port or NoPort()
        self._passed = passed
        self._clock = clock
        self._name = settings.name or derive_names([settings.url])[0]
        #: Its connection: how it is, and what others wish of it.
        self.link = Link(LinkStates(lambda: clock().wall_s))
        self._news = LinkNews(self._name, self.link, is_lasting=is_lasting)
        self._backoff = Backoff(settings.reconnect)
        self._times = EpochClock()
        self._info: SourceInfo | None = None
        self._attempt: _Attempt | None = None
        self._has_ended = False
        self._retry_at_s = 0.0
        self._given_up_s = 0.0
        self._hung: list[Reader] = []
        #: What came before it was known how large the pictures are.
        self._first: deque[Frame] = deque()

    def __repr__(self) -> str:
        """Tell its name, address and state."""
        return f"<LiveSource {self._name} {redacted(self._settings.url)} {self.link}>"

    @property
    def name(self) -> str:
        """Its name, `[a-z0-9_.-]+`."""
        return self._name

    @property
    def is_live(self) -> bool:
        """True where frames come by themselves and cannot wait; guessed until it is open."""
        return self._is_lasting if self._info is None else self._info.is_live

    def open(self) -> SourceInfo:
        """Wait until it is there and gives a picture.

        Raises:
            SourceError: it ended without one, nothing will ever come of it, or it was stopped before it was there.
        """
        while (frame := self._next()) is not None:
            self._first.append(frame)
            if frame.picture is not None and self._info is not None:
                return self._info
        if self._passed and self._info is not None:
            # Nothing is left of it.
            return self._info
        raise SourceError(f"{redacted(self._settings.url)} gave no picture before it ended or was stopped")

    def frames(self) -> Iterator[Frame]:
        """Give its frames; see `Source.frames`. The epoch grows with each new connection.

        Raises:
            SourceError: a recording ended early, or nothing more will ever come.
        """
        limit, seq = self._settings.max_frames, 0
        while limit is None or self._passed + seq < limit:
            frame = self._first.popleft() if self._first else self._next()
            if frame is None:
                return
            yield replace(frame, key=FrameKey(self._name, seq))
            seq += 1
        self._news.go(LinkPhase.ENDED, f"{limit} frames were wanted")

    def close(self) -> None:
        """Let go of the connection; may be called more than once. A reader that hangs is not waited for."""
        with self.link.changed:
            self._give_up()
            self._news.go(LinkPhase.ENDED, "it was stopped" if self.link.is_stopped else "it was closed")
            hung, self._hung = self._hung, []
        for reader in hung:
            reader.join(_CLOSE_S)

    # one step after the other, all under the link's lock

    def _next(self) -> Frame | None:
        """Wait for the next frame; None when none will come."""
        with self.link.changed:
            while not (self.link.is_stopped or self._has_ended):
                frame = None if self._attempt is None else self._take(self._attempt)
                if self._attempt is not None and frame is not None:
                    return self._arrived(self._attempt, frame)
                if self.link.is_paused:
                    self._pause()
                elif self._attempt is None:
                    self._begin()
                elif self._attempt.reader.mailbox.has_ended:
                    if self._is_over(self._attempt.reader.mailbox):
                        return None
                else:
                    self._look_at_silence(self._attempt)
            return None

    def _take(self, attempt: _Attempt) -> Frame | None:
        """Take a frame that has come; None where there is none, or it can wait until the source is paused no more."""
        if not self.link.is_paused:
            return attempt.reader.mailbox.take()
        if not self._keeps(attempt):
            attempt.reader.give_up()
        info = attempt.reader.mailbox.info
        return attempt.reader.mailbox.take() if info is None or info.is_live else None

    def _keeps(self, attempt: _Attempt) -> bool:
        """True where a pause does not end the connection, since another one would not go on where it was."""
        info = attempt.reader.mailbox.info
        return not self._is_lasting or (info is not None and not info.is_live)

    def _pause(self) -> None:
        if self._attempt is not None and not self._keeps(self._attempt):
            self._give_up()
        self._retry_at_s = 0.0
        self._news.go(LinkPhase.PAUSED)
        self.link.changed.wait(_LOOK_S)

    def _begin(self) -> None:
        """Connect, if it is time."""
        now_s = self._clock().mono_s
        self._hung = [reader for reader in self._hung if reader.is_alive]
        if now_s < self._retry_at_s:
            self.link.changed.wait(min(_LOOK_S, self._retry_at_s - now_s))
            return
        is_taken = bool(self._hung) and self._port.is_taken
        if is_taken and now_s - self._given_up_s >= _LET_GO_S:
            self._port.take_back()
        elif is_taken or len(self._hung) >= _MOST_HUNG:
            told = "the earlier connection lets go of its port" if is_taken else None
            self._news.go(LinkPhase.BACKING_OFF, told or f"{len(self._hung)} earlier connections hang")
            # A reader's end is told before its thread has ended, so time is looked at too.
            self.link.changed.wait(_LOOK_S)
            return
        state = self.link.now
        why = state.why if state is not None and state.phase is LinkPhase.BACKING_OFF else ""
        self._news.go(LinkPhase.CONNECTING, why)
        reader = Reader(self._name, self._connect, Mailbox(self.link.changed, self._clock, self._is_held))
        self._attempt = _Attempt(reader, now_s)
        reader.start()

    def _arrived(self, attempt: _Attempt, frame: Frame) -> Frame:
        """Note that frames come, and give one its place in the source's time."""
        info = attempt.reader.mailbox.info
        if attempt.live_s is None and info is not None:
            attempt.live_s = self._clock().mono_s
            self.link.connections += 1
            self._info = self._info or self._described(info)
        if not self.link.is_paused:
            self._news.go(LinkPhase.LIVE)
        if not self._is_lasting:
            return frame
        epoch = self.link.connections - 1
        assert frame.pts is not None  # noqa: S101 - what comes by itself has times
        ticks = self._times.ticks(frame.pts * frame.time_base, frame.captured_mono_s, epoch)
        return replace(frame, epoch=epoch, pts=ticks, time_base=LIVE_TIME_BASE)

    def _described(self, info: SourceInfo) -> SourceInfo:
        """Give what the first connection told, as it is for all of them."""
        self._is_lasting = self._news.is_lasting = self._is_lasting and info.is_live
        limit = self._settings.max_frames
        count = info.frame_count if limit is None else min(limit, info.frame_count or limit)
        time_base = LIVE_TIME_BASE if self._is_lasting else info.time_base
        return replace(info, name=self._name, frame_count=count, time_base=time_base)

    def _is_over(self, mailbox: Mailbox) -> bool:
        """See what the end of a connection means; True where nothing more will come.

        Raises:
            SourceError: that is a failure.
        """
        error = mailbox.error
        why = str(error) if error is not None else "the stream ended"
        # A fault in the program is no trouble with a line.
        is_bug = error is not None and not isinstance(error, SourceError)
        if is_bug or not self._is_lasting or (isinstance(error, LinkError) and error.is_final):
            if mailbox.info is not None:
                self._info = self._info or self._described(mailbox.info)
            self._give_up()
            self._has_ended = True
            self._news.go(LinkPhase.ENDED if error is None else LinkPhase.FAILED, why)
            if error is not None:
                raise error
            return True
        self._lose(why, is_refused=isinstance(error, LinkError) and error.is_refusal)
        return False

    def _look_at_silence(self, attempt: _Attempt) -> None:
        """Wait for something to come, and give up a connection that has been silent for too long."""
        if self.link.now is not None and self.link.now.phase is LinkPhase.PAUSED:
            self._news.go(LinkPhase.CONNECTING if attempt.live_s is None else LinkPhase.LIVE)
        waits = self._settings.reconnect
        heard_s, now_s = attempt.reader.mailbox.heard_s, self._clock().mono_s
        if attempt.live_s is None:
            silent_s, patience_s = now_s - attempt.began_s, waits.connect_s
        else:
            silence_s = self._info.silence_s if self._info is not None else 0.0
            silent_s = now_s - max(heard_s or 0.0, attempt.live_s)
            patience_s = max(waits.stall_s, silence_s)
        is_patient = self._port.is_held and attempt.live_s is not None
        if silent_s >= patience_s and self._is_lasting and not (is_patient and not self._port.hears()):
            what = "it did not connect or gave no picture" if attempt.live_s is None else "nothing came"
            self._lose(f"{what} for {patience_s:g} s", is_refused=False)
            return
        if attempt.live_s is not None and silent_s >= patience_s / 2:
            self._news.go(LinkPhase.STALLED, "connected, but nothing comes")
        if attempt.live_s is None and silent_s >= ABSENT_S:
            self._news.tell_silence(redacted(self._settings.url))
        bounds = [patience_s - silent_s, patience_s / 2 - silent_s, ABSENT_S - silent_s]
        self.link.changed.wait(min([_LOOK_S, *(bound for bound in bounds if bound > 0)]))

    def _lose(self, why: str, *, is_refused: bool) -> None:
        """Give up the connection and say when to try again."""
        attempt, now_s = self._attempt, self._clock().mono_s
        if attempt is not None and attempt.live_s is not None and now_s - attempt.live_s >= _PROVEN_S:
            self._backoff.reset()
        self._give_up()
        self._retry_at_s = now_s + (self._backoff.longest_s() if is_refused else self._backoff.next_s())
        self._news.go(LinkPhase.BACKING_OFF, why)

    def _give_up(self) -> None:
        if self._attempt is not None:
            self._attempt.reader.give_up()
            self._given_up_s = self._clock().mono_s
            self._hung.append(self._attempt.reader)
            self._attempt = None

    def _is_held(self) -> bool:
        return self.link.is_paused
