"""What the broker's tests have in common: a runtime in a thread, and a plain pika client."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika

from uploaderd.broker.job import Job
from uploaderd.broker.runtime import Runtime
from uploaderd.config.settings import BrokerSettings, QueueSettings

QUEUE = QueueSettings(
    name="backup", bindings=("host.backup",), retry_limit=3, retry_delays_s=(0.1, 0.2)
)
BODY = {"host_id": 1, "host_add": "127.0.0.1"}


def wait_for(condition: Callable[[], object], seconds: float = 40.0) -> Any:
    """The first true value of the condition; AssertionError if none comes in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("the awaited did not come about")


@contextlib.contextmanager
def running(
    settings: BrokerSettings,
    handle: Callable[[Job], None],
    queue: QueueSettings = QUEUE,
    *,
    workers: int = 1,
    run_dir: Path | None = None,
    kind: str = "backup",
) -> Iterator[Runtime]:
    """A runtime that consumes while the context lasts."""
    stop = threading.Event()
    runtime = Runtime(settings, queue, kind, handle, workers=workers, run_dir=run_dir)
    thread = threading.Thread(target=runtime.run, args=(stop,))
    thread.start()
    try:
        wait_for(lambda: runtime.connected)
        yield runtime
    finally:
        stop.set()
        thread.join()


class Client:
    """A plain client of a virtual host; each call makes its own connection."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.settings = settings
        host, port = settings.hosts[0]
        credentials = pika.PlainCredentials(settings.user, settings.password.reveal())
        self._parameters = pika.ConnectionParameters(host, port, settings.virtual_host, credentials)

    @contextlib.contextmanager
    def channel(self) -> Iterator[Any]:
        with pika.BlockingConnection(self._parameters) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel

    def publish(
        self,
        body: object,
        *,
        key: str = "host.backup",
        message_id: str = "m1",
        headers: dict[str, Any] | None = None,
        count: int = 1,
    ) -> None:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        with self.channel() as channel:
            for number in range(count):
                properties = pika.BasicProperties(
                    delivery_mode=2,
                    message_id=message_id if count == 1 else f"{message_id}-{number}",
                    headers=headers,
                )
                channel.basic_publish(self.settings.exchange, key, text, properties, mandatory=True)

    def take(self, queue: str) -> tuple[Any, bytes] | None:
        """Properties and body of the first message, removed; None if there is none."""
        with self.channel() as channel:
            method, properties, body = channel.basic_get(queue, auto_ack=True)
            return None if method is None else (properties, body)

    def depth(self, queue: str) -> int:
        with self.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)
