"""One partition's rows as one Parquet file: streamed, sorted, made durable and read back."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from uploaderd import __version__
from uploaderd.catalog.client import Catalog
from uploaderd.errors import RepositoryError
from uploaderd.publishing.columns import Column
from uploaderd.publishing.datasets import PROFILES, Dataset, Partition, digest
from uploaderd.publishing.points import GEO, GEOMETRY, points
from uploaderd.repository.placement import unwritable

BYTES_A_BLOCK = 4 << 20
ROWS_A_BLOCK = 8192
"""The database sends so many rows at a time, or fewer if they are wide."""
BYTES_A_ROW = 400
"""What a row takes without its arrays."""
ROWS_A_GROUP = 131_072
BYTES_A_GROUP = 12 << 20
"""A row group is written when it has so many rows or bytes."""


@dataclass(frozen=True)
class Sent:
    """Some rows of a partition, in the files' schema; `hashes` is the sum of the rows' hashes."""

    partition: Partition
    rows: pa.RecordBatch
    hashes: int


@dataclass(frozen=True)
class Written:
    """A file that is durable and was read back."""

    rows: int
    digest: str
    """As `Partition.digest`, of the rows that are in the file."""
    sha256: str
    size: int


def schema(columns: Sequence[Column], dataset: Dataset) -> pa.Schema:
    """The schema of a set's files; sites get their position as a geometry, too."""
    fields = [column.field for column in columns]
    metadata = {"created_by": f"uploaderd {__version__}", "sorted_by": ", ".join(dataset.order)}
    if dataset.name == "sites":
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


def sent(
    catalog: Catalog, partitions: Sequence[Partition], columns: Mapping[str, Sequence[Column]]
) -> Generator[Sent, None, None]:
    """The rows of partitions, one after the other; nothing for a partition that is empty now.

    Raises:
        CatalogError: the database cannot be reached.
    """
    for partition in partitions:
        own = columns[partition.dataset.name]
        shape = schema(own, partition.dataset)
        batches = catalog.record_batches(
            partition.dataset.rows_sql(own),
            partition.parameters,
            types={f"sent_{column.name}": column.wire_type for column in own},
            rows=_rows_a_block(catalog, partition, own),
        )
        for batch in batches:
            hashes = batch.column(len(own)).to_numpy()
            yield Sent(partition, _decoded(batch, own, shape), int(np.sum(hashes, dtype=np.uint64)))


def write(
    partition: Partition,
    columns: Sequence[Column],
    batches: Iterable[Sent],
    path: Path,
    *,
    check: Callable[[], None],
) -> Written:
    """Writes a partition; `check` is called before each row group and may refuse.

    Raises:
        RepositoryError: the disk cannot be written, or does not give back what was written.
        Exception: what `batches` or `check` raise.
    """
    dataset = partition.dataset
    shape = schema(columns, dataset)
    rows, hashes = 0, 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(path, shape, **options(shape, dataset.order)) as writer:
            for group in _groups(batches):
                check()
                table = pa.Table.from_batches([each.rows for each in group])
                writer.write_table(table, row_group_size=ROWS_A_GROUP)
                rows += table.num_rows
                hashes += sum(each.hashes for each in group)
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


def _rows_a_block(catalog: Catalog, partition: Partition, columns: Sequence[Column]) -> int:
    """As many rows as the widest of the partition allow."""
    if not (widest := partition.dataset.widest_sql(columns)):
        return ROWS_A_BLOCK
    found: int = catalog.query(widest, partition.parameters)[0]["bytes"]
    return min(ROWS_A_BLOCK, BYTES_A_BLOCK // (BYTES_A_ROW + found) + 1)


def _decoded(batch: pa.RecordBatch, columns: Sequence[Column], shape: pa.Schema) -> pa.RecordBatch:
    """What the database sent, in the files' schema."""
    arrays = [column.decode(batch.column(n)) for n, column in enumerate(columns)]
    if "geometry" in shape.names:
        by_name = dict(zip((column.name for column in columns), arrays, strict=True))
        arrays.append(points(by_name["longitude"], by_name["latitude"]))
    return pa.RecordBatch.from_arrays(arrays, schema=shape)


def _groups(batches: Iterable[Sent]) -> Iterator[list[Sent]]:
    """Batches gathered to row groups."""
    held: list[Sent] = []
    rows, size = 0, 0
    for batch in batches:
        held.append(batch)
        rows += batch.rows.num_rows
        size += batch.rows.nbytes
        if rows >= ROWS_A_GROUP or size >= BYTES_A_GROUP:
            yield held
            held, rows, size = [], 0, 0
    if held:
        yield held


def _make_durable(path: Path) -> str:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256")
        os.fsync(file.fileno())
    return sha256.hexdigest()


def _read_back(path: Path, rows: int) -> None:
    found = rows_of(path)
    if found != rows:
        raise RepositoryError(f"{path} holds {found} rows, not the {rows} that were written.")
