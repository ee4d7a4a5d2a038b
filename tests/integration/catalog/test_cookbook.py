from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from uploaderd.catalog import Catalog, cookbook
from uploaderd.catalog.ids import file_id, spectrum_id
from uploaderd.catalog.rows import EPOCH, FileRow, HostEventRow, HostRow, SiteRow, SpectrumRow
from uploaderd.ctl.main import main
from uploaderd.errors import ConfigError

START = datetime(2026, 3, 1, 10, tzinfo=UTC)
WEEK_NS = 7 * 24 * 3600 * 10**9


def spectrum(digit: str, start: datetime, **different: Any) -> SpectrumRow:
    """An hour of 60 traces, four points from 100 to 400 Hz; the last was never measured.

    The first bin is always quiet, the second busy in a third of the traces, the third always busy.
    """
    sha = digit * 64
    row = SpectrumRow(
        spectrum_id(sha, 0), file_id(1, f"/{digit}", 5, 0), sha, 1, "a", 0, 100, 400, start,
        start + timedelta(hours=1), 60, 4, unit="dBm", revisit_s=60.0, latitude=10.0,
        longitude=20.0, site_id="here", level_min=-110.0, level_p10=-105.0, level_p50=-100.0,
        level_p90=-80.0, level_max=-50.0,
        profile_min=[-1100, -1100, -800, -32768], profile_p10=[-1050, -1050, -790, -32768],
        profile_p50=[-1000, -1000, -750, -32768], profile_p90=[-980, -700, -700, -32768],
        profile_max=[-960, -600, -500, -32768], profile_mean=[-1000, -900, -750, -32768],
        ingested_at=start + timedelta(hours=2),
    )  # fmt: skip
    return replace(row, **different)


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    """Three spectra of an hour, at 10:00, 10:30 and 23:30, each inserted twice."""
    starts = {"1": START, "2": START + timedelta(minutes=30), "3": START + timedelta(hours=13.5)}
    spectra = [spectrum(digit, start) for digit, start in starts.items()]
    ledger = [
        FileRow(
            1, file_id(1, f"/{digit}", 5, 0), f"/{digit}", 5, 0, "processed", "a",
            sha256="f" * 64 if digit != "3" else "3" * 64, path=f"2026/{digit}", fetched_at=start,
            error_code="bad,worse" if digit == "3" else "", version=week * WEEK_NS,
        )
        for week, (digit, start) in enumerate(starts.items(), 100)
    ]  # fmt: skip
    ledger += [
        FileRow(
            1, file_id(1, "/4", 5, 0), "/4", 5, 0, "trashed", "a", sha256="4" * 64,
            error_code="bad", error_text="It is bad.", processed_at=START, version=102 * WEEK_NS,
        ),
        FileRow(
            1, file_id(1, "/5", 5, 0), "/5", 5, 0, "trashed", "a", sha256="5" * 64,
            error_code="bad", error_text="It is bad.", processed_at=START, version=103 * WEEK_NS,
        ),
    ]  # fmt: skip
    day = timedelta(days=1)
    events = [
        HostEventRow(1, "check", at=START, host_uid="a"),
        HostEventRow(1, "backup_done", at=START, host_uid="a"),
        HostEventRow(1, "backup_waiting", "error", "unreachable", "no way", at=START + day),
        HostEventRow(1, "backup_waiting", "error", "unreachable", "no way", at=START + 2 * day),
        HostEventRow(1, "backup_done", at=START + 3 * day),
        HostEventRow(1, "backup_waiting", "error", "catalog", "ours", at=START + 4 * day),
    ]
    for _ in range(2):
        catalog.insert("spectra", spectra)
        catalog.insert("files", ledger)
        catalog.insert("host_events", events)
        catalog.insert("hosts", [HostRow(1, "a"), HostRow(2, "silent")])
        catalog.insert("sites", [SiteRow("here", 10.0, 20.0, 0.0, 5, state="Bahia")])
    return catalog


