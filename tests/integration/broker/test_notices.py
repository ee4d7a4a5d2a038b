"""What a broker says and forbids: alarms, missing rights, and a delayed retry of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator

import pytest

from lab.rabbitmq import Broker
from tests.integration.broker.harness import BODY, QUEUE, Client, running, wait_for
from uploaderd.broker import topology
from uploaderd.broker.features import Features
from uploaderd.broker.job import Job
from uploaderd.broker.runtime import Runtime
from uploaderd.config.settings import BrokerSettings
from uploaderd.errors import StationUnreachable


@contextlib.contextmanager
def alarm(broker: Broker) -> Iterator[Callable[[], None]]:
    """Publishers are blocked until what it gives is called; each way takes rabbitmqctl seconds."""
    ended: list[bool] = []

    def end() -> None:
        if not ended:
            ended.append(True)
            broker.unblock_publishers()

    broker.block_publishers()
    try:
        yield end
    finally:
        end()


@pytest.mark.timeout(400)
def test_while_the_broker_blocks_publishers_nothing_is_acknowledged_and_nothing_is_lost(
    broker: Broker, vhost: BrokerSettings
) -> None:
    handled: list[str] = []
    consuming: list[Runtime] = []

    def blocked() -> bool:
        session = consuming[0]._link.session if consuming else None
        return session is not None and session._blocked

    def handle(job: Job) -> None:
        handled.append(job.message_id)
        job.publish("publish", {"dataset": "all"})
        if len(handled) == 20:
            # What comes after the broker's notice is held back on our side.
            wait_for(blocked)

    client = Client(vhost)
    with running(vhost, lambda job: None), client.channel() as channel:
        channel.queue_declare("p", durable=True)
        channel.queue_bind("p", vhost.exchange, "catalog.publish")
    client.publish(BODY, count=20)
    queue = dataclasses.replace(QUEUE, prefetch=20)
    with alarm(broker) as end_alarm, running(vhost, handle, queue) as runtime:
        consuming.append(runtime)
        wait_for(lambda: len(handled) == 20 and blocked())
        session = runtime._link.session
        assert session is not None
        wait_for(lambda: session._held)
        assert not session.idle
        end_alarm()
        wait_for(lambda: session.idle)
    assert client.depth("backup") == 0
    assert client.depth("p") == 20
    assert len(handled) == len(set(handled)) == 20


def test_a_user_without_the_right_to_configure_works_on_what_an_administrator_made(
    broker: Broker, vhost: BrokerSettings
) -> None:
    attempts: list[int] = []

    def handle(job: Job) -> None:
        attempts.append(job.attempt)
        if job.attempt == 1:
            raise StationUnreachable("The link is down.")

    limited = broker.add_user("limited", vhost, configure="^$")
    with running(vhost, lambda job: None):
        pass
    with running(limited, handle, dataclasses.replace(QUEUE, declare=False)):
        Client(vhost).publish(BODY)
        wait_for(lambda: attempts == [1, 2])


def test_what_a_user_without_rights_lacks_is_said_and_waited_for(
    broker: Broker, vhost: BrokerSettings, caplog: pytest.LogCaptureFixture
) -> None:
    limited = broker.add_user("limited", vhost, configure="^$")
    stop = threading.Event()
    queue = dataclasses.replace(QUEUE, declare=False)
    runtime = Runtime(limited, queue, "backup", lambda job: None)
    thread = threading.Thread(target=runtime.run, args=(stop,))
    thread.start()
    try:
        wait_for(lambda: "no exchange 'uploaderd'" in caplog.text)
        with running(vhost, lambda job: None):
            pass
        wait_for(lambda: runtime.connected)
    finally:
        stop.set()
        thread.join()
    forbidden = dataclasses.replace(QUEUE, name="other")
    thread = threading.Thread(
        target=Runtime(limited, forbidden, "backup", lambda job: None).run, args=(stop,)
    )
    stop.clear()
    thread.start()
    try:
        wait_for(lambda: "does not allow it" in caplog.text)
    finally:
        stop.set()
        thread.join()


def test_a_message_that_is_given_back_to_the_broker_comes_again(
    vhost: BrokerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a broker before 4.3, which gives it back at once: the delay itself is not seen here."""
    monkeypatch.setattr(Features, "delayed_retry", True)
    runs: list[bool] = []

    def handle(job: Job) -> None:
        runs.append(job.attempt == 1)
        if len(runs) == 1:
            raise StationUnreachable("The link is down.")
        if len(runs) == 2:
            raise ValueError("odd")

    client = Client(vhost)
    queue = dataclasses.replace(QUEUE, name="native", bindings=("host.native",), retry_by="broker")
    with running(vhost, handle, queue):
        client.publish(BODY, key="host.native")
        wait_for(lambda: len(runs) == 3)
        wait_for(lambda: client.depth("native") == 0)
    waiting = [topology.retry_queue(queue, step) for step in queue.retry_delays_s]
    assert [client.depth(name) for name in (*waiting, "native.dead")] == [0, 0, 0]
