"""Brings a database to the schema of this release: numbered files, each applied once.

A migration that a crash cut short is run again from its beginning: every statement can be repeated,
or has a comment before it, `-- unless: QUERY`, and is left out if the query finds something. Which
migrations are done stands in the table `migrations`, with their checksums.
"""

from __future__ import annotations

import csv
import hashlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from uploaderd.catalog import sqlfiles
from uploaderd.catalog.client import Catalog
from uploaderd.config.settings import DatabaseSettings
from uploaderd.errors import CatalogError, Disposition

REFERENCE = ("equipment_types", "file_types", "units")
LOCK_S = 600
LEDGER = """
CREATE TABLE IF NOT EXISTS migrations (
    number UInt32 COMMENT 'Number of the migration',
    name String COMMENT 'Name of its file',
    checksum FixedString(64) COMMENT 'SHA-256 of its text',
    applied_at DateTime64(3, 'UTC') COMMENT 'When it was complete'
) ENGINE = ReplacingMergeTree(applied_at) ORDER BY number
COMMENT 'Migrations that are complete'
"""
_LOCK = """
CREATE TABLE migration_lock (
    holder String COMMENT 'Who migrates'
) ENGINE = Memory COMMENT '{comment}'
"""


class MigrationError(CatalogError):
    """The database and this release do not fit together."""

    code = "migration"
    disposition = Disposition.NEVER


@dataclass(frozen=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True)
class _Applied:
    number: int
    name: str
    checksum: str
    applied_at: datetime


def migrations(folder: Path | None = None) -> list[Migration]:
    """The migrations of this release in their order; raises if a number is there twice."""
    paths = sorted((folder or sqlfiles.folder()).glob("[0-9][0-9][0-9][0-9]_*.sql"))
    found = [Migration(int(p.name[:4]), p.stem, p.read_text("utf-8")) for p in paths]
    if len({m.number for m in found}) != len(found):
        raise MigrationError("Two migrations have the same number.")
    return found


def pending(catalog: Catalog, known: list[Migration]) -> list[Migration]:
    """What is still to be applied; raises `MigrationError` if the database is not ours to change.

    That is, if it is newer than this release, or holds a migration whose text has changed.
    """
    if not catalog.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND name = 'migrations'"
    ):
        return known
    done = {row["number"]: row for row in catalog.query("SELECT * FROM migrations FINAL")}
    newer = sorted(done.keys() - {m.number for m in known})
    if newer:
        raise MigrationError(
            f"The database is newer than this release: it has migration {done[newer[-1]]['name']}.",
            hint="Install the newer release.",
        )
    for migration in known:
        row = done.get(migration.number)
        if row and row["checksum"] != migration.checksum:
            raise MigrationError(
                f"Migration {migration.name} was applied with another text than this release's."
            )
    return [m for m in known if m.number not in done]


def migrate(settings: DatabaseSettings, *, folder: Path | None = None) -> list[str]:
    """Creates the database if need be and applies what is pending; gives the names applied."""
    sql = folder or sqlfiles.folder()
    with Catalog(replace(settings, database="default")) as server:
        server.execute(f"CREATE DATABASE IF NOT EXISTS `{settings.database}`")
    with Catalog(settings) as catalog:
        known = migrations(sql)
        if not pending(catalog, known) and not _reference_lacks(catalog, sql / "reference"):
            return []
        with _locked(catalog):
            catalog.execute(LEDGER)
            applied = []
            for migration in pending(catalog, known):
                for statement in sqlfiles.statements(migration.text):
                    if not _is_done(catalog, statement):
                        catalog.execute(statement)
                row = _Applied(
                    migration.number, migration.name, migration.checksum, datetime.now(UTC)
                )
                catalog.insert("migrations", [row])
                applied.append(migration.name)
            for table in REFERENCE:
                load_reference(catalog, table, sql / "reference" / f"{table}.csv")
            return applied


def _is_done(catalog: Catalog, statement: str) -> bool:
    if not statement.startswith(sqlfiles.UNLESS):
        return False
    return bool(catalog.query(statement.partition("\n")[0].removeprefix(sqlfiles.UNLESS)))


def plan(settings: DatabaseSettings) -> list[str]:
    """Names of the migrations that are pending, changing nothing."""
    known = migrations()
    with Catalog(replace(settings, database="default")) as server:
        params = {"name": settings.database}
        if not server.query("SELECT name FROM system.databases WHERE name = %(name)s", params):
            return [m.name for m in known]
    with Catalog(settings) as catalog:
        return [m.name for m in pending(catalog, known)]


def load_reference(catalog: Catalog, table: str, path: Path) -> int:
    """Adds what the CSV file has and the table has not, by the first column; gives how many rows.

    What an operator has loaded himself goes before what comes with the release.
    """
    names, rows = _csv(path)
    missing = _missing(catalog, table, names[0], rows)
    if missing:
        catalog.insert_columns(f"`{table}`", names, list(zip(*missing, strict=True)))
    return len(missing)


def _missing(catalog: Catalog, table: str, key: str, rows: list[list[str]]) -> list[list[str]]:
    have = {row[key] for row in catalog.query(f"SELECT {key} FROM `{table}`")}
    return [row for row in rows if row[0] not in have]


def _csv(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    return names, rows


def _reference_lacks(catalog: Catalog, folder: Path) -> bool:
    files = ((table, *_csv(folder / f"{table}.csv")) for table in REFERENCE)
    return any(_missing(catalog, table, names[0], rows) for table, names, rows in files)


@contextmanager
def _locked(catalog: Catalog) -> Iterator[None]:
    """Holds the lock against a second migration: a table that only one can create.

    A lock older than ten minutes is a dead process's, and is taken over.
    """
    holder = f"{socket.gethostname()} process {os.getpid()}"
    rows = catalog.query(
        "SELECT metadata_modification_time AS at, comment FROM system.tables "
        "WHERE database = currentDatabase() AND name = 'migration_lock'"
    )
    if rows and _age(rows[0]["at"]) > timedelta(seconds=LOCK_S):
        catalog.execute("DROP TABLE IF EXISTS migration_lock")
    try:
        catalog.execute(_LOCK.format(comment=f"{holder} at {int(time.time())}"))
    except CatalogError as error:
        if "TABLE_ALREADY_EXISTS" not in str(error):
            raise
        other = rows[0]["comment"] if rows else "another process"
        raise CatalogError(
            f"Another migration is under way: {other}.",
            hint=f"A lock left by a crash is taken over after {LOCK_S // 60} minutes.",
        ) from error
    try:
        yield
    finally:
        catalog.execute("DROP TABLE IF EXISTS migration_lock")


def _age(at: datetime) -> timedelta:
    return datetime.now(UTC) - (at if at.tzinfo else at.replace(tzinfo=UTC))
