"""backup: brings the new files of one station home, under its agent's protocol.

The order of steps is the promise (docs/architecture.md): a file is durable on disk, then its row is
recorded, then its process message is confirmed by the broker, then its path is in the station's
list of done backups, and only then does its line leave the station's index.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice, takewhile

from uploaderd.broker.job import Job
from uploaderd.catalog.client import Catalog
from uploaderd.config.settings import ServiceSettings
from uploaderd.errors import Disposition, StationError, UploaderError
from uploaderd.observe.logs import log_context
from uploaderd.repository.layout import Repository
from uploaderd.services import station_record as record
from uploaderd.services.arrivals import Arrivals, Tally
from uploaderd.services.behaviour import BackupBehaviour
from uploaderd.services.holding import kept_fresh, named_errors, patient
from uploaderd.services.station_record import Station
from uploaderd.station import index, transfer
from uploaderd.station.agent import read_config
from uploaderd.station.connection import Connection, connect
from uploaderd.station.halt import HaltFlag

log = logging.getLogger(__name__)

BATCH = 256
"""Files fetched before their rows and messages go out: one block of rows, one wait for confirms."""


Line = index.IndexEntry | index.DamagedLine


class BackupService:
    """One message is one slice of one station's backup."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._behaviour = BackupBehaviour.of(settings.behaviour)
        self._repository = Repository(self._behaviour.repository)
        self._catalog = Catalog(settings.database)

    def handle(self, job: Job) -> None:
        """Copies what the station's index names, for one slice; the rest is a new message.

        Raises:
            StationError: the station cannot be reached, refuses, or is halted by somebody else.
            RepositoryError: the repository's disk cannot be written.
            CatalogError: the database cannot be reached.
        """
        station = record.identify(self._catalog, job.body)
        with log_context(host=station.host_id):
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
        access = self._behaviour.access(station, job.body.get("passwd"))
        job.beat()
        with connect(access) as connection, named_errors(access.address):
            job.beat()
            record.remember_contact(self._catalog, station)
            return self._copy(job, station, connection)

    def _copy(self, job: Job, station: Station, connection: Connection) -> Tally:
        path = job.body.get("agent_config") or self._behaviour.agent_config
        agent = read_config(connection.sftp, path)
        arrivals = Arrivals(self._catalog, self._repository, connection.sftp, agent, station)
        until = time.monotonic() + self._behaviour.slice_s
        flag = HaltFlag(
            connection.sftp, agent, patience=self._behaviour.patience, wait=partial(patient, job)
        )
        with flag, kept_fresh(flag) as lost:

            def is_over() -> bool:
                late = time.monotonic() >= until and arrivals.tally.copied > 0
                return late or job.stopping or lost.is_set()

            for batch in _batches(index.entries(connection.sftp, agent), self._behaviour):
                self._fetch(job, connection, arrivals, batch, is_over)
                if is_over() or arrivals.tally.copied >= self._behaviour.slice_files:
                    arrivals.tally.rest = True
                    break
            flag.confirm()
            index.remove(connection.sftp, agent, arrivals.tally.settled)
        return arrivals.tally

    def _fetch(
        self,
        job: Job,
        connection: Connection,
        arrivals: Arrivals,
        batch: Sequence[Line],
        is_over: Callable[[], bool],
    ) -> None:
        """Fetches a batch until the slice is over. What came before a break is recorded, too."""
        wanted = takewhile(lambda _: not is_over(), arrivals.wanted(batch))
        try:
            for outcome in transfer.fetch(connection, wanted, self._behaviour.limits, job.beat):
                arrivals.take(outcome)
                job.beat()
        finally:
            arrivals.record(job)
        arrivals.tell_station()

    def _finished(self, job: Job, station: Station, tally: Tally, seconds: float) -> None:
        if tally.rest:
            job.publish("backup", job.body)
        record.note(
            self._catalog,
            station,
            "backup_started" if tally.rest else "backup_done",
            text=tally.text,
            files=tally.copied,
            bytes=tally.size,
            duration_s=seconds,
            message_id=job.message_id,
        )
        log.info("backup %s: %s", "goes on" if tally.rest else "done", tally.text)

    def _failed(self, job: Job, station: Station, error: UploaderError) -> None:
        again = error.disposition is Disposition.NOT_NOW
        log.warning("backup %s: %s", "has to wait" if again else "failed", error)
        if isinstance(error, StationError):
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


def _batches(lines: Iterator[Line], behaviour: BackupBehaviour) -> Iterator[list[Line]]:
    while batch := list(islice(lines, min(BATCH, behaviour.slice_files))):
        yield batch
