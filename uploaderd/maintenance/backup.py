"""Backups of the catalog: its tables as Parquet files, a chunk at a time. Needs pyarrow.

    FOLDER/<time>.json             one backup: which chunks of which tables, with their digests
    FOLDER/objects/<sha256>.parquet    the chunks' rows, bytes and bits as the database has them

A chunk that has not changed since the last backup is the last one's file. A chunk's digest is a sum
of its rows' hashes, computed by the database: before, to see what changed; from the rows as they
are sent, for the record; and again after a restoration, to see that nothing is missing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from uploaderd import __version__, clock
from uploaderd.catalog.client import Catalog
from uploaderd.durable import sync_folder
from uploaderd.errors import CatalogError, RepositoryError
from uploaderd.maintenance.server import digest
from uploaderd.maintenance.transport import Wire, wires
from uploaderd.repository import placement

FIRST, LAST = ("files",), ("spectra", "sites")
"""Files are read before spectra: no file of a backup is processed without its spectra."""
CHUNKS = {"files": "toString(toYYYYMM(fromUnixTimestamp64Nano(mtime_ns, 'UTC')))"}
"""How a table without partitions is cut; what is not here goes by its partitions."""
ROWS_A_BLOCK = 8192
LEAVE_OUT = ("migrations", "migration_lock")


@dataclass(frozen=True)
class Chunk:
    """A part of a table, and the file that holds it."""

    table: str
    chunk: str
    rows: int
    digest: str
    sha256: str = ""
    size: int = 0

    def same_rows(self, other: Chunk | None) -> bool:
        """Whether the other has the same rows of the same columns."""
        return other is not None and (self.rows, self.digest) == (other.rows, other.digest)


@dataclass(frozen=True)
class Manifest:
    """One backup."""

    name: str
    started_at: str
    finished_at: str
    created_by: str
    migrations: list[str]
    columns: dict[str, list[tuple[str, str]]]
    """Name and type of every table's columns."""
    chunks: list[Chunk]

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(chunk.rows for chunk in self.chunks)


@dataclass(frozen=True)
class Written:
    """What a backup wrote."""

    manifest: Manifest
    written: int
    """Chunks that changed."""
    bytes: int
    """Of those."""


def write(catalog: Catalog, folder: Path, beat: Callable[[str], None] = lambda _: None) -> Written:
    """Makes a backup, and reads back every file that belongs to it.

    Raises:
        CatalogError: the database cannot be reached.
        RepositoryError: the folder cannot be written, or does not give back what was written.
    """
    started = clock.now()
    last = _last(folder)
    known = {(c.table, c.chunk): c for c in last.chunks} if last else {}
    chunks, written, size = [], 0, 0
    columns = {}
    try:
        placement.make_folder(folder / "objects")
        for table in tables(catalog):
            columns[table] = [(name, kind) for name, kind, _ in catalog.columns(table)]
            for chunk in contents(catalog, table, columns[table]):
                before = known.get((table, chunk.chunk))
                if before is not None and chunk.same_rows(before):
                    chunks.append(before)
                    continue
                beat(f"{table} {chunk.chunk}: {chunk.rows} rows")
                made = _export(catalog, chunk, wires(columns[table]), folder)
                chunks.append(made)
                written, size = written + 1, size + made.size
        manifest = Manifest(
            name=started.strftime("%Y%m%dT%H%M%S%fZ"),
            started_at=started.isoformat(),
            finished_at=clock.now().isoformat(),
            created_by=f"uploaderd {__version__}",
            migrations=_migrations(catalog),
            columns=columns,
            chunks=chunks,
        )
        verify(folder, manifest)
        text = json.dumps(asdict(manifest), indent=1)
        placement.write_text(folder / f"{manifest.name}.json", text)
    except OSError as error:
        raise placement.unwritable(folder, error) from error
    return Written(manifest, written, size)


def tables(catalog: Catalog) -> list[str]:
    """The tables that hold rows of their own, in the order in which they are read."""
    rows = catalog.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase()"
        " AND engine LIKE '%%MergeTree' AND name NOT IN %(out)s ORDER BY name",
        {"out": LEAVE_OUT},
    )
    names = [row["name"] for row in rows if not row["name"].startswith(".")]
    order = {**dict.fromkeys(FIRST, 0), **dict.fromkeys(LAST, 2)}
    return sorted(
        names, key=lambda name: (order.get(name, 1), LAST.index(name) if name in LAST else 0)
    )


def contents(catalog: Catalog, table: str, columns: Sequence[tuple[str, str]]) -> list[Chunk]:
    """The table's chunks as the database has them now, each row once."""
    # ClickHouse takes an alias for a column of the same name: no column begins like these.
    rows = catalog.query(
        f"SELECT {_chunk(table)} AS _chunk, count() AS _count, sum({_hash(columns)}) AS _sum"
        f" FROM `{table}` FINAL GROUP BY _chunk ORDER BY _chunk"
    )
    return [
        Chunk(table, row["_chunk"], row["_count"], _digest(row["_sum"], columns)) for row in rows
    ]


