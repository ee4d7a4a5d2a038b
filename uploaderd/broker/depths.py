"""How much waits in the services' queues; for a look now and then, not for the work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pika
from pika import exceptions as pe

from uploaderd.broker import access, topology
from uploaderd.config.settings import BrokerSettings, QueueSettings
from uploaderd.errors import BrokerError, ConfigError, UploaderError

LOOK_HEARTBEAT_S = 5
"""A broker that falls silent in the middle of a look is given up after twice this."""


def depths(broker: BrokerSettings, queue: QueueSettings) -> dict[str, int]:
    """Messages `ready`, `retrying` and `dead`, and the `consumers`, of one service's queues.

    Raises BrokerError: the broker cannot be reached, or the queue is not there.
    """
    with connected(broker) as connection:
        return _look(connection, queue)


@contextlib.contextmanager
def connected(broker: BrokerSettings) -> Iterator[Any]:
    """A connection for a look. Raises BrokerError."""
    connection = _connect(broker)
    try:
        yield connection
    finally:
        _close(connection)


def all_depths(
    queues: Sequence[tuple[BrokerSettings, QueueSettings]],
) -> list[dict[str, int] | str]:
    """The depths of each queue, in order, or why they cannot be told; never raises.

    Queues that are reached in the same way share a connection.
    """
    with contextlib.ExitStack() as open_ones:
        connections: dict[BrokerSettings, Any] = {}
        found: list[dict[str, int] | str] = []
        for broker, queue in queues:
            try:
                if broker not in connections:
                    connections[broker] = _reached(broker, open_ones)
                if isinstance(connections[broker], UploaderError):
                    raise connections[broker]
                found.append(_look(connections[broker], queue))
            except (BrokerError, ConfigError) as error:
                found.append(str(error))
        return found


def _reached(broker: BrokerSettings, open_ones: contextlib.ExitStack) -> Any:
    """A connection, or the error: a broker that is away is not asked once for every queue."""
    try:
        connection = _connect(broker)
    except (BrokerError, ConfigError) as error:
        return error
    open_ones.callback(_close, connection)
    return connection


def _close(connection: Any) -> None:
    with contextlib.suppress(pe.AMQPError):
        connection.close()


def _look(connection: Any, queue: QueueSettings) -> dict[str, int]:
    ready, consumers = _declared(connection, queue.name)
    dead, _ = _declared(connection, topology.dead_queue(queue))
    steps = dict.fromkeys(queue.retry_delays_s)
    waiting = [_declared(connection, topology.retry_queue(queue, step))[0] for step in steps]
    return {"ready": ready, "retrying": sum(waiting), "dead": dead, "consumers": consumers}


def _connect(broker: BrokerSettings) -> Any:
    looking = replace(broker, heartbeat_s=min(broker.heartbeat_s, LOOK_HEARTBEAT_S))
    failure = BrokerError("No broker is configured.")
    for host, port in broker.hosts:
        try:
            return pika.BlockingConnection(
                access.parameters(looking, host, port, name="uploaderctl status")
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
