"""CellPlan / CellWireless `.dBm`: recordings of CellSpectrum stations, raw, CelZip or in a zip.

The format is described in docs/formats/cellplan_dbm.md.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats.cellplan_dbm import archive, celzip, records
from uploaderd.formats.errors import DAMAGED, FormatError
from uploaderd.formats.fill import with_statistics
from uploaderd.formats.issues import IssueLog
from uploaderd.formats.model import ReadOptions, Recording, Spectrum, TraceBlock
from uploaderd.formats.positions import FixLog
from uploaderd.formats.registry import Format
from uploaderd.formats.spill import Budget, Bytes, mapped_bytes, spill

ZIP_MAGIC = b"PK\x03\x04"
BLOCK = 1 << 20
"""Levels that are decoded at once."""
PROCESSING = {"Spec": "ClearWrite", "Peak": "MaxHold", "Mean": "Average"}

_NAME = re.compile(
    r"(?P<station>CWSM\d+)_E(?P<scan>\d{1,6})_A(?P<operation>\d{1,6})_(?P<kind>Spec|Peak|Mean)"
    r" Frq=(?P<centre>\d{1,6}(?:\.\d*)?) Span=(?P<span>\d{1,6}(?:\.\d*)?)",
    re.ASCII,
)


@dataclass(frozen=True)
class _Name:
    """What only the file's name says."""

    station: str | None = None
    scan: int | None = None
    operation: int | None = None
    processing: str | None = None
    band_hz: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Source:
    """One file, on disk or in an archive, with its sound records."""

    name: _Name
    compressed: bool
    content: records.Records


@dataclass(frozen=True)
class _Flow:
    """Records of one centre frequency, RBW and number of points."""

    source: _Source
    rows: NDArray[np.intp]
    centre_hz: float
    rbw_hz: float
    points: int


def sniff(head: bytes, path: Path) -> bool:
    """Raw buffer, CelZip, or a zip whose first members are `.dBm`."""
    del path
    if head.startswith(ZIP_MAGIC):
        return b".dbm" in head[:4096].lower()
    return head.startswith((records.SIGNATURE, celzip.MAGIC))


def read(path: Path, options: ReadOptions) -> Recording:
    """The recording; flows in the order in which their first records come."""
    log, fixes = IssueLog(), FixLog()
    sources = list(_sources(path, log, fixes))
    flows = [flow for source in sources for flow in _flows(source)]
    spectra = tuple(_spectrum(flow, options.clock_offset_ns) for flow in flows)
    if options.statistics:
        spectra = with_statistics(spectra, _blocks(flows, options.clock_offset_ns))
    first = sources[0] if sources else None
    name = first.name if first else _name(path.name)
    low, high = name.band_hz or (None, None)
    return Recording(
        format=FORMAT.name,
        format_version=first.content.signature if first else None,
        receiver=name.station,
        method=None,
        spectra=spectra,
        gps=fixes.position(),
        issues=log.result(),
        time_digits=3,
        clock_offset_s=options.clock_offset.total_seconds(),
        extra={
            "compressed": first.compressed if first else None,
            "nominal_start_hz": low,
            "nominal_stop_hz": high,
            "firmware": first.content.firmware if first else None,
            "firmware_date": first.content.firmware_date if first else None,
        },
    )


def traces(path: Path, options: ReadOptions) -> Iterator[TraceBlock]:
    """Decoded traces, flow after flow."""
    flows = [flow for source in _sources(path, IssueLog(), FixLog()) for flow in _flows(source)]
    return _blocks(flows, options.clock_offset_ns)


def _sources(path: Path, log: IssueLog, fixes: FixLog) -> Iterator[_Source]:
    data = mapped_bytes(path)
    budget = Budget(data.size)
    if data[: len(ZIP_MAGIC)].tobytes() != ZIP_MAGIC:
        source = _source(path.name, data, log, fixes, budget)
        if source:
            yield source
        return
    found = False
    with closing(archive.members(path, log, budget)) as members:
        for name, content in members:
            found = True
            source = _source(name, content, log, fixes, budget, member=name)
            if source:
                yield source
    if not found:
        log.add("no_spectrum")


