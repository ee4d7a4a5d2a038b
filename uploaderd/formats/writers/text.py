"""Writes the text formats: Argus CSV, SM.1809 and sweep CSV.

Times are those of the measuring computer's clock; levels are [sweeps, points] in the unit named.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import zip_longest

import numpy as np
from numpy.typing import ArrayLike

INFO = (
    "Meas. Unit: ETM018",
    "Longitude: 048\u00b013'51,1\"W",
    "Latitude: 18\u00b053'19,6\"S",
    "Measurement Definition:",
    "Name: meas_PMEF",
    "Range Definition:",
    "Name: 220_PMEF_3",
    "Device 1:",
    "Name: ADDx07_dBm",
    "Device 2:",
    "Name: EB500",
    "IF Bandwidth: 120 kHz",
    "Detector: Fast",
)
"""Lines of an Argus info column; a key without a value opens a section."""


def argus_csv(
    start: datetime,
    frequencies_hz: Sequence[int],
    levels_dbm: ArrayLike,
    *,
    counts: Sequence[int] = (),
    info: Sequence[str] = INFO,
    date: str = "%d/%m/%Y",
) -> bytes:
    """A compressed export with one Value Count a sweep, or a raw one without counts."""
    levels = np.asarray(levels_dbm, np.float64)
    names = ["Time", "Frequency (Hz)", "Level (dBm)"]
    if counts:
        names += ["Level_1 (dBm)", "Level_2 (dBm)", "Level_3 (dBm)", "Value Count"]
    lines = [",".join(f'"{name}"' for name in [*names, "File Info"])]
    rows = []
    for sweep, trace in enumerate(levels):
        time = (start + timedelta(minutes=sweep)).strftime(f"{date}  %H:%M:%S,000")
        for frequency, level in zip(frequencies_hz, trace, strict=True):
            row = [time, f"{frequency:12d}", _comma(level)]
            if counts:
                spread = [_comma(value) for value in (5.7, level - 10, level + 10)]
                row += [*spread, str(counts[sweep])]
            rows.append(",".join(f'"{cell}"' for cell in row))
    for row_text, line in zip_longest(rows, info[: len(rows)], fillvalue=""):
        quoted = '"' + line.replace('"', '""') + '"' if line else ""
        lines.append(f"{row_text},{quoted}")
    return ("\n".join(lines) + "\n").encode("cp1252")


def _comma(value: float) -> str:
    return f"{value:6.1f}".replace(".", ",")


def sm1809(
    start: datetime, bands_khz: Sequence[tuple[float, float]], levels: Sequence[ArrayLike]
) -> bytes:
    """One scan a second over one or more bands; `levels` holds [scans, points] for each band."""
    tables = [np.asarray(band, np.float64) for band in levels]

    def each(values: Sequence[object]) -> str:
        return ";".join(str(value) for value in values)

    count = len(bands_khz)
    header = {
        "FileType": "SM1809",
        "Multiscan": "Y" if count > 1 else "N",
        "Receiver": "RFeye009001",
        "ThreadID": each(range(1, count + 1)),
        "FreqStart": each([f"{low:.3f}" for low, _ in bands_khz]),
        "FreqStop": each([f"{high:.3f}" for _, high in bands_khz]),
        "LevelUnits": each(["dBm"] * count),
        "DataPoints": each([table.shape[1] for table in tables]),
        "FilterBandwidth": each(["73.828"] * count),
        "ScanTime": each(["1.000000"] * count),
        "TraceMode": each(["Peak"] * count),
        "Detector": each([""] * count),
        "AntennaType": "Telescopic",
        "Samples": str(len(tables[0])),
        "TaskName": "Generated",
        "Description": each([f"Band {band}" for band in range(1, count + 1)]),
        "Latitude": "12.58.17S",
        "Longitude": "038.28.53W",
        "Date": start.strftime("%Y-%m-%d"),
    }
    lines = [f"{key} {value}" for key, value in header.items()] + [""]
    for scan in range(len(tables[0])):
        time = (start + timedelta(seconds=scan)).strftime("%H:%M:%S")
        parts = ["," + ",".join(f"{level:.1f}" for level in table[scan]) for table in tables]
        lines.append(time + "; ".join(parts))
    return ("\n".join(lines) + "\n").encode()


def sweep_csv(
    start: datetime,
    segments_hz: Sequence[tuple[int, int]],
    step_hz: float,
    levels_db: ArrayLike,
    *,
    hackrf: bool = False,
) -> bytes:
    """One sweep a second over all segments, lines in the order given; levels likewise.

    `hackrf` writes microseconds and each bin once, else whole seconds and the last bin twice, as
    `rtl_power` does.
    """
    lines = []
    for sweep, trace in enumerate(np.asarray(levels_db, np.float64)):
        time = start + timedelta(seconds=sweep)
        stamp = time.strftime("%Y-%m-%d, %H:%M:%S.%f" if hackrf else "%Y-%m-%d, %H:%M:%S")
        begin = 0
        for low, high in segments_hz:
            bins = round((high - low) / step_hz)
            values = [f"{level:.2f}" for level in trace[begin : begin + bins]]
            begin += bins
            if not hackrf:
                values.append(values[-1])
            lines.append(f"{stamp}, {low}, {high}, {step_hz:.2f}, 64, {', '.join(values)}")
    return ("\n".join(lines) + "\n").encode()
