"""From a recording to the catalog's rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from uploaderd.catalog.ids import spectrum_id
from uploaderd.catalog.rows import EPOCH, SpectrumRow
from uploaderd.formats.model import LevelStatistics, Recording, Spectrum

NO_LEVEL = -32768
"""In a profile: no level was measured in this bin."""


def rows_of(
    recording: Recording,
    file_id: str,
    sha256: str,
    *,
    host_id: int,
    host_uid: str,
    site_id: str = "",
) -> list[SpectrumRow]:
    """One row a flow of the recording.

    A flow is identified by its place among the file's flows, which the content alone decides.
    What the file does not say becomes NaN, zero or an empty text; an unknown time becomes 1970.
    """
    return [
        replace(
            _row(flow, recording, host_id, host_uid or recording.receiver or ""),
            spectrum_id=spectrum_id(sha256, number),
            file_id=file_id,
            sha256=sha256,
            site_id=site_id,
        )
        for number, flow in enumerate(recording.spectra)
    ]


def _row(flow: Spectrum, recording: Recording, host_id: int, station: str) -> SpectrumRow:
    gps = recording.gps
    row = SpectrumRow(
        spectrum_id="",
        file_id="",
        sha256="",
        host_id=host_id,
        station=station,
        flow=flow.id or 0,
        freq_start=flow.start_hz or 0,
        freq_stop=flow.stop_hz or 0,
        time_start=moment(flow.first_ts),
        time_stop=moment(flow.last_ts),
        traces=flow.n_traces or 0,
        points=flow.points or 0,
        rbw=_number(flow.rbw_hz),
        unit=flow.unit or "",
        detector=flow.detector or "",
        trace_type=flow.processing or "",
        antenna="" if flow.antenna is None else str(flow.antenna),
        procedure=recording.method or "",
        description=flow.description or "",
        format=recording.format,
        latitude=gps.lat if gps else math.nan,
        longitude=gps.lon if gps else math.nan,
        altitude=_number(gps.alt_m) if gps else math.nan,
        revisit_s=_revisit(flow),
    )
    return _with_levels(row, flow.statistics) if flow.statistics else row


def _with_levels(row: SpectrumRow, levels: LevelStatistics) -> SpectrumRow:
    return replace(
        row,
        level_min=levels.min,
        level_mean=levels.mean,
        level_max=levels.max,
        level_p10=levels.p10,
        level_p50=levels.p50,
        level_p90=levels.p90,
        profile_min=tenths(levels.profile.min),
        profile_mean=tenths(levels.profile.mean),
        profile_max=tenths(levels.profile.max),
        profile_p10=tenths(levels.profile.p10),
        profile_p50=tenths(levels.profile.p50),
        profile_p90=tenths(levels.profile.p90),
    )


def tenths(levels: Sequence[float]) -> list[int]:
    """Levels in dB as whole tenths; `NO_LEVEL` for what is not finite."""
    return [
        max(-32767, min(32767, round(10 * level))) if math.isfinite(level) else NO_LEVEL
        for level in levels
    ]


def moment(nanoseconds: int | None) -> datetime:
    """A time in UTC, to the microsecond; 1970 for an unknown one."""
    return EPOCH + timedelta(microseconds=(nanoseconds or 0) // 1000)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _revisit(flow: Spectrum) -> float:
    """Mean time between two traces."""
    if flow.first_ts is None or flow.last_ts is None or (flow.n_traces or 0) < 2:
        return math.nan
    return (flow.last_ts - flow.first_ts) / 1e9 / ((flow.n_traces or 0) - 1)
