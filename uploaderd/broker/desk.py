"""The dead-letter desk: look at dead letters, replay, mend or drop them.

A look takes letters unacknowledged, and gives them back by closing the connection. Replaying is
publishing to the service's own queue, with confirmation, and only then acknowledging: a letter is
twice there rather than nowhere.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pika
from pika import exceptions as pe

from uploaderd import messages
from uploaderd.broker import access, retry, topology
from uploaderd.config.settings import BrokerSettings, QueueSettings
from uploaderd.errors import BrokerError, MessageError


@dataclass(frozen=True)
class Letter:
    """One dead letter, with its tag on the channel that it was taken from."""

    tag: int
    service: str
    body: bytes
    properties: Any

    @property
    def headers(self) -> Mapping[str, Any]:
        """Its headers, the history of its failures among them."""
        headers: Mapping[str, Any] = self.properties.headers or {}
        return headers

    @property
    def message_id(self) -> str:
        """The id of the message."""
        return str(self.properties.message_id or "")

    @property
    def correlation_id(self) -> str:
        """The id of the message that all began with."""
        return str(self.properties.correlation_id or "")

    @property
    def code(self) -> str:
        """The code of the error that it died of."""
        return str(self.headers.get(retry.CODE, "unknown"))

    @property
    def age_s(self) -> float | None:
        """Seconds since its death; None if nobody wrote it down."""
        try:
            return max(0.0, time.time() - float(str(self.headers.get(retry.DIED_AT))))
        except ValueError:
            return None

    def decoded(self) -> object:
        """The body as JSON, or its text if it is none."""
        try:
            return messages.decode(self.body)
        except MessageError:
            return self.body.decode(errors="replace")

    def concerns(self, host: str) -> bool:
        """True if the body names the host, by id, by uid or by address."""
        body = self.decoded()
        names = ("host_id", "host_uid", "host_add")
        return isinstance(body, dict) and any(str(body.get(name)) == host for name in names)

    def shown(self) -> dict[str, Any]:
        """All of it for an operator, secrets masked."""
        return {
            "service": self.service,
            "message_id": self.message_id,
            "code": self.code,
            "error": str(self.headers.get(retry.ERROR, "")),
            "age_s": None if self.age_s is None else round(self.age_s, 1),
            "attempt": self.headers.get(retry.ATTEMPT),
            "first_failure": self.headers.get(retry.FIRST_FAILURE),
            "host": self.headers.get(retry.HOST),
            "file": self.headers.get(retry.FILE),
            "traceback": self.headers.get(retry.TRACEBACK),
            "machine": self.headers.get(retry.MACHINE),
            "body": messages.redact(self.decoded()),
        }


@dataclass(frozen=True)
class Filter:
    """Which letters are meant; None does not matter."""

    message_id: str | None = None
    code: str | None = None
    host: str | None = None
    older_than_s: float | None = None
    newer_than_s: float | None = None

    def takes(self, letter: Letter) -> bool:
        """True if the letter is meant. A letter of unknown age is neither older nor newer."""
        age = letter.age_s
        return (
            (self.message_id is None or letter.message_id == self.message_id)
            and (self.code is None or letter.code == self.code)
            and (self.host is None or letter.concerns(self.host))
            and (self.older_than_s is None or (age is not None and age >= self.older_than_s))
            and (self.newer_than_s is None or (age is not None and age <= self.newer_than_s))
        )


class Desk:
    """The dead letters of one service, over one channel."""

    def __init__(self, channel: Any, queue: QueueSettings) -> None:
        self._channel = channel
        self._queue = queue

    def letters(self, wanted: Filter) -> Iterator[Letter]:
        """Those that are there now and meant, oldest first; none if the queue does not exist."""
        name = topology.dead_queue(self._queue)
        count = self._channel.queue_declare(name, passive=True).method.message_count
        for _ in range(count):
            method, properties, body = self._channel.basic_get(name)
            if method is None:
                return
            letter = Letter(method.delivery_tag, self._queue.name, body, properties)
            if wanted.takes(letter):
                yield letter

    def replay(self, letter: Letter, body: bytes | None = None) -> None:
        """Puts it, or the mended body, into the service's queue as new; raises BrokerError."""
        old = letter.properties
        properties = pika.BasicProperties(
            content_type=old.content_type,
            delivery_mode=2,
            message_id=old.message_id,
            correlation_id=old.correlation_id,
            headers=retry.fresh_headers(letter.headers) or None,
            timestamp=int(time.time()),
            app_id="uploaderctl",
        )
        text = letter.body if body is None else body
        try:
            self._channel.basic_publish("", self._queue.name, text, properties, mandatory=True)
        except pe.UnroutableError:
            raise BrokerError(f"There is no queue {self._queue.name}: nothing is replayed.") from (
                None
            )
        except pe.NackError:
            raise BrokerError("The broker did not take the message.") from None
        self._channel.basic_ack(letter.tag)

    def pause(self, seconds: float) -> None:
        """Waits, and answers the broker's heartbeats meanwhile."""
        self._channel.connection.sleep(seconds)

    def drop(self, letter: Letter) -> None:
        """Removes it for good."""
        self._channel.basic_ack(letter.tag)


@contextlib.contextmanager
def channel(settings: BrokerSettings) -> Iterator[Any]:
    """A channel with confirms to the first broker that answers; errors become BrokerError."""
    place = settings.hosts[0]
    try:
        with _connection(settings) as connection:
            opened = connection.channel()
            opened.confirm_delivery()
            yield opened
    except pe.AMQPError as error:
        raise access.explain(error, settings, *place) from None


def _connection(settings: BrokerSettings) -> Any:
    last: BrokerError | None = None
    for host, port in settings.hosts:
        try:
            return pika.BlockingConnection(
                access.parameters(settings, host, port, name="uploaderctl")
            )
        except (pe.AMQPError, OSError) as error:
            last = access.explain(error, settings, host, port)
    raise last or BrokerError("No broker is configured.")
