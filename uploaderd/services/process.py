"""process: reads what was measured, records it, and files the payload into its final place.

Link, record, unlink: the file gets its final name beside its name in `tmp/`, then the rows are
recorded, and only then does the name in `tmp/` go. After a crash anywhere between, the repeated
message finds the file in `tmp/` and does the same again, to the same names and ids; when the name
in `tmp/` is gone, everything is done.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from uploaderd import clock, crash_points
from uploaderd.broker.job import Job
from uploaderd.catalog import files, spectra
from uploaderd.catalog.client import Catalog
from uploaderd.catalog.rows import FileRow
from uploaderd.config.settings import ServiceSettings
from uploaderd.errors import RepositoryError
from uploaderd.formats import FormatError, Recording
from uploaderd.observe.counters import COUNTERS
from uploaderd.observe.logs import log_context
from uploaderd.repository.layout import Repository
from uploaderd.services.behaviour import ProcessBehaviour
from uploaderd.services.locating import Location, locate
from uploaderd.services.reading import close_readers, read_guarded

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Arrived:
    """A fetched file: where it lies, and the row that it has so far."""

    path: Path
    row: FileRow

    @classmethod
    def of(cls, job: Job, repository: Repository) -> Arrived:
        """The message's file.

        Raises:
            MessageError: its path does not lie in the repository's `tmp/`.
        """
        body = job.body
        row = FileRow(
            host_id=body["host_id"],
            file_id=body["file_id"],
            remote_path=body["remote_path"],
            size=body["size"],
            mtime_ns=round(body["mtime"] * 1e9),
            stage="fetched",
            host_uid=body.get("host_uid", ""),
            sha256=body["sha256"],
            verified=body.get("verified", ""),
            message_id=job.message_id,
        )
        return cls(repository.arrived(body["path"]), row)

    def with_times_of(self, before: FileRow) -> Arrived:
        """The same with the times of discovery and transfer that an earlier row tells."""
        times = {name: getattr(before, name) for name in ("discovered_at", "fetched_at", "fetch_s")}
        return replace(self, row=replace(self.row, **times))


class ProcessService:
    """One message is one fetched file."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._behaviour = ProcessBehaviour.of(settings.behaviour)
        self._repository = Repository(self._behaviour.repository)
        self._catalog = Catalog(settings.database)

    def handle(self, job: Job) -> None:
        """Catalogues the file, or puts it into the trash with a row that says why.

        Raises:
            RepositoryError: the repository's disk cannot be written, or the file is not there.
            CatalogError: the database cannot be reached.
            MessageError: the message's path does not lie in the repository's `tmp/`.
        """
        file = Arrived.of(job, self._repository)
        with log_context(host=file.row.host_id, file=file.row.remote_path):
            known = self._known(file)
            if known is not None and known.stage in files.SETTLED:
                log.info("settled before: the copy is dropped")
            else:
                self._settle(file if known is None else file.with_times_of(known))
            self._repository.release(file.path)

    def close(self) -> None:
        """Ends the reading processes and closes the database connection."""
        close_readers()
        self._catalog.close()

    def _known(self, file: Arrived) -> FileRow | None:
        """The file's row so far. Raises RepositoryError if there is nothing left to settle."""
        identity = file.row.file_id
        known = files.recorded(self._catalog, file.row.host_id, [identity]).get(identity)
        if (known is None or known.stage not in files.SETTLED) and not file.path.exists():
            raise RepositoryError(
                f"The fetched file {file.path} is not there, and was not processed before.",
                hint="Is the repository mounted? If the file was removed, request a new backup.",
            )
        return known

    def _settle(self, file: Arrived) -> None:
        began = time.monotonic()
        try:
            recording = self._read(file)
        except FormatError as error:
            row = self._trash(file, error)
        else:
            row = self._catalogue(file, recording)
        seconds = time.monotonic() - began
        settled = replace(row, processed_at=clock.now(), process_s=seconds)
        crash_points.reached("settled-row:before")
        self._catalog.insert("files", [settled])
        crash_points.reached("settled-row:after")
        COUNTERS.add("files_processed_total", outcome=settled.stage)
        COUNTERS.add("spectra_total", settled.spectra)

    def _read(self, file: Arrived) -> Recording:
        recording = read_guarded(
            file.path,
            statistics=self._behaviour.statistics,
            time_limit_s=self._behaviour.time_limit_s,
            memory_limit_bytes=self._behaviour.memory_limit_bytes,
            clock_offset=self._behaviour.clock_offset(file.row.host_uid),
        )
        if not recording.spectra:
            raise FormatError("no_spectrum", "The file is sound so far, but holds no spectrum.")
        return recording

    def _trash(self, file: Arrived, error: FormatError) -> FileRow:
        log.warning("into the trash: %s (%s)", error, error.code)
        place = self._repository.to_trash(
            file.path,
            host_id=file.row.host_id,
            file_id=file.row.file_id,
            reason=f"{error.code}: {error}",
        )
        return replace(
            file.row, stage="trashed", path=place, error_code=error.code, error_text=str(error)
        )

    def _catalogue(self, file: Arrived, recording: Recording) -> FileRow:
        location = locate(self._catalog, recording.gps)
        place = self._place(file, recording, location)
        rows = spectra.rows_of(
            recording,
            file_id=file.row.file_id,
            sha256=file.row.sha256,
            host_id=file.row.host_id,
            host_uid=file.row.host_uid,
            site_id=location.site_id,
        )
        crash_points.reached("spectra-rows:before")
        self._catalog.insert("spectra", rows)
        crash_points.reached("spectra-rows:after")
        log.info("%d spectra catalogued, filed as %s", len(rows), place)
        return replace(
            file.row,
            stage="processed",
            path=place,
            format=recording.format,
            spectra=len(rows),
            error_code=",".join(sorted({issue.kind for issue in recording.issues})),
        )

    def _place(self, file: Arrived, recording: Recording, location: Location) -> str:
        last = recording.stop
        return self._repository.to_final(
            file.path,
            year=None if last is None else datetime.fromtimestamp(last // 10**9, UTC).year,
            state=location.state,
            county=location.county,
            site=location.folder,
            name=file.row.remote_path.rpartition("/")[2],
            file_id=file.row.file_id,
        )
