"""The catalog's tables as Parquet files, a partition at a time.

A partition is a month of a table. Its digest in the manifest is computed by the database over the
rows' ids and versions, so that a late, corrected or removed row changes it; a partition whose
digest is the last version's is a hard link to that version's file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from uploaderd import __version__
from uploaderd.catalog.client import Catalog
from uploaderd.publishing import release
from uploaderd.publishing.columns import arrow_type
from uploaderd.publishing.datasets import DATASETS, Dataset

ROWS_A_GROUP = 65_536


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
    keep: int = 3,
    progress: Callable[[], None] = lambda: None,
) -> Published:
    """Publishes every dataset; without `complete`, only partitions that changed are written.

    If no partition changed, the current version stays and no new one is made.

    Raises:
        CatalogError: the database cannot be reached.
        RepositoryError: the folder cannot be written.
    """
    last = release.current_manifest(folder)
    before = {} if complete or last is None else last["files"]
    wanted = [
        (dataset, partition) for dataset in DATASETS for partition in _partitions(catalog, dataset)
    ]
    digests = {partition["path"]: partition["digest"] for _, partition in wanted}
    if last is not None and digests == {path: entry["digest"] for path, entry in before.items()}:
        rows = sum(entry["rows"] for entry in before.values())
        return Published(last["version"], rows, written=0, kept=len(before))
    new = release.begin(folder)
    files: dict[str, dict[str, Any]] = {}
    for dataset, partition in wanted:
        path = partition["path"]
        if before.get(path, {}).get("digest") == partition["digest"]:
            files[path] = before[path]
            _link(folder / "current" / path, new.path / path)
        else:
            files[path] = _write(catalog, dataset, partition, new.path / path)
        progress()
    release.finish(new, _manifest(new, files, last), keep=keep)
    kept = sum(1 for path in files if files[path] is before.get(path))
    rows = sum(entry["rows"] for entry in files.values())
    return Published(new.version, rows, written=len(files) - kept, kept=kept)


def _manifest(
    new: release.Release, files: dict[str, dict[str, Any]], last: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "version": new.version,
        "previous": last["version"] if last else None,
        "created_by": f"uploaderd {__version__}",
        "files": files,
    }


def _partitions(catalog: Catalog, dataset: Dataset) -> list[dict[str, Any]]:
    """`month` (yyyymm, 0 if it has none), `rows`, `digest` and `path` of every partition."""
    partitions = catalog.query(dataset.partitions_sql)
    for partition in partitions:
        partition["digest"] = f"{partition['rows']}-{partition['digest']:016x}"
        partition["path"] = dataset.path(partition["month"])
    return [partition for partition in partitions if partition["rows"]]


def _write(
    catalog: Catalog, dataset: Dataset, partition: dict[str, Any], path: Path
) -> dict[str, Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = catalog.columns(dataset.name)
    schema = pa.schema(
        [
            pa.field(name, arrow_type(kind), metadata={"comment": comment})
            for name, kind, comment in columns
        ],
        metadata={"created_by": f"uploaderd {__version__}", "sorted_by": dataset.order},
    )
    rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        month = {"month": partition["month"]}
        for block in catalog.stream(dataset.rows_sql, month, rows=ROWS_A_GROUP):
            table = pa.table(
                [
                    pa.array(block[field.name], type=field.type, from_pandas=True)
                    for field in schema
                ],
                schema=schema,
            )
            writer.write_table(table)
            rows += table.num_rows
    return {"rows": rows, "digest": partition["digest"], "sha256": _make_durable(path)}


def _make_durable(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        os.fsync(file.fileno())
    return digest.hexdigest()


def _link(old: Path, new: Path) -> None:
    new.parent.mkdir(parents=True, exist_ok=True)
    os.link(old.resolve(), new)
