"""Filing: a file that lies in `tmp/` is read, recorded, and gets its final name."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from uploaderd import clock, crash_points
from uploaderd.broker.job import Job
from uploaderd.catalog import spectra
from uploaderd.catalog.client import Catalog
from uploaderd.catalog.rows import FileRow
from uploaderd.formats import FormatError, Recording
from uploaderd.geo.resolvers import Chain
from uploaderd.observe.counters import COUNTERS
from uploaderd.repository.layout import Repository
from uploaderd.services.behaviour import ProcessBehaviour
from uploaderd.services.locating import Location, Whose, chain, locate
from uploaderd.services.reading import read_guarded

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
        """The same with the times that an earlier row tells; messages hold fewer digits of one."""
        names = ("mtime_ns", "discovered_at", "fetched_at", "fetch_s")
        times = {name: getattr(before, name) for name in names}
        return replace(self, row=replace(self.row, **times))


@dataclass(frozen=True)
class Filing:
    """From `tmp/` to the final tree or the trash; safe to use from several threads."""

    catalog: Catalog
    repository: Repository
    behaviour: ProcessBehaviour

    @cached_property
    def places(self) -> Chain:
        """What tells the state and county of a new site; made when the first file comes."""
        kind, url, cache = self.behaviour.places
        return chain(self.catalog, kind, url, cache)

    def settle(self, file: Arrived) -> FileRow:
        """Reads a file in `tmp/`, gives it its final name, and records its spectra and its row.

        The name in `tmp/` stays, for the caller to drop. Repeating the call changes nothing.

        Raises:
            RepositoryError: the repository's disk cannot be written.
            CatalogError: the database cannot be reached.
        """
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
        self.catalog.insert("files", [settled])
        crash_points.reached("settled-row:after")
        COUNTERS.add("files_processed_total", outcome=settled.stage)
        COUNTERS.add("spectra_total", settled.spectra)
        return settled

    def record_again(self, file: Arrived) -> int:
        """Reads a file that has its final name, and records its spectra anew; gives their number.

        Raises:
            FormatError: nothing in it is sound.
            CatalogError: the database cannot be reached.
        """
        recording = self._read(file)
        return self._record(file, recording, self._located(file, recording))

    def _read(self, file: Arrived) -> Recording:
        recording = read_guarded(
            file.path,
            statistics=self.behaviour.statistics,
            time_limit_s=self.behaviour.time_limit_s,
            memory_limit_bytes=self.behaviour.memory_limit_bytes,
            clock_offset=self.behaviour.clock_offset(file.row.host_id, file.row.host_uid),
        )
        if not recording.spectra:
            raise FormatError("no_spectrum", "The file is sound so far, but holds no spectrum.")
        return recording

    def _trash(self, file: Arrived, error: FormatError) -> FileRow:
        log.warning("into the trash: %s (%s)", error, error.code)
        place = self.repository.to_trash(
            file.path,
            host_id=file.row.host_id,
            file_id=file.row.file_id,
            reason=f"{error.code}: {error}",
        )
        return replace(
            file.row, stage="trashed", path=place, error_code=error.code, error_text=str(error)
        )

    def _catalogue(self, file: Arrived, recording: Recording) -> FileRow:
        location = self._located(file, recording)
        place = self._place(file, recording, location)
        count = self._record(file, recording, location)
        log.info("%d spectra catalogued, filed as %s", count, place)
        return replace(
            file.row,
            stage="processed",
            path=place,
            format=recording.format,
            spectra=count,
            error_code=",".join(sorted({issue.kind for issue in recording.issues})),
        )

    def _located(self, file: Arrived, recording: Recording) -> Location:
        whose = Whose(
            file.row.host_id,
            file.row.host_uid or recording.receiver or "",
            file.row.file_id,
            spectra.moment(recording.start),
            spectra.moment(recording.stop),
        )
        return locate(self.catalog, recording.gps, whose, self.places)

    def _record(self, file: Arrived, recording: Recording, location: Location) -> int:
        rows = spectra.rows_of(
            recording,
            file_id=file.row.file_id,
            sha256=file.row.sha256,
            host_id=file.row.host_id,
            host_uid=file.row.host_uid,
            site_id=location.site_id,
        )
        crash_points.reached("spectra-rows:before")
        self.catalog.insert("spectra", rows)
        crash_points.reached("spectra-rows:after")
        return len(rows)

    def _place(self, file: Arrived, recording: Recording, location: Location) -> str:
        last = recording.stop
        return self.repository.to_final(
            file.path,
            year=None if last is None else datetime.fromtimestamp(last // 10**9, UTC).year,
            state=location.state,
            county=location.county,
            site=location.folder,
            name=file.row.remote_path.rpartition("/")[2],
            file_id=file.row.file_id,
        )
