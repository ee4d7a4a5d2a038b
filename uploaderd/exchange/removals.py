"""Rows that a sender no longer has: what its complete export does not bring goes here, too.

Loading a complete export takes in every row of the sender anew. The rows of its stations that came
in before that, and have no newer version since, are those that it has removed.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from uploaderd.catalog.client import Catalog
from uploaderd.exchange import watermark
from uploaderd.exchange.watermark import Blocks, Watermark

KEYS = {
    "hosts": "host_id",
    "tracks": "host_id, time_start, file_id",
    "spectra": "station, time_start, freq_start, spectrum_id",
    "files": "host_id, file_id",
    "host_events": "host_id, event, at, message_id",
    "sites": "site_id",
}
"""Tables that rows are removed from, and their keys; reference tables are each server's own."""
LIMIT = 0.5
"""More than this share of a table's rows is not removed: the sender may have lost its catalog."""


@dataclass(frozen=True)
class Missing:
    """Rows of one table that the sender no longer has."""

    table: str
    condition: str
    """Of the rows that came in before the export, in SQL."""
    total: int
    """The sender's rows in the table, with these."""
    partitions: Mapping[str, int]
    """How many are missing, by partition."""

    @property
    def rows(self) -> int:
        """Of all partitions."""
        return sum(self.partitions.values())


def before(catalog: Catalog) -> dict[str, Blocks]:
    """What the tables hold; to be asked before an export is loaded. Raises CatalogError."""
    return {table: watermark.blocks(catalog, table) for table in KEYS}


def remove(catalog: Catalog, end: Watermark, before: Mapping[str, Blocks], limit: float) -> str:
    """Removes what a complete export, which was loaded since `before`, did not bring.

    `end` is the export's watermark. A table that would lose more than the share `limit` of the
    sender's rows keeps them all.

    Returns:
        What happened, in sentences; empty if nothing was missing.

    Raises:
        CatalogError: the database cannot be reached.
    """
    said = []
    for missing in filter(operator.attrgetter("rows"), _missing(catalog, end, before)):
        what = f"{missing.rows} of {missing.total} rows of {missing.table}"
        if missing.rows > limit * missing.total:
            said.append(f"The sender no longer has {what}: too many to be removed here.")
            continue
        for partition in missing.partitions:
            catalog.execute(_removal(missing, partition))
        said.append(f"The sender no longer has {what}: they were removed.")
    return " ".join(said)


def _missing(catalog: Catalog, end: Watermark, before: Mapping[str, Blocks]) -> Iterator[Missing]:
    tables = [table for table in KEYS if table in end.tables and before[table]]
    if not end.stations or not tables:
        return
    stations = f"host_id IN ({', '.join(map(str, sorted(end.stations)))})"
    others = f"SELECT count() AS rows FROM hosts FINAL WHERE NOT {stations}"
    for table in tables:
        # A site is nobody's own: it counts as the sender's if all stations here are.
        if table == "sites" and catalog.query(others)[0]["rows"]:
            continue
        owned = "1" if table == "sites" else stations
        condition = f"{owned} AND NOT ({watermark.since(before[table], before[table])})"
        yield _counted(catalog, table, owned, condition)


def _counted(catalog: Catalog, table: str, owned: str, condition: str) -> Missing:
    found = catalog.query(
        f"SELECT _partition_id AS partition, count() AS total, countIf({condition}) AS missing"
        f" FROM `{table}` FINAL WHERE {owned} GROUP BY partition ORDER BY partition"
    )
    partitions = {row["partition"]: row["missing"] for row in found if row["missing"]}
    return Missing(table, condition, sum(row["total"] for row in found), partitions)


def _removal(missing: Missing, partition: str) -> str:
    key = KEYS[missing.table]
    return (
        f"ALTER TABLE `{missing.table}` DELETE IN PARTITION ID '{partition}'"
        f" WHERE {missing.condition} AND ({key}) IN"
        f" (SELECT {key} FROM `{missing.table}` FINAL"
        f" WHERE _partition_id = '{partition}' AND {missing.condition})"
        " SETTINGS mutations_sync = 1"
    )
