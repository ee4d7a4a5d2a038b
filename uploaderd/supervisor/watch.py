"""Looks at the services' queues now and then, in a thread that nothing waits for.

The same thread publishes the supervisor's own events, when the broker is there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pika
from pika import exceptions as pe

from uploaderd.broker.depths import all_depths, connected
from uploaderd.broker.notices import notice
from uploaderd.config.settings import BrokerSettings, QueueSettings, ServiceSettings
from uploaderd.errors import BrokerError, ConfigError

log = logging.getLogger(__name__)

_KEPT = 1000
"""Events that wait for the broker at most."""

Look = Callable[[Sequence[tuple[BrokerSettings, QueueSettings]]], Sequence[dict[str, int] | str]]


@dataclass(frozen=True)
class Queue:
    """What one look told of a service's queues."""

    queue: str
    at: float
    """When, in Unix seconds."""
    error: str = ""
    """Why nothing can be told; empty: all is known."""
    ready: int = 0
    retrying: int = 0
    dead: int = 0
    consumers: int = 0
    deserted_since: float | None = None
    """Since when, as far as was seen, messages wait and nobody takes them; None: not so."""


class QueueWatch:
    """Keeps what was seen last in `seen`, by service; `close` it.

    A message at the head of a queue cannot be looked at without taking it, which the broker counts
    as a delivery. So its age is known from those who hold it (`Session.held`); only for a queue
    without consumers it is told how long it has been seen to wait.
    """

    def __init__(self, interval_s: float, look: Look = all_depths) -> None:
        self.seen: Mapping[str, Queue] = {}
        self._interval_s = interval_s
        self._look = look
        self._services: tuple[ServiceSettings, ...] = ()
        self._events: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="queues", daemon=True)
        self._thread.start()

    def watch(self, services: Iterable[ServiceSettings], interval_s: float) -> None:
        """From now on looks at the queues of these services that take messages."""
        self._services = tuple(each for each in services if each.queue.bindings)
        self._interval_s = interval_s
        self._changed.set()

    def publish(self, event: dict[str, Any]) -> None:
        """Has an event published as `notify.<severity>.supervisor`; returns at once."""
        self._events.append(event)
        self._changed.set()

    def close(self) -> None:
        """Ends the looking; a look that hangs is left behind."""
        self._closing.set()
        self._changed.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._changed.clear()
            services = self._services
            found = self._look([(each.broker, each.queue) for each in services])
            now = time.time()
            self.seen = {
                each.name: self._queue(each, told, now)
                for each, told in zip(services, found, strict=True)
            }
            self._publish(services)
            self._changed.wait(self._interval_s)

    def _publish(self, services: Sequence[ServiceSettings]) -> None:
        """What cannot be published waits for the next look; of too many the oldest are lost."""
        if not self._events or not services:
            return
        broker = services[0].broker
        try:
            with connected(broker) as connection, connection.channel() as channel:
                channel.confirm_delivery()
                while self._events:
                    one = notice("supervisor", self._events[0])
                    channel.basic_publish(
                        broker.exchange,
                        one.routing_key,
                        one.body,
                        pika.BasicProperties(
                            content_type=one.content_type,
                            delivery_mode=2,
                            message_id=one.message_id,
                            timestamp=int(time.time()),
                            app_id="uploaderd",
                        ),
                    )
                    self._events.popleft()
        except (BrokerError, ConfigError, pe.AMQPError) as error:
            log.debug("events wait for the broker: %s", error)

    def _queue(self, service: ServiceSettings, told: dict[str, int] | str, now: float) -> Queue:
        name = service.queue.name
        if isinstance(told, str):
            return Queue(name, now, error=told)
        before = self.seen.get(service.name)
        since = before.deserted_since if before else None
        deserted = told["ready"] > 0 and told["consumers"] == 0
        return Queue(
            name,
            now,
            ready=told["ready"],
            retrying=told["retrying"],
            dead=told["dead"],
            consumers=told["consumers"],
            deserted_since=(since or now) if deserted else None,
        )