def _source(
    name: str, data: Bytes, log: IssueLog, fixes: FixLog, budget: Budget, **where: str
) -> _Source | None:
    header = celzip.read_header(data[: celzip.HEADER_SIZE].tobytes())
    if header:
        data = _unpack(data, header, log, budget, **where)
    elif data[: len(celzip.MAGIC)].tobytes() == celzip.MAGIC:
        log.add("truncated_header", **where)
        return None
    if data[: len(records.SIGNATURE)].tobytes() != records.SIGNATURE:
        if where:
            log.add("bad_member", **where, reason="no raw buffer inside")
            return None
        raise FormatError(DAMAGED, "There is no sound raw buffer inside.")
    try:
        content = records.parse(data, log, fixes, **where)
    except FormatError as error:
        if not where:
            raise
        log.add("bad_member", **where, reason=error.sentence)
        return None
    return _Source(_name(name), header is not None, content) if content else None


def _unpack(
    data: Bytes, header: celzip.Header, log: IssueLog, budget: Budget, **where: str
) -> Bytes:
    count = (data.size - celzip.HEADER_SIZE) // 2
    codes = np.frombuffer(data, "<u2", count=count, offset=celzip.HEADER_SIZE)
    complete = celzip.is_complete(codes)
    inner = spill(celzip.decode(codes), budget)
    if inner.size != header.original_size:
        kind = "celzip_damaged" if complete else "celzip_truncated"
        log.add(kind, **where, got=inner.size, declared=header.original_size)
    elif complete and data.size > header.packed_size:
        log.add("trailing_bytes", **where, bytes=data.size - header.packed_size)
    return inner


def _name(name: str) -> _Name:
    match = _NAME.search(name)
    if not match:
        return _Name()
    centre, span = float(match["centre"]) * 1e6, float(match["span"]) * 1e6
    return _Name(
        station=match["station"],
        scan=int(match["scan"]),
        operation=int(match["operation"]),
        processing=PROCESSING[match["kind"]],
        band_hz=(round(centre - span / 2), round(centre + span / 2)),
    )


def _flows(source: _Source) -> list[_Flow]:
    content = source.content
    order = np.argsort(content.flow, kind="stable")
    ends = np.cumsum(np.bincount(content.flow + 1))
    return [
        _Flow(source, order[begin:end], float(centre), float(rbw), int(points))
        for (begin, end), (centre, rbw, points) in zip(
            itertools.pairwise(ends.tolist()), content.keys, strict=True
        )
    ]


def _spectrum(flow: _Flow, offset_ns: int) -> Spectrum:
    name = flow.source.name
    times = flow.source.content.times[flow.rows]
    half = flow.points / 2
    return Spectrum(
        id=1 if name.scan is None else int(f"{name.scan}{name.operation}"),
        description=None,
        start_hz=round(flow.centre_hz - flow.rbw_hz * half),
        stop_hz=round(flow.centre_hz + flow.rbw_hz * (half - 1)),
        points=flow.points,
        n_traces=flow.rows.size,
        first_ts=int(times[0]) - offset_ns,
        last_ts=int(times[-1]) - offset_ns,
        step_hz=flow.rbw_hz,
        rbw_hz=flow.rbw_hz,
        unit="dBm",
        processing=name.processing,
        extra={"scan": name.scan, "operation": name.operation, "center_hz": flow.centre_hz},
    )


def _blocks(flows: list[_Flow], offset_ns: int) -> Iterator[TraceBlock]:
    for index, flow in enumerate(flows):
        at_once = max(1, BLOCK // flow.points)
        for begin in range(0, flow.rows.size, at_once):
            rows = flow.rows[begin : begin + at_once]
            times = flow.source.content.times[rows] - offset_ns
            yield TraceBlock(index, times, flow.source.content.levels(rows, flow.points))
            flow.source.content.forget(rows)


FORMAT = Format(
    name="cellplan_dbm",
    title="CellPlan dBm",
    extensions=(".dbm", ".zip"),
    sniff=sniff,
    read=read,
    traces=traces,
)
