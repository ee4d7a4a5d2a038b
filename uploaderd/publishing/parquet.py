"""The catalog's tables as Parquet files, a partition at a time.

A partition is a month of a set. Its digest in the manifest is a sum over its rows' ids and
versions, so that a late, corrected or removed row changes it. The database computes it for what it
holds now; the files' digests are computed from the rows that were written. A partition whose digest
is the current version's is a hard link to that version's file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from uploaderd import __version__
from uploaderd.catalog.client import Catalog
from uploaderd.errors import RepositoryError
from uploaderd.publishing import datasets, files, release, resume
from uploaderd.publishing.ahead import read_ahead
from uploaderd.publishing.columns import Column
from uploaderd.publishing.datasets import Partition
from uploaderd.repository.placement import unwritable

BLOCKS_AHEAD = 4
"""Blocks that may wait for the writer: some 8 MB."""


@dataclass(frozen=True)
class Published:
    """What a publication did."""

    version: str
    rows: int
    written: int
    """Files that were written."""
    kept: int
    """Files that are the last version's."""


def publish(
    catalog: Catalog,
    folder: Path,
    *,
    complete: bool,
    dataset: str = "all",
    keep: int = 3,
    floor_bytes: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> Published:
    """Publishes a dataset, or `all`; without `complete`, only partitions that changed are written.

    If no partition changed, the current version stays and no new one is made: that costs two
    queries. The other sets' files are kept as they are. What an interrupted publication had
    finished is taken over if the database still holds just that.

    Raises:
        MessageError: there is no such dataset.
        CatalogError: the database cannot be reached.
        RepositoryError: the folder cannot be written, has less than `floor_bytes` free, or another
            publication writes to it.
    """
    chosen = datasets.chosen(dataset)
    with release.locked(folder):
        last = release.current_manifest(folder)
        columns = datasets.columns(catalog)
        wanted = datasets.partitions(catalog, chosen, columns)
        ours = {each.name for each in chosen}
        before: dict[str, Any] = last["files"] if last else {}
        others = {path: entry for path, entry in before.items() if path.split("/")[0] not in ours}
        known = {} if complete else {path: before[path] for path in before.keys() - others.keys()}
        if last and {part.path: part.digest for part in wanted} == {
            path: entry["digest"] for path, entry in known.items()
        }:
            return _counted(last["version"], before, before)
        release.require_room(folder, floor_bytes)
        new = release.begin(folder)

        def check() -> None:
            progress()
            release.require_room(folder, floor_bytes)

        try:
            made = resume.take_over(new, {part.path: part.digest for part in wanted})
            known = {path: entry for path, entry in known.items() if path not in made}
            made |= _carry(folder, new, others, known, wanted)
            pending = [part for part in wanted if part.path not in made]
            with read_ahead(files.sent(catalog, pending, columns), BLOCKS_AHEAD) as sent:
                for part, batches in groupby(sent, key=lambda each: each.partition):
                    own = columns[part.dataset.name]
                    written = files.write(part, own, batches, new.path / part.path, check=check)
                    made[part.path] = asdict(written)
                    resume.note(new, part.path, made[part.path])
            release.finish(new, _manifest(new, made, last, columns), keep=keep)
        except RepositoryError:
            # A full disk gets its room back at once; of all else, the next run makes use.
            release.abandon(new)
            raise
        return _counted(new.version, made, before)


def _carry(
    folder: Path,
    new: release.Release,
    others: Mapping[str, Any],
    known: Mapping[str, Any],
    wanted: list[Partition],
) -> dict[str, Any]:
    """Links what did not change from the current version; a file that is gone is written again."""
    unchanged = {
        part.path: known[part.path]
        for part in wanted
        if part.path in known and known[part.path]["digest"] == part.digest
    }
    current = (folder / "current").resolve()
    carried = {}
    for path, entry in {**others, **unchanged}.items():
        try:
            (new.path / path).parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                os.link(current / path, new.path / path)
                carried[path] = entry
        except OSError as error:
            raise unwritable(new.path / path, error) from error
    return carried


def _counted(version: str, made: Mapping[str, Any], before: Mapping[str, Any]) -> Published:
    kept = sum(1 for path in made if made[path] is before.get(path))
    rows = sum(entry["rows"] for entry in made.values())
    return Published(version, rows, written=len(made) - kept, kept=kept)


def _manifest(
    new: release.Release,
    made: Mapping[str, Any],
    last: Mapping[str, Any] | None,
    columns: Mapping[str, tuple[Column, ...]],
) -> dict[str, Any]:
    return {
        "version": new.version,
        "previous": last["version"] if last else None,
        "created_by": f"uploaderd {__version__}",
        "finished_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "layout": datasets.LAYOUT,
        "rows": sum(entry["rows"] for entry in made.values()),
        "bytes": sum(entry["size"] for entry in made.values()),
        "columns": {name: [column.name for column in each] for name, each in columns.items()},
        "files": dict(made),
    }
