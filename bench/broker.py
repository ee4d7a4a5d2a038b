"""The broker runtime against bare pika on the same connection class, queue type and broker.

Cases: consumption of waiting messages from a quorum queue with an empty handler, ours and bare
alternating in one run, where ours acknowledges each message after its handler; and the latency from
publication to handler at a steady rate, against the goal.
"""

from __future__ import annotations

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

from lab import rabbitmq
from uploaderd.broker import access
from uploaderd.broker.job import Job
from uploaderd.broker.runtime import Runtime
from uploaderd.config.settings import BrokerSettings, QueueSettings

COUNT = 20_000
ROUNDS = 3
PREFETCH = 100
RATE = 200
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
            bare.append(_consume_bare(settings))
    yield _result("consume, prefetch 100, empty handler", ours, bare, "messages/s")
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


def _parameters(settings: BrokerSettings) -> Any:
    return access.parameters(settings, *settings.hosts[0], name="bench")


@contextmanager
def _filled(settings: BrokerSettings) -> Iterator[None]:
    """The queue, with COUNT persistent messages waiting in it; deleted afterwards."""
    with pika.BlockingConnection(_parameters(settings)) as connection:
        channel = connection.channel()
        channel.exchange_declare(settings.exchange, "topic", durable=True)
        channel.queue_declare(QUEUE.name, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(QUEUE.name, settings.exchange, "host.backup")
        body = json.dumps(BODY).encode()
        for number in range(COUNT):
            properties = pika.BasicProperties(delivery_mode=2, message_id=f"bench-{number}")
            channel.basic_publish(settings.exchange, "host.backup", body, properties)
        while channel.queue_declare(QUEUE.name, passive=True).method.message_count < COUNT:
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
    settings: BrokerSettings, handle: Callable[[Job], None], stop: threading.Event
) -> Iterator[Runtime]:
    runtime = Runtime(settings, QUEUE, "backup", handle)
    thread = threading.Thread(target=runtime.run, args=(stop,))
    thread.start()
    try:
        yield runtime
    finally:
        stop.set()
        thread.join()


def _consume_bare(settings: BrokerSettings) -> float:
    """The least that pika can do: a callback that acknowledges."""
    seen = 0
    first = last = 0.0

    def on_message(channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        nonlocal seen, first, last
        channel.basic_ack(method.delivery_tag)
        seen += 1
        if seen == 1:
            first = time.perf_counter()
        elif seen == COUNT:
            last = time.perf_counter()
            connection.close()

    def on_channel(channel: Any) -> None:
        channel.basic_qos(prefetch_count=PREFETCH)
        channel.basic_consume(QUEUE.name, on_message)

    connection = pika.SelectConnection(
        _parameters(settings),
        on_open_callback=lambda opened: opened.channel(on_open_callback=on_channel),
        on_close_callback=lambda closed, _reason: closed.ioloop.stop(),
    )
    connection.ioloop.start()
    connection.ioloop.close()
    return COUNT / (last - first)


def _latencies(settings: BrokerSettings) -> list[float]:
    """Seconds from publication to handler, sorted, of ten seconds at a steady rate."""
    stop = threading.Event()
    count = 10 * RATE
    sent: dict[str, float] = {}
    taken: list[float] = []

    def handle(job: Job) -> None:
        taken.append(time.perf_counter() - sent[job.message_id])

    with _running(settings, handle, stop) as runtime:
        deadline = time.monotonic() + PATIENCE_S
        while not runtime.connected and time.monotonic() < deadline:
            time.sleep(0.01)
        body = json.dumps(BODY).encode()
        with pika.BlockingConnection(_parameters(settings)) as connection:
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
