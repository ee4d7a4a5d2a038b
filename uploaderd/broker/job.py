"""What a handler sees of a message, and what it wants published."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from uploaderd import messages
from uploaderd.messages.redaction import redact


class Outgoing(NamedTuple):
    """One message to be published. `exchange` None is the configured one.

    A tuple, for one is made for every message, and a frozen dataclass takes four times as long.
    """

    routing_key: str
    body: bytes
    message_id: str
    correlation_id: str = ""
    headers: Mapping[str, Any] = MappingProxyType({})
    exchange: str | None = None
    mandatory: bool = True
    delay_s: float = 0.0
    expiration_ms: int | None = None
    reply_to: str = ""
    content_type: str = "application/json"


def _nothing() -> None:
    return None


def _nowhere(_body: bytes) -> None:
    return None


def _to_nobody(_outgoing: Sequence[Outgoing]) -> None:
    return None


@dataclass(slots=True)
class Job:
    """A valid message at work.

    What it publishes is collected and sent when the handler has returned; the message is
    acknowledged when the broker has confirmed all of it. Nothing is sent if the handler raises.
    The ids of follow-ups are derived from the message's own, so that a repetition repeats them.
    """

    body: dict[str, Any]
    message_id: str = ""
    correlation_id: str = ""
    attempt: int = 1
    """1 for the first; grows with each repetition, whatever its reason."""
    reply_to: str = ""
    outgoing: list[Outgoing] = field(default_factory=list)
    send_reply: Callable[[bytes], None] = _nowhere
    send_now: Callable[[Sequence[Outgoing]], None] = _to_nobody
    on_beat: Callable[[], None] = _nothing
    stop: threading.Event = field(default_factory=threading.Event)
    confirmed: int = 0
    """How many messages `confirm` has sent."""

    @property
    def stopping(self) -> bool:
        """True when the instance is to end: finish soon, or re-enqueue the remainder."""
        return self.stop.is_set()

    def publish(
        self,
        kind: str,
        body: Mapping[str, Any],
        *,
        headers: Mapping[str, Any] | None = None,
        delay_s: float = 0.0,
    ) -> None:
        """Collects a message for the service `kind`, to arrive `delay_s` seconds later or more.

        Raises MessageError if the body is not valid: our own messages are checked, too.
        """
        messages.validate(kind, body)
        self._collect(messages.routing_key(kind), body, headers or {}, True, delay_s)

    def confirm(self) -> None:
        """Sends what was collected so far, and waits until the broker has confirmed all of it.

        For a handler whose next step relies on its follow-ups being safe. Raises BrokerError if the
        broker does not confirm; what it has taken may then be published twice.
        """
        if self.outgoing:
            self.send_now(self.outgoing)
            self.confirmed += len(self.outgoing)
            self.outgoing = []

    def publish_event(self, routing_key: str, body: Mapping[str, Any]) -> None:
        """Collects an event, as `notify.error.backup`; it is no error if nobody listens."""
        self._collect(routing_key, body, {}, False, 0.0)

    def _collect(
        self,
        routing_key: str,
        body: Mapping[str, Any],
        headers: Mapping[str, Any],
        mandatory: bool,
        delay_s: float,
    ) -> None:
        text = messages.encode(body)
        number = self.confirmed + len(self.outgoing)
        digest = hashlib.sha256(f"{self.message_id}|{number}|{routing_key}|".encode())
        digest.update(text)
        self.outgoing.append(
            Outgoing(
                routing_key,
                text,
                digest.hexdigest()[:32],
                self.correlation_id or self.message_id,
                headers,
                mandatory=mandatory,
                delay_s=delay_s,
            )
        )

    def reply(self, body: Mapping[str, Any]) -> None:
        """Answers at once, if an answer was asked for; an asker who has left is no error."""
        if self.reply_to:
            self.send_reply(messages.encode(body))

    def beat(self) -> None:
        """Tells that the work goes on; call it at least every few seconds of a long job."""
        self.on_beat()

    def __repr__(self) -> str:
        return f"Job({self.message_id}, attempt {self.attempt}, {json.dumps(redact(self.body))})"
