"""Restoring a backup into an empty database, and comparing what is there then with the backup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from uploaderd.catalog import migrate
from uploaderd.catalog.client import Catalog
from uploaderd.config.settings import DatabaseSettings
from uploaderd.errors import CatalogError, RepositoryError
from uploaderd.maintenance import backup
from uploaderd.maintenance.backup import Chunk, Manifest
from uploaderd.maintenance.transport import Wire, wires

ROWS_A_BLOCK = 8192


def restore(
    settings: DatabaseSettings,
    folder: Path,
    manifest: Manifest,
    beat: Callable[[str], None] = lambda _: None,
) -> None:
    """Makes the schema of this release and fills it with the backup's rows.

    Raises:
        CatalogError: the database cannot be reached, is not empty, or differs from the backup in
            the end.
        MigrationError: the backup is of a newer release.
        RepositoryError: a file of the backup is missing or damaged; nothing is changed then.
    """
    known = {migration.name for migration in migrate.migrations()}
    if newer := [name for name in manifest.migrations if name not in known]:
        raise migrate.MigrationError(
            f"The backup {manifest.name} is of a newer release: it has migration {newer[-1]}.",
            hint="Install the newer release.",
        )
    backup.verify(folder, manifest)
    _require_empty(settings)
    migrate.migrate(settings)
    with Catalog(settings, {"strings_as_bytes": True}) as filling:
        for table, columns in manifest.columns.items():
            # What a migration puts into reference tables is not the backup's.
            filling.execute(f"TRUNCATE TABLE `{table}`")
            for chunk in manifest.chunks:
                if chunk.table == table:
                    beat(f"{table} {chunk.chunk}: {chunk.rows} rows")
                    _fill(filling, chunk, wires(columns), backup.place(folder, chunk))
    with Catalog(settings) as catalog:
        backup.require_equal(catalog, manifest)


def _require_empty(settings: DatabaseSettings) -> None:
    with Catalog(replace(settings, database="default")) as server:
        rows = server.query(
            "SELECT name FROM system.tables WHERE database = %(name)s AND total_rows > 0"
            " AND name NOT IN %(ours)s ORDER BY name",
            {"name": settings.database, "ours": (*backup.LEAVE_OUT, *migrate.REFERENCE)},
        )
    if rows:
        raise CatalogError(
            f"The database {settings.database} is not empty: {rows[0]['name']} holds rows.",
            hint="Restore into another one with --database, and look at it before you use it.",
        )


def _fill(catalog: Catalog, chunk: Chunk, columns: list[Wire], path: Path) -> None:
    """Fills one chunk by way of a table of what is kept, from which the database makes the rows."""
    raw = f"restore_{chunk.table}"
    listed = ", ".join(f"`{column.name}` {column.stored}" for column in columns)
    catalog.execute(f"DROP TABLE IF EXISTS `{raw}`")
    catalog.execute(f"CREATE TABLE `{raw}` ({listed}) ENGINE = MergeTree ORDER BY tuple()")
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_A_BLOCK):
                values = [column.to_pylist() for column in batch.columns]
                catalog.insert_columns(f"`{raw}`", [c.name for c in columns], values)
    except (OSError, pa.ArrowInvalid) as error:
        raise RepositoryError(f"{path} cannot be read: {error}.") from error
    names = ", ".join(f"`{column.name}`" for column in columns)
    back = ", ".join(column.back for column in columns)
    catalog.execute(
        f"INSERT INTO `{chunk.table}` ({names}) SELECT {back} FROM `{raw}`"
        " SETTINGS max_partitions_per_insert_block = 0"
    )
    catalog.execute(f"DROP TABLE `{raw}`")
