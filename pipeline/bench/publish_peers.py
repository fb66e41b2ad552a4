"""The processes of `bench publish`: one that publishes, and light ones that listen."""

from __future__ import annotations

import json
import os
import resource
import statistics
import struct
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import zmq

__all__ = ["listen_decoding", "listen_receiving", "publish"]

#: What stands in a message before the time at which it was published, as msgpack has it.
_PUBLISHED = msgpack.packb("published_at") + b"\xcb"
_DOUBLE = struct.Struct(">d")
#: Longest wait for a publisher to listen or to be heard, in seconds.
_START_S = 30.0
_SOURCE = "bench"


class _Pace(NamedTuple):
    """What each message took to be made and to be encoded, in seconds, and the clocks at the start."""

    made_s: list[float]
    encode_s: list[float]
    cpu_s: float
    start_s: float


def publish(config: dict[str, Any]) -> None:
    """Publish so many messages at a rate once standard input says so; tell what that cost."""
    from posestream.models.layout import LAYOUTS  # noqa: PLC0415 - listeners need none of these
    from posestream.pipeline.publish.history import History  # noqa: PLC0415
    from posestream.pipeline.publish.log import LogLimits  # noqa: PLC0415
    from posestream.pipeline.publish.publisher import Publisher, PublishPlan, layout_message  # noqa: PLC0415
    from posestream.pipeline.publish.sink import PublishSink  # noqa: PLC0415
    from posestream.pipeline.security.gate import NoGate  # noqa: PLC0415
    from posestream.pipeline.security.guard import ListenGuard  # noqa: PLC0415
    from posestream.pipeline.supervision.porch import Porch  # noqa: PLC0415
    from posestream.pipeline.supervision.process import LogOptions  # noqa: PLC0415

    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    layout = LAYOUTS["openpose-18"]
    key, clients = (Path(config[name]) if config[name] else None for name in ("key", "clients"))
    told = layout_message(layout.name, layout.keypoints, layout.limbs)
    plan = PublishPlan("inproc://feed", (), (), config["queue"], told)
    porch = Porch(
        (config["address"],), ("tcp://127.0.0.1:*",), config["queue"], key, clients, LogOptions(is_quiet=True)
    )
    history = History(LogLimits(messages=config["log"]), None)
    publisher = Publisher(context, plan, history, ListenGuard(), NoGate(), porch.link)
    thread = threading.Thread(target=publisher.run)
    thread.start()
    publisher.is_listening.wait(_START_S)
    porch.start()
    sink = PublishSink(context, plan.feed, {})
    sink.open(None)  # type: ignore[arg-type]  # it looks at nothing of it
    _say({"address": porch.link.addresses[0]})
    sys.stdin.readline()
    porch_cpu_s = _cpu_s(porch.pid)
    pace = _publish_all(config, sink.write)
    cpu_s, wall_s = time.process_time() - pace.cpu_s, time.perf_counter() - pace.start_s
    porch_cpu_s = _cpu_s(porch.pid) - porch_cpu_s
    _say(
        {
            "message_ms": statistics.median(pace.made_s) * 1000,
            "encode_ms": statistics.median(pace.encode_s) * 1000,
            "cpu_ms_per_message": (cpu_s + porch_cpu_s) / config["count"] * 1000,
            "porch_cpu_ms_per_message": porch_cpu_s / config["count"] * 1000,
            "wall_s": wall_s,
            "memory_mb": _memory_mb("self"),
            "porch_memory_mb": _memory_mb(porch.pid),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    )
    sys.stdin.readline()
    sink.close()
    publisher.stop()
    thread.join()
    porch.close()
    context.term()


def _publish_all(config: dict[str, Any], write: Callable[[Any], None]) -> _Pace:
    """Publish every message at its time."""
    import numpy as np  # noqa: PLC0415 - listeners that only receive need none

    from posestream.stages.items import Frame, FrameKey, Person, Poses  # noqa: PLC0415
    from posestream.stages.message import MessageWriter  # noqa: PLC0415
    from posestream.stages.output.sink import Ended  # noqa: PLC0415

    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0.01, 1.0, (config["people"], 18, 3)) * (1920, 1080, 1)
    people = tuple(Person(one.astype(np.float32), 0.8) for one in keypoints)
    writer = MessageWriter("bench", _SOURCE, "none", "openpose-18")
    made_s: list[float] = []
    encode_s: list[float] = []
    start_s, cpu_s = time.perf_counter(), time.process_time()
    for number in range(config["count"]):
        time.sleep(max(0.0, start_s + number / config["rate"] - time.perf_counter()))
        key, now_s = FrameKey(_SOURCE, number), time.time()
        frame = Frame(key, 0, number, Fraction(1, 30), 0.0, now_s, 1920, 1080, None)
        begin_s = time.perf_counter()
        message = writer.poses(frame, Poses(key, people), now_s)
        made_s.append(time.perf_counter() - begin_s)
        msgpack.packb(message)
        encode_s.append(time.perf_counter() - begin_s - made_s[-1])
        # The sink encodes it again: what is told of the CPU is a little too much, and not too little.
        write(Ended(frame, Poses(key, people), message))
    return _Pace(made_s, encode_s, cpu_s, start_s)


