"""RFlookBin v.2: a JSON header, then one block a trace, its levels compressed with gzip.

Blocks are found by the joint `StOpStArT` between them, without inflating; compressed bytes may hold
`StOp` or `StArT` by chance, but not the joint.
"""

from __future__ import annotations

import dataclasses
import itertools
import mmap
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

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
from uploaderd.formats.rflook_bin import common
from uploaderd.formats.rflook_bin.levels import FlowStatistics, decoded
from uploaderd.formats.statistics import summary

BEGIN: Final = b"StArT"
END: Final = b"StOp"
JOINT: Final = re.compile(END + BEGIN)
GZIP: Final = b"\x1f\x8b\x08"
PREFIX: Final = 22
"""Bytes before the JSON header."""
SERIALISED: Final = 64
"""Bytes before the payload of a serialised MATLAB array (v.2/1 and v.2/2)."""
MAX_JSON: Final = 1 << 20
MAX_POINTS: Final = 1 << 20
CHUNK: Final = 4096
"""Blocks handled at once."""
ROWS: Final = 512
"""Traces decoded at once."""


class _File:
    """A mapped file with its header understood."""

    def __init__(self, memory: mmap.mmap, version: str, about: dict[str, Any], begin: int) -> None:
        self.memory, self.version, self.about, self.begin = memory, version, about, begin
        self.bytes: NDArray[np.uint8] = np.frombuffer(memory, np.uint8)
        self.bits, attenuation, self.gps_kind = memory[15], memory[16], memory[17]
        points = common.number(about.get("DataPoints")) or 0
        self.points = int(points) if 0 < points <= MAX_POINTS else 0
        self.stored = np.dtype({8: "u1", 16: "<i2", 32: "<f4"}.get(self.bits, "u1"))
        self.bearings = version in {"v.2/2", "v.2/4"}
        self.skipped = SERIALISED if version in {"v.2/1", "v.2/2"} else 0
        fields: list[Any] = [("begin", "S5"), ("date", "u1", 6), ("ms", "<u2")]
        if self.gps_kind:
            fields += [("status", "u1"), ("lat", "<f4"), ("lon", "<f4")]
        if attenuation:
            fields += [("att", "u1")]
        if self.bits == 8:
            fields += [("offset", "<i2")]
        self.head = np.dtype(fields)

    def heads(self, starts: NDArray[np.int64]) -> NDArray[Any]:
        """Block headers at offsets; structured [n]."""
        rows = self.bytes[starts[:, None] + np.arange(self.head.itemsize)]
        headers: NDArray[Any] = rows.view(self.head)[:, 0]
        return headers

    @property
    def payload_size(self) -> int:
        """Bytes of a trace's levels and bearings."""
        return self.points * (self.stored.itemsize + 4 * self.bearings)

    def payload(self, start: int, end: int) -> bytes | None:
        """A block's inflated bytes, no more than a trace takes; `None` if they are damaged."""
        wanted = self.skipped + self.payload_size
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            raw = inflater.decompress(
                self.memory[start + self.head.itemsize : end], wanted + SERIALISED
            )
        except zlib.error:
            return None
        return raw if inflater.eof and len(raw) >= wanted else None


def read(path: Path, version: str, options: ReadOptions) -> Recording:
    """Reads a v.2 file. Damaged gzip streams are found only if statistics are asked for;
    `extra["streams_verified"]` says whether.
    """
    memory, issues = mapped(path), IssueLog()
    file = _opened(memory, version)
    if file is None:
        issues.add("truncated_header")
        return Recording(common.NAME, version, None, None, (), None, issues.result())
    flow = _Flow(file, options)
    for starts, ends in _blocks(file, issues):
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
            "marker_counts": _marker_counts(memory),
            "streams_verified": options.statistics and file.points > 0,
        },
    )


def traces(path: Path, version: str, options: ReadOptions) -> Iterator[TraceBlock]:
    """Decodes a v.2 file's traces; damaged blocks are left out."""
    memory = mapped(path)
    file = _opened(memory, version)
    if file is None or not file.points:
        return
    for starts, ends in _blocks(file, IssueLog()):
        heads = file.heads(starts)
        times = _times(heads, options)
        for at, stored, _ in _stored(file, starts, ends, IssueLog()):
            yield TraceBlock(0, times[at], decoded(stored, _offsets(heads)[at]))
        forget(memory, int(starts[0]), int(ends[-1]))


