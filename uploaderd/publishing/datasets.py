"""Which sets are published, and how the database tells that a part of one has changed."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from uploaderd.catalog.client import Catalog
from uploaderd.errors import MessageError
from uploaderd.publishing.columns import Column

LAYOUT = 1
"""Counts up when files are written in another way: every file is then written again."""
UNKNOWN = "__HIVE_DEFAULT_PARTITION__"
"""Hive's name for the partition of rows without a value: readers see null."""


_MONTH = re.compile(r"/year=(\d+)/month=(\d\d)/")
_LAST_MS = 9_000_000_000_000
"""In the year 2255, which the catalog's times still reach."""


@dataclass(frozen=True)
class Dataset:
    """One published set: rows of the catalog, a folder of files."""

    name: str
    """The set's folder."""
    order: tuple[str, ...]
    """Columns that the rows of a file are sorted by, so that predicates skip row groups."""
    identity: str
    """What tells one version of a row from another."""
    source: str
    """The relation that the rows come from, each once."""
    tables: tuple[str, ...]
    """Tables that the columns are described in."""
    leave_out: tuple[str, ...] = ()
    """Columns of the first table that are not published."""
    add: tuple[tuple[str, str, str], ...] = ()
    """Further columns: name here, table, name there."""
    month: str = ""
    """Expression that gives a row's partition as yyyymm, 0 if unknown; empty: one partition."""
    span: str = "1"
    """Condition that a row lies between `%(start_ms)s` and `%(stop_ms)s`, milliseconds since 1970,
    in terms of the table's keys: the database then reads that month only."""

    def stays(self, path: str, since: int) -> bool:
        """Whether a file of the set is none of a month from `since` (yyyymm) on."""
        month = _MONTH.search(path)
        return bool(self.month) and (month is None or int(month[1] + month[2]) < since)

    @property
    def month_sql(self) -> str:
        """The row's partition, as a number."""
        return f"toUInt32({self.month or '0'})"

    @property
    def hash_sql(self) -> str:
        """A number of the row that changes with the row."""
        return f"cityHash64({self.identity})"

    def rows_sql(self, columns: Sequence[Column]) -> str:
        """Gives the rows of the partition `%(month)s` in their order, and each row's hash."""
        sent = ", ".join(f"{column.wire} AS sent_{column.name}" for column in columns)
        return (
            f"SELECT {sent}, {self.hash_sql} AS row_hash FROM {self.source}"
            f" WHERE {self.span} AND {self.month_sql} = %(month)s"
            f" ORDER BY {', '.join(self.order)}"
        )

    def widest_sql(self, columns: Sequence[Column]) -> str:
        """Gives the most `bytes` that the arrays of a row of `%(month)s` take; empty: no arrays."""
        arrays = [
            f"length({column.name}) * {column.type.value_type.bit_width // 8}"
            for column in columns
            if pa.types.is_list(column.type)
        ]
        if not arrays:
            return ""
        return (
            f"SELECT max({' + '.join(arrays)}) AS bytes FROM {self.source}"
            f" WHERE {self.span} AND {self.month_sql} = %(month)s"
        )

    def path(self, month: int) -> str:
        """The partition's file, relative to the version's folder, in Hive's style."""
        if not self.month:
            return f"{self.name}/part.parquet"
        if not month:
            return f"{self.name}/year={UNKNOWN}/month={UNKNOWN}/part.parquet"
        return f"{self.name}/year={month // 100}/month={month % 100:02d}/part.parquet"


@dataclass(frozen=True)
class Partition:
    """A part of a set as the database has it now; one file."""

    dataset: Dataset
    month: int
    rows: int
    digest: str
    """Changes if a row comes, goes or gets another version, or if the columns change."""

    @property
    def path(self) -> str:
        """Its file, relative to the version's folder."""
        return self.dataset.path(self.month)

    @property
    def parameters(self) -> dict[str, int]:
        """What `Dataset.rows_sql` needs to give these rows."""
        year, month = divmod(self.month or 197001, 100)
        stop = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
        return {
            "month": self.month,
            "start_ms": _begin_ms(self.month or 197001),
            "stop_ms": int(stop.timestamp()) * 1000,
        }


def _begin_ms(month: int) -> int:
    year, number = divmod(month, 100)
    return int(datetime(year, number, 1, tzinfo=UTC).timestamp()) * 1000