@pytest.mark.parametrize(
    ("name", "given", "rows", "first"),
    [
        ("band_contents", {"latitude": "10", "longitude": "20", "radius_km": "5"}, 1,
         {"spectra": 3, "traces": 180, "files": 3, "first": START, "sites": ["here"]}),
        ("band_contents", {"latitude": "11", "longitude": "20", "radius_km": "5"}, 0, {}),
        ("band_contents", {"low": "401"}, 0, {}),
        ("band_contents", {"place": "%bahia%"}, 1, {"spectra": 3}),
        ("band_contents", {"place": "elsewhere"}, 0, {}),
        ("band_contents", {"since": "2026-03-02T00:00:00Z"}, 1, {"spectra": 1}),
        ("coverage_matrix", {}, 2, {"hours": 2.0, "spectra": 3, "day": date(2026, 3, 1)}),
        ("coverage_matrix", {"since": "2026-03-02"}, 1, {"hours": 0.5, "day": date(2026, 3, 2)}),
        ("coverage_matrix", {"until": "2026-03-01 10:15:00"}, 1, {"hours": 0.25}),
        ("gaps", {}, 1, {"hours": 12.0, "gap_stop": START + timedelta(hours=13.5)}),
        ("gaps", {"hours": "13"}, 0, {}),
        ("gaps", {"since": "2026-03-01", "until": "2026-03-03"}, 3, {"hours": 10.0}),
        ("occupancy", {"channel": "100"}, 12, {
            "occupancy": 0.0, "occupancy_max": 0.0, "samples": 90, "revisit_s": 60.0,
            "hour": START, "threshold": -95.0, "observed_s": 5400.0, "channel": 100,
            "method": "dynamic: 10 % level + 10 dB"}),
        ("occupancy", {"channel": "100", "low": "200", "high": "200"}, 4, {
            "occupancy": 0.3333, "occupancy_min": 0.1, "occupancy_max": 0.5, "channel": 200}),
        ("occupancy", {"channel": "100", "low": "300"}, 4, {"occupancy": 1.0, "channel": 300}),
        ("occupancy", {"channel": "1000", "threshold": "-40"}, 4, {
            "occupancy": 0.0, "method": "fixed", "threshold": -40.0}),
        ("busiest_hours", {"count": "1"}, 1, {
            "occupancy": 0.4444, "level_p90": -80.0, "hour": START, "samples": 90}),
        ("level_history", {}, 1, {"lowest": -110.0, "highest": -50.0, "samples": 180}),
        ("spectrum", {}, 3, {
            "frequency": 100, "lowest": -110.0, "mean": -100.0, "p50": -100.0, "p90": -98.0,
            "highest": -96.0, "samples": 180}),
        ("spectrum", {"spectrum_id": spectrum_id("1" * 64, 0)}, 3, {"samples": 60}),
        ("waterfall", {"until": "2026-03-01 10:15"}, 1, {"time_start": START, "traces": 60}),
        ("overlaps", {}, 1, {
            "overlap_start": START + timedelta(minutes=30), "overlap_s": 1800.0,
            "earlier_sha256": "1" * 64, "sha256": "2" * 64}),
        ("duplicates", {}, 1, {"copies": 2, "size": 5, "wasted": 5}),
        ("volume_by_month", {}, 1, {"files": 5, "bytes": 25, "trashed": 2}),
        ("errors_by_class", {}, 6, {"source": "file", "code": "bad", "count": 1, "change": 1}),
        ("capture_delay", {}, 1, {
            "files": 3, "p50_s": 3600.0, "p95_s": 3600.0, "clock_ahead": 0}),
        ("raw_file", {"spectrum_id": spectrum_id("3" * 64, 0)}, 1, {"path": "2026/3"}),
        ("availability", {}, 2, {
            "contacts": 4, "available": 0.5, "reasons": ["unreachable: 2"], "last_error": "ours",
            "server_errors": 1, "last_good": START + timedelta(days=3)}),
    ],
)  # fmt: skip
def test_a_query_gives_the_known_answer(
    filled: Catalog, name: str, given: dict[str, str], rows: int, first: dict[str, Any]
) -> None:
    answer = cookbook.run(filled, name, given)
    assert len(answer) == rows
    assert {key: answer[0][key] for key in first if rows} == first


def test_copies_of_a_stations_contents_are_found_wherever_they_lie(filled: Catalog) -> None:
    """A third copy of another station's, which had another content before it was read again."""
    far = FileRow(
        9, file_id(9, "/far", 5, 0), "/far", 5, 0, "fetched", "b", sha256="0" * 64, path="tmp/far",
        fetched_at=START + timedelta(days=40), version=200 * WEEK_NS,
    )  # fmt: skip
    filled.insert("files", [far, replace(far, stage="processed", sha256="f" * 64, version=1)])
    for given, copies in (
        ({}, [3]),
        ({"station": "a"}, [3]),
        ({"station": "b", "since": "2026-04-01"}, [3]),
        ({"station": "b", "until": "2026-04-01"}, []),
        ({"station": "nobody"}, []),
    ):
        assert [row["copies"] for row in cookbook.run(filled, "duplicates", given)] == copies
    # The newest row has a content of its own: what it replaced does not count.
    filled.insert("files", [replace(far, stage="trashed", sha256="2" * 64, version=3 * WEEK_NS)])
    assert [row["copies"] for row in cookbook.run(filled, "duplicates", {})] == [2]
    assert cookbook.run(filled, "duplicates", {"station": "b"}) == []


