"""One live connection: its two channels, what is unacknowledged and what is unconfirmed.

Everything here runs in the I/O thread. No call of it waits: what needs an answer takes a callback.
pika 1.4 keeps a little of every request with an answer (a leak that its next release mends), so
such requests are made when a session opens, and never for a message.
"""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pika

from uploaderd import crash_points
from uploaderd.broker import ages, topology
from uploaderd.broker.features import Features
from uploaderd.broker.job import Outgoing
from uploaderd.broker.retry import RefusedError, UnroutableError
from uploaderd.broker.topology import Binding, Exchange, Part, Queue
from uploaderd.config.settings import BrokerSettings
from uploaderd.errors import BrokerError

Done = Callable[[BrokerError | None], None]
Step = Callable[[Callable[..., None]], object]


class LostError(BrokerError):
    """The connection ended before the broker had confirmed."""

    code = "connection_lost"


@dataclass(frozen=True)
class Wants:
    """What a session is to set up: topology, and the queue that it consumes."""

    parts: tuple[Part, ...]
    declare: bool
    queue: str
    prefetch: int
    on_message: Callable[..., None]


@dataclass
class _Batch:
    remaining: int
    done: Done
    failure: BrokerError | None = None


@dataclass
class Session:
    """Consumes and publishes on one open connection. `fail` is called once if it breaks."""

    connection: Any
    settings: BrokerSettings
    wants: Wants
    on_ready: Callable[[], None]
    fail: Callable[[BaseException], None]
    alive: bool = True
    features: Features = field(default_factory=Features)
    _held: deque[tuple[Sequence[Outgoing], Done]] = field(default_factory=deque)
    _pending: dict[int, tuple[str, _Batch]] = field(default_factory=dict)
    _returned: dict[str, str] = field(default_factory=dict)
    _outstanding: dict[int, float | None] = field(default_factory=dict)
    """What is not acknowledged, and since when it waited in its queue."""
    _to_ack: set[int] = field(default_factory=set)
    _delays: set[int] = field(default_factory=set)
    _sent: int = 0
    _blocked: bool = False
    _work: Any = None
    _out: Any = None
    _tag: str = ""

    def open(self) -> None:
        """Opens the channels, declares or checks the topology, and begins to consume."""
        self.features = Features.of(self.connection.server_properties)
        self.connection.add_on_connection_blocked_callback(self._on_blocked)
        self.connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self._follow(self._opening())

    def _opening(self) -> Generator[Step, Any, None]:
        self._work = yield lambda then: self.connection.channel(on_open_callback=then)
        self._work.add_on_close_callback(self._on_channel_closed)
        self._work.add_on_cancel_callback(self._on_cancelled)
        for part in self.wants.parts:
            yield from _declaration(self._work, part, self.wants.declare)
        yield lambda then: self._work.basic_qos(prefetch_count=self.wants.prefetch, callback=then)
        self._out = yield lambda then: self.connection.channel(on_open_callback=then)
        self._out.add_on_close_callback(self._on_channel_closed)
        self._out.add_on_return_callback(self._on_return)
        yield lambda then: self._out.confirm_delivery(self._on_confirm, callback=then)
        self._tag = f"uploaderd.{self.wants.queue}.{id(self):x}"
        yield lambda then: self._work.basic_consume(
            self.wants.queue, self._on_message, consumer_tag=self._tag, callback=then
        )
        self.on_ready()

    def _follow(self, steps: Generator[Step, Any, None]) -> None:
        def advance(answer: Any = None) -> None:
            try:
                step = steps.send(answer)
            except StopIteration:
                return
            if self.alive:
                step(advance)

        advance()

    # Consuming

    def _on_message(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self._outstanding[method.delivery_tag] = ages.queued_at(properties)
        self.wants.on_message(self, method, properties, body)

    def held(self) -> tuple[int, float | None]:
        """How many deliveries are not acknowledged, and since when the oldest waits (Unix time)."""
        known = [at for at in self._outstanding.values() if at is not None]
        return len(self._outstanding), min(known, default=None)

    def stop_consuming(self) -> None:
        """Asks the broker to send no more; what it has sent stays unacknowledged."""
        if self.alive and self._tag and self._work.is_open:
            self._work.basic_cancel(self._tag)

    def ack_later(self, tag: int) -> None:
        """Acknowledges a delivery with the next `flush`."""
        self._to_ack.add(tag)

    def give_back(self, tag: int, *, failed: bool) -> None:
        """Has the broker deliver again after its own delay; `failed`: it counts as a failure."""
        del self._outstanding[tag]
        send = self._work.basic_reject if failed else self._work.basic_nack
        send(tag, requeue=True)

    def flush(self) -> None:
        """Sends the acknowledgements: one for a run of the oldest, one each for the others.

        A run is all that is outstanding up to a tag, so `multiple` covers settled messages only.
        """
        settled, outstanding = self._to_ack, self._outstanding
        if not settled or not self.alive:
            return
        crash_points.reached("acknowledgement:before")
        last = 0
        for tag in outstanding:
            if tag not in settled:
                break
            last = tag
        for tag in sorted(settled):
            del outstanding[tag]
            if tag > last:
                self._work.basic_ack(tag)
        if last:
            self._work.basic_ack(last, multiple=True)
        settled.clear()
        crash_points.reached("acknowledgement:after")

    # Publishing

    def publish(self, messages: Sequence[Outgoing], done: Done) -> None:
        """Publishes all; `done` gets None when all are confirmed, else the first failure.

        While the broker blocks publishers (an alarm of memory or disk), they are held back.
        """
        if not self.alive:
            done(LostError("The connection to the broker has ended."))
            return
        if self._blocked:
            self._held.append((messages, done))
            return
        missing = {topology.delay_step(m.delay_s) for m in messages if m.delay_s > 0} - self._delays
        if missing:
            self._follow(self._preparing(missing, messages, done))
            return
        batch = _Batch(len(messages), done)
        for message in messages:
            self._send(message)
            self._pending[self._sent] = (message.message_id, batch)

    def _preparing(
        self, steps: set[int], messages: Sequence[Outgoing], done: Done
    ) -> Generator[Step, Any, None]:
        # If the connection is lost meanwhile, `lost` must know of this publication.
        waiting = (messages, done)
        self._held.append(waiting)
        for step in sorted(steps):
            for part in topology.delay_plan(self.settings, step):
                yield from _declaration(self._out, part, self.wants.declare)
            self._delays.add(step)
        if waiting in self._held:
            self._held.remove(waiting)
            self.publish(messages, done)

    def _send(self, message: Outgoing) -> None:
        exchange = self.settings.exchange if message.exchange is None else message.exchange
        if message.delay_s > 0:
            exchange = topology.delay_exchange(self.settings, topology.delay_step(message.delay_s))
        properties = pika.BasicProperties(
            content_type=message.content_type,
            delivery_mode=2,
            message_id=message.message_id,
            correlation_id=message.correlation_id or None,
            headers=dict(message.headers) or None,
            reply_to=message.reply_to or None,
            timestamp=int(time.time()),
            expiration=str(message.expiration_ms) if message.expiration_ms else None,
            app_id="uploaderd",
        )
        self._out.basic_publish(
            exchange, message.routing_key, message.body, properties, message.mandatory
        )
        self._sent += 1

    def _on_return(self, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        # The broker sends the return before the confirmation of the same message.
        where = f"{method.exchange or 'the default exchange'} with the key {method.routing_key}"
        self._returned[properties.message_id] = f"No queue takes a message to {where}."

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        refused = method.NAME != "Basic.Ack"
        tags = [method.delivery_tag]
        if method.multiple:
            tags = []
            for tag in self._pending:
                if tag > method.delivery_tag:
                    break
                tags.append(tag)
        for tag in tags:
            message_id, batch = self._pending.pop(tag)
            returned = self._returned.pop(message_id, None)
            if returned is not None:
                batch.failure = batch.failure or UnroutableError(returned)
            elif refused:
                batch.failure = batch.failure or RefusedError("The broker refused a message.")
            batch.remaining -= 1
            if batch.remaining == 0:
                batch.done(batch.failure)

    # What the broker says on its own

    def _on_blocked(self, _connection: Any, _frame: Any) -> None:
        self._blocked = True

    def _on_unblocked(self, _connection: Any, _frame: Any) -> None:
        self._blocked = False
        held, self._held = self._held, deque()
        for messages, done in held:
            self.publish(messages, done)

    def _on_cancelled(self, _frame: Any) -> None:
        self.fail(BrokerError(f"The broker cancelled the consumer of {self.wants.queue}."))

    def _on_channel_closed(self, _channel: Any, reason: BaseException) -> None:
        if self.alive:
            self.fail(reason)

    @property
    def idle(self) -> bool:
        """True if nothing waits for a confirmation or to be sent."""
        return not (self._pending or self._held or self._to_ack)

    def lost(self) -> None:
        """Tells everybody who waits for a confirmation that none will come."""
        self.alive = False
        batches = {id(batch): batch for _, batch in self._pending.values()}
        waiting = [batch.done for batch in batches.values()] + [done for _, done in self._held]
        self._pending.clear()
        self._held.clear()
        for done in waiting:
            done(LostError("The connection to the broker was lost before it had confirmed."))


def _declaration(channel: Any, part: Part, declare: bool) -> Generator[Step, Any, None]:
    match part:
        case Exchange(name, kind):
            make = functools.partial(
                channel.exchange_declare, name, kind, durable=True, passive=not declare
            )
        case Queue(name, arguments):
            make = functools.partial(
                channel.queue_declare,
                name,
                durable=True,
                passive=not declare,
                arguments=dict(arguments),
            )
        case Binding(exchange, queue, routing_key):
            if not declare:
                # Whether a binding exists cannot be asked for over AMQP.
                return
            make = functools.partial(channel.queue_bind, queue, exchange, routing_key)
    yield lambda then: make(callback=then)
