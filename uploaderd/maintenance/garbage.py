"""The trash's retention: what is old is announced first, and deleted only after a time of grace.

What was announced, and when, stands in `trash/.announced.json`. Announced are files of the trash
that are older than the retention, and transfers in `tmp/` that nobody has gone on with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from uploaderd import clock
from uploaderd.catalog import files
from uploaderd.catalog.client import Catalog
from uploaderd.durable import sync_folder
from uploaderd.errors import RepositoryError
from uploaderd.maintenance.server import REASON
from uploaderd.repository import placement

ANNOUNCED = ".announced.json"


@dataclass(frozen=True)
class Retention:
    """How long things are kept."""

    trash: timedelta = timedelta(days=90)
    transfers: timedelta = timedelta(days=30)
    """Since the last byte of a transfer that was broken off came in."""
    grace: timedelta = timedelta(days=7)
    """From the announcement to the deletion; never zero in one run."""
    most_files: int = 1000
    """Deleted in one run."""


@dataclass(frozen=True)
class Rubbish:
    """A file that is older than the retention."""

    path: str
    """Below the repository."""
    size: int
    mark: str
    """Changes if the name comes to mean another file."""


@dataclass
class Collected:
    """What one run found and did."""

    announced: list[Rubbish] = field(default_factory=list)
    """For the first time."""
    waiting: int = 0
    """Announced before, in their time of grace, or beyond the number of one run."""
    deleted: list[Rubbish] = field(default_factory=list)
    delete_from: datetime | None = None
    """When what is announced now may go."""

    @property
    def bytes(self) -> tuple[int, int]:
        """Announced and deleted."""
        return sum(one.size for one in self.announced), sum(one.size for one in self.deleted)


def collect(
    catalog: Catalog,
    root: Path,
    retention: Retention,
    *,
    delete: bool = True,
    beat: Callable[[], None] = lambda: None,
) -> Collected:
    """Announces what is old, and deletes what was announced long enough ago.

    Without `delete`, nothing is changed and nothing is announced: a look at what would be.

    Raises:
        RepositoryError: the repository is not there, or its disk cannot be written.
        CatalogError: the database cannot be reached.
    """
    if not root.is_dir():
        raise RepositoryError(f"The repository {root} is not there.", hint="Is it mounted?")
    now = clock.now()
    before = _announced(root)
    result = Collected(delete_from=now + retention.grace)
    kept: dict[str, Any] = {}
    for one in _rubbish(catalog, root, retention, now):
        beat()
        told = before.get(one.path)
        if told is None or told["mark"] != one.mark:
            result.announced.append(one)
            kept[one.path] = {"at": now.isoformat(), "mark": one.mark, "size": one.size}
            continue
        ripe = now - datetime.fromisoformat(told["at"]) >= retention.grace
        if ripe and delete and len(result.deleted) < retention.most_files:
            _delete(catalog, root, one, now)
            result.deleted.append(one)
        else:
            result.waiting += 1
            kept[one.path] = told
    if delete and kept != before:
        placement.write_text(root / "trash" / ANNOUNCED, json.dumps(kept, indent=1))
    return result


def _announced(root: Path) -> Mapping[str, Any]:
    """What earlier runs announced; a file that cannot be read counts as none: all is told anew."""
    try:
        told = json.loads((root / "trash" / ANNOUNCED).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    except OSError as error:
        raise RepositoryError(f"{root / 'trash'} cannot be read: {error.strerror}.") from error
    return told if isinstance(told, dict) else {}


def _rubbish(
    catalog: Catalog, root: Path, retention: Retention, now: datetime
) -> Iterator[Rubbish]:
    young = _young(catalog, now - retention.trash)
    for path, found in _below(root, "trash"):
        # What the catalog does not tell the age of is as old as its name in the trash.
        if path not in young and _age(found.st_ctime, now) >= retention.trash:
            yield _one(path, found)
    for path, found in _below(root, "tmp"):
        if ".part" in Path(path).name and _age(found.st_mtime, now) >= retention.transfers:
            yield _one(path, found)


def _young(catalog: Catalog, since: datetime) -> set[str]:
    rows = catalog.query(
        "SELECT path FROM files_now WHERE stage = 'trashed' AND path != ''"
        " AND toUnixTimestamp64Milli(processed_at) > %(since)s",
        {"since": round(since.timestamp() * 1000)},
    )
    return {row["path"] for row in rows}


def _below(root: Path, name: str) -> Iterator[tuple[str, os.stat_result]]:
    for folder, folders, names in os.walk(root / name):
        folders.sort()
        for each in sorted(names):
            path = Path(folder) / each
            if each.endswith(REASON) or each == ANNOUNCED:
                continue
            with suppress(FileNotFoundError):
                yield path.relative_to(root).as_posix(), path.lstat()


def _age(seconds: float, now: datetime) -> timedelta:
    return timedelta(seconds=now.timestamp() - seconds)


def _one(path: str, found: os.stat_result) -> Rubbish:
    return Rubbish(path, found.st_size, f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}")


def _delete(catalog: Catalog, root: Path, one: Rubbish, now: datetime) -> None:
    """The rows first: a file without a row is found again, a row without its file is a lie."""
    rows = catalog.query(
        "SELECT host_id, file_id FROM files_now WHERE path = %(path)s AND stage = 'trashed'",
        {"path": one.path},
    )
    for row in rows:
        whole = files.whole(catalog, row["host_id"], row["file_id"])
        if whole is not None:
            text = f"{whole.error_text} Deleted from the trash on {now:%Y-%m-%d}.".strip()
            catalog.insert("files", [replace(whole, path="", error_text=text)])
    path = root / one.path
    try:
        path.unlink(missing_ok=True)
        path.with_name(path.name + REASON).unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise placement.unwritable(path, error) from error
    # A folder in which something else lies stays.
    with suppress(OSError):
        path.parent.rmdir()
