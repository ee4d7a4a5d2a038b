"""What the database holds of the sets, asked as cheaply as it can be told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uploaderd.catalog.client import Catalog
from uploaderd.publishing.columns import Column
from uploaderd.publishing.datasets import Dataset, Partition, begin_ms, digest

Marks = Mapping[str, str]
"""A mark of each partition of a set; that of a set in one piece has the empty name."""

_LAST_MS = 9_000_000_000_000
"""In the year 2255, which the catalog's times still reach."""
_NO_TIME = 197001
"""The partition of rows without a time."""


@dataclass(frozen=True)
class Asked:
    """A set, or those of its months that are to be compared with what is published."""

    dataset: Dataset
    since: int = 0
    """The first month, yyyymm; 0: all, and the rows without a time."""
    partitions: frozenset[int] | None = None
    """The table's partitions in question; None: all."""

    @property
    def where(self) -> str:
        """The condition of rows in question."""
        conditions = [self.dataset.span if self.since else "1"]
        if self.partitions is not None:
            wanted = ", ".join(map(str, sorted(self.partitions)))
            conditions.append(f"{self.dataset.partition} IN ({wanted})")
        return " AND ".join(conditions)

    def covers(self, path: str) -> bool:
        """Whether a published file of the set is in question."""
        month = self.dataset.month_of(path)
        if month is None:
            return True
        return month >= self.since and (
            self.partitions is None or (month or _NO_TIME) in self.partitions
        )


def schema_version(catalog: Catalog) -> int:
    """The number of the database's last migration."""
    found = catalog.query("SELECT max(number) AS number FROM migrations")
    return int(found[0]["number"])


def watermarks(
    catalog: Catalog, datasets: Sequence[Dataset], columns: Mapping[str, Sequence[Column]]
) -> dict[str, Marks]:
    """Marks of each set that change with every insert, removal and merge; one query.

    They are made of the hashes of the tables' parts, which never change themselves. Sets whose
    tables have no parts of their own, as those of a cluster, have none.
    """
    found = catalog.query(
        "SELECT t.name AS table, p.partition AS partition, p.parts AS parts FROM system.tables AS t"
        " LEFT JOIN (SELECT table, partition, sum(cityHash64(name, hash_of_all_files)) AS parts"
        " FROM system.parts WHERE active AND database = currentDatabase()"
        " GROUP BY table, partition) AS p ON p.table = t.name"
        " WHERE t.database = currentDatabase() AND t.engine LIKE '%MergeTree'"
    )
    parts: dict[str, dict[str, int]] = defaultdict(dict)
    for row in found:
        parts[row["table"]][row["partition"]] = row["parts"]
    return {
        each.name: _marks(each, parts, columns[each.name])
        for each in datasets
        if parts.keys() >= set(each.tables)
    }


def _marks(
    dataset: Dataset, parts: Mapping[str, Mapping[str, int]], columns: Sequence[Column]
) -> Marks:
    own, *others = dataset.tables
    rest = sum(place * sum(parts[table].values()) for place, table in enumerate(others, 2))

    def mark(parts: int) -> str:
        return digest(0, parts, dataset, columns)

    if dataset.partition:
        return {name: mark(value + rest) for name, value in parts[own].items() if name}
    return {"": mark(sum(parts[own].values()) + rest)}


def changed(dataset: Dataset, now: Marks, seen: Marks) -> frozenset[int] | None:
    """The partitions whose marks are not what they were; None: it may be all."""
    differing = {name for name in now.keys() | seen.keys() if now.get(name) != seen.get(name)}
    if not seen or not dataset.partition:
        return None if differing or not now else frozenset()
    return frozenset(map(int, differing))


def partitions(
    catalog: Catalog, asked: Sequence[Asked], columns: Mapping[str, Sequence[Column]]
) -> list[Partition]:
    """What the database holds now of what is asked, in the order of sets and months; one query."""
    if not asked:
        return []
    sets = {each.dataset.name: each.dataset for each in asked}
    counts = (
        f"SELECT '{dataset.name}' AS dataset, {dataset.month_sql} AS month, count() AS rows,"
        f" sum({dataset.hash_sql}) AS hashes FROM {dataset.relation(each.where)}"
        f" WHERE {each.where}"
        " GROUP BY month"
        for each, dataset in zip(asked, sets.values(), strict=True)
    )
    times = {"start_ms": begin_ms(asked[0].since or _NO_TIME), "stop_ms": _LAST_MS}
    found: list[Any] = catalog.query(" UNION ALL ".join(counts), times)
    made = [
        Partition(
            sets[row["dataset"]],
            row["month"],
            row["rows"],
            digest(row["rows"], row["hashes"], sets[row["dataset"]], columns[row["dataset"]]),
        )
        for row in found
        if row["rows"]
    ]
    names = list(sets)
    return sorted(made, key=lambda part: (names.index(part.dataset.name), part.month))
