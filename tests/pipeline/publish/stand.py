"""A publisher in a thread of the test's process, and a hand that feeds it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import zmq

from posestream.pipeline.publish.history import History
from posestream.pipeline.publish.log import LogLimits
from posestream.pipeline.publish.publisher import Publisher, PublishPlan, layout_message
from posestream.pipeline.security.gate import open_gate
from posestream.pipeline.security.guard import ListenGuard
from posestream.pipeline.supervision.porch import NoPorch, Porch
from posestream.pipeline.supervision.process import LogOptions
from posestream.pipeline.supervision.restarts import Restarts
from posestream.pipeline.wire.messages import Publish, PublishEnd, PublishForget, PublishStatus
from posestream.pipeline.wire.sockets import Sockets, send

#: Nothing here takes longer.
DEADLINE_S = 60.0


class Stand:
    """Publishes what it is told to, at `address`; with `has_porch` through a process of its own."""

    def __init__(
        self,
        address: str,
        *,
        replay: str | None = None,
        limits: LogLimits | None = None,
        log_folder: Path | None = None,
        queue: int = 1000,
        key: Path | None = None,
        clients: Path | None = None,
        has_porch: bool = False,
    ) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        guard = ListenGuard.of(key)
        self.gate = open_gate(self._context, guard, clients)
        layout = layout_message("openpose-18", ["nose", "neck"], [(0, 1)])
        addresses, replays = (address,), (replay or f"{address}.replay",)
        self.porch: Porch | NoPorch = NoPorch()
        if has_porch:
            self.porch = Porch(addresses, replays, queue, key, clients, LogOptions(), Restarts())
            addresses, replays = (), ()  # the publisher itself listens nowhere
        plan = PublishPlan("inproc://feed", addresses, replays, queue, layout)
        self.history = History(limits or LogLimits(), log_folder)
        self.publisher = Publisher(self._context, plan, self.history, guard, self.gate, self.porch.link)
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self.publisher.is_listening.wait(DEADLINE_S)
        self.porch.start()
        self.address, *_ = *self.publisher.addresses, *self.porch.link.addresses
        self._sockets = Sockets(self._context)
        self._feed = self._sockets.open(zmq.PUSH, connect="inproc://feed")
        self._speaking: set[str] = set()

    def publish(self, n: int, run: str = "a", source: str = "door", **more: Any) -> dict[str, Any]:
        """Publish a message and give it."""
        message = a_message(n, run, source) | more
        self._speaking.add(source)
        send(self._feed, Publish(source, run, n), [msgpack.packb(message)])
        return message

    def wait_for(self, published: int) -> None:
        """Wait until so many messages have been published: the feed is a socket of its own."""
        self.wait_until(lambda: self.publisher.published >= published)

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something, and watch the porch meanwhile as a run does."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not is_so():
            assert time.monotonic() < deadline_s
            self.porch.watch(time.monotonic())
            time.sleep(0.01)

    def tell(self, source: str = "door") -> None:
        """Publish a status."""
        send(self._feed, PublishStatus(source), [msgpack.packb({"v": 1, "type": "status", "source": source})])

    def end_source(self, source: str = "door") -> None:
        """Say that nothing more of a source comes, as its lane does."""
        self._speaking.discard(source)
        send(self._feed, PublishEnd(source))

    def forget(self, source: str) -> None:
        """Say that a source has gone for good, as the head does."""
        send(self._feed, PublishForget(source))

    def has_ended(self, timeout_s: float) -> bool:
        """True if the publisher ends within a time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def close(self) -> None:
        """End it as a run ends."""
        for source in sorted(self._speaking):
            self.end_source(source)
        self._sockets.__exit__(None, None, None)
        self.porch.settle()
        self.publisher.stop()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        self.porch.close()
        self.gate.close()
        self._context.term()
        assert self._errors == []

    def _run(self) -> None:
        try:
            self.publisher.run()
        except BaseException as error:  # noqa: BLE001 — told by `close`
            self._errors.append(error)
            self.publisher.is_listening.set()


def a_message(n: int, run: str = "a", source: str = "door") -> dict[str, Any]:
    """Give a message of type poses with one person."""
    keypoints = [[1.0 * n, 2.0, 0.5], None]
    return {
        "v": 1,
        "type": "poses",
        "run": run,
        "source": source,
        "n": n,
        "epoch": 0,
        "seq": n,
        "pts": n / 10,
        "captured_at": 1000.0 + n,
        "published_at": 1000.5 + n,
        "width": 64,
        "height": 48,
        "model": "some",
        "layout": "openpose-18",
        "truncated": False,
        "people": [{"id": None, "score": 0.5, "bbox": [1.0 * n, 2.0, 0.0, 0.0], "keypoints": keypoints}],
    }
