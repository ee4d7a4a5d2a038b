"""What our writers write, the readers read: bands, times, levels, statistics."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from uploaderd import formats
from uploaderd.formats.times import to_ns
from uploaderd.formats.writers import cellplan_dbm, celzip, sigmf_recording, text

START = datetime(2024, 5, 31, 23, 59, 58, tzinfo=UTC)
SECOND = 10**9


def levels(sweeps: int, points: int) -> NDArray[np.float64]:
    return np.random.default_rng(1).integers(-1200, -300, (sweeps, points)) / 10


def traces_of(path: Path, flow: int = 0) -> NDArray[np.float32]:
    return np.concatenate([block.levels for block in formats.traces(path) if block.flow == flow])


def check(path: Path, flow: int, expected: NDArray[Any]) -> formats.Spectrum:
    """The spectrum, after its levels and statistics were found to be those expected."""
    spectrum = formats.read(path, statistics=True).spectra[flow]
    np.testing.assert_allclose(traces_of(path, flow), expected, atol=1e-3)
    assert spectrum.n_traces == len(expected)
    assert spectrum.points == expected.shape[1]
    assert spectrum.statistics is not None
    assert spectrum.statistics.count == expected.size
    assert spectrum.statistics.min == pytest.approx(expected.min(), abs=1e-3)
    assert spectrum.statistics.mean == pytest.approx(expected.mean(), abs=1e-3)
    assert spectrum.last_trace is not None
    assert spectrum.last_trace.max == pytest.approx(expected[-1].max(), abs=1e-3)
    return spectrum


def cellplan(table: NDArray[Any], steps: tuple[float, ...] = (71e6,)) -> bytes:
    return cellplan_dbm.write(
        [
            cellplan_dbm.Record(START + timedelta(seconds=i), step, trace, position=(-12.9, -38, 9))
            for i, trace in enumerate(table)
            for step in steps
        ]
    )


@pytest.mark.parametrize("packed", [False, True], ids=["raw", "CelZip"])
def test_cellplan_comes_back(tmp_path: Path, packed: bool) -> None:
    table = levels(7, 40)
    path = tmp_path / cellplan_dbm.NAME
    raw = cellplan(table, steps=(71e6, 75e6))
    path.write_bytes(celzip.pack(raw) if packed else raw)
    recording = formats.read(path)
    assert (recording.outcome, recording.receiver) == ("ok", "CWSM22010038")
    assert recording.extra["compressed"] is packed
    assert recording.gps is not None
    assert (recording.gps.lat, recording.gps.count) == (-12.9, 14)
    for flow, centre in enumerate((71e6, 75e6)):
        spectrum = check(path, flow, table)
        assert spectrum.start_hz == centre - 97656.25 * 20
        assert spectrum.first_ts == to_ns(START)
        assert spectrum.last_ts == to_ns(START) + 6 * SECOND
        assert (spectrum.id, spectrum.processing) == (111, "ClearWrite")


def test_cellplan_keeps_the_middle_of_a_wide_record(tmp_path: Path) -> None:
    table = levels(2, 40)
    path = tmp_path / cellplan_dbm.NAME
    path.write_bytes(
        cellplan_dbm.write([cellplan_dbm.Record(START, 71e6, t, 3.0, 100.0) for t in table], room=5)
    )
    check(path, 0, table[:, 4:36])


def test_a_zip_of_cellplan_files_is_one_recording(tmp_path: Path) -> None:
    path = tmp_path / "station.zip"
    table = levels(3, 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(cellplan_dbm.NAME, cellplan(table))
        archive.writestr("readme.txt", "not a measurement")
        other = cellplan_dbm.NAME.replace("E11", "E12")
        archive.writestr(f"folder/{other}", celzip.pack(cellplan(table + 1)))
    assert [spectrum.id for spectrum in formats.read(path).spectra] == [111, 121]
    assert formats.read(path).outcome == "ok"
    check(path, 0, table)
    check(path, 1, table + 1)


@pytest.mark.parametrize("counts", [(), (10, 20, 30, 50)], ids=["raw", "compressed"])
@pytest.mark.parametrize("date", ["%d/%m/%Y", "%Y-%m-%d", "%d.%m.%y"])
def test_argus_comes_back(tmp_path: Path, counts: tuple[int, ...], date: str) -> None:
    table = levels(4, 25)
    path = tmp_path / "argus.csv"
    frequencies = list(range(88_000_000, 88_000_000 + 25 * 5000, 5000))
    path.write_bytes(text.argus_csv(START, frequencies, table, counts=counts, date=date))
    recording = formats.read(path)
    assert (recording.outcome, recording.receiver) == ("ok", "ETM018")
    assert recording.method == "meas_PMEF"
    assert recording.gps is not None
    assert recording.gps.lon == pytest.approx(-48.230861, abs=1e-6)
    spectrum = check(path, 0, table)
    assert (spectrum.start_hz, spectrum.step_hz, spectrum.rbw_hz) == (88_000_000, 5000, 120_000)
    assert spectrum.first_ts == to_ns(START)
    assert spectrum.last_ts == to_ns(START) + 180 * SECOND
    assert spectrum.extra["integration_median"] == (25.0 if counts else None)


def test_argus_sweeps_across_blocks_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uploaderd.formats.argus_csv.rows.BLOCK", 1000)
    table = levels(5, 33)
    path = tmp_path / "argus.csv"
    path.write_bytes(text.argus_csv(START, range(1000, 1033), table, counts=[1] * 5))
    check(path, 0, table)


def test_argus_month_first_dates_by_the_hint_of_the_info_column(tmp_path: Path) -> None:
    path = tmp_path / "argus.csv"
    info = [*text.INFO, "Time: 6:05:53 PM"]
    start = datetime(2024, 5, 4, 3, 2, 1)
    path.write_bytes(text.argus_csv(start, [1, 2, 3], levels(1, 3), info=info, date="%m/%d/%Y"))
    # Three rows leave no room for the hint: without it the day comes first.
    assert formats.read(path).start == to_ns(datetime(2024, 4, 5, 3, 2, 1))
    many = range(100, 130)
    path.write_bytes(text.argus_csv(start, many, levels(1, 30), info=info, date="%m/%d/%Y"))
    assert formats.read(path).start == to_ns(start)


def test_sm1809_comes_back_across_midnight(tmp_path: Path) -> None:
    first, second = levels(5, 11), levels(5, 17) + 1
    path = tmp_path / "a.sm1809"
    bands = [(88_000.0, 108_000.0), (470_000.0, 698_000.0)]
    path.write_bytes(text.sm1809(START, bands, [first, second]))
    assert formats.read(path).outcome == "ok"
    spectrum = check(path, 0, first)
    assert (spectrum.start_hz, spectrum.stop_hz) == (88_000_000, 108_000_000)
    assert check(path, 1, second).last_ts == to_ns(START) + 4 * SECOND


@pytest.mark.parametrize("name", ["sweep.csv", "sweep.csv.gz"])
@pytest.mark.parametrize("hackrf", [True, False])
def test_sweeps_come_back(tmp_path: Path, hackrf: bool, name: str) -> None:
    table = levels(3, 12)
    path = tmp_path / name
    segments = [(0, 4_000_000), (8_000_000, 12_000_000), (4_000_000, 8_000_000)]
    data = text.sweep_csv(START, segments, 1e6, table, hackrf=hackrf)
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    recording = formats.read(path)
    assert recording.format_version == ("hackrf_sweep" if hackrf else "rtl_power")
    assert recording.outcome == "ok"
    in_order = np.concatenate([table[:, :4], table[:, 8:], table[:, 4:8]], axis=1)
    spectrum = check(path, 0, in_order)
    assert (spectrum.start_hz, spectrum.stop_hz) == (0, 12_000_000)
    assert spectrum.last_ts == to_ns(START) + 2 * SECOND


@pytest.mark.parametrize("suffix", [".sigmf-meta", ".sigmf-data", ".sigmf"])
def test_sigmf_is_read_by_any_of_its_files(tmp_path: Path, suffix: str) -> None:
    meta = tmp_path / "a.sigmf-meta"
    sigmf_recording.write(meta, 2e6, [(0, 100e6, START), (1000, 102e6, START)], total=5000)
    if suffix == ".sigmf":
        with tarfile.open(tmp_path / "a.sigmf", "w") as archive:
            archive.add(meta, "a/a.sigmf-meta")
            archive.add(meta.with_suffix(".sigmf-data"), "a/a.sigmf-data")
    recording = formats.read(meta.with_suffix(suffix))
    assert (recording.format, recording.outcome) == ("sigmf", "ok")
    first, second = recording.spectra
    assert (first.start_hz, first.stop_hz) == (99_000_000, 101_000_000)
    assert (first.extra["n_samples"], second.extra["n_samples"]) == (1000, 4000)
    assert second.last_ts == to_ns(START) + 2_000_000


def test_the_clock_offset_is_taken_off_wall_clocks_only(tmp_path: Path) -> None:
    offset = timedelta(hours=-3)
    path = tmp_path / "a.sm1809"
    path.write_bytes(text.sm1809(START, [(1.0, 2.0)], [levels(1, 3)]))
    assert formats.read(path, clock_offset=offset).start == to_ns(START - offset)
    meta = tmp_path / "a.sigmf-meta"
    sigmf_recording.write(meta, 2e6, [(0, 100e6, START)], total=50)
    assert formats.read(meta, clock_offset=offset).start == to_ns(START)
