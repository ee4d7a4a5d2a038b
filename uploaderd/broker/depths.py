"""How much waits in a service's queues; for a look now and then, not for the work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pika
from pika import exceptions as pe

from uploaderd.broker import access, topology
from uploaderd.config.settings import BrokerSettings, QueueSettings
from uploaderd.errors import BrokerError


def depths(broker: BrokerSettings, queue: QueueSettings) -> dict[str, int]:
    """Messages `ready`, `retrying` and `dead`, and the `consumers`, of one service's queues.

    Raises BrokerError: the broker cannot be reached, or the queue is not there.
    """
    with contextlib.closing(_connect(broker)) as connection:
        ready, consumers = _declared(connection, queue.name)
        dead, _ = _declared(connection, topology.dead_queue(queue))
        steps = dict.fromkeys(queue.retry_delays_s)
        waiting = [_declared(connection, topology.retry_queue(queue, step))[0] for step in steps]
    return {"ready": ready, "retrying": sum(waiting), "dead": dead, "consumers": consumers}


def _connect(broker: BrokerSettings) -> Any:
    failure = BrokerError("No broker is configured.")
    for host, port in broker.hosts:
        try:
            return pika.BlockingConnection(
                access.parameters(broker, host, port, name="uploaderctl status")
            )
        except (pe.AMQPError, OSError) as error:
            failure = access.explain(error, broker, host, port)
    raise failure


def _declared(connection: Any, name: str) -> tuple[int, int]:
    """Ready messages and consumers of one queue."""
    try:
        with _channel(connection) as channel:
            method = channel.queue_declare(name, passive=True).method
            return method.message_count, method.consumer_count
    except pe.ChannelClosedByBroker as error:
        raise BrokerError(f"The queue {name} cannot be looked at: {error.reply_text}.") from None
    except (pe.AMQPError, OSError) as error:
        raise BrokerError(f"The broker broke off: {error!r}.") from None


@contextlib.contextmanager
def _channel(connection: Any) -> Iterator[Any]:
    channel = connection.channel()
    try:
        yield channel
    finally:
        if channel.is_open:
            channel.close()