def test_the_newest_row_of_a_spectrum_tells_its_file(filled: Catalog) -> None:
    row = spectrum("3", START + timedelta(hours=13.5))
    later = replace(row, file_id=file_id(1, "/1", 5, 0), ingested_at=START + timedelta(days=9))
    filled.insert("spectra", [later])
    found = cookbook.run(filled, "raw_file", {"spectrum_id": row.spectrum_id})
    assert [one["path"] for one in found] == ["2026/1"]
    assert cookbook.run(filled, "raw_file", {"spectrum_id": "3" * 32}) == []


def test_errors_and_volumes_are_those_of_the_newest_rows_in_the_period(filled: Catalog) -> None:
    week = {"since": "2026-03-01", "until": "2026-03-01 00:00:01"}
    assert cookbook.run(filled, "volume_by_month", week) == []
    assert (
        len(cookbook.run(filled, "volume_by_month", {"station": "a", "until": "2026-03-02"})) == 1
    )
    errors = cookbook.run(filled, "errors_by_class", {"since": "2026-03-01", "station": "a"})
    assert {row["code"] for row in errors} == {"unreachable", "catalog"}
    healed = FileRow(
        1, file_id(1, "/4", 5, 0), "/4", 5, 0, "processed", "a", sha256="4" * 64,
        processed_at=START, version=900 * WEEK_NS,
    )  # fmt: skip
    filled.insert("files", [healed])
    errors = cookbook.run(filled, "errors_by_class", {"station": "a"})
    assert sum(row["count"] for row in errors if row["class"] == "trashed") == 1


def test_every_query_says_what_it_answers() -> None:
    assert len(cookbook.queries()) >= 12
    assert all(query.answers for query in cookbook.queries().values())


def test_the_command_prints_rows(filled: Catalog, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--port", str(filled.settings.port), "--database", filled.settings.database]
    assert main(["query", "volume_by_month", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == 25
    assert main(["query", "volume_by_month", "--csv", *where]) == 0
    assert capsys.readouterr().out.startswith("month,host_id,")
    assert main(["query", "--list"]) == 0
    assert "gaps: " in capsys.readouterr().out


def test_wrong_names_and_values_are_told(catalog: Catalog) -> None:
    for name, given in (("nothing", {}), ("gaps", {"x": "1"}), ("gaps", {"hours": "one"})):
        with pytest.raises(ConfigError):
            cookbook.run(catalog, name, given)


def test_trends_compare_with_the_week_before(filled: Catalog) -> None:
    rows = cookbook.run(filled, "errors_by_class", {"station": "a"})
    trashed = [row for row in rows if row["class"] == "trashed"]
    assert [(row["count"], row["before"], row["change"]) for row in trashed] == [
        (1, 0, 1), (1, 1, 0)
    ]  # fmt: skip
    assert {row["code"] for row in rows if row["class"] == "salvaged"} == {"bad", "worse"}
    assert [row["count"] for row in rows if row["code"] == "unreachable"] == [2]


def test_a_station_that_was_never_reached_is_listed(filled: Catalog) -> None:
    silent = cookbook.run(filled, "availability", {"station": "silent"})
    assert [(row["contacts"], row["reasons"]) for row in silent] == [(0, [])]


def test_an_unknown_time_is_no_gap_and_no_coverage(catalog: Catalog) -> None:
    catalog.insert("spectra", [spectrum("1", EPOCH, time_stop=EPOCH), spectrum("2", START)])
    assert cookbook.run(catalog, "gaps", {}) == []
    assert len(cookbook.run(catalog, "coverage_matrix", {})) == 1


def test_every_query_with_a_plot_draws(filled: Catalog, tmp_path: Path) -> None:
    where = ["--port", str(filled.settings.port), "--database", filled.settings.database]
    for name, query in cookbook.queries().items():
        out = tmp_path / f"{name}.png"
        status = main(["query", name, "--plot", str(out), *where])
        assert (status == 0) == bool(query.plot), name
        assert out.exists() == bool(query.plot)
