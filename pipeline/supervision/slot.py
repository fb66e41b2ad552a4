"""A place for a part of the pipeline: whoever dies there is followed by another, as long as the budget lasts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from posestream.pipeline.supervision.restarts import Restarts

__all__ = ["Slot"]

_log = logging.getLogger(__name__)


class _Startable(Protocol):
    def start(self) -> None: ...


PartT = TypeVar("PartT", bound=_Startable)


class Slot(Generic[PartT]):
    """Holds the present part of a kind and starts its successors. `make` takes how many there were before."""

    def __init__(self, name: str, make: Callable[[int], PartT], restarts: Restarts) -> None:
        self.name = name
        self._make = make
        self._restarts = restarts
        self._generation = 0
        self._restart_at_s: float | None = None
        self.part = make(0)
        #: True once nobody follows any more.
        self.is_exhausted = False
        #: True where nobody shall follow: a part that ends has done what was wanted, or has failed for good.
        self.is_retired = False
        #: What ended the last one.
        self.error: BaseException | None = None

    def __repr__(self) -> str:
        return f"<Slot {self.name} {self.part} {self._restarts}>"

    @property
    def restarts(self) -> int:
        """How often a part was followed by another."""
        return self._generation

    @property
    def is_waiting(self) -> bool:
        """True between a failure and the start of the successor."""
        return self._restart_at_s is not None

    def fail(self, now_s: float, why: BaseException) -> None:
        """Note that the part died; plan its successor, or give up."""
        self.error = why
        self._restart_at_s = self._restarts.failed(now_s)
        if self._restart_at_s is None:
            self.is_exhausted = True
        else:
            _log.warning("%s; it is started again", why)

    def give_up(self, why: BaseException) -> None:
        """Note that the part ended for a reason that a successor would have too."""
        self.error = why
        self.is_exhausted = True

    def retire(self) -> None:
        """Let nobody follow the part that is there."""
        self.is_retired = True
        self._restart_at_s = None

    def go_on(self, now_s: float) -> bool:
        """Start the successor if its time has come, and tell whether it was started."""
        if self._restart_at_s is None or now_s < self._restart_at_s:
            return False
        self._restart_at_s = None
        self._generation += 1
        self.part = self._make(self._generation)
        self.part.start()
        return True
