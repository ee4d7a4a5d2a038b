"""Which sets are published, and how the database tells that a part of one has changed."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Dataset:
    """One published set: rows of the catalog, a folder of files."""

    name: str
    """The set's folder."""
    order: tuple[str, ...]
    """Columns that the rows of a file are sorted by, so that predicates skip row groups. The first
    table's key, if it can be: the database then reads in order, and sorts nothing."""
    identity: str
    """What tells one version of a row from another."""
    source: str
    """The relation that the rows come from, each once; `{wanted}` stands for the condition of the
    first table's rows in question."""
    tables: tuple[str, ...]
    """Tables that the columns are described in."""
    leave_out: tuple[str, ...] = ()
    """Columns of the first table that are not published."""
    add: tuple[tuple[str, str, str], ...] = ()
    """Further columns: name here, table, name there."""
    month: str = ""
    """Expression that gives a row's partition as yyyymm, 0 if unknown; empty: one partition."""
    partition: str = ""
    """Expression that the first table is partitioned by, if those are the set's months."""
    span: str = "1"
    """Condition that a row lies between `%(start_ms)s` and `%(stop_ms)s`, milliseconds since 1970,
    in terms of the table's keys: the database then reads that month only."""

    def month_of(self, path: str) -> int | None:
        """The month (yyyymm) of a file of the set; 0: of rows without a time; None: no months."""
        if not self.month:
            return None
        found = _MONTH.search(path)
        return int(found[1] + found[2]) if found else 0

    @property
    def month_sql(self) -> str:
        """The row's partition, as a number."""
        return f"toUInt32({self.month or '0'})"

    @property
    def hash_sql(self) -> str:
        """A number of the row that changes with the row."""
        return f"cityHash64({self.identity})"

    def relation(self, wanted: str) -> str:
        """The source of the rows that fulfil a condition of the first table, perhaps of more."""
        return self.source.format(wanted=wanted)

    def rows_sql(self, columns: Sequence[Column]) -> str:
        """Gives the rows of the partition `%(month)s` in their order, and each row's hash.

        One thread of the database is faster than who encodes what it sends, and further ones
        would take their cores from that.
        """
        sent = ", ".join(f"{column.wire} AS sent_{column.name}" for column in columns)
        return (
            f"SELECT {sent}, {self.hash_sql} AS row_hash FROM {self.relation(self.span)}"
            f" WHERE {self.span} AND {self.month_sql} = %(month)s"
            f" ORDER BY {', '.join(self.order)} SETTINGS max_threads = 1"
        )

    def widest_sql(self, columns: Sequence[Column]) -> str:
        """Gives the most `bytes` that the arrays of a row of `%(month)s` take; empty: no arrays.

        Rows that were replaced count, too: then only the arrays' lengths are read.
        """
        arrays = [
            f"length({column.name}) * {column.type.value_type.bit_width // 8}"
            for column in columns
            if pa.types.is_list(column.type)
        ]
        if not arrays:
            return ""
        return (
            f"SELECT max({' + '.join(arrays)}) AS bytes FROM {self.tables[0]}"
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
            "start_ms": begin_ms(self.month or 197001),
            "stop_ms": int(stop.timestamp()) * 1000,
        }


def begin_ms(month: int) -> int:
    """When a month (yyyymm) begins, in milliseconds since 1970."""
    year, number = divmod(month, 100)
    return int(datetime(year, number, 1, tzinfo=UTC).timestamp()) * 1000


PROFILES = tuple(f"profile_{kind}" for kind in ("mean", "max", "min", "p10", "p50", "p90"))
SPECTRA_ORDER = ("station", "time_start", "freq_start", "spectrum_id")
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
        ("host_id", "file_id"),
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
        partition="toYYYYMM(time_start)",
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
        " size AS file_size FROM files_now WHERE (host_id, file_id) IN"
        " (SELECT host_id, file_id FROM spectra WHERE {wanted})"
        ") AS f ON f_host = host_id AND f_file = file_id"
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
        partition="toYYYYMM(time_start)",
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
        "SELECT table, name, type, comment, version() AS server FROM system.columns"
        " WHERE database = currentDatabase() AND default_kind != 'MATERIALIZED'"
        " ORDER BY table, position"
    )
    tables: dict[str, dict[str, Column]] = defaultdict(dict)
    for row in found:
        server = tuple(map(int, row["server"].split(".")[:2]))
        tables[row["table"]][row["name"]] = Column(row["name"], row["type"], row["comment"], server)
    described = {}
    for dataset in DATASETS:
        own = [c for c in tables[dataset.tables[0]].values() if c.name not in dataset.leave_out]
        for name, table, there in dataset.add:
            column = tables[table][there]
            own.append(replace(column, name=name))
        described[dataset.name] = tuple(own)
    return described


def digest(rows: int, hashes: int, dataset: Dataset, columns: Sequence[Column]) -> str:
    """A partition's digest: of its rows in any order (`hashes`: their sum), and of its columns."""
    shape = repr((LAYOUT, dataset.order, [(c.name, c.kind, c.comment) for c in columns]))
    shape_digest = hashlib.sha256(shape.encode()).hexdigest()[:8]
    return f"{rows}-{hashes % 2**64:016x}-{shape_digest}"
