"""Whether a service's account may do at the broker what the service does."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

import pika
from pika import exceptions as pe

from uploaderd.broker import topology
from uploaderd.broker.depths import connected
from uploaderd.config.settings import BrokerSettings, QueueSettings


def missing_rights(broker: BrokerSettings, queue: QueueSettings) -> str:
    """Which right is missing, in words; empty: none. Nothing is changed, and no message taken.

    Publishing is tried with a key that no queue is bound with, so that the broker gives the message
    back. Reading is tried on the dead letters' queue, which has no delivery limit. Declaring is
    tried by declaring what is there already, which needs the right and changes nothing.
    Raises BrokerError: the broker cannot be reached.
    """
    with connected(broker) as connection:
        for exchange in (broker.exchange, ""):
            refusal = _refusal(connection, lambda channel, e=exchange: _publish(channel, e))
            if refusal:
                return f"{broker.user!r} may not publish: {refusal}"
        for name in (queue.name, topology.dead_queue(queue)):
            refusal = _refusal(connection, lambda channel, n=name: _subscribe(channel, n))
            if refusal:
                return f"{broker.user!r} may not read: {refusal}"
        if queue.declare:
            refusal = _refusal(connection, lambda channel: _declare(channel, broker, queue))
            if refusal:
                return f"{broker.user!r} may not declare: {refusal}"
    return ""


def _publish(channel: Any, exchange: str) -> None:
    channel.confirm_delivery()
    key = f"uploaderctl.doctor.{uuid.uuid4().hex}"
    with contextlib.suppress(pe.UnroutableError):
        channel.basic_publish(exchange, key, b"", pika.BasicProperties(), mandatory=True)


def _subscribe(channel: Any, queue: str) -> None:
    # Binding and unbinding would change something; a passive declaration needs no right. The right
    # to read is asked for by a purge or a get, too: a consumer of lowest priority takes least.
    channel.basic_qos(prefetch_count=1)
    tag = channel.basic_consume(queue, lambda *_: None, arguments={"x-priority": -100})
    channel.basic_cancel(tag)


def _declare(channel: Any, broker: BrokerSettings, queue: QueueSettings) -> None:
    channel.exchange_declare(broker.exchange, "topic", durable=True)
    wanted = topology.Queue(queue.name)
    channel.queue_declare(queue.name, durable=True, arguments=dict(wanted.arguments))


def _refusal(connection: Any, act: Any) -> str:
    channel = connection.channel()
    try:
        act(channel)
    except pe.ChannelClosedByBroker as error:
        return str(error.reply_text)
    finally:
        if channel.is_open:
            channel.close()
    return ""