def listen_decoding(config: dict[str, Any]) -> None:
    """Listen as users do, with typed results; tell what came and how late."""
    from posestream.pipeline import subscribe  # noqa: PLC0415 - those that only receive need none

    with subscribe(
        config["address"],
        [_SOURCE],
        on_gap=lambda _: None,  # what is missing is counted by who reads the results
        idle_s=config["idle_s"],
        key=config["key"] or None,
        server_key=config["server_key"] or None,
    ) as poses:
        if not poses.wait_until_heard(_START_S):
            sys.exit(f"{config['address']} was not heard within {_START_S:.0f} s")
        _say({"is_ready": True})
        delays_s, numbers, cpu_s = [], [], time.process_time()
        for result in poses:
            delays_s.append(time.time() - result.published_at)
            numbers.append(result.n)
            if result.n == config["count"] - 1:
                break
    _tell(numbers, delays_s, cpu_s)


def listen_receiving(config: dict[str, Any]) -> None:
    """Listen without decoding: the time is found where it stands; tell what came and how late."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.linger, socket.rcvtimeo = 0, int(config["idle_s"] * 1000)
    if config["key"]:
        from posestream.pipeline.security.guard import ConnectGuard  # noqa: PLC0415 - only with keys

        ConnectGuard.of(Path(config["key"]), Path(config["server_key"])).apply(socket, config["address"])
    for topic in (b"poses/", b"layout/"):
        socket.setsockopt(zmq.SUBSCRIBE, topic)
    socket.connect(config["address"])
    delays_s: list[float] = []
    cpu_s = 0.0
    try:
        while len(delays_s) < config["count"]:
            topic, body = socket.recv_multipart()
            if topic.startswith(b"layout/"):
                _say({"is_ready": True})
                cpu_s = time.process_time()
                continue
            place = body.index(_PUBLISHED) + len(_PUBLISHED)
            delays_s.append(time.time() - _DOUBLE.unpack_from(body, place)[0])
    except zmq.Again:
        pass  # it tells what has come
    _tell(list(range(len(delays_s))), delays_s, cpu_s)
    socket.close()
    context.term()


def new_keys(folder: Path) -> dict[str, str]:
    """Make the keys of a head and of its listeners; give their files."""
    from posestream.pipeline.security.keys import write_new_pair  # noqa: PLC0415 - only with keys

    head_public, head = write_new_pair("head", folder / "head")
    _, listener = write_new_pair("listener", folder / "clients")
    return {
        "server_key": str(head_public),
        "head": str(head),
        "key": str(listener),
        "clients": str(folder / "clients"),
    }


def _tell(numbers: list[int], delays_s: list[float], cpu_s: float) -> None:
    """Tell what came, how late, and what that took since the process was ready."""
    cpu_s = time.process_time() - cpu_s
    _say({"received": len(set(numbers)), "delays_ms": [round(delay * 1000, 3) for delay in delays_s], "cpu_s": cpu_s})


def _memory_mb(pid: int | str | None) -> float:
    """Give what a process has in memory now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


def _cpu_s(pid: int | None) -> float:
    """Give how long a process has run on a processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


_ROLES = {"publish": publish, "decode": listen_decoding, "receive": listen_receiving}


def main() -> None:
    """Do what the command line says: a role and its settings as JSON."""
    _ROLES[sys.argv[1]](json.loads(sys.argv[2]))


if __name__ == "__main__":
    main()
