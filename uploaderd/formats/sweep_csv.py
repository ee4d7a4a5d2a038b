"""Sweep CSV of `rtl_power` and `hackrf_sweep`, plain or gzipped; see docs/formats/sweep_csv.md."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from uploaderd.formats.decimals import floats, row
from uploaderd.formats.fill import with_statistics
from uploaderd.formats.issues import IssueLog
from uploaderd.formats.model import ReadOptions, Recording, Spectrum, TraceBlock
from uploaderd.formats.registry import Format
from uploaderd.formats.spill import Budget
from uploaderd.formats.times import one_civil_to_ns

GZIP_MAGIC = b"\x1f\x8b"
MAX_LINE = 1 << 24
MAX_FLOWS = 64
"""Sets of segments that are told apart; sweeps of any further one count as incomplete."""

_START = re.compile(rb"\d{4}-\d\d-\d\d, ?\d\d:\d\d:\d\d")
_STAMP = re.compile(rb"(\d{4})-(\d\d)-(\d\d),\s*(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?\s*\Z")


class Segment(NamedTuple):
    """The band of one line: edges and bin width in Hz, number of bins."""

    low: float
    high: float
    step: float
    bins: int


class _Line(NamedTuple):
    segment: Segment
    time: int
    digits: int
    values: bytes


@dataclass
class _Flow:
    """All sweeps over the same segments."""

    segments: tuple[Segment, ...]
    sweeps: int
    first: int
    last: int


class _Sweep(NamedTuple):
    time: int
    lines: dict[float, _Line]

    @property
    def segments(self) -> tuple[Segment, ...]:
        return tuple(self.lines[low].segment for low in sorted(self.lines))


def sniff(head: bytes, path: Path) -> bool:
    """The first line that is neither empty nor a comment begins with date and time."""
    del path
    if head.startswith(GZIP_MAGIC):
        try:
            head = zlib.decompressobj(31).decompress(head, 1 << 16)
        except zlib.error:
            return False
    for line in head.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if line.strip() and not line.startswith(b"#"):
            return bool(_START.match(line))
    return False


def read(path: Path, options: ReadOptions) -> Recording:
    """The recording; one spectrum for each set of segments, in the order of their first sweeps."""
    log = IssueLog()
    found, digits, incomplete = _flows(path, log)
    if incomplete:
        log.add("incomplete_sweep", count=incomplete)
    spectra = tuple(_spectrum(flow, options.clock_offset_ns) for flow in found)
    if not spectra:
        log.add("no_spectrum")
    if options.statistics:
        spectra = with_statistics(spectra, _blocks(path, found, options))
    return Recording(
        format=FORMAT.name,
        format_version="hackrf_sweep" if digits else "rtl_power",
        receiver=None,
        method=None,
        spectra=spectra,
        gps=None,
        issues=log.result(),
        time_digits=digits,
        clock_offset_s=options.clock_offset.total_seconds(),
    )


def traces(path: Path, options: ReadOptions) -> Iterator[TraceBlock]:
    """Decoded traces of the complete sweeps, in the order of the file."""
    return _blocks(path, _flows(path, IssueLog())[0], options)


def _blocks(path: Path, found: list[_Flow], options: ReadOptions) -> Iterator[TraceBlock]:
    index_of = {flow.segments: index for index, flow in enumerate(found)}
    for sweep in _sweeps(_good_lines(path, IssueLog())):
        flow = index_of.get(sweep.segments)
        if flow is None:
            continue
        levels = np.concatenate([_levels(sweep.lines[low]) for low in sorted(sweep.lines)])
        time = np.array([sweep.time - options.clock_offset_ns], np.int64)
        yield TraceBlock(flow, time, levels[None, :])


def _levels(line: _Line) -> np.typing.NDArray[np.float32]:
    # rtl_power writes its last bin twice.
    return row(line.values)[: line.segment.bins].astype(np.float32)


def _flows(path: Path, log: IssueLog) -> tuple[list[_Flow], int, int]:
    """The flows, the digits of their times' fractions, and the number of incomplete sweeps."""
    known: dict[tuple[Segment, ...], _Flow] = {}
    digits = incomplete = 0
    for sweep in _sweeps(_good_lines(path, log)):
        digits = max(digits, *(line.digits for line in sweep.lines.values()))
        flow = known.get(sweep.segments)
        if flow:
            flow.sweeps += 1
            flow.last = sweep.time
        elif len(known) < MAX_FLOWS:
            known[sweep.segments] = _Flow(sweep.segments, 1, sweep.time, sweep.time)
        else:
            incomplete += 1
    kept = [flow for flow in known.values() if _is_whole(flow, known.values())]
    incomplete += sum(flow.sweeps for flow in known.values()) - sum(flow.sweeps for flow in kept)
    return kept, digits, incomplete


