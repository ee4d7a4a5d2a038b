"""Which sets are published, and how the database tells that a part of one has changed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dataset:
    """One published set: a view of the catalog, a folder of files."""

    name: str
    """The set's folder, and the table's name."""
    order: str
    """Columns that the rows of a file are sorted by, so that predicates skip row groups."""
    identity: str
    """What tells one version of a row from another: id and version."""
    month: str = "0"
    """Expression that gives a row's partition as yyyymm; 0 for a set that has only one."""

    @property
    def partitions_sql(self) -> str:
        """Gives `month`, `rows` and `digest` of every partition.

        The digest is a sum over the rows, so that it does not depend on their order; a view folds
        repeated rows before, so that a repeated insert does not change it.
        """
        return (
            f"SELECT toUInt32({self.month}) AS month, count() AS rows,"
            f" sum(cityHash64({self.identity})) AS digest FROM {self.name}_now"
            " GROUP BY month ORDER BY month"
        )

    @property
    def rows_sql(self) -> str:
        """Gives the rows of the partition `%(month)s` in their order."""
        return (
            f"SELECT * FROM {self.name}_now WHERE toUInt32({self.month}) = %(month)s"
            f" ORDER BY {self.order}"
        )

    def path(self, month: int) -> str:
        """The partition's file, relative to the version's folder, in Hive's style."""
        if not month:
            return f"{self.name}/part.parquet"
        return f"{self.name}/year={month // 100}/month={month % 100:02d}/part.parquet"


DATASETS = (
    Dataset("hosts", "host_id", "host_id, updated_at"),
    Dataset("sites", "site_id", "site_id, fixes, updated_at"),
    Dataset(
        "files",
        "host_id, mtime_ns, file_id",
        "file_id, stage, version",
        "toYYYYMM(fromUnixTimestamp64Nano(mtime_ns, 'UTC'))",
    ),
    Dataset(
        "spectra",
        "station, freq_start, time_start, spectrum_id",
        "spectrum_id, ingested_at",
        "toYYYYMM(time_start)",
    ),
)
