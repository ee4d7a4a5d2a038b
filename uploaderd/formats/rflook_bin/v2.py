"""RFlookBin v.2: a JSON header, then one block a trace, its levels compressed with gzip.

Blocks are found by the joint `StOpStArT` between them, without inflating; compressed bytes may hold
`StOp` or `StArT` by chance, but not the joint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats.files import forget, mapped
from uploaderd.formats.issues import IssueLog
from uploaderd.formats.model import (
    NO_TIME,
    Position,
    ReadOptions,
    Recording,
    Spectrum,
    TraceBlock,
    TraceSummary,
)
from uploaderd.formats.positions import FixLog
from uploaderd.formats.rflook_bin import common, frames
from uploaderd.formats.rflook_bin.levels import FlowStatistics, decoded
from uploaderd.formats.statistics import summary


def read(path: Path, version: str, options: ReadOptions) -> Recording:
    """Reads a v.2 file. Damaged gzip streams are found only if statistics are asked for;
    `extra["streams_verified"]` says whether.
    """
    memory, issues = mapped(path), IssueLog()
    file = frames.opened(memory, version)
    if file is None:
        issues.add("truncated_header")
        return Recording(common.NAME, version, None, None, (), None, issues.result())
    flow = _Flow(file, options)
    for starts, ends in frames.blocks(file, issues):
        flow.add(starts, ends, issues)
        forget(memory, int(starts[0]), int(ends[-1]))
    if not flow.count:
        issues.add("no_spectrum")
    about = file.about
    return Recording(
        format=common.NAME,
        format_version=version,
        receiver=common.text(about.get("Receiver")),
        method=common.text(about.get("Task")),
        spectra=(flow.spectrum(),) if flow.count else (),
        gps=flow.position(),
        issues=issues.result(),
        time_digits=common.TIME_DIGITS,
        clock_offset_s=options.clock_offset.total_seconds(),
        extra={
            "marker_counts": file.marker_counts,
            "streams_verified": options.statistics and file.points > 0,
        },
    )


def traces(path: Path, version: str, options: ReadOptions) -> Iterator[TraceBlock]:
    """Decodes a v.2 file's traces; damaged blocks are left out."""
    memory = mapped(path)
    file = frames.opened(memory, version)
    if file is None or not file.points:
        return
    for starts, ends in frames.blocks(file, IssueLog()):
        heads = file.heads(starts)
        times = _times(heads, options)
        for at, stored, _ in frames.stored_levels(file, starts, ends, IssueLog()):
            yield TraceBlock(0, times[at], decoded(stored, _offsets(heads)[at]))
        forget(memory, int(starts[0]), int(ends[-1]))


def _offsets(heads: NDArray[Any]) -> NDArray[Any]:
    if "offset" in (heads.dtype.names or ()):
        offsets: NDArray[Any] = heads["offset"]
        return offsets
    return np.zeros(len(heads), np.int16)


def _times(heads: NDArray[Any], options: ReadOptions) -> NDArray[np.int64]:
    times = common.times(heads)
    return np.where(times == NO_TIME, NO_TIME, times - options.clock_offset_ns)


class _Flow:
    """The one flow of the file while its blocks are walked."""

    def __init__(self, file: frames.File, options: ReadOptions) -> None:
        self._file, self._options = file, options
        self.count = 0
        self._times: list[int] = []
        self._fixes = FixLog()
        self._attenuations: set[int] = set()
        self._statistics = FlowStatistics(max(file.points, 1), file.stored)
        self._bearings: list[NDArray[np.uint16]] = []

    def add(self, starts: NDArray[np.int64], ends: NDArray[np.int64], issues: IssueLog) -> None:
        file, heads = self._file, self._file.heads(starts)
        if self._options.statistics and file.points:
            whole: list[NDArray[np.int64]] = []
            for at, stored, bearings in frames.stored_levels(file, starts, ends, issues):
                self._statistics.add(stored, _offsets(heads)[at])
                if bearings is not None:
                    self._bearings = [*self._bearings[:1], bearings[0], bearings[-1]]
                whole.append(at)
            heads = heads[np.concatenate(whole)] if whole else heads[:0]
        if not len(heads):
            return
        self.count += len(heads)
        self._times = [*self._times[:1], *_times(heads[[0, -1]], self._options).tolist()]
        if file.gps_kind:
            valid = heads[heads["status"] != 0]
            self._fixes.add(valid["lat"], valid["lon"])
        if "att" in (heads.dtype.names or ()):
            self._attenuations.update(np.unique(heads["att"]).tolist())

    def position(self) -> Position | None:
        about = self._file.about
        if not self._file.gps_kind:
            return common.fixed_position(about.get("Latitude"), about.get("Longitude"))
        found = self._fixes.position()
        if found is None:
            return None
        return dataclasses.replace(found, lat=round(found.lat, 6), lon=round(found.lon, 6))

    def spectrum(self) -> Spectrum:
        about, points = self._file.about, self._file.points
        start, stop = (_whole(about.get(name)) for name in ("FreqStart", "FreqStop"))
        number = common.number(about.get("ID"))
        first, last = (None if t == NO_TIME else t for t in (self._times[0], self._times[-1]))
        return Spectrum(
            id=None if number is None else int(number),
            description=common.text(about.get("Description")),
            start_hz=start,
            stop_hz=stop,
            points=points or None,
            n_traces=self.count,
            first_ts=first,
            last_ts=last,
            step_hz=common.step(start, stop, points),
            rbw_hz=common.hertz(about.get("Resolution")),
            vbw_hz=common.hertz(about.get("VBW")),
            unit=common.unit(about.get("Unit")),
            processing=common.text(about.get("TraceMode")),
            detector=common.text(about.get("Detector")),
            antenna=common.antenna(about.get("AntennaInfo")),
            attenuation_db=self._attenuation(),
            statistics=self._statistics.result(),
            first_trace=self._statistics.first_trace,
            last_trace=self._statistics.last_trace,
            extra=self._extra(),
        )

    def _attenuation(self) -> float | None:
        """The attenuation in dB if it was one known value for all traces."""
        stated = self._file.about.get("AttFactor")
        if isinstance(stated, str) and stated.endswith("dB"):
            value = stated.removesuffix("dB").strip()
            return float(value) if value.isdecimal() and value.isascii() else None
        known = len(self._attenuations) == 1 and 255 not in self._attenuations
        return float(next(iter(self._attenuations))) if known else None

    def _extra(self) -> dict[str, Any]:
        extra: dict[str, Any] = {
            "bits_per_point": self._file.bits,
            "integration": common.number(self._file.about.get("TraceIntegration")),
        }
        if self._bearings:
            points = self._file.points
            for name, part in (
                ("azimuth_deg", slice(0, points)),
                ("azimuth_quality", slice(points, None)),
            ):
                extra[name] = {
                    "first": _summary(self._bearings[0][part]),
                    "last": _summary(self._bearings[-1][part]),
                }
        return extra


def _summary(hundredths: NDArray[np.uint16]) -> dict[str, float] | None:
    found: TraceSummary | None = summary(hundredths / 100)
    return dataclasses.asdict(found) if found else None


def _whole(value: Any) -> int | None:
    """A frequency as whole Hz; nonsense is `None`."""
    hz = common.number(value)
    return round(hz) if hz is not None and 0 < hz < 1e13 else None
