"""The porch of a run, as the head's main thread sees it: started, watched, started again, and ended last."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from posestream.pipeline.errors import PipelineError
from posestream.pipeline.publish.porch_link import NoPorchLink, PorchLink, PorchPlan
from posestream.pipeline.supervision.process import ChildProcess, LogOptions
from posestream.pipeline.supervision.restarts import Restarts
from posestream.pipeline.supervision.run_folder import RunFolder
from posestream.pipeline.supervision.slot import Slot
from posestream.stages.errors import OutputError, SettingsError

__all__ = ["NoPorch", "Porch", "is_strangers"]

_log = logging.getLogger(__name__)

#: What the process runs.
_MODULE = "posestream.pipeline.publish.porch"
#: How often a start looks whether it listens, and how long it may take on a machine that is busy, in seconds.
_LOOK_S, _START_S = 0.1, 60.0
#: A porch that says nothing for so long hangs, in seconds that it was listened to: it speaks once a second.
_SILENT_S = 10.0
#: How long it may take to send what the head had published last, in seconds.
_END_S = 3.0
#: How long it takes after a start until subscribers are back and have asked for what they missed, in seconds: a process
#: loads, they try again every two seconds at most, and hear then how far each source is.
_RETURN_S = 6.0
#: What a start waits at most for the last words of one that has ended, in seconds.
_LAST_WORDS_S = 1.0


def _patient() -> Restarts:
    """Give a porch many restarts: strangers may be what ends it, and they shall not be able to end it for good."""
    return Restarts(budget=40, window_s=600.0, longest_s=10.0)


class NoPorch:
    """Stands for it where nothing is published over TCP."""

    link = NoPorchLink()
    refused = 0
    errors: Sequence[OutputError] = ()

    @property
    def status(self) -> dict[str, Any]:
        """Nothing is to be told."""
        return {}

    def start(self) -> None:
        """Nothing is to be started."""

    def settle(self) -> None:
        """Nobody has to come back."""

    def watch(self, now_s: float) -> None:
        """Nothing can die."""

    def close(self) -> None:
        """Nothing is to be closed."""


class Porch:
    """The process that strangers meet.

    Args:
        addresses: where it publishes, over TCP.
        replay_addresses: where it is asked.
        queue: messages that wait for a subscriber at most.
        key: the head's secret key; None: nothing is guarded.
        clients: where the public keys of those lie who may connect.
        log: how it logs.
        restarts: how often it may be started again; None: as often as strangers shall be able to end it.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        replay_addresses: Sequence[str],
        queue: int,
        key: Path | None,
        clients: Path | None,
        log: LogOptions,
        restarts: Restarts | None = None,
    ) -> None:
        self._folder = RunFolder()
        channel = f"ipc://{self._folder.path / 'porch'}"
        keys = ("" if path is None else str(path) for path in (key, clients))
        self._plan = PorchPlan(channel, tuple(addresses), tuple(replay_addresses), queue, *keys)
        self._log = log
        #: The publisher's end of it.
        self.link = PorchLink(channel, queue)
        #: What ended publishing over TCP for good.
        self.errors: list[OutputError] = []
        self._slot = Slot("porch", self._made, restarts or _patient())
        #: When the present one followed another; long ago for the first.
        self._followed_s = -math.inf

    def __repr__(self) -> str:
        return f"<Porch {self._slot}>"

    @property
    def pid(self) -> int | None:
        """The present process's number."""
        return self._slot.part.pid

    @property
    def refused(self) -> int:
        """How many connections were turned away there."""
        return self.link.told.get("refused", 0)

    @property
    def status(self) -> dict[str, Any]:
        """How it is: its state, how often it was started again, and how many connections it has cut off."""
        state = "failed" if self._slot.is_exhausted else "starting" if self._slot.is_waiting else "running"
        return {"porch": {"state": state, "restarts": self._slot.restarts, "cut": self.link.told.get("cut", 0)}}

    def start(self) -> None:
        """Begin, and wait until it listens; the publisher must run.

        Raises:
            SettingsError: an address is taken, or none of this machine's.
            OutputError: it does not come to listen, however often it is started.
        """
        self._slot.part.start()
        deadline_s = time.monotonic() + _START_S
        while not self.link.is_settled.wait(_LOOK_S):
            if self.errors or time.monotonic() > deadline_s:
                raise OutputError(f"cannot publish over TCP: its process does not start ({self._slot.part})")
            # What it said before it ended may still be on its way.
            if not self._slot.part.is_alive and not self.link.is_settled.wait(_LAST_WORDS_S):
                self.watch(time.monotonic())
        if self.link.failure:
            raise SettingsError(self.link.failure)

    def watch(self, now_s: float) -> None:
        """Start it again if it has died, or hangs."""
        if self._slot.is_exhausted:
            return
        if self._slot.go_on(now_s):
            self.link.expect()
            self._followed_s = now_s
        if self._slot.is_waiting:
            return
        part, why = self._slot.part, "has ended"
        if part.is_alive and self.link.silent_s > (_SILENT_S if self.link.is_there else _START_S):
            why = "hangs"
            part.kill()
            part.join(now_s + _END_S)
        if not part.is_alive:
            part.join(now_s)  # lets go of its pipe
            self._slot.fail(now_s, PipelineError(f"the process that publishes over TCP {why} ({part.returncode})"))
        if self._slot.is_exhausted:
            self.errors.append(OutputError(f"publishing over TCP failed too often: {self._slot.error}"))
            _log.error("%s; subscribers on this host go on", self.errors[-1])

    def settle(self) -> None:
        """Let subscribers of one that died a moment ago fetch what they missed, before nobody is there to be asked."""
        deadline_s = time.monotonic() + 2 * _RETURN_S
        while not self._slot.is_exhausted and (now_s := time.monotonic()) < deadline_s:
            if self._slot.part.is_alive and now_s - self._followed_s > _RETURN_S:
                return
            self.watch(now_s)
            time.sleep(_LOOK_S)

    def close(self) -> None:
        """End it, once the publisher has said that nothing more comes; closing again does nothing."""
        part = self._slot.part
        if not part.join(time.monotonic() + _END_S):
            part.kill()
            part.join(time.monotonic() + _END_S)
        self._folder.remove()

    def _made(self, _generation: int) -> ChildProcess:
        plan = self._plan
        if self.link.is_settled.is_set():
            # A successor listens where its predecessor did: ports that the system chose stay.
            plan = replace(plan, addresses=self.link.addresses, replay_addresses=self.link.replay_addresses)
        return ChildProcess("porch", "porch", asdict(plan), self._log, module=_MODULE)


def is_strangers(address: str) -> bool:
    """True for an address at which others than this user may come: those of TCP."""
    return address.startswith("tcp://")
