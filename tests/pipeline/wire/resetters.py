"""A program: connections to a ROUTER over TCP are flooded and reset while it is slow to read; it ends with 0."""

from __future__ import annotations

import threading

import zmq

from posestream.pipeline.bench.fuzzer import fuzz_resets
from posestream.pipeline.wire.sockets import Sockets

#: Connections that are reset; the first few end a process that can be ended so.
CONNECTIONS = 30
#: How long nobody reads, again and again, so that queues fill, in seconds.
PAUSE_S = 0.1


def main() -> None:
    """Let a socket be flooded."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with Sockets(context) as sockets:
        router = sockets.open(zmq.ROUTER)
        address = sockets.bind(router, "tcp://127.0.0.1:*")
        done = threading.Event()

        def flood() -> None:
            fuzz_resets(address, CONNECTIONS, 1)
            done.set()

        threading.Thread(target=flood, daemon=True).start()
        while not done.wait(PAUSE_S):
            while router.poll(0):
                router.recv_multipart()
    context.term()


if __name__ == "__main__":
    main()