def names(folder: Path) -> list[str]:
    """The backups of the folder, oldest first."""
    return sorted(path.stem for path in folder.glob("*T*Z.json"))


def read(folder: Path, name: str | None = None) -> Manifest:
    """A backup of the folder, by default the newest. Raises RepositoryError if there is none."""
    found = names(folder)
    if not found or (name and name not in found):
        raise RepositoryError(f"{folder} holds no backup {name or 'at all'}.")
    path = folder / f"{name or found[-1]}.json"
    try:
        values: dict[str, Any] = json.loads(path.read_text("utf-8"))
        values["chunks"] = [Chunk(**chunk) for chunk in values["chunks"]]
        values["columns"] = {
            table: [(name, kind) for name, kind in columns]
            for table, columns in values["columns"].items()
        }
        return Manifest(**values)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RepositoryError(f"{path} is no sound backup: {error}.") from error


def verify(folder: Path, manifest: Manifest) -> None:
    """Reads every file of a backup. Raises RepositoryError naming the first that is not sound."""
    for chunk in manifest.chunks:
        path = place(folder, chunk)
        try:
            sound = digest(path) == chunk.sha256
        except FileNotFoundError as error:
            raise RepositoryError(f"{path} of the backup {manifest.name} is missing.") from error
        if not sound:
            raise RepositoryError(f"{path} of the backup {manifest.name} is damaged.")


def place(folder: Path, chunk: Chunk) -> Path:
    """Where the rows of a chunk lie."""
    return folder / "objects" / f"{chunk.sha256}.parquet"


def _last(folder: Path) -> Manifest | None:
    return read(folder) if names(folder) else None


def _migrations(catalog: Catalog) -> list[str]:
    rows = catalog.query("SELECT name FROM migrations FINAL ORDER BY number")
    return [row["name"] for row in rows]


def _chunk(table: str) -> str:
    return CHUNKS.get(table, "toString(_partition_id)")


def _hash(columns: Sequence[tuple[str, str]]) -> str:
    return f"cityHash64({', '.join(f'`{name}`' for name, _ in columns)})"


def _digest(hashes: int, columns: Sequence[tuple[str, str]]) -> str:
    shape = hashlib.sha256(repr([tuple(column) for column in columns]).encode()).hexdigest()
    return f"{hashes % 2**64:016x}-{shape[:8]}"


def _export(catalog: Catalog, chunk: Chunk, columns: Sequence[Wire], folder: Path) -> Chunk:
    """Writes a chunk's rows; what comes of it tells what was written, not what was asked for."""
    aside = folder / "objects" / f".{os.getpid()}.parquet"
    listed = ", ".join(column.sql for column in columns)
    plain = [(column.name, column.kind) for column in columns]
    sql = (
        f"SELECT {listed}, {_hash(plain)} AS row_hash FROM `{chunk.table}` FINAL"
        f" WHERE {_chunk(chunk.table)} = %(chunk)s"
    )
    shape = pa.schema([(column.name, column.type) for column in columns])
    types = {**{column.name: column.type for column in columns}, "row_hash": pa.uint64()}
    rows, hashes = 0, 0
    try:
        with pq.ParquetWriter(aside, shape, compression="zstd", use_dictionary=False) as writer:
            batches = catalog.record_batches(
                sql, {"chunk": chunk.chunk}, types=types, rows=ROWS_A_BLOCK
            )
            for batch in batches:
                arrays = [batch.column(n).cast(c.type) for n, c in enumerate(columns)]
                writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=shape))
                rows += batch.num_rows
                sent = batch.column(len(columns)).to_numpy()
                hashes += int(np.sum(sent, dtype=np.uint64))
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        sha256, size = digest(aside), aside.stat().st_size
        if pq.read_metadata(aside).num_rows != rows:
            raise RepositoryError(f"{aside} does not hold the {rows} rows that were written.")
        made = Chunk(chunk.table, chunk.chunk, rows, _digest(hashes, plain), sha256, size)
        aside.replace(place(folder, made))
        sync_folder(folder / "objects")
    finally:
        aside.unlink(missing_ok=True)
    return made


def differing(catalog: Catalog, manifest: Manifest) -> list[str]:
    """Chunks in which a database differs from a backup. Raises CatalogError."""
    wrong = []
    for table, columns in manifest.columns.items():
        have = {chunk.chunk: chunk for chunk in contents(catalog, table, columns)}
        want = {chunk.chunk: chunk for chunk in manifest.chunks if chunk.table == table}
        wrong += [
            f"{table} {name}"
            for name in sorted(have.keys() | want.keys())
            if name not in have or not have[name].same_rows(want.get(name))
        ]
    return wrong


def require_equal(catalog: Catalog, manifest: Manifest) -> None:
    """Raises CatalogError unless the database holds exactly what the backup does."""
    wrong = differing(catalog, manifest)
    if wrong:
        raise CatalogError(
            f"The database differs from the backup {manifest.name} in {', '.join(wrong[:10])}."
        )
