"""The published folder, opened with the tools of an analyst."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd
import pytest

from tests.integration.publishing.rows import START, fill, spectrum
from uploaderd.catalog import Catalog
from uploaderd.catalog.rows import EPOCH
from uploaderd.publishing.parquet import publish


@pytest.fixture
def current(catalog: Catalog, tmp_path: Path) -> Path:
    """The current version's folder, with rows of three months and one of an unknown time."""
    fill(catalog)
    catalog.insert("spectra", [spectrum(900, EPOCH)])
    publish(catalog, tmp_path, complete=False)
    return (tmp_path / "current").resolve()


def test_duckdb_asks_by_month_station_and_level(catalog: Catalog, current: Path) -> None:
    with duckdb.connect() as duck:
        relation = f"read_parquet('{current}/spectra/**/*.parquet', hive_partitioning = true)"
        question = (
            "SELECT station, count(*), max(level_max), avg(rbw), avg(level_mean),"
            " sum(len(profile_mean)), min(epoch_ms(time_start))"
            f" FROM {relation} WHERE year = 2026 AND month = 2 GROUP BY station ORDER BY station"
        )
        expected = catalog.query(
            "SELECT station, count() AS n FROM spectra_now WHERE toYYYYMM(time_start) = 202602"
            " GROUP BY station ORDER BY station"
        )
        start = int(START.replace(month=2).timestamp() * 1000)
        assert duck.sql(question).fetchall() == [
            (row["station"], row["n"], -20.5, 10_000.0, None, 4 * row["n"], start)
            for row in expected
        ]
        unknown = f"SELECT station FROM {relation} WHERE month IS NULL"
        assert duck.sql(unknown).fetchall() == [("rfeye0",)]


def test_duckdb_answers_from_the_joined_set(current: Path) -> None:
    with duckdb.connect() as duck:
        found = duck.sql(
            "SELECT state, count(DISTINCT path), count(*) FROM"
            f" read_parquet('{current}/measurements/**/*.parquet', hive_partitioning = true)"
            " WHERE station = 'rfeye1' AND path != '' GROUP BY state"
        ).fetchall()
        assert found == [("BA", 12, 12)]


def test_pandas_reads_a_set_and_a_month(current: Path) -> None:
    frame = pd.read_parquet(current / "spectra", filters=[("year", "=", 2026), ("month", "=", 3)])
    assert len(frame) == 20
    assert str(frame["time_start"].dt.tz) == "UTC"
    assert isinstance(frame["station"].dtype, pd.CategoricalDtype)
    assert frame["level_mean"].isna().all()
    assert list(frame["profile_mean"].iloc[0])[1:] == [-32768, 0, 256]
    assert len(pd.read_parquet(current / "files")) == 60
