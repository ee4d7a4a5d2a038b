"""The planned topology beside the broker's: differences, declaration, and export as definitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pika import exceptions as pe

from uploaderd.broker import topology
from uploaderd.broker.topology import Binding, Exchange, Part, Queue
from uploaderd.config.settings import BrokerSettings, QueueSettings


def parts(pairs: Iterable[tuple[BrokerSettings, QueueSettings]]) -> tuple[Part, ...]:
    """All that the services of one broker need, each part once."""
    found: list[Part] = []
    for broker, queue in pairs:
        found += [part for part in topology.plan(broker, queue) if part not in found]
    return tuple(found)


def name(part: Part) -> str:
    """A part in one line."""
    match part:
        case Exchange(called, kind):
            return f"exchange {called} ({kind})"
        case Queue(called, arguments):
            values = ", ".join(f"{key}={value}" for key, value in arguments.items())
            return f"queue {called} ({values})"
        case Binding(exchange, queue, key):
            return f"binding {exchange} --{key or '*'}--> {queue}"


def differences(connection: Any, wanted: Iterable[Part]) -> Iterator[tuple[Part, str]]:
    """Each part with `same`, `missing`, `different: …` or `unknown`.

    AMQP can only ask whether a thing exists; that its arguments are ours shows by declaring it
    again, which changes nothing that exists. Bindings cannot be asked for at all.
    """
    for part in wanted:
        if isinstance(part, Binding):
            yield part, "unknown (AMQP cannot ask for bindings)"
            continue
        # A refusal closes the channel: each part has its own.
        missing = _refusal(connection, part, passive=True)
        if missing is not None:
            yield part, "missing" if missing.startswith("404") else f"unknown: {missing}"
            continue
        different = _refusal(connection, part, passive=False)
        yield part, "same" if different is None else f"different: {different}"


def declare(channel: Any, part: Part, *, passive: bool = False) -> None:
    """Declares a part; pika's ChannelClosedByBroker if the broker does not agree."""
    match part:
        case Exchange(called, kind):
            channel.exchange_declare(called, kind, durable=True, passive=passive)
        case Queue(called, arguments):
            channel.queue_declare(called, durable=True, passive=passive, arguments=dict(arguments))
        case Binding(exchange, queue, key):
            channel.queue_bind(queue, exchange, key)


def _refusal(connection: Any, part: Part, *, passive: bool) -> str | None:
    channel = connection.channel()
    try:
        declare(channel, part, passive=passive)
    except pe.ChannelClosedByBroker as error:
        return f"{error.reply_code} {error.reply_text}"
    channel.close()
    return None


def definitions(pairs: Iterable[tuple[BrokerSettings, QueueSettings]]) -> dict[str, Any]:
    """Definitions for `rabbitmqctl import_definitions`: topology, and the limits as policies.

    The policy of a service's queue makes the broker itself dead-letter what the daemon could not:
    at least once, which needs `reject-publish`, and after more deliveries than the daemon allows.
    """
    pairs = list(pairs)
    made: dict[str, Any] = {"exchanges": [], "queues": [], "bindings": [], "policies": []}
    for broker, queue in pairs:
        host = {"vhost": broker.virtual_host}
        for part in topology.plan(broker, queue):
            section, entry = _entry(part, host)
            if entry not in made[section]:
                made[section].append(entry)
        made["policies"].append(_policy(broker, queue))
    return made


def _entry(part: Part, host: dict[str, str]) -> tuple[str, dict[str, Any]]:
    durable = {"durable": True, "auto_delete": False}
    match part:
        case Exchange(called, kind):
            empty: dict[str, Any] = {}
            entry = {**host, "name": called, "type": kind, **durable, "internal": False}
            return "exchanges", {**entry, "arguments": empty}
        case Queue(called, arguments):
            return "queues", {**host, "name": called, **durable, "arguments": dict(arguments)}
        case Binding(exchange, queue, key):
            ends = {"source": exchange, "destination": queue, "destination_type": "queue"}
            return "bindings", {**host, **ends, "routing_key": key, "arguments": {}}


def _policy(broker: BrokerSettings, queue: QueueSettings) -> dict[str, Any]:
    return {
        "vhost": broker.virtual_host,
        "name": f"uploaderd-{queue.name}",
        "pattern": f"^{queue.name.replace('.', '[.]')}$",
        "apply-to": "queues",
        "priority": 10,
        "definition": {
            "dead-letter-exchange": topology.dead_exchange(broker),
            "dead-letter-routing-key": queue.name,
            "dead-letter-strategy": "at-least-once",
            "overflow": "reject-publish",
            "delivery-limit": 100,
        },
    }
