"""One partition's rows as one Parquet file: streamed, sorted, made durable and read back."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from uploaderd import __version__
from uploaderd.catalog.client import Catalog
from uploaderd.errors import RepositoryError
from uploaderd.publishing.columns import Column
from uploaderd.publishing.datasets import PROFILES, Partition, digest
from uploaderd.publishing.points import GEO, GEOMETRY, points
from uploaderd.repository.placement import unwritable

ROWS_A_BLOCK = 1024
"""Rows that the database sends at a time: at 8.5 kB for the widest, some 9 MB."""
ROWS_A_GROUP = 131_072
BYTES_A_GROUP = 12 << 20
"""A row group is written when it has so many rows or bytes."""


@dataclass(frozen=True)
class Written:
    """A file that is durable and was read back."""

    rows: int
    digest: str
    """As `Partition.digest`, of the rows that are in the file."""
    sha256: str
    size: int


def schema(columns: Sequence[Column], name: str, order: Sequence[str]) -> pa.Schema:
    """The schema of a set's files; sites get their position as a geometry, too."""
    fields = [column.field for column in columns]
    metadata = {"created_by": f"uploaderd {__version__}", "sorted_by": ", ".join(order)}
    if name == "sites":
        return pa.schema([*fields, GEOMETRY], metadata=metadata | {"geo": GEO})
    return pa.schema(fields, metadata=metadata)


def options(shape: pa.Schema, order: Sequence[str]) -> dict[str, object]:
    """How files of the schema are written: as `pyarrow.parquet.ParquetWriter` takes it."""
    plain = {"geometry", "spectrum_id", "file_id", "sha256", "remote_path", *PROFILES}
    return {
        "compression": "zstd",
        "use_dictionary": [name for name in shape.names if name not in plain],
        "sorting_columns": pq.SortingColumn.from_ordering(
            shape, [(name, "ascending") for name in order]
        ),
        "write_page_index": True,
    }


def write(
    catalog: Catalog,
    partition: Partition,
    columns: Sequence[Column],
    path: Path,
    *,
    check: Callable[[], None],
) -> Written:
    """Writes a partition; `check` is called before each row group and may refuse.

    Raises:
        CatalogError: the database cannot be reached.
        RepositoryError: the disk cannot be written, or does not give back what was written.
    """
    dataset = partition.dataset
    shape = schema(columns, dataset.name, dataset.order)
    rows, hashes = 0, 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(path, shape, **options(shape, dataset.order)) as writer:
            for group, hashed in _groups(_batches(catalog, partition, columns, shape)):
                check()
                writer.write_table(group, row_group_size=ROWS_A_GROUP)
                rows += group.num_rows
                hashes += hashed
        sha256 = _make_durable(path)
        _read_back(path, rows)
        size = path.stat().st_size
    except OSError as error:
        raise unwritable(path, error) from error
    return Written(rows, digest(rows, hashes, dataset, columns), sha256, size)


def rows_of(path: Path) -> int:
    """Rows of a Parquet file, as its footer says. Raises RepositoryError if it has none."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowInvalid) as error:
        raise RepositoryError(f"{path} cannot be read as Parquet: {error}.") from error


def _batches(
    catalog: Catalog, partition: Partition, columns: Sequence[Column], shape: pa.Schema
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Record batches in the files' schema, each with the sum of its rows' hashes."""
    types = {f"sent_{column.name}": column.wire_type for column in columns}
    sql = partition.dataset.rows_sql(columns)
    for sent in catalog.record_batches(sql, partition.parameters, types=types, rows=ROWS_A_BLOCK):
        arrays = [column.decode(sent.column(n)) for n, column in enumerate(columns)]
        if "geometry" in shape.names:
            by_name = dict(zip((column.name for column in columns), arrays, strict=True))
            arrays.append(points(by_name["longitude"], by_name["latitude"]))
        hashes = sent.column(len(columns)).to_numpy()
        yield (
            pa.RecordBatch.from_arrays(arrays, schema=shape),
            int(np.sum(hashes, dtype=np.uint64)),
        )


def _groups(batches: Iterator[tuple[pa.RecordBatch, int]]) -> Iterator[tuple[pa.Table, int]]:
    """Batches gathered to row groups."""
    held: list[pa.RecordBatch] = []
    hashes = 0
    for batch, hashed in batches:
        held.append(batch)
        hashes += hashed
        rows = sum(each.num_rows for each in held)
        if rows >= ROWS_A_GROUP or sum(each.nbytes for each in held) >= BYTES_A_GROUP:
            yield pa.Table.from_batches(held), hashes
            held, hashes = [], 0
    if held:
        yield pa.Table.from_batches(held), hashes


def _make_durable(path: Path) -> str:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256")
        os.fsync(file.fileno())
    return sha256.hexdigest()


def _read_back(path: Path, rows: int) -> None:
    found = rows_of(path)
    if found != rows:
        raise RepositoryError(f"{path} holds {found} rows, not the {rows} that were written.")
