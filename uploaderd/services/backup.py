"""backup: brings the new files of one station home, by its agent's index or by a filter.

The order of steps is the promise (docs/architecture.md): a file is durable on disk, then its row is
recorded, then its process message is confirmed by the broker, then its path is in the station's
list of done backups, and only then does its line leave the station's index. A backup with a filter
asks nothing of an agent, and leaves nothing on the station.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, closing
from functools import partial
from itertools import takewhile

from uploaderd.broker import notices
from uploaderd.broker.job import Job
from uploaderd.catalog.client import Catalog
from uploaderd.config.settings import ServiceSettings
from uploaderd.errors import (
    Disposition,
    HostKeyChanged,
    StationBusy,
    StationError,
    UploaderError,
)
from uploaderd.observe.logs import log_context
from uploaderd.repository.layout import Repository
from uploaderd.services import filter_source, index_source
from uploaderd.services import station_record as record
from uploaderd.services.arrivals import Arrivals, Source, Tally
from uploaderd.services.behaviour import BackupBehaviour
from uploaderd.services.holding import named_errors, patient
from uploaderd.services.station_record import Station
from uploaderd.station import filters, transfer
from uploaderd.station.connection import Connection, connect

log = logging.getLogger(__name__)

AHEAD = 4096
"""Files that one SFTP session fetches: to open another takes round trips."""
BATCH = 256
"""Files fetched before their rows and messages go out: one block of rows, one wait for confirms."""


Opening = Callable[[Connection], AbstractContextManager[Source]]


class BackupService:
    """One message is one slice of one station's backup."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._behaviour = BackupBehaviour.of(settings.behaviour)
        self._repository = Repository(self._behaviour.repository)
        self._catalog = Catalog(settings.database)

    def handle(self, job: Job) -> None:
        """Copies what is due, for one slice; the rest is a new message.

        Raises:
            MessageError: the filter makes no sense, or the station's address is not known.
            StationError: the station cannot be reached, refuses, is halted by somebody else, or has
                as many connections as it may have.
            RepositoryError: the repository's disk cannot be written.
            CatalogError: the database cannot be reached.
        """
        station = record.identify(self._catalog, job.body)
        with log_context(host=station.host_id):
            if record.was_stopped(self._catalog, station, job.body.get("asked_at", math.inf)):
                log.info("given up: the station was stopped after this backup was asked for")
                return
            began = time.monotonic()
            record.note(self._catalog, station, "backup_started", message_id=job.message_id)
            try:
                tally = self._slice(job, station)
            except UploaderError as error:
                self._failed(job, station, error)
                raise
            self._finished(job, station, tally, time.monotonic() - began)

    def close(self) -> None:
        """Closes the database connection."""
        self._catalog.close()

    def _slice(self, job: Job, station: Station) -> Tally:
        behaviour, place = self._behaviour.of_station(station)
        opening = self._opening(job, station, behaviour)
        access = behaviour.access(place, job.body.get("passwd"))
        job.beat()
        with (
            behaviour.within_limits(access.address),
            connect(access) as connection,
            named_errors(access.address),
        ):
            job.beat()
            record.remember_contact(self._catalog, station)
            with opening(connection) as source:
                arrivals = Arrivals(self._catalog, self._repository, source, station)
                tally = self._copy(job, connection, arrivals, behaviour)
        tally.left = source.left
        return tally

    def _opening(self, job: Job, station: Station, behaviour: BackupBehaviour) -> Opening:
        """How the files that are due are found. Raises MessageError for a senseless filter."""
        fields = job.body.get("filter", behaviour.settings.get("filter"))
        if fields is not None:
            filters.parse(fields)
            return partial(
                filter_source.opened,
                fields=fields,
                known=filter_source.settled_versions(self._catalog, station.host_id),
                rules=behaviour.rules,
                clock_ahead_s=behaviour.settings.get("clock_offset_s", 0.0),
                beat=job.beat,
            )
        return partial(
            index_source.opened,
            config_path=job.body.get("agent_config") or behaviour.agent_config,
            patience=behaviour.patience,
            choice=behaviour.choice,
            wait=partial(patient, job),
            beat=job.beat,
        )

    def _copy(
        self, job: Job, connection: Connection, arrivals: Arrivals, behaviour: BackupBehaviour
    ) -> Tally:
        source, tally = arrivals.source, arrivals.tally
        until = time.monotonic() + behaviour.slice_s

        def is_over() -> bool:
            late = time.monotonic() >= until and tally.copied > 0
            return late or job.stopping or source.lost

        for batch in source.batches(min(AHEAD, behaviour.slice_files)):
            wanted = takewhile(lambda _: not is_over(), arrivals.wanted(batch))
            self._fetch(job, connection, arrivals, wanted, behaviour.limits)
            if is_over() or tally.copied >= behaviour.slice_files:
                tally.rest = source.rest(job.body)
                break
        return tally

    def _fetch(
        self,
        job: Job,
        connection: Connection,
        arrivals: Arrivals,
        wanted: Iterable[transfer.Wanted],
        limits: transfer.Limits,
    ) -> None:
        """Fetches the files that are drawn. What came before a break is recorded, too."""
        with closing(transfer.fetch(connection, wanted, limits, job.beat)) as outcomes:
            try:
                for number, outcome in enumerate(outcomes, 1):
                    arrivals.take(outcome)
                    job.beat()
                    if number % BATCH == 0:
                        arrivals.record(job)
                        arrivals.tell_source()
            finally:
                arrivals.record(job)
        arrivals.tell_source()

    def _finished(self, job: Job, station: Station, tally: Tally, seconds: float) -> None:
        if tally.rest:
            job.publish("backup", tally.rest)
        record.note(
            self._catalog,
            station,
            "backup_started" if tally.rest else "backup_done",
            text=tally.text,
            files=tally.copied,
            bytes=tally.size,
            duration_s=seconds,
            pending=tally.left,
            message_id=job.message_id,
        )
        log.info("backup %s: %s", "goes on" if tally.rest else "done", tally.text)

    def _failed(self, job: Job, station: Station, error: UploaderError) -> None:
        again = error.disposition is Disposition.NOT_NOW
        log.warning("backup %s: %s", "has to wait" if again else "failed", error)
        if isinstance(error, StationError) and not isinstance(error, StationBusy):
            record.remember(self._catalog, station, error=str(error))
        record.note(
            self._catalog,
            station,
            "backup_waiting" if again else "backup_failed",
            outcome="error",
            code=error.code,
            text=str(error),
            message_id=job.message_id,
        )
        if isinstance(error, HostKeyChanged):
            _alarm(job, station, error)


def _alarm(job: Job, station: Station, error: HostKeyChanged) -> None:
    """Tells at once that another machine may stand in a station's place: the job itself fails."""
    name = station.host_uid or station.host_add
    event = notices.event(
        *("critical", error.code, f"station {name} ({station.host_id})", str(error)),
        {"host_id": station.host_id, "host_uid": station.host_uid},
    )
    job.publish_event("notify.critical.backup", event)
    job.confirm()