def _opened(memory: mmap.mmap, version: str) -> _File | None:
    if len(memory) < PREFIX:
        return None
    length = int.from_bytes(memory[18:22], "little")
    if length > min(MAX_JSON, len(memory) - PREFIX):
        return None
    about = common.text_object(memory[PREFIX : PREFIX + length])
    return None if about is None else _File(memory, version, about, PREFIX + length)


def _blocks(file: _File, issues: IssueLog) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Where blocks begin (at `StArT`) and end (at `StOp`), in chunks; only whole blocks."""
    memory = file.memory
    start = memory.find(BEGIN, file.begin)
    if start < 0:
        start = len(memory)
    if start != file.begin:
        issues.add("gap", offset=file.begin, skipped=start - file.begin)
    joints = (joint.start() for joint in JOINT.finditer(memory, start + len(BEGIN)))
    while start < len(memory):
        ends = np.fromiter(itertools.islice(joints, CHUNK), np.int64)
        starts = np.append(start, ends + len(END))
        if ends.size < CHUNK:
            ends = np.append(ends, _last_end(file, int(starts[-1]), issues))
            start = len(memory)
        else:
            start, starts = int(starts[-1]), starts[:-1]
        sound = _are_gzip(file, starts, ends)
        for at in starts[~sound & (ends > starts)].tolist():
            issues.add("bad_block", offset=at)
        if sound.any():
            yield starts[sound], ends[sound]


def _are_gzip(file: _File, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which blocks have room for their header, and the signature of gzip after it."""
    at = starts + file.head.itemsize
    fits: NDArray[np.bool_] = at + len(GZIP) <= ends
    for i, value in enumerate(GZIP):
        fits &= file.bytes[np.minimum(at + i, file.bytes.size - 1)] == value
    return fits


def _last_end(file: _File, start: int, issues: IssueLog) -> int:
    """Where the last block ends; `start` if it is cut off."""
    memory = file.memory
    size = len(memory)
    if memory[max(size - len(END), start) :] == END:
        return size - len(END)
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    position = start + file.head.itemsize
    try:
        while position < size and not inflater.eof:
            chunk = memory[position : position + (1 << 16)]
            position += len(chunk)
            inflater.decompress(chunk, 1 << 24)
            if inflater.unconsumed_tail:
                break
    except zlib.error:
        position = size
    end = position - len(inflater.unused_data)
    if inflater.eof and memory[end : end + len(END)] == END:
        tail = end + len(END)
        issues.add("trailing_bytes", offset=tail, skipped=size - tail)
        return end
    issues.add("truncated_block", offset=start, bytes=size - start)
    return start


def _stored(
    file: _File, starts: NDArray[np.int64], ends: NDArray[np.int64], issues: IssueLog
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any], NDArray[np.uint16] | None]]:
    """Blocks inflated: indices, levels as stored [k, points], bearings [k, 2·points] if any."""
    size = file.payload_size
    for begin in range(0, len(starts), ROWS):
        chosen = slice(begin, begin + ROWS)
        payloads = map(file.payload, starts[chosen].tolist(), ends[chosen].tolist())
        whole = {at: payload for at, payload in enumerate(payloads, begin) if payload is not None}
        for at in range(begin, min(begin + ROWS, len(starts))):
            if at not in whole:
                issues.add("bad_block", offset=int(starts[at]))
        if not whole:
            continue
        rows = _rows(list(whole.values()), file.skipped, size)
        width = file.points * file.stored.itemsize
        levels = np.ascontiguousarray(rows[:, :width]).view(file.stored)
        bearings = np.ascontiguousarray(rows[:, width:]).view("<u2") if file.bearings else None
        yield np.array(list(whole)), levels, bearings


def _rows(payloads: list[bytes], skipped: int, size: int) -> NDArray[np.uint8]:
    """`size` bytes of each payload after `skipped` ones: uint8 [n, size]."""
    length = len(payloads[0])
    if any(len(payload) != length for payload in payloads):
        payloads, length = [payload[: skipped + size] for payload in payloads], skipped + size
    rows = np.frombuffer(b"".join(payloads), np.uint8).reshape(len(payloads), length)
    return rows[:, skipped : skipped + size]


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

    def __init__(self, file: _File, options: ReadOptions) -> None:
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
            for at, stored, bearings in _stored(file, starts, ends, issues):
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


def _marker_counts(memory: mmap.mmap) -> dict[str, int]:
    """How often the markers occur anywhere, by chance in compressed bytes, too."""
    counts, size, window = {}, len(memory), 1 << 20
    for marker in (BEGIN, END):
        find = re.compile(marker).findall
        counts[marker.decode()] = sum(
            len(find(memory, begin, min(begin + window + len(marker) - 1, size)))
            for begin in range(0, size, window)
        )
    return counts
