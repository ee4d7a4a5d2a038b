from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import rabbitmq
from lab.link import Link
from lab.rabbitmq import Broker
from tests.integration.broker.harness import BODY, QUEUE, Client, running, wait_for
from uploaderd.broker.job import Job
from uploaderd.config.settings import BrokerSettings


def through(proxy: Link, settings: BrokerSettings, heartbeat_s: int = 20) -> BrokerSettings:
    hosts = (("127.0.0.1", proxy.port),)
    return dataclasses.replace(settings, hosts=hosts, heartbeat_s=heartbeat_s)


def test_resets_and_cut_connections_lose_nothing(vhost: BrokerSettings) -> None:
    seen: set[str] = set()
    client = Client(vhost)
    with (
        Link(vhost.hosts[0]) as proxy,
        running(through(proxy, vhost), lambda job: seen.add(job.message_id)),
    ):
        for number in range(5):
            proxy.cut_after(20_000, seed=number)
            client.publish(BODY, message_id=f"r{number}", count=20)
            proxy.reset()
        proxy.cut_after(None)
        proxy.reset()
        wait_for(lambda: len(seen) == 100)
        assert proxy.connections > 1
    assert client.depth("backup") == 0
    assert client.depth("backup.dead") == 0


def test_work_that_ended_while_the_connection_was_lost_is_not_done_again(
    vhost: BrokerSettings,
) -> None:
    begun, go = threading.Event(), threading.Event()
    runs: list[str] = []

    def handle(job: Job) -> None:
        runs.append(job.message_id)
        begun.set()
        go.wait(60)
        job.publish_event("notify.info.backup", {})

    client = Client(vhost)
    with Link(vhost.hosts[0]) as proxy, running(through(proxy, vhost), handle) as runtime:
        client.publish(BODY, message_id="m1")
        client.publish(BODY, message_id="m2")
        assert begun.wait(40)
        proxy.reset()
        wait_for(lambda: not runtime.connected)
        go.set()
        wait_for(lambda: "m2" in runs)
    assert client.depth("backup") == 0
    assert runs == ["m1", "m2"]


@pytest.mark.slow
def test_a_silent_connection_is_noticed_by_heartbeats(vhost: BrokerSettings) -> None:
    seen: list[str] = []
    client = Client(vhost)
    with (
        Link(vhost.hosts[0]) as proxy,
        running(through(proxy, vhost, 1), lambda job: seen.append(job.message_id)) as runtime,
    ):
        proxy.stall = True
        wait_for(lambda: not runtime.connected)
        proxy.stall = False
        client.publish(BODY)
        wait_for(lambda: seen == ["m1"])


def test_a_long_job_does_not_cost_the_connection(vhost: BrokerSettings) -> None:
    settings = dataclasses.replace(vhost, heartbeat_s=1)
    done: list[int] = []

    def handle(job: Job) -> None:
        # Longer than the broker's patience with a silent client, which is two heartbeats.
        time.sleep(4)
        done.append(job.attempt)

    client = Client(vhost)
    with running(settings, handle) as runtime:
        client.publish(BODY)
        wait_for(lambda: done)
        assert runtime.connected
        wait_for(lambda: client.depth("backup") == 0)
    assert done == [1]


def test_the_next_host_is_tried(vhost: BrokerSettings) -> None:
    with Link(vhost.hosts[0]) as dead:
        dead.refuse = True
        hosts = (("127.0.0.1", dead.port), vhost.hosts[0])
        seen: list[str] = []
        with running(
            dataclasses.replace(vhost, hosts=hosts), lambda job: seen.append(job.message_id)
        ):
            Client(vhost).publish(BODY)
            wait_for(lambda: seen)


def test_a_deleted_queue_is_declared_anew(vhost: BrokerSettings) -> None:
    seen: list[str] = []
    client = Client(vhost)
    with running(vhost, lambda job: seen.append(job.message_id)) as runtime:
        with client.channel() as channel:
            channel.queue_delete("backup")
        wait_for(lambda: not runtime.connected)
        wait_for(lambda: runtime.connected)
        client.publish(BODY)
        wait_for(lambda: seen == ["m1"])


CONSUMER = """
import os, signal, sys, threading
from pathlib import Path
from tests.integration.broker.harness import QUEUE
from uploaderd.broker.runtime import Runtime
from uploaderd.config.settings import BrokerSettings
from uploaderd.secret import Secret

port, vhost, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
settings = BrokerSettings(
    hosts=(("127.0.0.1", port),), virtual_host=vhost, user="lab",
    password=Secret(os.environ["LAB_PASSWORD"]),
)

def handle(job):
    with (folder / "begun").open("a") as file:
        file.write(job.message_id + chr(10))
    if job.message_id == "poison":
        os.kill(os.getpid(), signal.SIGKILL)

Runtime(settings, QUEUE, "backup", handle, run_dir=folder).run(threading.Event())
"""


@contextlib.contextmanager
def consumer(settings: BrokerSettings, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    arguments = [str(settings.hosts[0][1]), settings.virtual_host, str(folder)]
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CONSUMER), *arguments],
        env={**os.environ, "LAB_PASSWORD": settings.password.reveal()},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_message_whose_process_died_twice_is_quarantined(
    vhost: BrokerSettings, tmp_path: Path
) -> None:
    client = Client(vhost)
    with running(vhost, lambda job: None):
        pass
    client.publish(BODY, message_id="poison")
    client.publish(BODY, message_id="good")
    for _ in range(2):
        with consumer(vhost, tmp_path) as process:
            assert process.wait(60) == -signal.SIGKILL
    with consumer(vhost, tmp_path):
        properties, _ = wait_for(lambda: client.take("backup.dead"))
        wait_for(lambda: "good" in (tmp_path / "begun").read_text().split())
    assert (tmp_path / "begun").read_text().split() == ["poison", "poison", "good"]
    assert properties.message_id == "poison"
    assert properties.headers["x-uploaderd-code"] == "quarantined"


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that the test may kill."""
    started = rabbitmq.start(tmp_path / "rabbitmq")
    try:
        yield started
    finally:
        started.kill()


@pytest.mark.slow
def test_a_killed_and_a_restarted_broker_lose_nothing(own_broker: Broker) -> None:
    seen: set[str] = set()
    client = Client(own_broker.settings)

    def handle(job: Job) -> None:
        time.sleep(0.02)
        job.publish_event("notify.info.backup", {})
        seen.add(job.message_id)

    queue = dataclasses.replace(QUEUE, prefetch=10)
    with running(own_broker.settings, handle, queue) as runtime:
        client.publish(BODY, message_id="a", count=200)
        # RabbitMQ 3.10 writes a new quorum queue's metadata out within some seconds.
        time.sleep(5)
        client.publish(BODY, message_id="b", count=200)
        own_broker.kill()
        wait_for(lambda: not runtime.connected)
        own_broker.start_again()
        wait_for(lambda: len(seen) == 400, 60)
        own_broker.stop()
        own_broker.start_again()
        wait_for(lambda: runtime.connected, 60)
        client.publish(BODY, message_id="c", count=10)
        wait_for(lambda: len(seen) == 410, 60)
    assert client.depth("backup.dead") == 0
