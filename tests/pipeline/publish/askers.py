"""A program: two who ask for replay under one name, and again and again with a new connection; it ends with 0."""

from __future__ import annotations

import threading
import time

import zmq

from posestream.pipeline.publish import outlets

from .stand import Stand

#: What makes heartbeats come many times while a connection lasts, in milliseconds.
PING_MS = 20
#: How long they ask, in seconds.
ASKING_S = 2.0


def ask(context: zmq.Context[zmq.Socket[bytes]], address: str, until_s: float) -> None:
    """Connect under the same name as somebody else, ask, and leave."""
    while time.monotonic() < until_s:
        with context.socket(zmq.DEALER) as socket:
            socket.linger, socket.sndtimeo = 0, 100
            socket.setsockopt(zmq.IDENTITY, b"evil")
            socket.connect(address)
            for _ in range(20):
                time.sleep(0.005)
                try:
                    socket.send(b"who")
                except zmq.Again:
                    break


def main() -> None:
    """Let them ask a publisher."""
    outlets._PING_MS = PING_MS
    stand = Stand("tcp://127.0.0.1:*", replay="tcp://127.0.0.1:*")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    asked = (context, stand.publisher.replay_addresses[0], time.monotonic() + ASKING_S)
    askers = [threading.Thread(target=ask, args=asked) for _ in range(2)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    context.term()
    stand.close()


if __name__ == "__main__":
    main()
