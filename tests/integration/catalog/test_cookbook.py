from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from uploaderd.catalog import Catalog, cookbook
from uploaderd.catalog.ids import file_id, spectrum_id
from uploaderd.catalog.rows import FileRow, HostEventRow, SpectrumRow
from uploaderd.ctl.main import main
from uploaderd.errors import ConfigError

START = datetime(2026, 3, 1, 10, tzinfo=UTC)


def spectrum(digit: str, start: datetime) -> SpectrumRow:
    sha = digit * 64
    return SpectrumRow(
        spectrum_id(sha, 0), file_id(1, f"/{digit}", 5, 0), sha, 1, "a", 0, 100, 200, start,
        start + timedelta(hours=1), 60, 4, unit="dBm", revisit_s=60.0, latitude=10.0,
        longitude=20.0, level_min=-110.0, level_p50=-100.0, level_p90=-80.0, level_max=-50.0,
        profile_p90=[-1000, -1000, -800, -32768], ingested_at=start + timedelta(hours=2),
    )  # fmt: skip


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    """Three spectra of an hour, at 10:00, 10:30 and 14:00, each inserted twice."""
    starts = {"1": START, "2": START + timedelta(minutes=30), "3": START + timedelta(hours=4)}
    spectra = [spectrum(digit, start) for digit, start in starts.items()]
    ledger = [
        FileRow(
            1, file_id(1, f"/{digit}", 5, 0), f"/{digit}", 5, 0, "processed", "a",
            sha256="f" * 64 if digit != "3" else "3" * 64, path=f"2026/{digit}", fetched_at=start,
            error_code="bad" if digit == "3" else "",
        )
        for digit, start in starts.items()
    ]  # fmt: skip
    events = [HostEventRow(1, "check", at=START, host_uid="a")]
    events += [HostEventRow(1, "check", "error", "unreachable", at=START + timedelta(days=1))]
    for _ in range(2):
        catalog.insert("spectra", spectra)
        catalog.insert("files", ledger)
        catalog.insert("host_events", events)
    return catalog


@pytest.mark.parametrize(
    ("name", "given", "rows", "first"),
    [
        ("band_contents", {"latitude": "10", "longitude": "20", "radius_km": "5"}, 1,
         {"spectra": 3, "traces": 180}),
        ("band_contents", {"latitude": "11", "longitude": "20", "radius_km": "5"}, 0, {}),
        ("band_contents", {"low": "201"}, 0, {}),
        ("coverage_matrix", {}, 1, {"hours": 3.0, "spectra": 3}),
        ("gaps", {}, 1, {"hours": 2.5}),
        ("gaps", {"hours": "3"}, 0, {}),
        ("occupancy", {"threshold": "-90"}, 2, {"occupancy": 0.3333, "samples": 120, "hour": 10}),
        ("busiest_hours", {"count": "1"}, 1, {"level": -80.0}),
        ("level_history", {}, 1, {"lowest": -110.0, "highest": -50.0, "samples": 180}),
        ("overlaps", {}, 1, {"overlap_start": START + timedelta(minutes=30)}),
        ("duplicates", {}, 1, {"copies": 2, "size": 5}),
        ("volume_by_month", {}, 1, {"files": 3, "bytes": 15}),
        ("errors_by_class", {}, 1, {"error_code": "bad", "files": 1}),
        ("capture_delay", {}, 1, {"files": 3, "p50_s": 3600.0}),
        ("raw_file", {"spectrum_id": spectrum_id("3" * 64, 0)}, 1, {"path": "2026/3"}),
        ("availability", {}, 1, {"checks": 2, "available": 0.5, "last_code": "unreachable"}),
    ],
)  # fmt: skip
def test_a_query_gives_the_known_answer(
    filled: Catalog, name: str, given: dict[str, str], rows: int, first: dict[str, Any]
) -> None:
    answer = cookbook.run(filled, name, given)
    assert len(answer) == rows
    assert {key: answer[0][key] for key in first} == first if rows else not first


def test_every_query_says_what_it_answers() -> None:
    assert len(cookbook.queries()) >= 12
    assert all(query.answers for query in cookbook.queries().values())


def test_the_command_prints_rows(filled: Catalog, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--port", str(filled.settings.port), "--database", filled.settings.database]
    assert main(["query", "volume_by_month", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == 15
    assert main(["query", "volume_by_month", "--csv", *where]) == 0
    assert capsys.readouterr().out.startswith("month,host_id,")
    assert main(["query", "--list"]) == 0
    assert "gaps: " in capsys.readouterr().out


def test_wrong_names_and_values_are_told(catalog: Catalog) -> None:
    for name, given in (("nothing", {}), ("gaps", {"x": "1"}), ("gaps", {"hours": "one"})):
        with pytest.raises(ConfigError):
            cookbook.run(catalog, name, given)