PROFILES = tuple(f"profile_{kind}" for kind in ("mean", "max", "min", "p10", "p50", "p90"))
SPECTRA_ORDER = ("station", "freq_start", "time_start", "spectrum_id")
SPECTRA_MONTH = "if(time_start = toDateTime64(0, 3, 'UTC'), 0, toYYYYMM(time_start))"
SPECTRA_SPAN = (
    "time_start >= fromUnixTimestamp64Milli(toInt64(%(start_ms)s), 'UTC')"
    " AND time_start < fromUnixTimestamp64Milli(toInt64(%(stop_ms)s), 'UTC')"
)
DATASETS = (
    Dataset("hosts", ("host_id",), "host_id, updated_at", "hosts_now", ("hosts",)),
    Dataset("sites", ("site_id",), "site_id, fixes, updated_at", "sites_now", ("sites",)),
    Dataset(
        "files",
        ("host_id", "mtime_ns", "file_id"),
        "file_id, stage, version",
        "files_now",
        ("files",),
        month="if(mtime_ns = 0, 0, toYYYYMM(fromUnixTimestamp64Nano(mtime_ns, 'UTC')))",
        span="mtime_ns >= 1000000 * %(start_ms)s AND mtime_ns < 1000000 * %(stop_ms)s",
    ),
    Dataset(
        "spectra",
        SPECTRA_ORDER,
        "spectrum_id, ingested_at",
        "spectra_now",
        ("spectra",),
        month=SPECTRA_MONTH,
        span=SPECTRA_SPAN,
    ),
    Dataset(
        "measurements",
        SPECTRA_ORDER,
        # A site's position moves with every fix; only what is published of it counts.
        "spectrum_id, ingested_at, equipment_type, remote_path, path, file_size,"
        " site_name, state, county, district",
        "(SELECT * FROM spectra_now"
        " LEFT JOIN (SELECT host_id AS f_host, file_id AS f_file, remote_path, path,"
        " size AS file_size FROM files_now) AS f ON f_host = host_id AND f_file = file_id"
        " LEFT JOIN (SELECT host_id AS h_host, equipment_type FROM hosts_now) AS h"
        " ON h_host = host_id"
        " LEFT JOIN (SELECT site_id AS p_site, name AS site_name, state, county, district"
        " FROM sites_now) AS p ON p_site = site_id)",
        ("spectra", "files", "hosts", "sites"),
        leave_out=(*PROFILES, "parser_version", "ingested_at"),
        add=(
            ("equipment_type", "hosts", "equipment_type"),
            ("remote_path", "files", "remote_path"),
            ("path", "files", "path"),
            ("file_size", "files", "size"),
            ("site_name", "sites", "name"),
            ("state", "sites", "state"),
            ("county", "sites", "county"),
            ("district", "sites", "district"),
        ),
        month=SPECTRA_MONTH,
        span=SPECTRA_SPAN,
    ),
)


def chosen(name: str) -> tuple[Dataset, ...]:
    """The set of that name, or all for `all`. Raises MessageError if there is none."""
    found = tuple(dataset for dataset in DATASETS if name in ("all", dataset.name))
    if not found:
        names = ", ".join(dataset.name for dataset in DATASETS)
        raise MessageError(f"There is no dataset {name!r}.", hint=f"There are {names}, and all.")
    return found


def columns(catalog: Catalog) -> dict[str, tuple[Column, ...]]:
    """The columns of every set, by its name; one query."""
    found = catalog.query(
        "SELECT table, name, type, comment FROM system.columns"
        " WHERE database = currentDatabase() ORDER BY table, position"
    )
    tables: dict[str, dict[str, Column]] = defaultdict(dict)
    for row in found:
        tables[row["table"]][row["name"]] = Column(row["name"], row["type"], row["comment"])
    described = {}
    for dataset in DATASETS:
        own = [c for c in tables[dataset.tables[0]].values() if c.name not in dataset.leave_out]
        for name, table, there in dataset.add:
            column = tables[table][there]
            own.append(Column(name, column.kind, column.comment))
        described[dataset.name] = tuple(own)
    return described


def schema_version(catalog: Catalog) -> int:
    """The number of the database's last migration."""
    found = catalog.query("SELECT max(number) AS number FROM migrations")
    return int(found[0]["number"])


def watermarks(
    catalog: Catalog, datasets: Sequence[Dataset], columns: Mapping[str, Sequence[Column]]
) -> dict[str, str]:
    """A mark of each set that changes with every insert, removal and merge; one query.

    It is made of the hashes of the tables' parts, which never change themselves. Sets whose tables
    have no parts of their own, as those of a cluster, have no mark.
    """
    found = catalog.query(
        "SELECT t.name AS table, p.parts AS parts FROM system.tables AS t LEFT JOIN"
        " (SELECT table, sum(cityHash64(name, hash_of_all_files)) AS parts FROM system.parts"
        " WHERE active AND database = currentDatabase() GROUP BY table) AS p ON p.table = t.name"
        " WHERE t.database = currentDatabase() AND t.engine LIKE '%MergeTree'"
    )
    parts = {row["table"]: row["parts"] for row in found}
    return {
        dataset.name: digest(
            0,
            sum((n + 1) * parts[t] for n, t in enumerate(dataset.tables)),
            dataset,
            columns[dataset.name],
        )
        for dataset in datasets
        if parts.keys() >= set(dataset.tables)
    }


def partitions(
    catalog: Catalog,
    datasets: Sequence[Dataset],
    columns: Mapping[str, Sequence[Column]],
    since: int | None = None,
) -> list[Partition]:
    """What the database holds now, in the order of the sets and months; one query.

    With `since` (yyyymm) only of months from that one on.
    """
    by_name = {dataset.name: dataset for dataset in datasets}
    parts = (
        f"SELECT '{dataset.name}' AS dataset, {dataset.month_sql} AS month, count() AS rows,"
        f" sum({dataset.hash_sql}) AS hashes FROM {dataset.source}"
        f"{f' WHERE {dataset.span}' if since else ''} GROUP BY month"
        for dataset in datasets
    )
    times = {"start_ms": _begin_ms(since), "stop_ms": _LAST_MS} if since else {}
    found = catalog.query(" UNION ALL ".join(parts), times) if by_name else []
    made = [
        Partition(
            by_name[row["dataset"]],
            row["month"],
            row["rows"],
            digest(row["rows"], row["hashes"], by_name[row["dataset"]], columns[row["dataset"]]),
        )
        for row in found
        if row["rows"]
    ]
    names = list(by_name)
    return sorted(made, key=lambda part: (names.index(part.dataset.name), part.month))


def digest(rows: int, hashes: int, dataset: Dataset, columns: Sequence[Column]) -> str:
    """A partition's digest: of its rows in any order (`hashes`: their sum), and of its columns."""
    shape = repr((LAYOUT, dataset.order, [(c.name, c.kind, c.comment) for c in columns]))
    shape_digest = hashlib.sha256(shape.encode()).hexdigest()[:8]
    return f"{rows}-{hashes % 2**64:016x}-{shape_digest}"
