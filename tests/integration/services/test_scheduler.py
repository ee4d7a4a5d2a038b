from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pika

from tests.integration.broker.harness import running
from tests.integration.services.harness import settings_of
from uploaderd.broker import access
from uploaderd.broker.job import Job
from uploaderd.catalog import Catalog
from uploaderd.catalog.rows import HostRow
from uploaderd.config.settings import (
    BrokerSettings,
    DatabaseSettings,
    QueueSettings,
    ServiceSettings,
)
from uploaderd.services.host_check import HostCheckService
from uploaderd.services.scheduler import SchedulerService

WAIT_S = 60.0


# With a sixth field cronsim counts seconds.
OFTEN = {"name": "often", "cron": "* * * * * *", "message": "publish"}


@contextlib.contextmanager
def scheduler(
    broker: BrokerSettings,
    schedule: Mapping[str, Any] = OFTEN,
    database: DatabaseSettings | None = None,
) -> Iterator[threading.Thread]:
    behaviour = {"timezone": "UTC", "retry_s": 0.2, "schedules": [schedule]}
    queue = QueueSettings(name="scheduler", bindings=())
    base = database or DatabaseSettings()
    settings = ServiceSettings(*("scheduler", "scheduler", True, 1, behaviour, base, broker, queue))
    service, stop = SchedulerService(settings), threading.Event()
    thread = threading.Thread(target=service.run, args=(stop, lambda: None))
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join()
        service.close()


def seen(messages: list[str], count: int) -> None:
    until = time.monotonic() + WAIT_S
    while len(messages) < count:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_one_of_two_schedulers_fires_and_the_other_takes_over(vhost: BrokerSettings) -> None:
    messages: list[str] = []

    def handle(job: Job) -> None:
        messages.append(job.message_id)

    queue = QueueSettings(name="publish", bindings=("catalog.publish",))
    with running(vhost, handle, queue, kind="publish"):
        with scheduler(vhost):
            seen(messages, 2)
            with scheduler(vhost) as standby:
                seen(messages, 4)
                assert standby.is_alive()
        with scheduler(vhost):
            seen(messages, len(messages) + 1)
    assert len(messages) == len(set(messages))


def test_when_it_last_fired_outlives_the_scheduler(vhost: BrokerSettings) -> None:
    with running(
        vhost, lambda job: None, QueueSettings("publish", ("catalog.publish",)), kind="publish"
    ):
        host, port = vhost.hosts[0]
        with (
            scheduler(vhost),
            pika.BlockingConnection(access.parameters(vhost, host, port)) as asking,
        ):
            channel = asking.channel()
            until = time.monotonic() + WAIT_S
            count = 0
            while not count:
                assert time.monotonic() < until
                time.sleep(0.1)
                with contextlib.suppress(pika.exceptions.ChannelClosedByBroker):
                    channel = asking.channel()
                    count = channel.queue_declare(
                        "scheduler.fired", passive=True
                    ).method.message_count
            assert count == 1


def test_a_schedule_for_each_host_asks_for_every_known_station(
    vhost: BrokerSettings, catalog: Catalog
) -> None:
    catalog.insert("hosts", [HostRow(host_id=n, host_uid=f"rfeye{n}") for n in (1, 2, 3)])
    bodies: dict[str, dict[str, Any]] = {}

    def handle(job: Job) -> None:
        bodies[job.message_id] = job.body

    often = {"name": "nightly", "cron": "* * * * * *", "message": "host-request"}
    schedule = {**often, "for_each_host": True, "body": {"query_tag": "backup"}}
    queue = QueueSettings(name="host-request", bindings=("host.request",))
    with (
        running(vhost, handle, queue, kind="host-request"),
        scheduler(vhost, schedule, catalog.settings),
    ):
        until = time.monotonic() + WAIT_S
        while len(bodies) < 3:
            assert time.monotonic() < until
            time.sleep(0.05)
    asked = {(body["host_id"], body["host_uid"], body["query_tag"]) for body in bodies.values()}
    assert asked == {(n, f"rfeye{n}", "backup") for n in (1, 2, 3)}
    first = sorted(bodies)[0].rpartition("-")[0]
    assert {f"{first}-{n}" for n in (1, 2, 3)} <= bodies.keys()


def test_a_schedule_looks_after_every_station_by_the_host_check_service(
    vhost: BrokerSettings, catalog: Catalog, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    places = [HostRow(n, f"rfeye{n}", host_add="127.0.0.1", host_port=port) for n in (1, 2)]
    catalog.insert("hosts", places)
    often = {"name": "looks", "cron": "* * * * * *", "message": "host-check"}
    service = HostCheckService(settings_of(tmp_path, "host-check", catalog.settings, user="u"))
    queue = QueueSettings(name="host-check", bindings=("host.check",))
    found: set[tuple[int, str]] = set()
    try:
        with (
            running(vhost, service.handle, queue, kind="host-check"),
            scheduler(vhost, {**often, "for_each_host": True, "body": {}}, catalog.settings),
        ):
            until = time.monotonic() + WAIT_S
            while len(found) < 2:
                assert time.monotonic() < until
                rows = catalog.query(
                    "SELECT host_id, code FROM host_events WHERE event = 'host_check'"
                )
                found = {(row["host_id"], row["code"]) for row in rows}
                time.sleep(0.05)
    finally:
        service.close()
    assert found == {(1, "offline"), (2, "offline")}


def test_what_was_missed_while_nobody_ran_is_one_firing(vhost: BrokerSettings) -> None:
    messages: list[str] = []

    def handle(job: Job) -> None:
        messages.append(job.message_id)

    began = datetime.now(UTC)
    host, port = vhost.hosts[0]
    parameters = access.parameters(vhost, host, port)
    with pika.BlockingConnection(parameters) as connection, connection.channel() as channel:
        arguments = {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "drop-head"}
        channel.queue_declare("scheduler.fired", durable=True, arguments=arguments)
        fired = json.dumps({"hourly": (began - timedelta(hours=9)).timestamp()}).encode()
        channel.basic_publish("", "scheduler.fired", fired)
        hourly = {"name": "hourly", "cron": "0 * * * *", "message": "publish"}
        queue = QueueSettings(name="publish", bindings=("catalog.publish",))
        with running(vhost, handle, queue, kind="publish"):
            with scheduler(vhost, hourly):
                seen(messages, 1)
            # A second scheduler finds in the broker that nothing is due any more.
            with scheduler(vhost, hourly) as other:
                until = time.monotonic() + 2
                while time.monotonic() < until and len(messages) < 2:
                    assert other.is_alive()
                    time.sleep(0.05)
        _, _, body = channel.basic_get("scheduler.fired", auto_ack=True)
    assert json.loads(body)["hourly"] >= began.timestamp()
    crossed = datetime.now(UTC).hour != began.hour
    assert len(messages) == 1 or crossed
