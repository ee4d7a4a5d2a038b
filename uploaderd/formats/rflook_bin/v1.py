"""RFlookBin v.1: a fixed header, then records, levels and text reached through offsets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats.files import forget, mapped
from uploaderd.formats.issues import IssueLog
from uploaderd.formats.model import NO_TIME, Position, ReadOptions, Recording, Spectrum, TraceBlock
from uploaderd.formats.positions import FixLog
from uploaderd.formats.rflook_bin import common
from uploaderd.formats.rflook_bin.levels import FlowStatistics, decoded

HEADER: Final = np.dtype(
    {
        "names": [
            "bits", "sized", "written", "start", "stop", "rbw", "points", "mode", "detector",
            "unit", "att_mode", "att", "gps_kind", "gps_status", "lat", "lon", "records",
            "levels", "text",
        ],
        "formats": [
            "u1", "<u4", "<u4", "<f4", "<f4", "<f4", "<u2", "i1", "i1",
            "i1", "i1", "i1", "u1", "i1", "<f4", "<f4", "<u4",
            "<u4", "<u4",
        ],
        "offsets": [15, 16, 20, 24, 28, 32, 36, 38, 39, 40, 42, 43, 50, 51, 52, 56, 68, 72, 76],
        "itemsize": 80,
    }
)  # fmt: skip
RECORD: Final = np.dtype(
    [
        ("date", "u1", 6), ("ms", "<i2"), ("offset", "<i2"), ("att", "u1"), ("status", "u1"),
        ("lat", "<f4"), ("lon", "<f4"),
    ]
)  # fmt: skip
CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _File:
    """A mapped file: header, records that have levels, levels as stored [n, points]."""

    memory: Any
    header: NDArray[Any]
    records: NDArray[Any]
    levels: NDArray[Any]


def _opened(path: Path) -> _File | None:
    """The file's parts, cut to whole traces; `None` if even the header is cut."""
    memory = mapped(path)
    if len(memory) < HEADER.itemsize:
        return None
    header = np.frombuffer(memory, HEADER, 1)[0]
    stored = np.dtype({8: "u1", 16: "<i2", 32: "<f4"}.get(int(header["bits"]), "u1"))
    points = int(header["points"])
    size = points * stored.itemsize
    count = int(header["written"]) if size else 0
    at_records, at_levels = int(header["records"]), int(header["levels"])
    count = max(0, min(count, (len(memory) - at_records) // RECORD.itemsize))
    if at_records < at_levels:
        count = min(count, (at_levels - at_records) // RECORD.itemsize)
    if count:
        count = max(0, min(count, (len(memory) - at_levels) // size))
    records = np.frombuffer(memory, RECORD, count, at_records if count else 0)
    levels = np.frombuffer(memory, stored, count * points, at_levels if count else 0)
    return _File(memory, header, records, levels.reshape(count, points))


def read(path: Path, version: str, options: ReadOptions) -> Recording:
    """Reads a v.1 file."""
    issues = IssueLog()
    file = _opened(path)
    if file is None:
        issues.add("truncated_header")
        return Recording(common.NAME, version, None, None, (), None, issues.result())
    header, count = file.header, len(file.records)
    text_at = int(header["text"])
    about = common.text_object(bytes(file.memory[text_at : text_at + (1 << 20)]))
    if about is None:
        issues.add("missing_metadata", offset=text_at)
        about = {}
    if count < int(header["written"]):
        issues.add("truncated", declared=int(header["written"]), available=count)
    spectra: tuple[Spectrum, ...] = ()
    if count:
        spectra = (_spectrum(file, about, options),)
    else:
        issues.add("no_spectrum")
    return Recording(
        format=common.NAME,
        format_version=version,
        receiver=common.text(about.get("Node")),
        method=common.text(about.get("TaskName")),
        spectra=spectra,
        gps=_position(file),
        issues=issues.result(),
        time_digits=common.TIME_DIGITS,
        clock_offset_s=options.clock_offset.total_seconds(),
        extra={"estimated_traces": int(header["sized"])},
    )


def traces(path: Path, _version: str, options: ReadOptions) -> Iterator[TraceBlock]:
    """Decodes a v.1 file's traces."""
    file = _opened(path)
    if file is None:
        return
    for part in _parts(file):
        yield TraceBlock(0, _times(file.records[part], options), _levels(file, part))


def _parts(file: _File) -> Iterator[slice]:
    rows = max(1, CHUNK_BYTES // max(file.levels.shape[1] * file.levels.itemsize, 1))
    for begin in range(0, len(file.records), rows):
        yield slice(begin, begin + rows)
        begin_at = int(file.header["levels"]) + begin * file.levels.strides[0]
        forget(file.memory, begin_at, min(begin_at + CHUNK_BYTES, len(file.memory)))


def _levels(file: _File, part: slice) -> NDArray[np.float32]:
    return decoded(file.levels[part], file.records["offset"][part])


def _times(records: NDArray[Any], options: ReadOptions) -> NDArray[np.int64]:
    times = common.times(records)
    return np.where(times == NO_TIME, NO_TIME, times - options.clock_offset_ns)


def _spectrum(file: _File, about: dict[str, Any], options: ReadOptions) -> Spectrum:
    header, points = file.header, file.levels.shape[1]
    statistics = FlowStatistics(points, file.levels.dtype)
    if options.statistics:
        for part in _parts(file):
            statistics.add(file.levels[part], file.records["offset"][part])
    start, stop, rbw = (_whole(header[name]) for name in ("start", "stop", "rbw"))
    first, last = _times(file.records[[0, -1]], options).tolist()
    number = common.number(about.get("ThreadID"))
    fixed = int(header["att_mode"]) != 1 and int(header["att"]) >= 0
    integration = common.number(about.get("IntegrationFactor"))
    return Spectrum(
        id=None if number is None else int(number),
        description=common.text(about.get("Description")),
        start_hz=start,
        stop_hz=stop,
        points=points,
        n_traces=len(file.records),
        first_ts=None if first == NO_TIME else first,
        last_ts=None if last == NO_TIME else last,
        step_hz=common.step(start, stop, points),
        rbw_hz=float(rbw) if rbw else None,
        unit=common.UNITS.get(int(header["unit"])),
        processing=common.TRACE_MODES.get(int(header["mode"])),
        detector=common.DETECTORS.get(int(header["detector"])),
        antenna=common.antenna(about.get("Antenna")),
        attenuation_db=float(header["att"]) if fixed else None,
        statistics=statistics.result(),
        first_trace=statistics.first_trace,
        last_trace=statistics.last_trace,
        extra={"bits_per_point": int(header["bits"]), "integration": integration},
    )


def _whole(value: Any) -> int | None:
    """A frequency as whole Hz; nonsense is `None`."""
    hz = float(value)
    return round(hz) if 0 < hz < 1e13 else None


def _position(file: _File) -> Position | None:
    """The header's position if manual, else the median of the valid fixes, else the header's."""
    header = file.header
    stated = common.fixed_position(round(float(header["lat"]), 6), round(float(header["lon"]), 6))
    if int(header["gps_kind"]) == 0:
        return stated
    fixes = FixLog()
    valid = file.records[file.records["status"] == 1]
    fixes.add(valid["lat"], valid["lon"])
    found = fixes.position()
    if found is None:
        return stated if int(header["gps_status"]) == 1 else None
    return dataclasses.replace(found, lat=round(found.lat, 6), lon=round(found.lon, 6))