def _is_whole(flow: _Flow, others: Iterable[_Flow]) -> bool:
    """Whether no other flow shows that this one lacks segments, or mixes two bands.

    Of two flows, one of which has all segments of the other, that with more sweeps is whole: the
    larger one may come from a change of the band, the smaller one from lost lines.
    """
    mine = set(flow.segments)
    for other in others:
        theirs = set(other.segments)
        if mine < theirs and flow.sweeps <= other.sweeps:
            return False
        if mine > theirs and flow.sweeps < other.sweeps:
            return False
    return True


def _sweeps(lines: Iterator[_Line]) -> Iterator[_Sweep]:
    """Groups lines: a sweep ends where its lowest segment, or any of its segments, comes again."""
    held: dict[float, _Line] = {}
    lowest = float("inf")
    for line in lines:
        low = line.segment.low
        if held and (low in held or low <= lowest):
            yield _Sweep(next(iter(held.values())).time, held)
            held = {}
        lowest = min(lowest, low)
        held[low] = line
    if held:
        yield _Sweep(next(iter(held.values())).time, held)


def _good_lines(path: Path, log: IssueLog) -> Iterator[_Line]:
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
        file.seek(0)
        lines = _unzipped(file, path, log) if packed else _raw_lines(file)
        for number, text in enumerate(lines, start=1):
            if not text.strip() or text.startswith(b"#"):
                continue
            line = _line(text)
            if line is None:
                log.add("bad_row", line=number)
            else:
                yield line


def _raw_lines(file: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    while line := file.readline(MAX_LINE):
        yield line


def _unzipped(file: IO[bytes], path: Path, log: IssueLog) -> Iterator[bytes]:
    budget = Budget(path.stat().st_size)
    with gzip.GzipFile(fileobj=file) as unzipped:
        lines = _raw_lines(unzipped)
        while True:
            try:
                line = next(lines, b"")
            except (EOFError, gzip.BadGzipFile, zlib.error):
                log.add("truncated")
                return
            if not line:
                return
            budget.take(len(line))
            yield line


def _line(text: bytes) -> _Line | None:
    parts = text.removeprefix(b"\xef\xbb\xbf").rstrip().split(b",", 6)
    stamp = _STAMP.match(b",".join(parts[:2]))
    if len(parts) < 7 or not stamp:
        return None
    low, high, step = (float(value) for value in floats(parts[2:5]))
    if not (0 <= low < high < 1e13 and 0 < step <= high - low):
        return None
    bins = round((high - low) / step)
    values = parts[6].rstrip(b", ")
    count = values.count(b",") + 1
    last = values.rpartition(b",")[2].strip().lower()
    if count not in (bins, bins + 1) or not _is_number(last):
        return None
    year, month, day, hour, minute, second = (int(part) for part in stamp.groups()[:6])
    fraction = stamp[7] or b""
    ns = int(fraction.ljust(9, b"0"))
    time = one_civil_to_ns((year, month, day), (hour, minute, second), ns)
    if time is None:
        return None
    return _Line(Segment(low, high, step, bins), time, len(fraction), values)


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _spectrum(flow: _Flow, offset_ns: int) -> Spectrum:
    steps = {segment.step for segment in flow.segments}
    step = steps.pop() if len(steps) == 1 else None
    return Spectrum(
        id=1,
        description=None,
        start_hz=round(flow.segments[0].low),
        stop_hz=round(max(segment.high for segment in flow.segments)),
        points=sum(segment.bins for segment in flow.segments),
        n_traces=flow.sweeps,
        first_ts=flow.first - offset_ns,
        last_ts=flow.last - offset_ns,
        step_hz=step,
        rbw_hz=step,
        unit="dB",
        extra={"segments_per_sweep": len(flow.segments)},
    )


FORMAT = Format(
    name="sweep_csv",
    title="rtl_power or hackrf_sweep CSV",
    extensions=(".csv", ".csv.gz"),
    sniff=sniff,
    read=read,
    traces=traces,
)
