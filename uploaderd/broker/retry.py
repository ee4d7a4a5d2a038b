"""What becomes of a message whose handling failed: another attempt, or a dead letter."""

from __future__ import annotations

import hashlib
import platform
import random
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from uploaderd import clock, messages
from uploaderd.broker import notices, topology
from uploaderd.broker.features import Features
from uploaderd.broker.job import Outgoing
from uploaderd.config.settings import BrokerSettings, QueueSettings
from uploaderd.errors import BrokerError, Disposition, MessageError, UploaderError
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
HOST = PREFIX + "host"
FILE = PREFIX + "file"
"""The station and the station's file that the message is about, if it names them."""
DIED_AT = PREFIX + "died-at"
ACQUIRED = "x-acquired-count"
"""How often the broker has given the message out before: RabbitMQ from 4.3 on."""
DELIVERED = "x-delivery-count"
"""Failed deliveries; before 4.3 every delivery that was not acknowledged."""
_BROKERS = ("x-death", "x-first-death", "x-last-death", DELIVERED, ACQUIRED)


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
        """Number of this attempt, from 1; what the broker gave out again by itself counts, too."""
        return _count(self.headers, ATTEMPT, 1) + _count(self.headers, ACQUIRED, 0)

    @property
    def failures(self) -> int:
        """How many attempts have failed so far, by our own count and by the broker's."""
        given_back = _count(self.headers, DELIVERED, 0) if ACQUIRED in self.headers else 0
        return _count(self.headers, FAILURES, 0) + given_back


@dataclass(frozen=True)
class GiveBack:
    """The broker is to deliver the message again after its own delay (RabbitMQ 4.3)."""

    failed: bool
    """Whether the attempt counts towards the limit."""


Outcome = Sequence[Outgoing] | GiveBack
"""What is to be done before a delivery is over."""


def outcome(
    error: Exception,
    received: Received,
    broker: BrokerSettings,
    queue: QueueSettings,
    features: Features,
) -> Outcome:
    """What a failure leads to: by `retry_by`, as far as the broker has the means."""
    if queue.retry_by == "broker" and features.delayed_retry:
        back = given_back(error, received, queue)
        if back is not None:
            COUNTERS.add("retries_total", code=_code(error))
            return back
    again = counted(error, received, broker, queue)
    return [again, *_notices(again, broker, queue)]


def given_back(error: Exception, received: Received, queue: QueueSettings) -> GiveBack | None:
    """What `after` decides, for a broker that delays retries itself; None: a dead letter."""
    disposition = _disposition(error)
    if disposition is Disposition.NEVER:
        return None
    failed = disposition is Disposition.FAILED
    if failed and received.failures + 1 >= queue.retry_limit:
        return None
    return GiveBack(failed)


def after(
    error: Exception, received: Received, broker: BrokerSettings, queue: QueueSettings
) -> Outgoing:
    """The publication that a failure asks for; its confirmation lets the delivery be acknowledged.

    NOT_NOW waits without a limit, FAILED until `queue.retry_limit` attempts have failed, NEVER is
    a dead letter at once. An error that is not of our family counts as FAILED.
    """
    disposition = _disposition(error)
    failures = received.failures + (disposition is Disposition.FAILED)
    kept = {key: value for key, value in received.headers.items() if not key.startswith(_BROKERS)}
    headers = {
        **kept,
        FAILURES: failures,
        FIRST_FAILURE: str(received.headers.get(FIRST_FAILURE) or f"{clock.seconds():.3f}"),
        CODE: _code(error),
        ERROR: _text(error),
        TRACEBACK: digest(error),
        MACHINE: platform.node(),
        SERVICE: queue.name,
        **_subject(received.body),
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


def _notices(again: Outgoing, broker: BrokerSettings, queue: QueueSettings) -> Iterator[Outgoing]:
    """An event for a dead letter, beside it."""
    if again.exchange != topology.dead_exchange(broker):
        return
    told = ("code", "host", "file", "traceback", "machine")
    payload = {key: again.headers[PREFIX + key] for key in told if PREFIX + key in again.headers}
    message = str(again.headers[ERROR])
    subject = f"a message of {queue.name} is a dead letter"
    body = notices.event(
        "error", "dead_letter", subject, message, {"message_id": again.message_id, **payload}
    )
    yield notices.notice(queue.name, body, again.message_id)


def digest(error: BaseException) -> str:
    """Twelve hexadecimal digits that are equal for errors raised at the same place."""
    frames = traceback.extract_tb(error.__traceback__)
    places = "".join(f"{frame.filename}:{frame.lineno}:{frame.name};" for frame in frames)
    return hashlib.sha256(f"{type(error).__name__};{places}".encode()).hexdigest()[:12]


def fresh_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Headers without the history of failures, for a message that starts anew."""
    own = (PREFIX, *_BROKERS)
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


def _disposition(error: Exception) -> Disposition:
    return error.disposition if isinstance(error, UploaderError) else Disposition.FAILED


def _code(error: Exception) -> str:
    return error.code if isinstance(error, UploaderError) else "unexpected"


def _subject(body: bytes) -> dict[str, str]:
    """Which station and file a message is about, for whoever looks at a dead letter."""
    try:
        values = messages.decode(body)
    except MessageError:
        return {}
    if not isinstance(values, dict):
        return {}
    host = values.get("host_id") or values.get("host_uid") or values.get("host_add")
    named = {HOST: host, FILE: values.get("remote_path")}
    return {key: str(value)[:500] for key, value in named.items() if value}


def _text(error: Exception) -> str:
    text = str(error) if isinstance(error, UploaderError) else f"{type(error).__name__}: {error}"
    return str(redact(text))[:2000]
