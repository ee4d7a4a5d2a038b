"""What the ledger knows of files."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields

from uploaderd.catalog.client import Catalog
from uploaderd.catalog.rows import FileRow

SETTLED = frozenset({"processed", "trashed"})
"""Stages after which nothing more is to be done with a file."""
BATCH = 5_000
"""Ids a query: its text stays below the server's limit of 256 KiB."""


def known(catalog: Catalog, host_id: int, ids: Collection[str]) -> dict[str, str]:
    """The stage of each of these files that the ledger has; the others are missing."""
    listed = list(ids)
    found: dict[str, str] = {}
    for start in range(0, len(listed), BATCH):
        rows = catalog.query(
            "SELECT file_id, argMax(stage, version) AS newest FROM files "
            "WHERE host_id = %(host_id)s AND file_id IN %(ids)s GROUP BY file_id",
            {"host_id": host_id, "ids": tuple(listed[start : start + BATCH])},
        )
        found.update((row["file_id"], row["newest"]) for row in rows)
    return found


def recorded(catalog: Catalog, host_id: int, ids: Collection[str]) -> dict[str, FileRow]:
    """The newest row of each of these files that the ledger has; the others are missing.

    Of its columns, those that a file's identity, its transfer and its stage are told by, and the
    times of discovery and transfer.
    """
    listed = list(ids)
    found: dict[str, FileRow] = {}
    for start in range(0, len(listed), BATCH):
        rows = catalog.query(
            "SELECT host_id, file_id, remote_path, size, mtime_ns, stage, host_uid, sha256,"
            " verified, path, discovered_at, fetched_at, fetch_s FROM files"
            " WHERE host_id = %(host_id)s AND file_id IN %(ids)s ORDER BY version",
            {"host_id": host_id, "ids": tuple(listed[start : start + BATCH])},
        )
        found.update((row["file_id"], FileRow(**row)) for row in rows)
    return found


def whole(catalog: Catalog, host_id: int, file_id: str) -> FileRow | None:
    """The newest row of a file, all of it; None if the ledger does not know the file.

    Its version is a new one, so that what is made of it by `replace` counts more.
    """
    names = ", ".join(field.name for field in fields(FileRow) if field.name != "version")
    rows = catalog.query(
        f"SELECT {names} FROM files_now WHERE host_id = %(host_id)s AND file_id = %(file_id)s",
        {"host_id": host_id, "file_id": file_id},
    )
    return FileRow(**rows[0]) if rows else None
