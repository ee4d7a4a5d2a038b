"""The frame of RFlook v.2 files: header, blocks between markers, and their inflated payloads."""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats.issues import IssueLog
from uploaderd.formats.rflook_bin import common
from uploaderd.formats.rflook_bin.inflating import GZIP_WINDOW, Raw, inflated
from uploaderd.formats.rflook_bin.markers import BEGIN, END, marks

GZIP: Final = b"\x1f\x8b\x08"
PREFIX: Final = 22
"""Bytes before the JSON header."""
SERIALISED: Final = 64
"""Bytes before the payload of a serialised MATLAB array (v.2/1 and v.2/2)."""
MAX_JSON: Final = 1 << 20
MAX_POINTS: Final = 1 << 20
ROWS: Final = 1024
"""Traces decoded at once."""


class File:
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
        self.marker_counts = {BEGIN.decode(): 0, END.decode(): 0}
        """How often the markers occur anywhere, by chance in compressed bytes, too."""

    def count(self, lengths: NDArray[np.int64]) -> None:
        """Counts markers by their lengths; a beginning that follows an end at once is with it."""
        self.marker_counts[BEGIN.decode()] += int((lengths != len(END)).sum())
        self.marker_counts[END.decode()] += int((lengths != len(BEGIN)).sum())

    def heads(self, starts: NDArray[np.int64]) -> NDArray[Any]:
        """Block headers at offsets; structured [n]."""
        rows = self.bytes[starts[:, None] + np.arange(self.head.itemsize)]
        headers: NDArray[Any] = rows.view(self.head)[:, 0]
        return headers

    @property
    def payload_size(self) -> int:
        """Bytes of a trace's levels and bearings."""
        return self.points * (self.stored.itemsize + 4 * self.bearings)

    def payloads(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Iterator[Raw | None]:
        """Each block's inflated bytes, no more than a trace takes; `None` if they are damaged."""
        wanted = self.skipped + self.payload_size
        most, memory = wanted + SERIALISED, self.memory
        streams = (starts + self.head.itemsize).tolist()
        for start, end in zip(streams, ends.tolist(), strict=True):
            raw = inflated(memory[start:end], most)
            yield raw if raw is not None and len(raw) >= wanted else None


def opened(memory: mmap.mmap, version: str) -> File | None:
    """The file with its header understood; `None` if the header is cut off or no JSON object."""
    if len(memory) < PREFIX:
        return None
    length = int.from_bytes(memory[18:22], "little")
    if length > min(MAX_JSON, len(memory) - PREFIX):
        return None
    about = common.text_object(memory[PREFIX : PREFIX + length])
    return None if about is None else File(memory, version, about, PREFIX + length)


def blocks(file: File, issues: IssueLog) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Where blocks begin (at `StArT`) and end (at `StOp`), in chunks; only whole blocks.

    When all are given, `file.marker_counts` is complete.
    """
    memory = file.memory
    first = start = memory.find(BEGIN, file.begin)
    if start < 0:
        first = start = len(memory)
    if start != file.begin:
        issues.add("gap", offset=file.begin, skipped=start - file.begin)
    strays = np.zeros(0, np.int64)
    for at, lengths in marks(file.bytes):
        file.count(lengths)
        ends = at[(lengths == len(END + BEGIN)) & (at > first)]
        # Those of a block that ends in the next chunk are kept for it.
        strays = np.append(strays[strays >= start], at[lengths == len(END)])
        starts = np.append(start, ends + len(END))
        start = int(starts[-1])
        yield from _sound(file, starts[:-1], ends, strays, issues)
    if start < len(memory):
        end = _last_end(file, start, issues)
        yield from _sound(file, np.array([start]), np.array([end]), strays, issues)


def _sound(
    file: File,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    strays: NDArray[np.int64],
    issues: IssueLog,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Those of the blocks that hold gzip streams, if any."""
    sound = _are_gzip(file, starts, ends)
    for at in starts[~sound & (ends > starts)].tolist():
        issues.add("bad_block", offset=at)
    if sound.any():
        yield _split_at_gaps(file, starts[sound], ends[sound], strays, issues)


def _are_gzip(file: File, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which blocks have room for their header, and the signature of gzip after it."""
    at = starts + file.head.itemsize
    fits: NDArray[np.bool_] = at + len(GZIP) <= ends
    for i, value in enumerate(GZIP):
        fits &= file.bytes[np.minimum(at + i, file.bytes.size - 1)] == value
    return fits


def _split_at_gaps(
    file: File,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    strays: NDArray[np.int64],
    issues: IssueLog,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same blocks, with those cut in two that hold more than one stream.

    What lies between two blocks keeps their markers apart, so they look like one. A `StOp` inside
    gives that away; `strays` are all of those, most of which are compressed bytes by chance.
    """
    inside = np.searchsorted(starts, strays, side="right") - 1
    inside = inside[(inside >= 0) & (strays < ends[inside])]
    if not inside.size:
        return starts, ends
    pairs: list[tuple[int, int]] = []
    chosen = set(inside.tolist())
    for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        pairs += _blocks_within(file, start, end, issues) if number in chosen else [(start, end)]
    split = np.array(pairs, np.int64)
    return split[:, 0], split[:, 1]


def _blocks_within(file: File, start: int, end: int, issues: IssueLog) -> Iterator[tuple[int, int]]:
    """The blocks of what looks like one, and the gaps between them."""
    while start >= 0:
        stop = _end_of_stream(file, start + file.head.itemsize, end)
        if stop == end or file.memory[stop : stop + len(END)] != END:
            yield start, end
            return
        yield start, stop
        gap = stop + len(END)
        start = file.memory.find(BEGIN, gap, end)
        # Without another beginning, the end marker ends nothing, and is skipped, too.
        issues.add("gap", offset=gap, skipped=(start if start >= 0 else end + len(END)) - gap)


def _end_of_stream(file: File, begin: int, end: int) -> int:
    """Where the gzip stream that begins there ends; `end` if it does not, or is damaged."""
    most = file.skipped + file.payload_size + SERIALISED
    # Of what does not shrink, deflate makes hardly more than it was.
    window = file.memory[begin : min(end, begin + most + (most >> 8) + 1024)]
    inflater = zlib.decompressobj(GZIP_WINDOW)
    try:
        inflater.decompress(window, most)
    except zlib.error:
        return end
    return begin + len(window) - len(inflater.unused_data) if inflater.eof else end


def _last_end(file: File, start: int, issues: IssueLog) -> int:
    """Where the last block ends; `start` if it is cut off."""
    memory = file.memory
    size = len(memory)
    if memory[max(size - len(END), start) :] == END:
        return size - len(END)
    inflater = zlib.decompressobj(GZIP_WINDOW)
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


def stored_levels(
    file: File, starts: NDArray[np.int64], ends: NDArray[np.int64], issues: IssueLog
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any], NDArray[np.uint16] | None]]:
    """Blocks inflated: indices, levels as stored [k, points], bearings [k, 2·points] if any."""
    size = file.payload_size
    for begin in range(0, len(starts), ROWS):
        chosen = slice(begin, begin + ROWS)
        payloads = list(file.payloads(starts[chosen], ends[chosen]))
        whole = [payload for payload in payloads if payload is not None]
        at = np.arange(begin, begin + len(payloads))
        if len(whole) < len(payloads):
            sound = np.array([payload is not None for payload in payloads])
            for damaged in at[~sound].tolist():
                issues.add("bad_block", offset=int(starts[damaged]))
            at = at[sound]
        if not whole:
            continue
        rows = _rows(whole, file.skipped, size)
        width = file.points * file.stored.itemsize
        levels = np.ascontiguousarray(rows[:, :width]).view(file.stored)
        bearings = np.ascontiguousarray(rows[:, width:]).view("<u2") if file.bearings else None
        yield at, levels, bearings


def _rows(payloads: Sequence[Raw], skipped: int, size: int) -> NDArray[np.uint8]:
    """`size` bytes of each payload after `skipped` ones: uint8 [n, size]."""
    length = len(payloads[0])
    if set(map(len, payloads)) != {length}:
        payloads, length = [payload[: skipped + size] for payload in payloads], skipped + size
    rows = np.frombuffer(b"".join(payloads), np.uint8).reshape(len(payloads), length)
    return rows[:, skipped : skipped + size]
