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
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

from uploaderd import __version__, clock
from uploaderd.beating import beating
from uploaderd.catalog.client import Catalog
from uploaderd.errors import RepositoryError
from uploaderd.publishing import datasets, files, holdings, plan, release, resume
from uploaderd.publishing.ahead import read_ahead
from uploaderd.publishing.datasets import Partition
from uploaderd.publishing.plan import Plan
from uploaderd.repository.placement import unwritable

BLOCKS_AHEAD = 8
"""Blocks that may wait for the writer, some 32 MB: the next partition is being sorted meanwhile."""


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
    since: date | None = None,
    keep: int = 3,
    keep_for_s: float = 0.0,
    floor_bytes: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> Published:
    """Publishes a dataset, or `all`; without `complete`, only partitions that changed are written.

    If no partition changed, the current version stays and no new one is made: that costs two
    queries, and next to nothing if no table changed. The other sets' files are kept as they are,
    and so are those of months before `since`. What an interrupted publication had finished is
    taken over if the database still holds just that.

    Raises:
        MessageError: there is no such dataset.
        CatalogError: the database cannot be reached.
        RepositoryError: the folder cannot be written, has less than `floor_bytes` free, or another
            publication writes to it.
    """
    chosen = datasets.chosen(dataset)
    with release.locked(folder):
        with beating(progress):
            todo = plan.make(catalog, folder, chosen, complete=complete, since=since)
        if todo.last and todo.is_done:
            release.note_seen(folder, todo.last["version"], todo.watermarks)
            return _counted(todo.last["version"], todo.before, todo.before)
        release.require_room(folder, floor_bytes)
        new = release.begin(folder)

        def check() -> None:
            progress()
            release.require_room(folder, floor_bytes)

        try:
            made = _written(catalog, folder, new, todo, check)
            manifest = _manifest(new, made, todo, holdings.schema_version(catalog))
            release.finish(new, manifest, keep=keep, keep_for_s=keep_for_s)
        except RepositoryError:
            # A full disk gets its room back at once; of all else, the next run makes use.
            release.abandon(new)
            raise
        release.note_seen(folder, new.version, todo.watermarks)
        return _counted(new.version, made, todo.before)


def _written(
    catalog: Catalog, folder: Path, new: release.Release, todo: Plan, check: Callable[[], None]
) -> dict[str, Any]:
    """The new version's files, by path: taken over, linked or written."""
    made = resume.take_over(new, {part.path: part.digest for part in todo.wanted})
    known = {path: entry for path, entry in todo.known.items() if path not in made}
    made |= _carry(folder, new, todo.others, known, todo.wanted)
    pending = [part for part in todo.wanted if part.path not in made]
    with read_ahead(files.sent(catalog, pending, todo.columns), BLOCKS_AHEAD) as sent:
        for part, batches in groupby(sent, key=lambda each: each.partition):
            own = todo.columns[part.dataset.name]
            written = files.write(part, own, batches, new.path / part.path, check=check)
            made[part.path] = asdict(written)
            resume.note(new, part.path, made[part.path])
    return made


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
    new: release.Release, made: Mapping[str, Any], todo: Plan, schema_version: int
) -> dict[str, Any]:
    return {
        "version": new.version,
        "previous": todo.last["version"] if todo.last else None,
        "created_by": f"uploaderd {__version__}",
        "finished_at": clock.now().isoformat(timespec="milliseconds"),
        "layout": datasets.LAYOUT,
        "schema_version": schema_version,
        "watermark": {"read_from": todo.read_from, "sets": todo.watermarks},
        "rows": sum(entry["rows"] for entry in made.values()),
        "bytes": sum(entry["size"] for entry in made.values()),
        "columns": {name: [column.name for column in each] for name, each in todo.columns.items()},
        "files": dict(made),
    }
