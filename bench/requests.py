"""A whole system under load and at rest: host requests with the database in the loop, and idle CPU.

Cases: the latency of the answer at a steady rate, against the goal; how many requests a second are
answered when many wait; and the CPU time of an instance that has nothing to do.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pika

from lab import system
from lab.system import System
from uploaderd import messages
from uploaderd.broker import access

RATE = 50
SECONDS = 20
BURST = 500
IDLE_S = 20
HOSTS = 100
PATIENCE_S = 120.0
GOALS_MS = {"p50": 50.0, "p99": 100.0}
IDLE_GOAL_PERCENT = 0.5
TICKS = os.sysconf("SC_CLK_TCK")


def run() -> Iterator[dict[str, Any]]:
    """The result of each case, on a private broker and the embedded database."""
    with (
        tempfile.TemporaryDirectory(prefix="uploaderd-bench-") as folder,
        system.running(Path(folder)) as running,
    ):
        running.broker_settings = {"prefetch": 50}
        running.configure()
        running.start_daemon()
        with pika.BlockingConnection(_parameters(running)) as connection:
            asking = _Asking(connection.channel(), running.broker.settings.exchange)
            asking.send(HOSTS)  # Every station is known from here on, as it is in service.
            asking.await_answers()
            yield from _latency(connection, asking)
            yield _burst(asking)
        yield _idle(running)


def _parameters(running: System) -> pika.ConnectionParameters:
    settings = running.broker.settings
    return access.parameters(settings, *settings.hosts[0], name="bench")


@dataclass
class _Asking:
    """Sends requests that only ask, as Zabbix does, and notes when each was answered."""

    channel: Any
    exchange: str
    sent: dict[str, float] = field(default_factory=dict)
    taken: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.channel.basic_consume(
            "amq.rabbitmq.reply-to",
            lambda _channel, _method, properties, _body: self._on_answer(properties),
            auto_ack=True,
        )

    def _on_answer(self, properties: Any) -> None:
        number = properties.correlation_id
        self.taken[number] = time.perf_counter() - self.sent[number]

    def send(self, count: int) -> None:
        """Publishes so many requests."""
        for _ in range(count):
            number = len(self.sent)
            properties = pika.BasicProperties(
                message_id=f"bench-{number}",
                correlation_id=str(number),
                reply_to="amq.rabbitmq.reply-to",
            )
            host = number % HOSTS + 1
            body = messages.encode(
                {
                    "host_id": host,
                    "host_uid": f"rfeye{host:06d}",
                    "host_add": "10.0.0.1",
                    "user": "station",
                    "query_tag": "catalog",
                }
            )
            self.sent[str(number)] = time.perf_counter()
            self.channel.basic_publish(self.exchange, "host.request", body, properties)

    def await_answers(self) -> None:
        """Until each has its answer. Raises RuntimeError if that takes too long."""
        until = time.monotonic() + PATIENCE_S
        while len(self.taken) < len(self.sent):
            if time.monotonic() > until:
                raise RuntimeError(f"only {len(self.taken)} of {len(self.sent)} were answered")
            self.channel.connection.process_data_events(0.01)


def _latency(connection: Any, asking: _Asking) -> Iterator[dict[str, Any]]:
    before = set(asking.sent)
    begun = time.perf_counter()
    for number in range(RATE * SECONDS):
        while (left := begun + number / RATE - time.perf_counter()) > 0:
            connection.process_data_events(left)
        asking.send(1)
        connection.process_data_events(0)
    asking.await_answers()
    latencies = sorted(value for key, value in asking.taken.items() if key not in before)
    for name, share in (("p50", 0.50), ("p99", 0.99)):
        value = 1000 * latencies[int(share * (len(latencies) - 1))]
        yield _smaller(f"host request answered, {name}, {RATE}/s", value, GOALS_MS[name], "ms")


def _burst(asking: _Asking) -> dict[str, Any]:
    begun = time.perf_counter()
    asking.send(BURST)
    asking.await_answers()
    rate = BURST / (time.perf_counter() - begun)
    return {
        "case": f"host requests answered, {BURST} at once, one instance",
        "ours": round(rate),
        "reference": RATE,
        "reference_name": "goal",
        "ratio": round(rate / RATE, 2),
        "unit": "requests/s",
        "runs": 1,
    }


def _idle(running: System) -> dict[str, Any]:
    """CPU time of the host-request instance while nothing comes, in percent of one core."""
    pid = _instance(running, "host-request")
    before = _cpu_s(pid)
    time.sleep(IDLE_S)
    percent = 100 * (_cpu_s(pid) - before) / IDLE_S
    return _smaller("CPU of an idle instance", max(percent, 0.01), IDLE_GOAL_PERCENT, "% of a core")


def _instance(running: System, service: str) -> int:
    assert running.daemon is not None
    title = f"uploaderd: {service}[1]".encode()
    children = Path(f"/proc/{running.daemon.pid}/task/{running.daemon.pid}/children")
    for pid in children.read_text().split():
        if Path(f"/proc/{pid}/cmdline").read_bytes().strip(b"\0 ") == title:
            return int(pid)
    raise RuntimeError(f"no instance of {service} runs")


def _cpu_s(pid: int) -> float:
    """User and system time of a process so far (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _smaller(case: str, value: float, limit: float, unit: str) -> dict[str, Any]:
    return {
        "case": case,
        "ours": round(value, 2),
        "reference": limit,
        "reference_name": "goal (smaller is better)",
        "ratio": round(limit / value, 2),
        "unit": unit,
        "runs": 1,
    }
