"""An export: one file with the rows that another catalog lacks. Needs pyarrow.

A ZIP file: `TABLE.arrow` for each table with new rows (an Arrow IPC stream, compressed with
Zstandard, values as `maintenance.transport` has them) and, last, `manifest.json`. Its name tells
sender, sequence and kind: `north-000000000012-partial.zip`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from uploaderd import __version__, clock, crash_points
from uploaderd.catalog.client import Catalog
from uploaderd.durable import sync_folder
from uploaderd.errors import CatalogError, Disposition, UploaderError
from uploaderd.exchange import watermark
from uploaderd.exchange.watermark import LOAD_ORDER, Watermark
from uploaderd.maintenance.transport import Wire, wires
from uploaderd.repository.placement import make_folder, unwritable

MANIFEST = "manifest.json"
LARGEST_MANIFEST = 16 << 20
ROWS_A_BLOCK = 4096
NAME = re.compile(
    r"(?P<sender>[a-z0-9][a-z0-9_.]{0,63})-(?P<sequence>\d{12})-(?P<kind>complete|partial)\.zip"
)
DAMAGES = (
    *(OSError, EOFError, ValueError, TypeError, KeyError, AttributeError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, struct.error, pa.ArrowException, CatalogError),
)
"""What reading a file that is no sound export raises."""
_NEW = pa.ipc.IpcWriteOptions(compression="zstd")


class BadExport(UploaderError):
    """An export is not what its sender wrote, or does not fit this catalog."""

    code = "bad_export"
    disposition = Disposition.NEVER


@dataclass(frozen=True)
class Title:
    """What the name of an export tells."""

    sender: str
    sequence: int
    kind: str

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.sender}-{self.sequence:012d}-{self.kind}.zip"

    @classmethod
    def of(cls, name: str) -> Title | None:
        """Of a file's name; None if it is no export."""
        found = NAME.fullmatch(name)
        return found and cls(found["sender"], int(found["sequence"]), found["kind"])


@dataclass(frozen=True)
class Part:
    """One table of an export."""

    rows: int
    sha256: str
    """Of the table's Arrow stream."""
    columns: list[tuple[str, str]]


@dataclass(frozen=True)
class Manifest:
    """What an export holds."""

    sender: str
    sequence: int
    kind: str
    start: str
    """Watermark from which the rows are, as JSON."""
    end: str
    """Watermark that the receiver has when it has loaded them."""
    parts: dict[str, Part]
    written_at: str
    created_by: str

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(part.rows for part in self.parts.values())


def write(
    catalog: Catalog,
    outbox: Path,
    title: Title,
    start: Watermark,
    tables: Sequence[str] = LOAD_ORDER,
    *,
    beat: Callable[[], None] = lambda: None,
) -> tuple[Path, Manifest]:
    """Writes an export of the rows that came after `start`; durable when it returns.

    Raises:
        CatalogError: the database cannot be reached.
        RepositoryError: the outbox cannot be written.
    """
    path = outbox / title.name
    aside = outbox / f".{title.name}"
    origin = watermark.origin(catalog)
    known = start if start.origin == origin else Watermark(origin, stations=start.stations)
    ends, parts, stations = {}, {}, set[int]()
    try:
        make_folder(outbox)
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive:
            for table in reversed([each for each in LOAD_ORDER if each in tables]):
                now = watermark.blocks(catalog, table)
                before = known.tables.get(table, {})
                ends[table] = now
                if watermark.anything_new(before, now):
                    condition = watermark.since(before, now)
                    parts[table] = _part(
                        catalog, archive, table, condition, stations=stations, beat=beat
                    )
            manifest = Manifest(
                title.sender,
                title.sequence,
                title.kind,
                known.to_json() if known.tables else "",
                Watermark(origin, ends, frozenset(stations)).joined(known).to_json(),
                parts,
                clock.now().isoformat(),
                f"uploaderd {__version__}",
            )
            archive.writestr(MANIFEST, json.dumps(asdict(manifest), indent=1))
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        crash_points.reached("export-written:before")
        aside.replace(path)
        sync_folder(outbox)
        crash_points.reached("export-written:after")
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        aside.unlink(missing_ok=True)
    return path, manifest


