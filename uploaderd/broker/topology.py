"""What is declared at the broker, as data.

    exchange ──binding──► queue ──failure──► queue.retry.30s ──TTL──► queue
       ▲                    └──the limit──► exchange.dead ──► queue.dead
       └──TTL── exchange.delay.60s (fanout: keeps the routing key)

The main queue has its type as only argument (and its delay, if the broker is to see to retries):
limits are policies, which can change without a new queue. Retry and delay queues are what their
arguments make of them; a step that is changed in the configuration has another name, and so never
meets a queue with other arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from uploaderd.config.settings import BrokerSettings, QueueSettings

DELAY_STEPS_S = (1, 5, 15, 60, 300, 900, 3600, 21600)
"""Steps of a delayed publication; a delay is rounded up to one of them."""

UNLIMITED = (1 << 31) - 1
"""Deliveries of a dead letter, of which each look is one, or of a message whose retries the broker
delays: RabbitMQ 4 drops after 20 by default."""

QUORUM: Mapping[str, Any] = {"x-queue-type": "quorum"}


@dataclass(frozen=True)
class Exchange:
    """A durable exchange."""

    name: str
    type: str


@dataclass(frozen=True)
class Queue:
    """A durable queue with its hard arguments."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=lambda: QUORUM)


@dataclass(frozen=True)
class Binding:
    """Messages of `exchange` with `routing_key` go to `queue`."""

    exchange: str
    queue: str
    routing_key: str


Part = Exchange | Queue | Binding


def plan(broker: BrokerSettings, queue: QueueSettings) -> tuple[Part, ...]:
    """All that one service needs, in the order of declaration."""
    return (
        Exchange(broker.exchange, "topic"),
        Exchange(dead_exchange(broker), "direct"),
        Queue(dead_queue(queue), {**QUORUM, "x-delivery-limit": UNLIMITED}),
        Binding(dead_exchange(broker), dead_queue(queue), queue.name),
        *(_waiting(retry_queue(queue, step), step, "", queue.name) for step in _steps(queue)),
        Queue(queue.name, {**QUORUM, **_delayed_retry(queue)}),
        *(Binding(broker.exchange, queue.name, key) for key in queue.bindings),
    )


def delay_plan(broker: BrokerSettings, step_s: int) -> tuple[Part, ...]:
    """What a delayed publication of one step needs; declared when it is first used."""
    name = delay_exchange(broker, step_s)
    return (
        Exchange(name, "fanout"),
        _waiting(name, step_s, broker.exchange, None),
        Binding(name, name, ""),
    )


def dead_exchange(broker: BrokerSettings) -> str:
    """Name of the exchange that takes dead letters, by the name of their queue."""
    return f"{broker.exchange}.dead"


def dead_queue(queue: QueueSettings) -> str:
    """Name of the queue that keeps a service's dead letters."""
    return f"{queue.name}.dead"


def retry_queue(queue: QueueSettings, step_s: float) -> str:
    """Name of the queue in which a message waits for its next attempt."""
    return f"{queue.name}.retry.{step_s:g}s"


def delay_exchange(broker: BrokerSettings, step_s: int) -> str:
    """Name of the exchange, and of its queue, that delays by a step."""
    return f"{broker.exchange}.delay.{step_s}s"


def delay_step(delay_s: float) -> int:
    """The shortest step that is at least the delay; the longest one for what is beyond it."""
    return next((step for step in DELAY_STEPS_S if step >= delay_s), DELAY_STEPS_S[-1])


def _delayed_retry(queue: QueueSettings) -> dict[str, Any]:
    # As arguments and not as a policy: what is given back to a queue without them comes again at
    # once, and nobody could tell. The broker's delay is the least times the count of failures. Our
    # own limits decide when there were too many; the broker's would drop after 20.
    if queue.retry_by != "broker":
        return {}
    return {
        "x-delivery-limit": UNLIMITED,
        "x-delayed-retry-type": "all",
        "x-delayed-retry-min": int(min(queue.retry_delays_s) * 1000),
        "x-delayed-retry-max": int(max(queue.retry_delays_s) * 1000),
    }


def _steps(queue: QueueSettings) -> Iterator[float]:
    yield from dict.fromkeys(queue.retry_delays_s)


def _waiting(name: str, ttl_s: float, exchange: str, routing_key: str | None) -> Queue:
    # At-least-once dead lettering, for else a broker's crash loses what is just being moved; it
    # is silently at-most-once without reject-publish.
    arguments = {
        **QUORUM,
        "x-message-ttl": int(ttl_s * 1000),
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    if routing_key is not None:
        arguments["x-dead-letter-routing-key"] = routing_key
    return Queue(name, arguments)
