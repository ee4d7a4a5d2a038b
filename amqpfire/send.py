"""Publishes with confirmation, and collects the answers by direct reply-to."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pika
from pika import exceptions as pe

from uploaderd import messages
from uploaderd.broker import access
from uploaderd.broker.access import AccessRefused
from uploaderd.config.settings import BrokerSettings
from uploaderd.errors import BrokerError, MessageError

OK, UNROUTABLE, REFUSED, UNREACHABLE, NO_ANSWER = 0, 3, 4, 5, 7
REPLY_TO = "amq.rabbitmq.reply-to"


@dataclass(frozen=True)
class Outcome:
    """What became of one message: exit status, a text, and the answer if one came."""

    index: int
    status: int
    text: str = "OK"
    answer: dict[str, Any] | None = None


def send(
    settings: BrokerSettings, key: str, bodies: Sequence[object], wait_s: float | None
) -> Iterator[Outcome]:
    """Publishes valid bodies under a routing key; gives each one's outcome as soon as it is known.

    With `wait_s`, the outcome is the answer, which has so many seconds from the last publication.
    A broker that cannot be reached is the outcome of all that is open.
    """
    open_ones = dict(enumerate(bodies))
    try:
        with _connect(settings) as connection:
            for outcome in _talk(connection, settings.exchange, key, bodies, wait_s):
                del open_ones[outcome.index]
                yield outcome
        return
    except AccessRefused as error:
        status, text = REFUSED, str(error)
    except (BrokerError, pe.AMQPError, OSError) as error:
        status, text = UNREACHABLE, str(error)
        if not isinstance(error, BrokerError):
            refusal = access.explain(error, settings, *settings.hosts[0])
            status = REFUSED if isinstance(refusal, AccessRefused) else UNREACHABLE
            text = str(refusal)
    for index in open_ones:
        yield Outcome(index, status, text)


def _connect(settings: BrokerSettings) -> Any:
    """A connection to the first host that answers; the last host's error if none does."""
    last: BrokerError | None = None
    for host, port in settings.hosts:
        try:
            return pika.BlockingConnection(access.parameters(settings, host, port, name="amqpfire"))
        except (pe.AMQPError, OSError) as error:
            last = access.explain(error, settings, host, port)
            if isinstance(last, AccessRefused):
                break
    raise last or BrokerError("No broker is configured.")


def _talk(
    connection: Any, exchange: str, key: str, bodies: Sequence[object], wait_s: float | None
) -> Iterator[Outcome]:
    answers: dict[str, bytes] = {}
    waiting: dict[str, int] = {}
    channel = _channel(connection, None if wait_s is None else answers)
    for index, body in enumerate(bodies):
        properties = _properties(None if wait_s is None else REPLY_TO)
        refusal = _publish(channel, exchange, key, body, properties)
        if refusal is not None:
            yield Outcome(index, *refusal)
            if not channel.is_open:
                # A reply comes over the channel of its request: what is waited for is lost.
                channel = _channel(connection, None if wait_s is None else answers)
        elif wait_s is None:
            yield Outcome(index, OK)
        else:
            waiting[properties.message_id] = index
    yield from _answers(connection, waiting, answers, wait_s or 0.0)


def _channel(connection: Any, answers: dict[str, bytes] | None) -> Any:
    """A channel with confirms, whose answers, if wanted, are kept by correlation id."""
    channel = connection.channel()
    channel.confirm_delivery()
    if answers is not None:

        def keep(_channel: Any, _method: Any, properties: Any, body: bytes) -> None:
            answers[properties.correlation_id] = body

        channel.basic_consume(REPLY_TO, keep, auto_ack=True)
    return channel


def _properties(reply_to: str | None) -> Any:
    message_id = os.urandom(16).hex()
    return pika.BasicProperties(
        content_type="application/json",
        delivery_mode=2,
        message_id=message_id,
        correlation_id=message_id,
        reply_to=reply_to,
        timestamp=int(time.time()),
        app_id="amqpfire",
    )


def _publish(
    channel: Any, exchange: str, key: str, body: object, properties: Any
) -> tuple[int, str] | None:
    try:
        channel.basic_publish(exchange, key, messages.encode(body), properties, mandatory=True)
    except pe.UnroutableError:
        return UNROUTABLE, f"No queue takes {key}: the service for it has never run here."
    except pe.NackError:
        return REFUSED, "The broker did not take the message."
    except pe.ChannelClosedByBroker as error:
        if error.reply_code == 404:
            return UNROUTABLE, f"The exchange {exchange} does not exist: has the daemon ever run?"
        return REFUSED, f"The broker does not allow it: {error.reply_text}."
    return None


def _answers(
    connection: Any, waiting: dict[str, int], answers: dict[str, bytes], wait_s: float
) -> Iterator[Outcome]:
    deadline = time.monotonic() + wait_s
    while waiting:
        left = deadline - time.monotonic()
        if not answers:
            if left <= 0:
                break
            connection.process_data_events(left)
        for message_id in list(answers):
            body = answers.pop(message_id)
            index = waiting.pop(message_id, None)
            if index is not None:
                yield _answered(index, body)
    for index in waiting.values():
        yield Outcome(index, NO_ANSWER, f"Sent, but no answer came within {wait_s:g} s.")


def _answered(index: int, body: bytes) -> Outcome:
    try:
        answer = messages.decode(body)
    except MessageError as error:
        return Outcome(index, NO_ANSWER, f"The answer is not usable: {error}")
    if not isinstance(answer, dict):
        return Outcome(index, NO_ANSWER, "The answer is not a JSON object.")
    return Outcome(index, OK, "OK", answer)