def read(path: Path) -> Manifest:
    """The manifest of an export that is whole and as it was written.

    Raises BadExport.
    """
    title = Title.of(path.name)
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(MANIFEST).file_size > LARGEST_MANIFEST:
                raise BadExport(f"{path.name}: the manifest is too large.")
            manifest = _manifest(json.loads(archive.read(MANIFEST)))
            if title != Title(manifest.sender, manifest.sequence, manifest.kind):
                raise BadExport(f"{path.name}: its manifest is of another export.")
            for table, part in manifest.parts.items():
                if _sha256(archive, table) != part.sha256:
                    raise BadExport(f"{path.name}: the SHA-256 of {table} is another one.")
                if _types(archive, table) != [each.type for each in wires(part.columns)]:
                    raise BadExport(f"{path.name}: {table} has other columns than its manifest.")
        for text in (manifest.start, manifest.end):
            Watermark.of_json(text)
    except DAMAGES as error:
        raise BadExport(f"{path.name} is damaged: {error}.") from error
    return manifest


def batches(path: Path, table: str) -> Iterator[pa.RecordBatch]:
    """The rows of a table, a batch at a time. Raises BadExport."""
    try:
        with (
            zipfile.ZipFile(path) as archive,
            archive.open(f"{table}.arrow") as file,
            pa.ipc.open_stream(file) as stream,
        ):
            yield from stream
    except DAMAGES as error:
        raise BadExport(f"{path.name} is damaged: {error}.") from error


def _sha256(archive: zipfile.ZipFile, table: str) -> str:
    sha256 = hashlib.sha256()
    with archive.open(f"{table}.arrow") as file:
        while piece := file.read(1 << 20):
            sha256.update(piece)
    return sha256.hexdigest()


def _types(archive: zipfile.ZipFile, table: str) -> list[pa.DataType]:
    with archive.open(f"{table}.arrow") as file, pa.ipc.open_stream(file) as stream:
        types: list[pa.DataType] = stream.schema.types
        return types


def _manifest(values: dict[str, Any]) -> Manifest:
    parts = {
        table: Part(part["rows"], part["sha256"], [(name, kind) for name, kind in part["columns"]])
        for table, part in values["parts"].items()
    }
    return Manifest(**{**values, "parts": parts})


class _Hashed:
    """A file to write to that counts and hashes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.closed = False

    def write(self, data: Any) -> int:
        piece = memoryview(data).cast("B")
        self.sha256.update(piece)
        return self._file.write(piece)

    def flush(self) -> None:
        """Nothing is held back here."""


def _part(
    catalog: Catalog,
    archive: zipfile.ZipFile,
    table: str,
    condition: str,
    *,
    stations: set[int],
    beat: Callable[[], None],
) -> Part:
    """Writes the rows of a table into the archive, a batch at a time; adds their `stations`."""
    columns = [(name, kind) for name, kind, _ in catalog.columns(table)]
    kept: list[Wire] = wires(columns)
    shape = pa.schema([(column.name, column.type) for column in kept])
    listed = ", ".join(column.sql for column in kept)
    # One thread reads the parts in the order of their blocks: of equal rows the last one counts.
    sql = f"SELECT {listed} FROM `{table}` WHERE {condition} SETTINGS max_threads = 1"
    types = {column.name: column.type for column in kept}
    rows = 0
    with archive.open(f"{table}.arrow", "w", force_zip64=True) as file:
        hashed = _Hashed(file)
        with pa.ipc.new_stream(pa.PythonFile(hashed, mode="w"), shape, options=_NEW) as writer:
            for batch in catalog.record_batches(sql, types=types, rows=ROWS_A_BLOCK):
                arrays = [batch.column(n).cast(c.type) for n, c in enumerate(kept)]
                writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=shape))
                rows += batch.num_rows
                if "host_id" in types:
                    stations.update(pc.unique(batch["host_id"]).to_pylist())
                beat()
    return Part(rows, hashed.sha256.hexdigest(), columns)
