"""scheduler: publishes messages by the clock, for sites without Zabbix.

Of several schedulers one is active: the one whose connection holds an exclusive queue, which the
broker drops with the connection. It publishes over that same connection, so whoever has lost the
lock cannot publish either. When each schedule last fired lies in the broker, too: what was missed
meanwhile is made up for by one firing.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pika
from cronsim import CronSim, CronSimError
from pika import exceptions as pe

from uploaderd import messages
from uploaderd.broker import access
from uploaderd.catalog.client import Catalog
from uploaderd.config.settings import ServiceSettings
from uploaderd.errors import BrokerError, CatalogError, ConfigError, MessageError

log = logging.getLogger(__name__)

_TURN_S = 0.5
_HOSTS = "SELECT host_id, host_uid FROM hosts FINAL ORDER BY host_id"


@dataclass(frozen=True)
class Schedule:
    """What is published when."""

    name: str
    cron: str
    message: str
    body: Mapping[str, Any]
    for_each_host: bool
    timezone: ZoneInfo

    def due(self, last: datetime, now: datetime) -> datetime | None:
        """The first time after `last` that has come; later ones up to now are one with it."""
        following = next(CronSim(self.cron, last.astimezone(self.timezone)))
        return following if following <= now else None


def schedules(behaviour: Mapping[str, Any]) -> tuple[Schedule, ...]:
    """The schedules of a valid behaviour section.

    Raises ConfigError: a cron expression, the time zone or a body is wrong, or a name is taken.
    """
    try:
        timezone = ZoneInfo(behaviour["timezone"])
    except (KeyError, ValueError, OSError):
        raise ConfigError(f"There is no time zone {behaviour['timezone']}.") from None
    found: dict[str, Schedule] = {}
    for each in behaviour["schedules"]:
        name, body = each["name"], each.get("body", {})
        schedule = Schedule(
            name, each["cron"], each["message"], body, each.get("for_each_host", False), timezone
        )
        try:
            schedule.due(datetime.now(UTC), datetime.now(UTC))
            messages.validate(schedule.message, _with_host(schedule, {"host_id": 1}))
        except (CronSimError, StopIteration):
            raise ConfigError(
                f"The schedule {name} has no cron expression: {each['cron']}"
            ) from None
        except MessageError as error:
            raise ConfigError(f"The body of the schedule {name} is not valid: {error}") from error
        if name in found:
            raise ConfigError(f"Two schedules are named {name}.")
        found[name] = schedule
    return tuple(found.values())


class SchedulerService:
    """Waits for its turn to be the active one, and for each schedule's time."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._schedules = schedules(settings.behaviour)
        self._catalog = Catalog(settings.database)

    def run(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        """Fires until `stop`; a broker that is away is waited for."""
        said = ""
        while not stop.is_set():
            beat()
            try:
                with _connect(self._settings) as connection:
                    channel = connection.channel()
                    channel.queue_declare(f"{self._settings.queue.name}.lock", exclusive=True)
                    said = ""
                    log.info("this is the active scheduler")
                    self._active(connection, channel, stop, beat)
            except pe.ChannelClosedByBroker as error:
                locked = error.reply_code == 405
                text = "another scheduler is active" if locked else error.reply_text
                said = _said(said, text)
            except (BrokerError, pe.AMQPError, OSError) as error:
                said = _said(said, f"the broker is away: {error}")
            stop.wait(float(self._settings.behaviour["retry_s"]))

    def close(self) -> None:
        """Closes the database connection."""
        self._catalog.close()

    def _active(
        self, connection: Any, channel: Any, stop: threading.Event, beat: Callable[[], None]
    ) -> None:
        channel.confirm_delivery()
        memory = _Memory(channel, f"{self._settings.queue.name}.fired")
        fired = memory.read()
        started = datetime.now(UTC)
        complaint = ""
        while not stop.is_set():
            beat()
            now = datetime.now(UTC)
            for schedule in self._schedules:
                due = schedule.due(fired.setdefault(schedule.name, started), now)
                if due is None:
                    continue
                try:
                    self._fire(channel, schedule, due)
                except (CatalogError, pe.UnroutableError) as error:
                    # The schedule stays due: it is tried again at the next turn.
                    complaint = _said(complaint, f"{schedule.name} cannot be fired: {error}")
                    continue
                complaint = ""
                fired[schedule.name] = now
                memory.write(fired)
            connection.process_data_events(_TURN_S)

    def _fire(self, channel: Any, schedule: Schedule, due: datetime) -> None:
        # The catalog is asked first: with a part of the stations nothing is begun.
        firing = tuple(self._messages(schedule, due))
        for message_id, body in firing:
            channel.basic_publish(
                self._settings.broker.exchange,
                messages.routing_key(schedule.message),
                messages.encode(body),
                pika.BasicProperties(
                    content_type="application/json",
                    delivery_mode=2,
                    message_id=message_id,
                    correlation_id=message_id,
                    app_id="scheduler",
                ),
                mandatory=True,
            )
        log.info("%s was due at %s: %d messages", schedule.name, due.isoformat(), len(firing))

    def _messages(self, schedule: Schedule, due: datetime) -> Iterator[tuple[str, dict[str, Any]]]:
        """Ids and bodies; a repetition of the same firing has the same ids."""
        name = f"{schedule.name}-{int(due.timestamp())}"
        if not schedule.for_each_host:
            yield name, dict(schedule.body)
            return
        for host in self._catalog.query(_HOSTS):
            yield f"{name}-{host['host_id']}", _with_host(schedule, host)


class _Memory:
    """One message in a queue of length one: when each schedule last fired."""

    def __init__(self, channel: Any, queue: str) -> None:
        self._channel = channel
        self._queue = queue
        arguments = {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "drop-head"}
        channel.queue_declare(queue, durable=True, arguments=arguments)

    def read(self) -> dict[str, datetime]:
        method, _, body = self._channel.basic_get(self._queue)
        if method is None:
            return {}
        times: dict[str, float] = json.loads(body)
        fired = {name: datetime.fromtimestamp(at, UTC) for name, at in times.items()}
        # Written anew before it is acknowledged: a message that is only looked at again and again
        # would meet the queue's delivery limit.
        self.write(fired)
        self._channel.basic_ack(method.delivery_tag)
        return fired

    def write(self, fired: Mapping[str, datetime]) -> None:
        body = json.dumps({name: at.timestamp() for name, at in fired.items()})
        properties = pika.BasicProperties(content_type="application/json", delivery_mode=2)
        self._channel.basic_publish("", self._queue, body.encode(), properties, mandatory=True)


def _connect(settings: ServiceSettings) -> Any:
    failure = BrokerError("No broker is configured.")
    for host, port in settings.broker.hosts:
        try:
            return pika.BlockingConnection(
                access.parameters(settings.broker, host, port, name=settings.name)
            )
        except (pe.AMQPError, OSError) as error:
            failure = access.explain(error, settings.broker, host, port)
    raise failure


def _with_host(schedule: Schedule, host: Mapping[str, Any]) -> dict[str, Any]:
    if not schedule.for_each_host:
        return dict(schedule.body)
    return {**schedule.body, **{key: value for key, value in host.items() if value}}


def _said(before: str, text: str) -> str:
    """Logs what has not just been logged."""
    if text != before:
        log.warning("%s", text)
    return text
