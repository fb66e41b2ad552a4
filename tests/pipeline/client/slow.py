"""A program: a subscriber that does not read, whose connection is reset while its queue is full; it ends with 0."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from contextlib import suppress

import zmq

from posestream.pipeline.client.subscription import Messages

#: How long the queue fills, and how long the subscriber lives on after the reset, in seconds: longer than any wait for
#: a ping that would be of use.
FILLING_S, AFTER_S = 1.0, 3.0
#: Closes a connection with a reset.
_RESET = struct.pack("ii", 1, 0)


def copy(source: socket.socket, sink: socket.socket, done: threading.Event) -> None:
    """Carry bytes one way until it is done; a call that still waited would put the reset off."""
    while not done.is_set():
        if select.select([source], [], [], 0.01)[0] and select.select([], [sink], [], 0.01)[1]:
            with suppress(BlockingIOError):
                sink.send(source.recv(1000))


def main() -> None:
    """Flood a subscriber over a connection that goes through here, and reset that."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    flood = context.socket(zmq.XPUB)
    flood.linger = 0
    flood.bind("tcp://127.0.0.1:*")
    port = int(flood.get_string(zmq.LAST_ENDPOINT).rstrip("\0").rpartition(":")[2])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        messages = Messages(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        here, _ = listener.accept()
    there = socket.create_connection(("127.0.0.1", port))
    done = threading.Event()
    threads = [threading.Thread(target=copy, args=(*ends, done)) for ends in ((here, there), (there, here))]
    for end in (here, there):
        end.setblocking(False)
    for thread in threads:
        thread.start()
    assert flood.recv()[:1] == b"\x01"
    until_s = time.monotonic() + FILLING_S
    while time.monotonic() < until_s:
        flood.send_multipart([b"poses/door/", bytes(2000)])
    done.set()
    for thread in threads:
        thread.join()
    here.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    here.close()
    there.close()
    time.sleep(AFTER_S)
    messages.close()
    flood.close()
    context.term()


if __name__ == "__main__":
    main()
