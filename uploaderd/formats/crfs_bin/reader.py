"""A CRFS file's recording and traces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from uploaderd.formats.crfs_bin.blocks import FILE_HEADER, Bytes, walk
from uploaderd.formats.crfs_bin.layout import PROCESSING, UNITS, Coding, hertz
from uploaderd.formats.crfs_bin.levels import codes, zero
from uploaderd.formats.crfs_bin.texts import Station
from uploaderd.formats.crfs_bin.traces import Group, groups
from uploaderd.formats.files import mapped
from uploaderd.formats.issues import IssueLog
from uploaderd.formats.model import NO_TIME, ReadOptions, Recording, Spectrum, TraceBlock
from uploaderd.formats.statistics import MAX_FLOWS as MAX_STATISTICS
from uploaderd.formats.statistics import CodeStatistics

NAME = "crfs_bin"
MAX_FLOWS = 4096
"""Flows that are kept apart; a station has some tens."""


class _Flow:
    """One flow while the file is walked."""

    def __init__(self, group: Group, ordinal: int) -> None:
        self.group = self._last = group.alone(0)
        self.count = 0
        self.ordinal = ordinal
        self.statistics: CodeStatistics | None = None

    def add(self, group: Group) -> None:
        self.count += group.count
        self._last = group.alone(-1)

    def span(self) -> list[int | None]:
        """Times of the first and of the last trace, ns since 1970."""
        times = [int(group.times([0])[0]) for group in (self.group, self._last)]
        return [None if time == NO_TIME else time for time in times]

    def add_levels(self, data: Bytes, group: Group) -> None:
        if self.statistics is None:
            self.statistics = CodeStatistics(
                group.points,
                span=256,
                step=0.5,
                zero=zero(group.layout),
                flows=self.ordinal + 1,
            )
        for _, trace, shift in codes(data, group):
            self.statistics.add(trace, shift)


def sniff(head: bytes, _path: Path) -> bool:
    """`CRFS` after the version number."""
    return head[4:8] == b"CRFS"


def read(path: Path, options: ReadOptions) -> Recording:
    """Reads a CRFS file; see `docs/formats/crfs_bin.md`."""
    data, issues = Bytes(mapped(path)), IssueLog()
    if data.size < FILE_HEADER:
        issues.add("truncated_header")
        return Recording(NAME, None, None, None, (), None, issues.result())
    station = Station(data, options.clock_offset_ns)
    flows: dict[bytes, _Flow] = {}
    blocks = 0
    for batch in walk(data.memory, issues):
        blocks += batch.offsets.size
        station.add(batch)
        for group in groups(data, batch, issues, options.clock_offset_ns):
            flow = flows.get(group.key)
            if flow is None:
                if len(flows) == MAX_FLOWS:
                    issues.add("too_many_flows", offset=group.offset)
                    continue
                flow = flows[group.key] = _Flow(group, len(flows))
            flow.add(group)
            if options.statistics and flow.ordinal < MAX_STATISTICS:
                flow.add_levels(data, group)
    if not flows:
        issues.add("no_spectrum")
    if options.statistics and len(flows) > MAX_STATISTICS:
        issues.add("statistics_left_out", flows=len(flows) - MAX_STATISTICS)
    station.note_clock(issues)
    header = data.bytes[:FILE_HEADER].tobytes()
    return Recording(
        format=NAME,
        format_version=header[19:36].split(b"\0")[0].decode("ascii", "replace").strip() or None,
        receiver=station.hostname,
        method=station.method,
        spectra=tuple(_spectrum(flow, station) for flow in _ordered(flows)),
        gps=station.position(),
        issues=issues.result(),
        time_digits=9,
        clock_offset_s=options.clock_offset.total_seconds(),
        extra={
            "version": int.from_bytes(header[:4], "little", signed=True),
            "unit_info": station.unit_info,
            "blocks": blocks,
        },
    )


def traces(path: Path, options: ReadOptions) -> Iterator[TraceBlock]:
    """Decodes a CRFS file's traces; flow indices are those of `read`."""
    data = Bytes(mapped(path))
    flows: dict[bytes, _Flow] = {}
    for group in _all_groups(data, options):
        if group.key not in flows and len(flows) < MAX_FLOWS:
            flows[group.key] = _Flow(group, len(flows))
    index = {flow.group.key: i for i, flow in enumerate(_ordered(flows))}
    for group in _all_groups(data, options):
        if group.key in index:
            for part, stored, shift in codes(data, group):
                levels = stored.astype(np.float32)
                levels += shift[:, None].astype(np.float32)
                levels *= np.float32(0.5)
                levels += np.float32(zero(group.layout))
                yield TraceBlock(index[group.key], group.times(part), levels)


def _all_groups(data: Bytes, options: ReadOptions) -> Iterator[Group]:
    if data.size >= FILE_HEADER:
        for batch in walk(data.memory, IssueLog()):
            yield from groups(data, batch, IssueLog(), options.clock_offset_ns)


def _ordered(flows: dict[bytes, _Flow]) -> list[_Flow]:
    """By thread id, then in order of appearance."""
    return sorted(flows.values(), key=lambda flow: (flow.group.thread, flow.ordinal))


def _spectrum(flow: _Flow, station: Station) -> Spectrum:
    header, layout = flow.group.first, flow.group.layout
    names = layout.fields.names or ()
    number = {name: int(header[name]) for name in names if header[name].ndim == 0}
    start, stop = hertz(layout, header, "start"), hertz(layout, header, "stop")
    points, occupancy = flow.group.points, layout.coding is Coding.OCCUPANCY
    named = station.names.get(flow.group.thread, "")
    statistics = flow.statistics
    first_ts, last_ts = flow.span()
    return Spectrum(
        id=flow.group.thread,
        description=flow.group.description or named,
        start_hz=start,
        stop_hz=stop,
        points=points,
        n_traces=flow.count,
        first_ts=first_ts,
        last_ts=last_ts,
        step_hz=(stop - start) / (points - 1) if points > 1 else None,
        rbw_hz=float(number["rbw"]) if number.get("rbw", 0) > 0 else None,
        unit="%" if occupancy else _member(UNITS, number.get("unit", 0)),
        processing="occupancy" if occupancy else _member(PROCESSING, number.get("proc", -1)),
        antenna=number["antenna"],
        threshold=number.get("threshold"),
        integration_s=number.get("duration"),
        statistics=statistics.result() if statistics else None,
        first_trace=statistics.first_trace if statistics else None,
        last_trace=statistics.last_trace if statistics else None,
        extra={"block_type": flow.group.block_type},
    )


def _member(names: tuple[str, ...], number: int) -> str | None:
    return names[number] if 0 <= number < len(names) else None
