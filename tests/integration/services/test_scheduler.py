from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pika

from tests.integration.broker.harness import running
from uploaderd.broker import access
from uploaderd.broker.job import Job
from uploaderd.config.settings import (
    BrokerSettings,
    DatabaseSettings,
    QueueSettings,
    ServiceSettings,
)
from uploaderd.services.scheduler import SchedulerService

WAIT_S = 60.0


@contextlib.contextmanager
def scheduler(broker: BrokerSettings) -> Iterator[threading.Thread]:
    behaviour = {
        "timezone": "UTC",
        "retry_s": 0.2,
        # With a sixth field cronsim counts seconds.
        "schedules": [{"name": "often", "cron": "* * * * * *", "message": "publish"}],
    }
    queue = QueueSettings(name="scheduler", bindings=())
    settings = ServiceSettings(
        *("scheduler", "scheduler", True, 1, behaviour, DatabaseSettings(), broker, queue)
    )
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
