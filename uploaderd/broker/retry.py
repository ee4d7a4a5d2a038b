"""What becomes of a message whose handling failed: another attempt, or a dead letter."""

from __future__ import annotations

import hashlib
import platform
import random
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from uploaderd import clock
from uploaderd.broker import topology
from uploaderd.broker.job import Outgoing
from uploaderd.config.settings import BrokerSettings, QueueSettings
from uploaderd.errors import BrokerError, Disposition, UploaderError
from uploaderd.messages.redaction import redact
from uploaderd.observe.counters import COUNTERS

PREFIX = "x-uploaderd-"
ATTEMPT = PREFIX + "attempt"
"""Number of the coming attempt, from 1."""
FAILURES = PREFIX + "failures"
"""How many attempts failed in a way that counts towards the limit."""
FIRST_FAILURE = PREFIX + "first-failure"
"""Unix seconds, as text, for AMQP tables of different clients disagree about floats."""
CODE = PREFIX + "code"
ERROR = PREFIX + "error"
TRACEBACK = PREFIX + "traceback"
"""Digest of the places in the program that the error went through: equal for equal faults."""
MACHINE = PREFIX + "machine"
SERVICE = PREFIX + "service"
DIED_AT = PREFIX + "died-at"


class UnroutableError(BrokerError):
    """A mandatory message was returned: no queue takes it."""

    code = "unroutable"


class RefusedError(BrokerError):
    """The broker did not accept a publication."""

    code = "refused"


class QuarantinedError(UploaderError):
    """The process died, more than once, while it had this message at work."""

    code = "quarantined"
    disposition = Disposition.NEVER


@dataclass(slots=True)
class Received:
    """What is kept of a delivery in order to publish it once more."""

    body: bytes
    message_id: str
    correlation_id: str = ""
    reply_to: str = ""
    headers: Mapping[str, Any] = field(default_factory=dict)
    content_type: str = "application/json"

    @property
    def attempt(self) -> int:
        """Number of this attempt, from 1."""
        return _count(self.headers, ATTEMPT, 1)


def after(
    error: Exception, received: Received, broker: BrokerSettings, queue: QueueSettings
) -> Outgoing:
    """The publication that a failure asks for; its confirmation lets the delivery be acknowledged.

    NOT_NOW waits without a limit, FAILED until `queue.retry_limit` attempts have failed, NEVER is
    a dead letter at once. An error that is not of our family counts as FAILED.
    """
    expected = isinstance(error, UploaderError)
    disposition = error.disposition if isinstance(error, UploaderError) else Disposition.FAILED
    failures = _count(received.headers, FAILURES, 0) + (disposition is Disposition.FAILED)
    kept = {key: value for key, value in received.headers.items() if not key.startswith("x-death")}
    headers = {
        **kept,
        FAILURES: failures,
        FIRST_FAILURE: str(received.headers.get(FIRST_FAILURE) or f"{clock.seconds():.3f}"),
        CODE: error.code if isinstance(error, UploaderError) else "unexpected",
        ERROR: _text(error, expected),
        TRACEBACK: digest(error),
        MACHINE: platform.node(),
        SERVICE: queue.name,
    }
    spent = disposition is Disposition.FAILED and failures >= queue.retry_limit
    if spent or disposition is Disposition.NEVER:
        return _dead(received, {**headers, ATTEMPT: received.attempt}, broker, queue)
    return _again(received, {**headers, ATTEMPT: received.attempt + 1}, queue)


def counted(
    error: Exception, received: Received, broker: BrokerSettings, queue: QueueSettings
) -> Outgoing:
    """As `after`, and counted for the metrics by the error's code."""
    outgoing = after(error, received, broker, queue)
    dead = outgoing.exchange == topology.dead_exchange(broker)
    name = "dead_letters_total" if dead else "retries_total"
    COUNTERS.add(name, code=str(outgoing.headers[CODE]))
    return outgoing


def digest(error: BaseException) -> str:
    """Twelve hexadecimal digits that are equal for errors raised at the same place."""
    frames = traceback.extract_tb(error.__traceback__)
    places = "".join(f"{frame.filename}:{frame.lineno}:{frame.name};" for frame in frames)
    return hashlib.sha256(f"{type(error).__name__};{places}".encode()).hexdigest()[:12]


def fresh_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Headers without the history of failures, for a message that starts anew."""
    own = (PREFIX, "x-death", "x-first-death", "x-last-death", "x-delivery-count")
    return {key: value for key, value in headers.items() if not key.startswith(own)}


def _again(received: Received, headers: Mapping[str, Any], queue: QueueSettings) -> Outgoing:
    steps = queue.retry_delays_s
    step = steps[min(received.attempt, len(steps)) - 1]
    # Jitter: those that failed together do not come back together. The queue's TTL is the most.
    wait_ms = int(step * 1000 * random.uniform(0.8, 1.0))
    return _copy(
        received, headers, "", topology.retry_queue(queue, step), expiration_ms=max(wait_ms, 1)
    )


def _dead(
    received: Received, headers: Mapping[str, Any], broker: BrokerSettings, queue: QueueSettings
) -> Outgoing:
    headers = {**headers, DIED_AT: f"{clock.seconds():.3f}"}
    return _copy(received, headers, topology.dead_exchange(broker), queue.name)


def _copy(
    received: Received,
    headers: Mapping[str, Any],
    exchange: str,
    routing_key: str,
    expiration_ms: int | None = None,
) -> Outgoing:
    return Outgoing(
        routing_key=routing_key,
        body=received.body,
        message_id=received.message_id,
        correlation_id=received.correlation_id,
        headers=headers,
        exchange=exchange,
        expiration_ms=expiration_ms,
        reply_to=received.reply_to,
        content_type=received.content_type,
    )


def _count(headers: Mapping[str, Any], key: str, default: int) -> int:
    # Headers are input like any other: whoever publishes can write anything there.
    value = headers.get(key)
    return value if type(value) is int and 0 <= value < 1 << 31 else default


def _text(error: Exception, expected: bool) -> str:
    text = str(error) if expected else f"{type(error).__name__}: {error}"
    return str(redact(text))[:2000]
