"""The broker runtime against bare pika on the same connection class, queue type and broker.

Cases, ours and the other alternating in one run: consumption of waiting messages from a quorum
queue with an empty handler, where ours acknowledges each message after its handler; publication of
bodies that are yet to be written as JSON, with the confirms awaited in batches; a basic_get poller
with the settings of the system that this one replaces; and the latency from publication to handler
at a steady rate, against the goal.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika

from bench import _bare
from lab import rabbitmq
from uploaderd.broker.job import Job
from uploaderd.broker.runtime import Runtime
from uploaderd.config.settings import BrokerSettings, QueueSettings

COUNT = 20_000
ROUNDS = 3
PREFETCH = 100
RATE = 200
BATCH = 500
POLLED = 30
PATIENCE_S = 120.0
BODY = {
    "host_id": 7,
    "host_uid": "rfeye002292",
    "host_add": "10.0.0.7",
    "host_port": 22,
    "user": "fiscal",
    "agent_config": "/etc/node/" + "x" * 340 + ".cfg",
}
QUEUE = QueueSettings(name="bench", bindings=("host.backup",), prefetch=PREFETCH)


def run() -> Iterator[dict[str, Any]]:
    """The result of each case, on a private broker."""
    with tempfile.TemporaryDirectory(prefix="uploaderd-bench-") as folder:
        broker = rabbitmq.start(Path(folder))
        try:
            yield from _cases(broker.settings)
        finally:
            broker.stop()


def _cases(settings: BrokerSettings) -> Iterator[dict[str, Any]]:
    ours, bare = [], []
    for _ in range(ROUNDS):
        with _filled(settings):
            ours.append(_consume_ours(settings))
        with _filled(settings):
            bare.append(_bare.consume(settings, QUEUE.name, COUNT, PREFETCH))
    yield _result("consume, prefetch 100, empty handler", ours, bare, "messages/s")
    ours_out, bare_out = [], []
    for _ in range(ROUNDS):
        with _filled(settings, 0):
            ours_out.append(_publish_ours(settings))
        with _filled(settings, 0):
            bare_out.append(_bare.publish(settings, BODY, COUNT, BATCH))
    yield _result(f"publish, confirms in batches of {BATCH}", ours_out, bare_out, "messages/s")
    with _filled(settings, POLLED):
        polled = _bare.poll(settings, QUEUE.name, POLLED)
    result = _result("consume, against a poller", ours, [polled], "messages/s")
    yield {**result, "reference_name": "basic_get, 10 a turn, 1 s of sleep between the turns"}
    latencies = _latencies(settings)
    for name, share in (("p50", 0.50), ("p99", 0.99)):
        value = 1000 * latencies[int(share * (len(latencies) - 1))]
        limit = {"p50": 3.0, "p99": 15.0}[name]
        yield {
            "case": f"latency from publication to handler, {name}, {RATE} messages/s",
            "ours": round(value, 2),
            "reference": limit,
            "reference_name": "goal (smaller is better)",
            "ratio": round(limit / value, 2),
            "unit": "ms",
            "runs": 1,
        }


def _result(case: str, ours: list[float], bare: list[float], unit: str) -> dict[str, Any]:
    mine, reference = statistics.median(ours), statistics.median(bare)
    return {
        "case": case,
        "ours": round(mine),
        "reference": round(reference),
        "reference_name": "bare pika SelectConnection",
        "ratio": round(mine / reference, 2),
        "unit": unit,
        "runs": len(ours),
    }


@contextmanager
def _filled(settings: BrokerSettings, count: int = COUNT) -> Iterator[None]:
    """The queue, with so many persistent messages waiting in it; deleted afterwards."""
    with pika.BlockingConnection(_bare.parameters(settings)) as connection:
        channel = connection.channel()
        channel.exchange_declare(settings.exchange, "topic", durable=True)
        channel.queue_declare(QUEUE.name, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(QUEUE.name, settings.exchange, "host.backup")
        body = json.dumps(BODY).encode()
        for number in range(count):
            properties = pika.BasicProperties(delivery_mode=2, message_id=f"bench-{number}")
            channel.basic_publish(settings.exchange, "host.backup", body, properties)
        while channel.queue_declare(QUEUE.name, passive=True).method.message_count < count:
            time.sleep(0.05)
        yield
        channel.queue_delete(QUEUE.name)


def _consume_ours(settings: BrokerSettings) -> float:
    stop, done = threading.Event(), threading.Event()
    seen = 0
    first = 0.0

    def handle(_job: Job) -> None:
        nonlocal seen, first
        seen += 1
        if seen == 1:
            first = time.perf_counter()
        elif seen == COUNT:
            done.set()

    with _running(settings, handle, stop):
        if not done.wait(PATIENCE_S):
            raise RuntimeError(f"only {seen} of {COUNT} messages were handled")
        taken = time.perf_counter() - first
    return COUNT / taken


@contextmanager
def _running(
    settings: BrokerSettings,
    handle: Callable[[Job], None],
    stop: threading.Event,
    queue: QueueSettings = QUEUE,
) -> Iterator[Runtime]:
    runtime = Runtime(settings, queue, "backup", handle)
    thread = threading.Thread(target=runtime.run, args=(stop,))
    thread.start()
    try:
        yield runtime
    finally:
        stop.set()
        thread.join()


def _publish_ours(settings: BrokerSettings) -> float:
    """A handler that publishes COUNT messages of its own, and has each batch confirmed."""
    stop, done = threading.Event(), threading.Event()
    taken = 0.0

    def handle(job: Job) -> None:
        nonlocal taken
        begun = time.perf_counter()
        for _ in range(COUNT // BATCH):
            for _ in range(BATCH):
                job.publish("backup", BODY)
            job.confirm()
        taken = time.perf_counter() - begun
        done.set()

    trigger = dataclasses.replace(QUEUE, name="trigger", bindings=("bench.trigger",))
    with _running(settings, handle, stop, trigger) as runtime:
        _await(lambda: runtime.connected)
        with pika.BlockingConnection(_bare.parameters(settings)) as connection:
            body = json.dumps(BODY).encode()
            connection.channel().basic_publish("", "trigger", body)
        if not done.wait(PATIENCE_S):
            raise RuntimeError("the messages were not published in time")
    return COUNT / taken


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("the runtime did not connect in time")
        time.sleep(0.01)


def _latencies(settings: BrokerSettings) -> list[float]:
    """Seconds from publication to handler, sorted, of ten seconds at a steady rate."""
    stop = threading.Event()
    count = 10 * RATE
    sent: dict[str, float] = {}
    taken: list[float] = []

    def handle(job: Job) -> None:
        taken.append(time.perf_counter() - sent[job.message_id])

    with _running(settings, handle, stop) as runtime:
        _await(lambda: runtime.connected)
        deadline = time.monotonic() + PATIENCE_S
        body = json.dumps(BODY).encode()
        with pika.BlockingConnection(_bare.parameters(settings)) as connection:
            channel = connection.channel()
            begun = time.perf_counter()
            for number in range(count):
                connection.sleep(max(0.0, begun + number / RATE - time.perf_counter()))
                message_id = f"latency-{number}"
                sent[message_id] = time.perf_counter()
                properties = pika.BasicProperties(delivery_mode=2, message_id=message_id)
                channel.basic_publish(settings.exchange, "host.backup", body, properties)
            while len(taken) < count and time.monotonic() < deadline:
                connection.sleep(0.05)
    return sorted(taken)
