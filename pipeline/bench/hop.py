"""`bench hop`: what one hop costs, for a network input and for a frame's key, over each transport."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
import zmq
from numpy.typing import NDArray

from posestream.pipeline.bench.measure import report
from posestream.pipeline.wire.envelope import Envelope, array
from posestream.pipeline.wire.messages import Done, Fields, FrameReady, Stop, Task
from posestream.pipeline.wire.sockets import COPIED_BYTES, Sockets, ZmqContext, ZmqSocket, send, wait_for

__all__ = ["measure_hop", "serve_peer"]

#: The usual network input.
_WIDTH, _HEIGHT = 456, 256
#: Hops before a measurement begins.
_WARM_UP = 50
#: Frames in flight where the rate and the CPU are measured, about as many as a replica holds.
_IN_FLIGHT = 4
#: Longest wait for the other side, in milliseconds.
_PATIENCE_MS = 20_000


@dataclass(frozen=True, slots=True)
class _Figures:
    """Microseconds a hop."""

    #: From before `send` to after `receive`, one message at a time: the median. In most rounds the other side's core
    #: has to be woken; in some the system keeps both sides on one core, which takes a third: a key's 8 µs beside 37.
    latency_us: float
    #: Wall time and CPU time of both sides, a few messages in flight; each is answered by a key.
    wall_us: float
    cpu_us: float


def measure_hop(hops: int, rounds: int) -> None:
    """Measure every transport and payload, copied as the pipeline does and by reference, in turn; report."""
    figures: dict[tuple[str, str, bool], list[_Figures]] = {}
    for _ in range(rounds):
        for transport in ("inproc", "ipc", "tcp"):
            for payload in ("input", "key"):
                for is_copied in (True, False):
                    with _peer(transport) as peer:
                        peer.socket.copy_threshold = COPIED_BYTES if is_copied else 0
                        measured = _measure(peer, payload, hops)
                    figures.setdefault((transport, payload, is_copied), []).append(measured)
    runs = [_run(*key, measured) for key, measured in figures.items()]
    for run in runs:
        click.echo(
            f"{run['transport']:7} {run['payload']:6} {'copied' if run['is_copied'] else 'by reference':13}"
            f"{run['us']:8.1f} µs latency {run['stream_us']:8.1f} µs in a stream {run['cpu_us']:8.1f} µs CPU",
            err=True,
        )
    report({"bench": "hop", "payload_bytes": _WIDTH * _HEIGHT * 3, "hops": hops, "runs": runs})


def _run(transport: str, payload: str, is_copied: bool, measured: Sequence[_Figures]) -> dict[str, Any]:
    def middle(values: Iterable[float]) -> float:
        return round(statistics.median(values), 1)

    return {
        "transport": transport,
        "payload": payload,
        "is_copied": is_copied,
        "us": middle(one.latency_us for one in measured),
        "rounds_us": [round(one.latency_us, 1) for one in measured],
        "stream_us": middle(one.wall_us for one in measured),
        "cpu_us": middle(one.cpu_us for one in measured),
    }


def _measure(peer: _Peer, payload: str, hops: int) -> _Figures:
    """Send so many messages one by one, then as many in a stream."""
    socket = peer.socket
    images = [np.random.default_rng(n).integers(0, 256, (_HEIGHT, _WIDTH, 3), np.uint8) for n in range(_IN_FLIGHT)]

    def send_one(number: int) -> None:
        if payload == "key":
            send(socket, FrameReady(number))
        else:
            task = Task("source", number, 0.0, _HEIGHT, _WIDTH, 1.0, 1.0, _WIDTH, _HEIGHT)
            send(socket, task, (images[number % _IN_FLIGHT],))

    sent_s = []
    for number in range(_WARM_UP + hops):
        sent_s.append(time.monotonic())
        send_one(number)
        _answer(socket)
    received_s, _ = peer.ask()
    cpu_s, wall_s = -peer.cpu_s(), -time.monotonic()
    for number in range(hops):
        if number >= _IN_FLIGHT:
            _answer(socket)
        send_one(number)
    for _ in range(min(hops, _IN_FLIGHT)):
        _answer(socket)
    wall_s += time.monotonic()
    cpu_s += peer.cpu_s()
    latency_s = float(np.median(np.subtract(received_s, sent_s)[_WARM_UP:]))
    return _Figures(latency_s * 1e6, wall_s / hops * 1e6, cpu_s / hops * 1e6)


def _answer(socket: ZmqSocket) -> Envelope:
    envelope = wait_for(socket)
    if envelope is None:
        raise RuntimeError("the other side of the hop does not answer")
    return envelope


@dataclass(frozen=True, slots=True)
class _Peer:
    """The other side: a thread of this process, or a process."""

    socket: ZmqSocket
    is_process: bool

    def ask(self) -> tuple[NDArray[np.float64], float]:
        """Give when each message came since the last question, and the CPU time of the other process."""
        send(self.socket, Done())
        answer = _answer(self.socket)
        assert isinstance(answer.message, Fields)  # noqa: S101 - nothing else is answered to this
        times: NDArray[np.float64] = array(answer.payloads[0], np.float64, (answer.message.columns,))
        return times, answer.message.infer_s if self.is_process else 0.0

    def cpu_s(self) -> float:
        """Give the CPU time that both sides have had, in seconds."""
        return time.process_time() + self.ask()[1]


@contextmanager
def _peer(transport: str) -> Iterator[_Peer]:
    """Start the other side, and end it."""
    context: ZmqContext = zmq.Context()
    with tempfile.TemporaryDirectory() as folder, Sockets(context) as sockets:
        socket = sockets.open(
            zmq.PAIR,
            bind={"inproc": "inproc://hop", "ipc": f"ipc://{folder}/hop"}.get(transport, ""),
            patience_ms=_PATIENCE_MS,
        )
        if transport == "inproc":
            thread = threading.Thread(target=serve_peer, args=(context, "inproc://hop"))
            thread.start()
            wait: Callable[[], object] = thread.join
        else:
            if transport == "tcp":
                sockets.bind(socket, "tcp://127.0.0.1:*")
            address = socket.getsockopt_string(zmq.LAST_ENDPOINT)
            code = f"import sys, zmq; from {__name__} import serve_peer; serve_peer(zmq.Context(), sys.argv[1])"
            wait = subprocess.Popen([sys.executable, "-c", code, address]).wait  # noqa: S603 - our own program
        try:
            _answer(socket)
            yield _Peer(socket, is_process=transport != "inproc")
            send(socket, Stop())
        finally:
            wait()
    context.term()


def serve_peer(context: ZmqContext, address: str) -> None:
    """Answer each message by a key, `Done` by when the messages came, and `Stop` by leaving."""
    received_s: list[float] = []
    with Sockets(context) as sockets:
        socket = sockets.open(zmq.PAIR, connect=address, patience_ms=_PATIENCE_MS)
        send(socket, FrameReady(0))
        while (envelope := wait_for(socket)) is not None:
            message = envelope.message
            if isinstance(message, Stop):
                return
            if isinstance(message, Done):
                times, received_s = np.array(received_s), []
                nobody = Task("", 0, 0.0, 0, 0, 1.0, 1.0, 0, 0)
                send(socket, Fields(nobody, 0, 0, 0, len(times), "float64", time.process_time()), [times])
            else:
                received_s.append(time.monotonic())
                send(socket, FrameReady(0))
