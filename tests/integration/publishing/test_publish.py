"""A publication holds what the catalog holds, and writes only what changed."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from tests.integration.publishing.rows import START, file, fill, sha256, spectrum
from uploaderd.catalog import Catalog
from uploaderd.catalog.rows import EPOCH, SiteRow
from uploaderd.errors import MessageError
from uploaderd.publishing import datasets, holdings, release
from uploaderd.publishing.columns import ARRAYS_AS_BYTES_SINCE, Column
from uploaderd.publishing.parquet import Published, publish

MIGRATIONS = Path(__file__).parents[3] / "sql"


def incremental(catalog: Catalog, folder: Path, **wishes: Any) -> Published:
    return publish(catalog, folder, complete=False, **wishes)


def read(folder: Path, name: str) -> pa.Table:
    return pads.dataset(folder / "current" / name, partitioning="hive").to_table()


def inodes(folder: Path) -> dict[str, int]:
    root = (folder / "current").resolve()
    return {str(path.relative_to(root)): path.stat().st_ino for path in root.rglob("*.parquet")}


def written_again(folder: Path, before: dict[str, int]) -> set[str]:
    return {path for path, inode in inodes(folder).items() if before.get(path) != inode}


@pytest.mark.parametrize("table", ["hosts", "sites", "files", "spectra"])
def test_a_set_holds_what_its_table_holds(catalog: Catalog, tmp_path: Path, table: str) -> None:
    fill(catalog)
    incremental(catalog, tmp_path)
    order = datasets.chosen(table)[0].order
    found = read(tmp_path, table).to_pylist()
    found.sort(key=lambda row: [row[name] for name in order])
    expected = catalog.query(f"SELECT * FROM {table}_now ORDER BY {', '.join(order)}")
    for row, other in zip(found, expected, strict=True):
        assert {name: row[name] for name in other} == {
            name: None if value != value or value == EPOCH else value
            for name, value in other.items()
        }


def test_awkward_values_survive(catalog: Catalog, tmp_path: Path) -> None:
    odd = spectrum(
        1,
        datetime(2026, 2, 28, 23, 59, 59, 999000, tzinfo=UTC),
        description="Bahía 東京 \x00 '%s' \"\n",
        freq_stop=2**64 - 1,
        profile_mean=[-32768, 32767, -1, 0, 1, 255, -256],
        profile_max=[],
        latitude=float("inf"),
        ingested_at=datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC),
    )
    catalog.insert("spectra", [odd])
    incremental(catalog, tmp_path)
    row = read(tmp_path, "spectra").to_pylist()[0]
    for name in (
        "time_start", "description", "freq_stop", "profile_mean", "profile_max", "latitude",
        "ingested_at", "sha256",
    ):  # fmt: skip
        assert row[name] == getattr(odd, name)
    assert row["level_mean"] is None
    assert (row["year"], row["month"]) == (2026, 2)


def test_an_array_is_sent_as_its_bytes_by_servers_old_and_new(catalog: Catalog) -> None:
    values = [1, -2, 300, 0, -32768]
    rows = f"(SELECT CAST({values} AS Array(Int16)) AS levels)"
    for server in ((24, 8), ARRAYS_AS_BYTES_SINCE):
        sent = Column("levels", "Array(Int16)", "", server).wire
        found = catalog.query(f"SELECT hex({sent}) AS bytes FROM {rows}")[0]["bytes"]
        assert bytes.fromhex(found) == struct.pack("<5h", *values)


def test_bytes_that_are_no_text_become_replacement_characters(
    catalog: Catalog, tmp_path: Path
) -> None:
    catalog.insert("files", [file(1)])
    catalog.execute("INSERT INTO files (host_id, remote_path) VALUES (9, unhex('2F61FF62'))")
    incremental(catalog, tmp_path)
    assert "/a\ufffdb" in read(tmp_path, "files")["remote_path"].to_pylist()


def test_rows_of_an_unknown_time_have_no_month(catalog: Catalog, tmp_path: Path) -> None:
    broken = datetime(1970, 1, 5, tzinfo=UTC)
    catalog.insert("spectra", [spectrum(1, EPOCH), spectrum(2, broken), spectrum(3)])
    incremental(catalog, tmp_path)
    months = {(row["year"], row["month"]) for row in read(tmp_path, "spectra").to_pylist()}
    assert months == {(None, None), (1970, 1), (2026, 1)}


def test_measurements_join_file_station_and_site(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog, months=1, a_month=2)
    catalog.insert("spectra", [spectrum(7, site_id="")])
    incremental(catalog, tmp_path)
    rows = {row["sha256"]: row for row in read(tmp_path, "measurements").to_pylist()}
    row = rows[sha256(1)]
    assert row["path"] == "2026/BA/1.bin"
    assert (row["file_size"], row["remote_path"]) == (1001, "/d/1")
    assert (row["equipment_type"], row["site_name"], row["state"]) == ("RFeye", "Salvador", "BA")
    assert "profile_mean" not in row
    lonely = rows[sha256(7)]
    assert (lonely["path"], lonely["site_name"]) == ("", "")


def test_a_repeated_insert_changes_nothing(catalog: Catalog, tmp_path: Path) -> None:
    rows = fill(catalog)
    first = incremental(catalog, tmp_path)
    catalog.insert("spectra", rows)
    again = incremental(catalog, tmp_path)
    assert again.version == first.version
    assert (again.written, again.rows) == (0, first.rows)
    assert len(release.versions(tmp_path)) == 1


def test_only_what_changed_is_written(catalog: Catalog, tmp_path: Path) -> None:
    rows = fill(catalog)
    incremental(catalog, tmp_path)
    before = inodes(tmp_path)
    late = spectrum(900, START + timedelta(hours=3))
    catalog.insert("spectra", [late])
    incremental(catalog, tmp_path)
    january = "year=2026/month=01/part.parquet"
    assert written_again(tmp_path, before) == {f"spectra/{january}", f"measurements/{january}"}
    before = inodes(tmp_path)
    catalog.insert("spectra", [replace(rows[1], unit="dBuV", ingested_at=START + timedelta(1))])
    incremental(catalog, tmp_path)
    february = "year=2026/month=02/part.parquet"
    assert written_again(tmp_path, before) == {f"spectra/{february}", f"measurements/{february}"}
    assert read(tmp_path, "spectra")["unit"].to_pylist().count("dBuV") == 1


def test_a_moved_file_is_a_change_of_its_measurements(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog)
    incremental(catalog, tmp_path)
    before = inodes(tmp_path)
    march = START.replace(month=3)
    catalog.insert("files", [file(2, march, path="elsewhere", version=2)])
    catalog.insert("sites", [SiteRow("site", -12.8, -38.4, 8.0, 2, name="Salvador", state="BA")])
    incremental(catalog, tmp_path)
    part = "year=2026/month=03/part.parquet"
    expected = {f"files/{part}", f"measurements/{part}", "sites/part.parquet"}
    assert written_again(tmp_path, before) == expected


def test_removed_rows_and_months_go(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog)
    incremental(catalog, tmp_path)
    catalog.execute(
        "ALTER TABLE spectra DELETE WHERE toMonth(time_start) = 2 OR sha256 ="
        f" '{sha256(0)}' SETTINGS mutations_sync = 2"
    )
    published = incremental(catalog, tmp_path)
    assert published.written == 2
    assert read(tmp_path, "spectra").num_rows == 39
    assert not (tmp_path / "current/spectra/year=2026/month=02").exists()


def test_one_set_is_published_alone(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog)
    incremental(catalog, tmp_path)
    before = inodes(tmp_path)
    catalog.insert("spectra", [spectrum(900)])
    catalog.insert("files", [file(900)])
    incremental(catalog, tmp_path, dataset="files")
    assert written_again(tmp_path, before) == {"files/year=2026/month=01/part.parquet"}
    assert read(tmp_path, "spectra").num_rows == 60
    with pytest.raises(MessageError, match="no dataset 'spectre'"):
        incremental(catalog, tmp_path, dataset="spectre")


def test_a_complete_publication_writes_everything(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog)
    incremental(catalog, tmp_path)
    before = inodes(tmp_path)
    published = publish(catalog, tmp_path, complete=True)
    assert written_again(tmp_path, before) == set(before)
    assert (published.written, published.kept) == (len(before), 0)


def test_a_file_that_somebody_removed_is_written_again(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog)
    incremental(catalog, tmp_path)
    (tmp_path / "current/spectra/year=2026/month=02/part.parquet").unlink()
    catalog.insert("spectra", [spectrum(900)])
    incremental(catalog, tmp_path)
    assert read(tmp_path, "spectra").num_rows == 61


def test_a_new_column_writes_its_set_again(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog)
    incremental(catalog, tmp_path)
    catalog.execute("ALTER TABLE hosts ADD COLUMN owner String COMMENT 'Who owns it'")
    catalog.execute("CREATE OR REPLACE VIEW hosts_now AS SELECT * FROM hosts FINAL")
    before = inodes(tmp_path)
    incremental(catalog, tmp_path)
    assert written_again(tmp_path, before) == {"hosts/part.parquet"}
    assert read(tmp_path, "hosts")["owner"].to_pylist() == [""] * 5


def test_an_empty_catalog_is_published_as_nothing(catalog: Catalog, tmp_path: Path) -> None:
    assert incremental(catalog, tmp_path).rows == 0
    assert release.current_manifest(tmp_path) is not None


def test_the_schema_tells_comments_units_and_order(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog)
    incremental(catalog, tmp_path)
    opened = pq.ParquetFile(tmp_path / "current/spectra/year=2026/month=01/part.parquet")
    field = opened.schema_arrow.field("rbw")
    assert field.metadata[b"unit"] == b"Hz"
    assert field.metadata[b"comment"] == b"Resolution bandwidth, Hz; null: unknown"
    assert opened.schema_arrow.field("time_start").type == pa.timestamp("ms", tz="UTC")
    assert pa.types.is_dictionary(opened.schema_arrow.field("station").type)
    group = opened.metadata.row_group(0)
    names = [opened.schema.column(c.column_index).name for c in group.sorting_columns]
    assert names == list(datasets.SPECTRA_ORDER)
    statistics = group.column(opened.schema_arrow.names.index("station")).statistics
    assert (statistics.min, statistics.max) == ("rfeye0", "rfeye4")
    stations = opened.read()["station"].cast(pa.string()).to_pylist()
    assert stations == sorted(stations)


def test_sites_are_geoparquet(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog)
    catalog.insert("sites", [SiteRow("nowhere", float("nan"), -38.4, 8.0, 1)])
    incremental(catalog, tmp_path)
    table = pq.read_table(tmp_path / "current/sites/part.parquet", partitioning=None)
    geo = json.loads(table.schema.metadata[b"geo"])
    assert geo["columns"][geo["primary_column"]]["encoding"] == "WKB"
    shapes = dict(zip(table["site_id"].to_pylist(), table["geometry"].to_pylist(), strict=True))
    assert shapes["nowhere"] is None
    assert shapes["site"] == struct.pack("<BIdd", 1, 1, -38.4, -12.9)


def test_the_manifest_describes_every_file(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog)
    first = incremental(catalog, tmp_path)
    catalog.insert("spectra", [spectrum(900)])
    incremental(catalog, tmp_path)
    manifest = release.current_manifest(tmp_path)
    assert manifest is not None
    assert manifest["previous"] == first.version
    assert set(manifest["files"]) == set(inodes(tmp_path))
    assert manifest["rows"] == sum(entry["rows"] for entry in manifest["files"].values())


def test_nothing_is_asked_of_sets_whose_tables_did_not_change(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(catalog)
    first = incremental(catalog, tmp_path)
    asked: list[tuple[str, frozenset[int] | None]] = []
    partitions = holdings.partitions

    def listening(catalog: Catalog, sets: list[holdings.Asked], *rest: Any) -> Any:
        asked.extend((each.dataset.name, each.partitions) for each in sets)
        return partitions(catalog, sets, *rest)

    monkeypatch.setattr(holdings, "partitions", listening)
    assert incremental(catalog, tmp_path).version == first.version
    assert asked == []
    catalog.insert("spectra", [spectrum(900, START.replace(month=2))])
    assert incremental(catalog, tmp_path).version != first.version
    february = frozenset({202602})
    assert asked == [("spectra", february), ("measurements", february)]
    catalog.insert("sites", [SiteRow("site", -12.8, -38.4, 8.0, 2, name="Bahia", state="BA")])
    incremental(catalog, tmp_path)
    months = frozenset({202601, 202602, 202603})
    assert asked[2:] == [("sites", None), ("measurements", months)]
    assert set(read(tmp_path, "measurements")["site_name"].to_pylist()) >= {"Bahia"}


def test_a_month_that_is_dropped_and_rows_without_a_time_are_seen(
    catalog: Catalog, tmp_path: Path
) -> None:
    fill(catalog)
    incremental(catalog, tmp_path)
    catalog.insert("spectra", [spectrum(900, EPOCH)])
    incremental(catalog, tmp_path)
    assert None in read(tmp_path, "spectra")["year"].to_pylist()
    catalog.execute("ALTER TABLE spectra DROP PARTITION 202602")
    catalog.execute("ALTER TABLE spectra DROP PARTITION 197001")
    incremental(catalog, tmp_path)
    assert set(read(tmp_path, "spectra")["month"].to_pylist()) == {1, 3}
    assert set(read(tmp_path, "measurements")["month"].to_pylist()) == {1, 3}


def test_a_file_that_is_gone_is_written_again_though_no_table_changed(
    catalog: Catalog, tmp_path: Path
) -> None:
    fill(catalog)
    incremental(catalog, tmp_path)
    (tmp_path / "current" / "hosts" / "part.parquet").unlink()
    catalog.insert("spectra", [spectrum(900)])
    incremental(catalog, tmp_path)
    assert (tmp_path / "current" / "hosts" / "part.parquet").exists()


def test_what_a_table_holds_is_seen_anew_after_a_roll_back(
    catalog: Catalog, tmp_path: Path
) -> None:
    fill(catalog)
    incremental(catalog, tmp_path)
    catalog.insert("spectra", [spectrum(900)])
    newest = incremental(catalog, tmp_path)
    release.roll_back(tmp_path)
    assert incremental(catalog, tmp_path).rows == newest.rows


def test_months_before_a_day_stay_as_they_are(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog)
    incremental(catalog, tmp_path)
    before = inodes(tmp_path)
    catalog.insert("spectra", [spectrum(900), spectrum(901, START.replace(month=3))])
    incremental(catalog, tmp_path, dataset="spectra", since=date(2026, 2, 28))
    march = "spectra/year=2026/month=03/part.parquet"
    assert written_again(tmp_path, before) == {march}
    incremental(catalog, tmp_path)
    assert "spectra/year=2026/month=01/part.parquet" in written_again(tmp_path, before)
    before = inodes(tmp_path)
    publish(catalog, tmp_path, complete=True, dataset="files", since=date(2026, 3, 1))
    months = {path for path in written_again(tmp_path, before) if "month=0" in path}
    assert months
    assert not any("month=01" in path or "month=02" in path for path in months)


def test_the_manifest_tells_what_of_the_catalog_it_holds(catalog: Catalog, tmp_path: Path) -> None:
    fill(catalog)
    incremental(catalog, tmp_path)
    manifest = json.loads((tmp_path / "current" / "manifest.json").read_text())
    latest = max(int(path.name[:4]) for path in MIGRATIONS.glob("0*.sql"))
    assert manifest["schema_version"] == latest
    taken = catalog.query("SELECT max(ingested_at) AS at FROM spectra")[0]["at"]
    assert datetime.fromisoformat(manifest["watermark"]["read_from"]) > taken
    assert set(manifest["watermark"]["sets"]) == {each.name for each in datasets.DATASETS}
