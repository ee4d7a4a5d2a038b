"""What a measurement file says: a `Recording` and its `Spectrum` flows.

Frequencies are in Hz, times in nanoseconds since 1970-01-01T00:00:00 UTC, positions in degrees of
WGS 84 (north and east positive). What a format does not say is `None`, never a made-up default.
Formats record no time zone: times are the recorded wall clock minus `Recording.clock_offset_s`,
which the caller sets for the station (see `ReadOptions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_BINS = 1024
"""Most frequency bins that a `LevelProfile` has; a flow of fewer points has one bin a point."""

NOTICES = frozenset({"clock_offset", "statistics_left_out"})
"""Kinds of issue by which no trace was lost: the outcome stays `ok`."""


@dataclass(frozen=True, slots=True)
class Issue:
    """Something wrong in a file, in spite of which the rest was read.

    Attributes:
        kind: stable code, e.g. `truncated_block`; the pages in `docs/formats` list them.
        where: numbers that locate or measure it, e.g. `{"offset": 34496, "skipped": 500}` (bytes).
    """

    kind: str
    where: Mapping[str, int | str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, int | str]:
        """`kind` and the members of `where` side by side, as `inspect --json` prints them."""
        return {"kind": self.kind, **self.where}


@dataclass(frozen=True, slots=True)
class Position:
    """Where the receiver was.

    Attributes:
        lat: latitude in degrees, north positive; median of the valid fixes.
        lon: longitude in degrees, east positive; median of the valid fixes.
        alt_m: altitude in metres above the datum that the receiver uses; median.
        count: number of valid fixes behind the median; 1 for a fixed position.
        spread_m: largest distance in metres of a fix from the median position.
        source: `records` if fixes were recorded with the traces, `header` if one fixed position is
            stated for the file.
    """

    lat: float
    lon: float
    alt_m: float | None
    count: int
    spread_m: float | None
    source: str


@dataclass(frozen=True, slots=True)
class LevelProfile:
    """Level statistics over time for each frequency bin, in the flow's unit.

    Bin k of n covers the points floor(k·points/n) up to, not including, floor((k+1)·points/n).
    A bin without a single finite level holds NaN. All tuples have n ≤ `MAX_BINS` members.
    """

    min: tuple[float, ...]
    mean: tuple[float, ...]
    max: tuple[float, ...]
    p10: tuple[float, ...]
    p50: tuple[float, ...]
    p90: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LevelStatistics:
    """Level statistics over all points and traces of a flow, in the flow's unit.

    A percentile p is the smallest level that at least p % of the levels do not exceed (no
    interpolation). `mean` is the mean of the values in the flow's unit (for dB a mean of dB).

    Attributes:
        count: number of finite levels.
        percentile_levels: how many of them were counted for the percentiles: all, or of a large
            flow a regular sample of its traces. If traces did not depend on each other, the share
            of levels up to a percentile would be off by less than 1.36/√n in 95 of 100 cases, with
            n the traces counted (Kolmogorov's bound); a slow change of the band makes it less sure.
        percentile_rounding: by how much, in the flow's unit, the percentiles may be rounded; 0 for
            levels that are stored in 8 bits, whose percentiles are stored levels.
        profile: the same for each frequency bin.
    """

    count: int
    percentile_levels: int
    percentile_rounding: float
    min: float
    mean: float
    max: float
    p10: float
    p50: float
    p90: float
    profile: LevelProfile


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """One trace in four numbers, in the flow's unit: a cheap check of a reader."""

    min: float
    median: float
    max: float
    sum: float


@dataclass(frozen=True, slots=True)
class Spectrum:
    """One flow: traces of the same task, band, points and settings in one recording.

    Attributes:
        id: number of the flow in the file (thread or task id); not unique if a task changed its
            band or points. `None` if the file does not say.
        description: what the operator called the task.
        start_hz: frequency of the first point (sweep tools: lower edge of the first bin).
        stop_hz: frequency of the last point (sweep tools: upper edge of the last bin).
        points: levels in a trace.
        n_traces: sound traces in the file.
        first_ts: time of the first trace in file order, ns since 1970 UTC.
        last_ts: time of the last trace in file order, ns since 1970 UTC.
        step_hz: distance of neighbouring points.
        rbw_hz: resolution bandwidth.
        vbw_hz: video bandwidth.
        unit: unit of the levels in ASCII: `dBm`, `dBuV`, `dBuV/m`, `dB`, `%`.
        processing: trace type as the format names it (`peak`, `ClearWrite`, `occupancy`, …).
        detector: detector as the format names it.
        antenna: name of the antenna, or number of the receiver's port.
        attenuation_db: attenuation in dB, where it was one value for the whole flow.
        threshold: level of the occupancy decision or compression, in the unit of the measured
            levels.
        integration_s: duration in s over which one trace was integrated.
        statistics: levels of the whole flow; only if asked for.
        first_trace: summary of the first trace; only if statistics were asked for.
        last_trace: summary of the last trace; only if statistics were asked for.
        extra: what only this format knows; its page in `docs/formats` names keys and units.
    """

    id: int | None
    description: str | None
    start_hz: int | None
    stop_hz: int | None
    points: int | None
    n_traces: int | None
    first_ts: int | None
    last_ts: int | None
    step_hz: float | None = None
    rbw_hz: float | None = None
    vbw_hz: float | None = None
    unit: str | None = None
    processing: str | None = None
    detector: str | None = None
    antenna: str | int | None = None
    attenuation_db: float | None = None
    threshold: float | None = None
    integration_s: float | None = None
    statistics: LevelStatistics | None = None
    first_trace: TraceSummary | None = None
    last_trace: TraceSummary | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recording:
    """What one measurement file holds.

    Attributes:
        format: name of the format, as registered.
        format_version: version that the file states, as it is spelled there.
        receiver: identity of the station or the receiver, as the file spells it.
        method: procedure (script, task list) that made the measurement.
        spectra: the flows; a format's page says in which order.
        gps: where it was measured.
        issues: what was wrong, in the order met.
        time_digits: digits after the second that the format records (9 = nanoseconds).
        clock_offset_s: seconds by which the station's clock was taken to be ahead of UTC; already
            taken off all times.
        extra: what only this format knows; its page in `docs/formats` names keys and units.
    """

    format: str
    format_version: str | None
    receiver: str | None
    method: str | None
    spectra: tuple[Spectrum, ...]
    gps: Position | None
    issues: tuple[Issue, ...]
    time_digits: int = 9
    clock_offset_s: float = 0.0
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        """`ok`; `salvaged` if something was lost; `no_spectrum` if there is not one flow."""
        if not self.spectra:
            return "no_spectrum"
        return "salvaged" if any(i.kind not in NOTICES for i in self.issues) else "ok"

    @property
    def start(self) -> int | None:
        """Time of the earliest trace, ns since 1970 UTC."""
        return min((s.first_ts for s in self.spectra if s.first_ts is not None), default=None)

    @property
    def stop(self) -> int | None:
        """Time of the latest trace, ns since 1970 UTC."""
        return max((s.last_ts for s in self.spectra if s.last_ts is not None), default=None)


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a caller wants of a reader.

    Attributes:
        statistics: decode all levels and fill `Spectrum.statistics`, `first_trace`, `last_trace`.
        clock_offset: how far the station's clock is ahead of UTC; a reader subtracts it from
            every wall-clock time (not from times that the format itself defines as UTC).
        verify: read, too, what is needed only to check a hash: the samples of a SigMF recording.
            (Checksums of CRFS blocks are checked always, streams of RFlook v.2 with statistics.)
    """

    statistics: bool = False
    clock_offset: timedelta = timedelta(0)
    verify: bool = False

    @property
    def clock_offset_ns(self) -> int:
        """The offset in whole nanoseconds."""
        return self.clock_offset // timedelta(microseconds=1) * 1000


class TraceBlock(NamedTuple):
    """Some consecutive traces of one flow, decoded.

    Attributes:
        flow: index into `Recording.spectra` of the same file.
        times: int64 [n], ns since 1970 UTC; `NO_TIME` where the trace has no time of its own.
        levels: float32 [n, points] in the flow's unit; NaN where a point was not measured.
    """

    flow: int
    times: NDArray[np.int64]
    levels: NDArray[np.float32]


NO_TIME = int(np.iinfo(np.int64).min)
"""In `TraceBlock.times`: this trace has no time (NumPy's NaT, if viewed as datetime64[ns])."""
