"""Takes messages from a queue, has them handled, and acknowledges them last.

The connection's thread (`link`) hands deliveries to worker threads; a worker hands back what is to
be published. The broker confirms that first, then the delivery is acknowledged. A failure is a
publication, too: to a retry queue or to the dead letters.
"""

from __future__ import annotations

import functools
import logging
import queue as queues
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from uploaderd import crash_points, messages
from uploaderd.broker import retry, topology
from uploaderd.broker.delivery import Delivery
from uploaderd.broker.job import Job, Outgoing
from uploaderd.broker.link import Link
from uploaderd.broker.quarantine import FlightNotes, refuse_poison
from uploaderd.broker.retry import GiveBack, Outcome
from uploaderd.broker.session import Done, LostError, Session, Wants
from uploaderd.config.settings import BrokerSettings, QueueSettings
from uploaderd.errors import BrokerError, MessageError, UploaderError
from uploaderd.observe.counters import COUNTERS

log = logging.getLogger(__name__)

BEAT_S = 1.0
COALESCE_S = 0.002
PIECE = 100
REMEMBERED = 1000
RESCUE_DELAY_S = 5.0


class Runtime:
    """Runs `handle` for the messages of one queue in `workers` threads.

    `kind` names the schema of the bodies. `on_beat` is called about once a second while the work
    loop turns, and by `Job.beat`. With `run_dir`, a message that was at work when its process died
    twice is a dead letter (`quarantined`).
    """

    def __init__(
        self,
        broker: BrokerSettings,
        queue: QueueSettings,
        kind: str,
        handle: Callable[[Job], None],
        *,
        workers: int = 1,
        on_beat: Callable[[], None] | None = None,
        run_dir: Path | None = None,
    ) -> None:
        messages.routing_key(kind)
        self._broker = broker
        self._queue = queue
        self._kind = kind
        self._handle = handle
        self._workers = workers
        self._on_beat = on_beat or (lambda: None)
        self._run_dir = run_dir
        self._notes: FlightNotes | None = None
        self._stop = threading.Event()
        self._inbox: queues.SimpleQueue[Delivery | None] = queues.SimpleQueue()
        # Outcomes that could not be told to the broker: a redelivery is settled by them, and the
        # work is not done again.
        self._unsettled: OrderedDict[str, Outcome] = OrderedDict()
        wants = Wants(
            parts=topology.plan(broker, queue),
            declare=queue.declare,
            queue=queue.name,
            prefetch=max(queue.prefetch, workers),
            on_message=self._on_message,
        )
        self._link = Link(broker, wants, name=f"uploaderd {queue.name}")

    @property
    def connected(self) -> bool:
        """True while the queue is consumed."""
        return self._link.ready.is_set()

    def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set; ends what is at work, and returns the rest to the queue.

        A broker that is away is waited for. Raises ConfigError for unusable TLS files, and
        BrokerError if the connection's thread has died.
        """
        self._stop = stop
        if self._run_dir is not None:
            self._notes = FlightNotes(self._run_dir, self._queue.name, self._workers)
        threads = [
            threading.Thread(target=self._work, args=(slot,), name=f"worker {slot}")
            for slot in range(self._workers)
        ]
        try:
            self._link.start()
            for thread in threads:
                thread.start()
            while not stop.wait(BEAT_S):
                self._link.check()
                self._link.call(self._tell_held)
        finally:
            stop.set()
            self._drain(threads)
            if self._notes is not None:
                self._notes.close()

    def _drain(self, threads: Sequence[threading.Thread]) -> None:
        self._link.call(self._stop_consuming)
        for _ in threads:
            self._inbox.put(None)
        for thread in threads:
            if thread.is_alive():
                thread.join()
        self._link.close()

    def _stop_consuming(self) -> None:
        if self._link.session is not None:
            self._link.session.stop_consuming()

    def _on_message(self, session: Session, method: Any, properties: Any, body: bytes) -> None:
        self._inbox.put(
            Delivery(session, method.delivery_tag, method.redelivered, properties, body)
        )

    # In a worker's thread

    def _work(self, slot: int) -> None:
        beaten = woken = 0.0
        while not self._stop.is_set():
            now = time.monotonic()
            if now - beaten >= BEAT_S:
                beaten = now
                self._on_beat()
            try:
                delivery = self._inbox.get(timeout=BEAT_S)
            except queues.Empty:
                continue
            # What came over a connection that is gone comes again over the next one.
            if delivery is None or delivery.lost() or self._stop.is_set():
                continue
            outgoing = self._outcome(slot, delivery)
            if delivery.lost():
                # Before the next delivery is taken, for that may be the same message again.
                self._remember(delivery, outgoing)
                continue
            self._link.post(functools.partial(self._settle, delivery, outgoing))
            # Waking the other thread costs more than a quick handler: one wake serves a few.
            now = time.monotonic()
            if now - woken >= COALESCE_S or self._inbox.empty():
                woken = now
                self._link.wake()

    def _outcome(self, slot: int, delivery: Delivery) -> Outcome:
        received = delivery.received()
        job = Job(
            body={},
            message_id=received.message_id,
            correlation_id=received.correlation_id,
            attempt=received.attempt,
            reply_to=received.reply_to,
            send_reply=functools.partial(self._reply, delivery),
            send_now=functools.partial(self._send_now, delivery),
            on_beat=self._on_beat,
            stop=self._stop,
        )
        notes = self._notes
        try:
            if delivery.redelivered:
                known = self._unsettled.pop(received.message_id, None)
                if known is not None:
                    return known
                refuse_poison(notes, received, self._queue.retry_limit)
            body = messages.decode(delivery.body)
            messages.validate(self._kind, body)
            if not isinstance(body, dict):
                raise MessageError(f"The {self._kind} message is not a JSON object.")
            job.body = body
            if notes is not None:
                crash_points.reached("flight-note:before")
                notes.note(slot, received.message_id)
                crash_points.reached("flight-note:after")
            self._handle(job)
        except UploaderError as error:
            log.warning("Message %s: %s (%s)", received.message_id, error, error.code)
            return self._failure(error, job, delivery)
        except Exception as error:
            log.exception("Message %s: unexpected %s", received.message_id, type(error).__name__)
            return self._failure(error, job, delivery)
        finally:
            if notes is not None:
                notes.clear(slot)
                if delivery.redelivered:
                    notes.forget(received.message_id)
        return job.outgoing

    def _failure(self, error: Exception, job: Job, delivery: Delivery) -> Outcome:
        if job.reply_to:
            text = str(error) if isinstance(error, UploaderError) else "An unexpected error."
            job.reply({"status": 0, "message": text})
        received, features = delivery.received(), delivery.session.features
        return retry.outcome(error, received, self._broker, self._queue, features)

    def _reply(self, delivery: Delivery, body: bytes) -> None:
        properties = delivery.properties
        answer = Outgoing(
            routing_key=properties.reply_to,
            body=body,
            message_id=f"re:{properties.message_id or ''}",
            correlation_id=properties.correlation_id or properties.message_id or "",
            exchange="",
            mandatory=False,
        )
        self._link.call(functools.partial(delivery.session.publish, [answer], _unheeded))

    def _send_now(self, delivery: Delivery, outgoing: Sequence[Outgoing]) -> None:
        results: queues.SimpleQueue[BrokerError | None] = queues.SimpleQueue()
        pieces = deque(outgoing[at : at + PIECE] for at in range(0, len(outgoing), PIECE))
        left = len(pieces)
        self._link.call(functools.partial(self._send_pieces, delivery.session, pieces, results.put))
        while left:
            try:
                failure = results.get(timeout=BEAT_S)
            except queues.Empty:
                self._on_beat()
                if delivery.session.alive:
                    continue
                failure = LostError("The connection to the broker broke before it confirmed.")
            if failure is not None:
                raise failure
            left -= 1

    # In the I/O thread

    def _send_pieces(self, session: Session, pieces: deque[Sequence[Outgoing]], done: Done) -> None:
        """One piece a turn of the loop: the broker works on it while the next one is written."""
        session.publish(pieces.popleft(), done)
        if pieces:
            later = functools.partial(self._send_pieces, session, pieces, done)
            self._link.call_later(0.0, later)

    def _tell_held(self) -> None:
        session = self._link.session
        count, oldest = (0, None) if session is None else session.held()
        COUNTERS.set("messages_in_flight", count)
        COUNTERS.set("oldest_queued_at", oldest)

    def _settle(self, delivery: Delivery, outgoing: Outcome) -> None:
        session = delivery.session
        if not session.alive:
            self._remember(delivery, outgoing)
        elif isinstance(outgoing, GiveBack):
            session.give_back(delivery.tag, failed=outgoing.failed)
        elif outgoing:
            crash_points.reached("outcome-sent:before")
            session.publish(outgoing, functools.partial(self._published, delivery, outgoing))
            crash_points.reached("outcome-sent:after")
        else:
            session.ack_later(delivery.tag)

    def _published(
        self, delivery: Delivery, outgoing: Sequence[Outgoing], failure: BrokerError | None
    ) -> None:
        if failure is None:
            crash_points.reached("outcome-confirmed:before")
            delivery.session.ack_later(delivery.tag)
            crash_points.reached("outcome-confirmed:after")
            self._link.wake()
        elif isinstance(failure, LostError):
            self._remember(delivery, outgoing)
        elif not delivery.rescued:
            log.warning("Message %s: %s", delivery.properties.message_id, failure)
            delivery.rescued = True
            again = retry.counted(failure, delivery.received(), self._broker, self._queue)
            self._settle(delivery, [again])
        else:
            # Not even the retry queue takes it: it stays unacknowledged, and so safe, meanwhile.
            log.error("Message %s stays in flight: %s", delivery.properties.message_id, failure)
            later = functools.partial(self._settle, delivery, outgoing)
            self._link.call_later(RESCUE_DELAY_S, later)

    def _remember(self, delivery: Delivery, outgoing: Outcome) -> None:
        self._unsettled[delivery.received().message_id] = outgoing
        while len(self._unsettled) > REMEMBERED:
            self._unsettled.popitem(last=False)


def _unheeded(_failure: BrokerError | None) -> None:
    """A reply that nobody takes is no failure of the work."""
