"""host-request: answers a station's status at once, and enqueues a backup of it.

The answer's keys are those of the deployed Zabbix templates (docs/messages.md). It is sent before
anything else is done, because Zabbix waits for it; what it tells is the state before this request.
Then the workers wait together for one insert of all their events, and acknowledge.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import queue
import threading
import time
from collections.abc import Iterator

from uploaderd.broker.job import Job
from uploaderd.catalog.client import Catalog
from uploaderd.catalog.group_commit import GroupCommit
from uploaderd.catalog.status import Standing, standing
from uploaderd.config.settings import ServiceSettings
from uploaderd.errors import MessageError
from uploaderd.observe.logs import log_context
from uploaderd.services import station_record as record
from uploaderd.services.station_record import Station

log = logging.getLogger(__name__)

CLOCKS_DIFFER_S = 60.0
LOOKUPS = 3
"""Stations that are looked up at a time, each over a connection of its own."""
GATHER_S = 0.1
"""Time in which events of several requests gather for one insert. No asker waits for it."""
PASSED_ON = ("passwd", "filter")
"""What a backup needs of a request, beside the station's address."""


class HostRequestService:
    """Status answers and backup requests."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._lookups: queue.SimpleQueue[Catalog] = queue.SimpleQueue()
        for _ in range(LOOKUPS):
            self._lookups.put(Catalog(settings.database))
        self._writing = Catalog(settings.database)
        self._events = GroupCommit(
            functools.partial(self._writing.insert, "host_events"), max_delay_s=GATHER_S
        )
        self._lock = threading.Lock()
        self._asked: dict[int, float] = {}
        """When this process was done with asking for a station's backup, by the monotonic clock;
        infinity while it is about to."""
        self._lost_after_s = 3600 * float(settings.behaviour["pending_hours"])

    def handle(self, job: Job) -> None:
        """Answers, remembers the station, and enqueues a backup if none is on its way.

        Raises:
            CatalogError: the database cannot be reached; the runtime tells the asker.
            MessageError: the station or its address is not known; the runtime tells the asker.
        """
        began = time.monotonic()
        body = job.body
        tag = body.get("query_tag", "backup")
        host_id = int(body["host_id"]) if body.get("host_id") else None
        with self._catalog() as catalog:
            found = standing(catalog, host_id, body.get("host_uid"))
        if host_id is None and found.host is None and tag != "backup":
            # Who only asks about a station that nobody named yet gets that for an answer.
            job.reply(found.answer)
            return
        before = vars(found.host) if found.host else {}
        station = record.completed(body, before)
        with log_context(host=station.host_id):
            job.reply(found.answer)
            if tag == "backup":
                self._ask_for_backup(job, station, found, began)
            else:
                self._act(job, station, tag)

    def close(self) -> None:
        """Closes the database connections."""
        self._writing.close()
        for _ in range(LOOKUPS):
            self._lookups.get().close()

    @contextlib.contextmanager
    def _catalog(self) -> Iterator[Catalog]:
        """One of the connections, which is nobody else's meanwhile."""
        catalog = self._lookups.get()
        try:
            yield catalog
        finally:
            self._lookups.put(catalog)

    def _act(self, job: Job, station: Station, tag: str) -> None:
        if tag == "check":
            body = {
                **vars(station),
                **({"passwd": job.body["passwd"]} if "passwd" in job.body else {}),
            }
            job.publish("host-check", {key: value for key, value in body.items() if value != ""})
            return
        event = "stopped" if tag == "stop" else "check"
        row = record.event_of(station, event, text=tag, message_id=job.message_id)
        record.write_event(self._events.insert, row)

    def _ask_for_backup(self, job: Job, station: Station, found: Standing, began: float) -> None:
        if not station.host_add:
            raise MessageError(
                f"The station {station.host_id} has no known address.",
                hint="Name it with host_add once; it is remembered.",
            )
        if not _is_known(station, found):
            with self._catalog() as catalog:
                record.remember(catalog, station)
        if self._is_on_its_way(found) or not self._claim(station.host_id, began):
            log.info("a backup of this station is on its way already")
            return
        done_at = -math.inf
        try:
            self._enqueue(job, station)
            done_at = time.monotonic()
        finally:
            self._asked[station.host_id] = done_at
        log.info("a backup is enqueued")

    def _claim(self, host_id: int, began: float) -> bool:
        """Whether no other worker has asked for this backup since the station was looked up."""
        with self._lock:
            if self._asked.get(host_id, -math.inf) >= began:
                return False
            self._asked[host_id] = math.inf
            return True

    def _enqueue(self, job: Job, station: Station) -> None:
        """The backup is safe before the event tells of it: the other way round, whoever repeats
        this after a crash would find a backup on its way that nobody was asked for."""
        row = record.event_of(station, "request", text="backup", message_id=job.message_id)
        body = {**vars(station), **{key: job.body[key] for key in PASSED_ON if key in job.body}}
        body["asked_at"] = row.at.timestamp()
        job.publish("backup", {key: value for key, value in body.items() if value != ""})
        job.confirm()
        record.write_event(self._events.insert, row)

    def _is_on_its_way(self, found: Standing) -> bool:
        """What shows no sign of life for long counts as lost, and is asked for anew.

        So does what would have begun in the future: a clock was set back meanwhile.
        """
        waiting_s = found.waiting_s
        return waiting_s is not None and -CLOCKS_DIFFER_S < waiting_s < self._lost_after_s


def _is_known(station: Station, found: Standing) -> bool:
    """Whether all that the request says of its station is remembered already."""
    before = vars(found.host) if found.host else {}
    return all(before.get(key) == value for key, value in vars(station).items())
