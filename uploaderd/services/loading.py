"""Loading: files that are here already go into the repository and the catalog, without a station.

What `process` does with a fetched file is done with these, in the same order, so that a load which
was cut short is repeated from where it was: a file whose version or content the host has settled is
not touched again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from uploaderd import clock
from uploaderd.catalog import files
from uploaderd.catalog.client import Catalog
from uploaderd.catalog.ids import file_id
from uploaderd.catalog.rows import FileRow
from uploaderd.durable import sync_folder
from uploaderd.formats import FormatError
from uploaderd.repository import placement
from uploaderd.services.filing import Arrived, Filing
from uploaderd.services.reading import read_guarded

BATCH = 64
"""Files that are hashed before the catalog is asked which of them it has."""


@dataclass(frozen=True)
class Host:
    """Whose files these are; without an id, the receiver's name in each file says it."""

    host_id: int | None = None
    host_uid: str = ""


@dataclass(frozen=True)
class Loaded:
    """What became of one file."""

    path: Path
    outcome: str
    """`processed`, `trashed` (unreadable, put aside), `known` (loaded before) or `refused`."""
    size: int = 0
    place: str = ""
    """Below the repository."""
    text: str = ""


@dataclass(frozen=True)
class _Hashed:
    path: Path
    row: FileRow


def found(paths: Iterable[Path]) -> Iterator[Path]:
    """The plain files that are named, and those below the folders that are, in sorted order."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            yield from (Path(folder) / name for name in sorted(names))


def load(
    paths: Iterable[Path], filing: Filing, host: Host, *, link: bool = False, workers: int = 2
) -> Iterator[Loaded]:
    """Loads files, several at a time; gives what became of each, in their order.

    Args:
        paths: plain files.
        filing: how files are read, recorded and filed.
        host: whose files they are.
        link: give the file a second name in the repository instead of copying it, where the disk
            is the same. Only for files that nobody writes to any more.
        workers: files that are read at a time.

    Raises:
        RepositoryError: the repository's disk cannot be written.
        CatalogError: the database cannot be reached.
    """
    source = iter(paths)
    with ThreadPoolExecutor(workers) as pool:
        while batch := list(islice(source, BATCH)):
            hashed = list(pool.map(lambda path: _hashed(path, filing, host), batch))
            fresh = _without_known(filing.catalog, hashed)
            yield from pool.map(partial(_settled, filing=filing, link=link), fresh)


def _hashed(path: Path, filing: Filing, host: Host) -> _Hashed | Loaded:
    try:
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        after = path.stat()
    except OSError as error:
        return Loaded(path, "refused", text=f"cannot be read: {error.strerror}")
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        return Loaded(path, "refused", text="was written to while it was read")
    whose = _host(path, filing, host)
    name = os.fsencode(path.absolute()).decode("utf-8", "backslashreplace")
    row = FileRow(
        host_id=whose.host_id or 0,
        file_id=file_id(whose.host_id or 0, name, after.st_size, after.st_mtime_ns),
        remote_path=name,
        size=after.st_size,
        mtime_ns=after.st_mtime_ns,
        stage="fetched",
        host_uid=whose.host_uid,
        sha256=sha256,
        verified="local",
    )
    return _Hashed(path, row)


def _host(path: Path, filing: Filing, host: Host) -> Host:
    """The station whose receiver the file names; number 0 stands for one that nobody knows."""
    if host.host_id is not None:
        return host
    try:
        receiver = read_guarded(path, time_limit_s=filing.behaviour.time_limit_s).receiver or ""
    except FormatError:
        return Host(0)
    rows = filing.catalog.query(
        "SELECT host_id, host_uid FROM hosts_now WHERE lower(host_uid) = lower(%(uid)s)"
        " ORDER BY updated_at DESC LIMIT 1",
        {"uid": receiver},
    )
    return Host(**rows[0]) if rows else Host(0, receiver)


def _without_known(catalog: Catalog, batch: Sequence[_Hashed | Loaded]) -> list[_Hashed | Loaded]:
    """The batch in which files that the host has, or has the content of, are known.

    A file that an interrupted load began with is not: its row is to be settled.
    """
    rows = [one.row for one in batch if isinstance(one, _Hashed)]
    if not rows:
        return list(batch)
    have = catalog.query(
        "SELECT host_id, file_id, sha256, stage IN %(settled)s AS settled FROM files_now"
        " WHERE host_id IN %(hosts)s AND (sha256 IN %(hashes)s OR file_id IN %(ids)s)",
        {
            "hosts": tuple({row.host_id for row in rows}),
            "hashes": tuple({row.sha256 for row in rows}),
            "ids": tuple({row.file_id for row in rows}),
            "settled": tuple(files.SETTLED),
        },
    )
    settled = {(row["host_id"], row["file_id"]) for row in have if row["settled"]}
    begun = {(row["host_id"], row["file_id"]) for row in have} - settled
    contents = {(row["host_id"], row["sha256"]) for row in have if row["settled"]}
    left: list[_Hashed | Loaded] = []
    for one in batch:
        if isinstance(one, Loaded):
            left.append(one)
            continue
        key, content = (one.row.host_id, one.row.file_id), (one.row.host_id, one.row.sha256)
        if key in settled or (content in contents and key not in begun):
            left.append(Loaded(one.path, "known", one.row.size))
        else:
            left.append(one)
            contents.add(content)
    return left


def _settled(one: _Hashed | Loaded, *, filing: Filing, link: bool) -> Loaded:
    if isinstance(one, Loaded):
        return one
    row = one.row
    repository = filing.repository
    target = repository.incoming(row.host_id, row.file_id, os.fsencode(one.path.absolute()))
    try:
        placement.make_folder(target.parent)
        _bring(one.path, target, link)
        sync_folder(target.parent)
    except OSError as error:
        raise placement.unwritable(target, error) from error
    arrived = FileRow(
        **{**vars(row), "path": repository.relative(target), "fetched_at": clock.now()}
    )
    filing.catalog.insert("files", [arrived])
    settled = filing.settle(Arrived(target, arrived))
    repository.release(target)
    return Loaded(one.path, settled.stage, row.size, settled.path, settled.error_text)


def _bring(source: Path, target: Path, link: bool) -> None:
    target.unlink(missing_ok=True)
    if link:
        try:
            os.link(source, target)
            return
        except OSError:
            # Another disk, or a file that is not ours to link: a copy serves as well.
            target.unlink(missing_ok=True)
    part = target.with_name(f"{target.name}.part")
    with source.open("rb") as reading, part.open("wb") as writing:
        shutil.copyfileobj(reading, writing, 1 << 20)
        writing.flush()
        os.fsync(writing.fileno())
    part.replace(target)
