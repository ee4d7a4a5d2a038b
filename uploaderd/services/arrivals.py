"""What becomes of the files of one backup slice: from found files to rows and messages."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from uploaderd import clock, crash_points
from uploaderd.broker.job import Job
from uploaderd.catalog import files
from uploaderd.catalog.client import Catalog
from uploaderd.catalog.ids import file_id
from uploaderd.catalog.rows import FileRow
from uploaderd.observe.counters import COUNTERS
from uploaderd.repository.layout import Repository
from uploaderd.services.station_record import Station
from uploaderd.station.paths import Refused, Sound
from uploaderd.station.transfer import Fetched, Outcome, Wanted

log = logging.getLogger(__name__)

GONE = frozenset({"vanished"})
"""Refusals after which the station will never have the file: its line leaves the index."""


Found = Sound | Refused


class Source(Protocol):
    """Where the files of a station are known from: its agent's index, or a filter."""

    @property
    def lost(self) -> bool:
        """Whether the station is no longer ours to work on: stop soon."""

    @property
    def left(self) -> int:
        """Once the source is closed: how many files were seen there and not brought."""

    def batches(self, size: int) -> Iterator[list[Found]]:
        """The files that are due, up to `size` at a time, and those that cannot be had."""

    def settle(self, done: Sequence[bytes]) -> None:
        """Is told which paths are recorded, and their messages confirmed."""

    def rest(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The backup message that brings what is left."""


@dataclass
class Tally:
    """What one slice of a backup did."""

    copied: int = 0
    size: int = 0
    """Bytes copied."""
    refused: int = 0
    known: int = 0
    left: int = -1
    """Files seen at the station and not brought."""
    rest: dict[str, Any] | None = None
    """The message that brings what this slice had no time for."""

    @property
    def text(self) -> str:
        """The counts in words."""
        if not (self.copied or self.refused or self.known or self.left > 0):
            return "nothing new"
        left = f", {self.left} left for later" if self.left > 0 else ""
        return f"{self.copied} copied, {self.refused} refused, {self.known} already here{left}"


@dataclass
class Arrivals:
    """One batch at a time: `wanted`, `take` for every outcome, `record`, `tell_source`."""

    catalog: Catalog
    repository: Repository
    source: Source
    station: Station
    tally: Tally = field(default_factory=Tally)
    _rows: list[FileRow] = field(default_factory=list)
    _messages: list[dict[str, Any]] = field(default_factory=list)
    _done: list[bytes] = field(default_factory=list)
    _seen_at: datetime = field(default_factory=clock.now)

    def wanted(self, batch: Sequence[Found]) -> list[Wanted]:
        """The files to fetch; what cannot be had is refused here, with a row."""
        self._seen_at = clock.now()
        for one in batch:
            if isinstance(one, Refused):
                self._refuse(one.path, one.code, one.reason)
        return self._without_settled([one for one in batch if isinstance(one, Sound)])

    def take(self, outcome: Outcome) -> None:
        """Notes what came of one file."""
        path = outcome.wanted.remote_path
        if not isinstance(outcome, Fetched):
            self._refuse(path, outcome.error.code, str(outcome.error))
            return
        row = FileRow(
            host_id=self.station.host_id,
            file_id=file_id(self.station.host_id, path, outcome.size, outcome.mtime_ns),
            remote_path=os.fsdecode(path),
            size=outcome.size,
            mtime_ns=outcome.mtime_ns,
            stage="fetched",
            host_uid=self.station.host_uid,
            sha256=outcome.sha256,
            verified=outcome.verified,
            path=self.repository.relative(outcome.wanted.target),
            discovered_at=self._seen_at,
            fetched_at=clock.now(),
        )
        self._rows.append(row)
        self._messages.append(_message(row))
        self._done.append(path)
        self.tally.copied += 1
        self.tally.size += outcome.size
        COUNTERS.add("files_fetched_total")
        COUNTERS.add("bytes_fetched_total", outcome.size)

    def record(self, job: Job) -> None:
        """Records what was taken so far, and has its messages confirmed.

        Raises:
            CatalogError: the database cannot be reached.
            BrokerError: the broker does not confirm.
        """
        crash_points.reached("fetched-rows:before")
        rows = [replace(row, message_id=job.message_id) for row in self._rows]
        self.catalog.insert("files", rows)
        crash_points.reached("fetched-rows:after")
        for message in self._messages:
            job.publish("process", message)
        crash_points.reached("process-messages:before")
        job.confirm()
        crash_points.reached("process-messages:after")
        self._rows, self._messages = [], []

    def tell_source(self) -> None:
        """Tells what is recorded: it is settled at the station, too."""
        self.source.settle(self._done)
        self._done = []

    def _without_settled(self, sound: Sequence[Sound]) -> list[Wanted]:
        """Drops what an interrupted backup already brought: settled by now, or waiting in tmp."""
        host_id = self.station.host_id
        ids = [file_id(host_id, one.path, one.size, one.mtime_ns) for one in sound]
        before = files.recorded(self.catalog, host_id, ids) if ids else {}
        missing = []
        for one, identity in zip(sound, ids, strict=True):
            row = before.get(identity)
            target = self.repository.incoming(host_id, identity, one.path)
            if row is not None and row.stage == "fetched" and _is_there(target, row):
                # Its message may have been lost with the process that recorded it.
                self._messages.append(_message(row))
            elif row is None or row.stage not in files.SETTLED:
                missing.append(Wanted(one.path, target, one.size, one.mtime_ns))
                continue
            self.tally.known += 1
            self._done.append(one.path)
        return missing

    def _refuse(self, path: bytes, code: str, reason: str) -> None:
        name = path.decode("utf-8", "backslashreplace")
        log.warning("refused %s: %s", name, reason)
        self.tally.refused += 1
        COUNTERS.add("files_refused_total", code=code)
        self._rows.append(
            FileRow(
                host_id=self.station.host_id,
                file_id=file_id(self.station.host_id, path, 0, 0),
                remote_path=name,
                size=0,
                mtime_ns=0,
                stage="failed",
                host_uid=self.station.host_uid,
                error_code=code,
                error_text=reason,
            )
        )
        if code in GONE:
            self._done.append(path)


def _is_there(target: Path, row: FileRow) -> bool:
    """Whether the copy that the row tells of lies in `tmp/`: what has that name is durable."""
    try:
        return target.stat().st_size == row.size
    except FileNotFoundError:
        return False


def _message(row: FileRow) -> dict[str, Any]:
    return {
        "file_id": row.file_id,
        "host_id": row.host_id,
        "host_uid": row.host_uid,
        "remote_path": row.remote_path,
        "size": row.size,
        "mtime": row.mtime_ns / 1e9,
        "sha256": row.sha256,
        "path": row.path,
        "verified": row.verified,
    }
