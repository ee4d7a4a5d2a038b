"""The frame of CRFS blocks: walking them, verifying them, finding them again after damage.

A block is thread i32, length i32, type i32, payload, checksum u32, `UUUU`. The checksum is the
plain sum of all bytes before it. Blocks are walked by length and verified many at a time.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats.files import forget
from uploaderd.formats.issues import IssueLog

FILE_HEADER: Final = 36
"""Bytes before the first block."""
FRAME: Final = 20
"""Bytes of a block beside its payload."""
PAYLOAD: Final = 12
"""Bytes of a block before its payload."""
MARKER: Final = 0x55555555

KNOWN_TYPES: Final = frozenset(
    {1, 2, 3, 4, 5, 6, 7, 8, 20, 21, 22, 23, 24, 40, 41, 42, 51}
    | {60, 61, 62, 63, 64, 65, 66, 67, 68, 69}
)

WINDOW: Final = 4 << 20
"""Bytes walked and verified at once."""
FEW: Final = 1 << 12
"""Bytes tried after damage; doubled with each sound batch, so that damage costs what it spans."""
SCAN_BUDGET: Final = 8
"""Checksum bytes spent, for each byte of the file, on finding blocks again after damage."""

_IS_KNOWN = np.zeros(256, np.bool_)
_IS_KNOWN[sorted(KNOWN_TYPES)] = True


@dataclass(frozen=True, slots=True)
class Batch:
    """Sound blocks of known types in file order: their offsets, payload lengths, types, threads."""

    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    types: NDArray[np.int64]
    threads: NDArray[np.int64]

    def only(self, chosen: NDArray[Any]) -> Batch:
        """The blocks that a mask or indices choose."""
        return Batch(
            self.offsets[chosen], self.lengths[chosen], self.types[chosen], self.threads[chosen]
        )


class Bytes:
    """A memory map seen as bytes and as 32-bit words."""

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory = memory
        self.size = len(memory)
        whole = self.size // 4 * 4
        self.bytes: NDArray[np.uint8] = np.frombuffer(memory, np.uint8)
        self.words: NDArray[np.uint32] = self.bytes[:whole].view("<u4")

    def u32(self, at: NDArray[np.int64]) -> NDArray[np.uint32]:
        """The 32-bit words at byte offsets; all must lie within the file."""
        if not (at & 3).any():
            words: NDArray[np.uint32] = self.words[at >> 2]
        else:
            words = self.bytes[at[:, None] + np.arange(4)].view(np.uint32)[:, 0]
        return words

    def i32(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same as signed numbers."""
        return self.u32(at).view(np.int32).astype(np.int64)

    def rows(self, at: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
        """`width` bytes at each offset: uint8 [n, width]; no copy if offsets are equidistant."""
        if _are_equidistant(at):
            steps = (int(at[1] - at[0]), 1)
            return np.lib.stride_tricks.as_strided(
                self.bytes[at[0] :], (at.size, width), steps, writeable=False
            )
        if not (at & 3).any() and not width & 3:
            index = (at >> 2)[:, None] + np.arange(width >> 2)
            rows: NDArray[np.uint8] = self.words[index].view(np.uint8)
        else:
            rows = self.bytes[at[:, None] + np.arange(width)]
        return rows


def _are_equidistant(at: NDArray[np.int64]) -> bool:
    """Whether offsets, at least two, grow by one step."""
    if at.size < 2:
        return False
    steps = np.diff(at)
    return bool(steps[0] > 0 and (steps == steps[0]).all())


def walk(memory: mmap.mmap, issues: IssueLog) -> Iterator[Batch]:
    """All sound blocks after the file header, in batches; what is not sound goes to `issues`.

    Memory pages that were walked are given back, so the process stays small on any file.
    """
    data = Bytes(memory)
    position, span = FILE_HEADER, WINDOW
    budget = SCAN_BUDGET * data.size + WINDOW
    while position < data.size:
        offsets, reached = _follow_lengths(data, position, span)
        count, batch = _verified(data, offsets, reached, issues)
        if batch.offsets.size:
            yield batch
        if count == offsets.size and count:
            span = min(span * 2, WINDOW)
            forget(memory, position, reached)
            position = reached
            continue
        damaged = reached if count == offsets.size else int(offsets[count])
        if damaged >= data.size:
            return
        position, budget = _find_again(data, damaged, budget)
        _note_damage(data, damaged, position, issues)
        forget(memory, damaged, position)
        span = FEW


def _follow_lengths(data: Bytes, begin: int, span: int) -> tuple[NDArray[np.int64], int]:
    """Offsets of blocks that follow each other by their lengths, and where the last one ends.

    Blocks that begin within `span` bytes are followed, all those at once that reach from marker to
    marker. A block with a marker among its levels, or at an odd place, is followed by itself.
    """
    stop = min(begin + span, data.size - FRAME + 1)
    starts, ends = _between_markers(data, begin, stop)
    odd = np.flatnonzero(ends != starts[1:])
    found: list[NDArray[np.int64]] = []
    position = begin
    while position < stop:
        first = int(np.searchsorted(starts[:-1], position))
        if first < ends.size and starts[first] == position:
            place = int(np.searchsorted(odd, first))
            last = int(odd[place]) if place < odd.size else ends.size
            if last > first:
                found.append(starts[first:last])
                position = int(starts[last])
                continue
        length = struct.unpack_from("<i", data.memory, position + 4)[0]
        after = position + FRAME + length
        if length < 0 or after > data.size or (length > WINDOW and found):
            break
        found.append(np.array([position]))
        position = after
    return np.concatenate(found) if found else np.empty(0, np.int64), position


def _between_markers(
    data: Bytes, begin: int, stop: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places in [begin, stop) that follow a marker, and where blocks that begin there would end.

    The first place is `begin`; the last has no end. Only places at multiples of 4 are seen.
    """
    if begin & 3 or stop <= begin:
        return np.array([begin]), np.empty(0, np.int64)
    markers = np.flatnonzero(data.words[begin >> 2 : (stop - 1) >> 2] == MARKER)
    starts = np.concatenate([[0], (markers + 1) * 4]) + begin
    return starts, starts[:-1] + data.i32(starts[:-1] + 4) + FRAME


def _verified(
    data: Bytes, starts: NDArray[np.int64], reached: int, issues: IssueLog
) -> tuple[int, Batch]:
    """How many blocks of the run are framed (checksum or marker right), and the sound ones."""
    if not starts.size:
        return 0, Batch(starts, starts, starts, starts)
    ends = np.append(starts[1:], reached)
    stored, marker = data.u32(ends - 8), data.u32(ends - 4)
    bounds = np.column_stack((starts, ends - 8)).ravel()
    summed, marked = _sums(data, bounds) == stored, marker == MARKER
    framed = summed | marked
    count = starts.size if framed.all() else int(framed.argmin())
    types, threads = data.i32(starts + 8), data.i32(starts)
    known = (types >= 0) & (types < 256) & _IS_KNOWN[types & 255]
    for i in np.flatnonzero(~(summed & marked & known)[:count]):
        where: dict[str, int] = {"offset": int(starts[i]), "block_type": int(types[i])}
        if not summed[i]:
            issues.add("bad_checksum", **where, thread=int(threads[i]))
        elif not marked[i]:
            issues.add("missing_eof_marker", **where, thread=int(threads[i]))
        if summed[i] and not known[i]:
            issues.add("unknown_block_type", **where)
    sound = (summed & known)[:count]
    batch = Batch(starts[:count], (ends - starts - FRAME)[:count], types[:count], threads[:count])
    return count, batch if sound.all() else batch.only(sound)


def _sums(data: Bytes, bounds: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Byte sums modulo 2³² of [bounds[0], bounds[1]), [bounds[2], bounds[3]), …, in order."""
    first, last = int(bounds[0]), int(bounds[-1])
    if last - first > 2 * WINDOW:
        # One block larger than the window comes alone.
        total = sum(
            int(data.bytes[begin : min(begin + WINDOW, last)].sum(dtype=np.int64))
            for begin in range(first, last, WINDOW)
        )
        return np.array([total & 0xFFFFFFFF], np.uint32)
    begins, length = bounds[::2], int(bounds[1]) - first
    if (bounds[1::2] - begins == length).all() and _are_equidistant(begins):
        # Rows of one length are summed three times as fast as pieces of any length.
        sums: NDArray[np.uint32] = data.rows(begins, length).sum(axis=1, dtype=np.uint32)
        return sums
    pieces = np.add.reduceat(data.bytes[first:last], bounds[:-1] - first, dtype=np.uint32)
    return pieces[::2]


def _find_again(data: Bytes, damaged: int, budget: int) -> tuple[int, int]:
    """The next position with a block of known type, right marker and right checksum.

    Returns it, or the file's size, and what is left of the budget of checksum bytes: a file made to
    look like a block everywhere cannot cost more than that.
    """
    begin, span = damaged + 1, 1 << 9
    while begin + FRAME <= data.size:
        end = min(begin + span, data.size - FRAME + 1)
        for position in _candidates(data, begin, end):
            length = struct.unpack_from("<i", data.memory, position + 4)[0]
            bounds = np.array([position, position + PAYLOAD + length], np.int64)
            budget -= length
            if budget < 0:
                return data.size, budget
            if int(_sums(data, bounds)[0]) == int(data.u32(bounds[1:])[0]):
                return position, budget
        forget(data.memory, begin, end)
        begin, span = end, min(span * 4, WINDOW)
    return data.size, budget


def _candidates(data: Bytes, begin: int, end: int) -> list[int]:
    """Positions in [begin, end) with a known type, a length that fits, and the marker after it."""
    window = data.bytes[begin : end + PAYLOAD - 1]
    count = end - begin
    typed = _IS_KNOWN[window[8 : 8 + count]]
    for k in (9, 10, 11):
        typed &= window[k : k + count] == 0
    at = np.flatnonzero(typed) + begin
    lengths = data.i32(at + 4)
    fits = (lengths >= 0) & (lengths <= data.size - at - FRAME)
    at, lengths = at[fits], lengths[fits]
    found: list[int] = at[data.u32(at + lengths + PAYLOAD + 4) == MARKER].tolist()
    return found


def _note_damage(data: Bytes, begin: int, end: int, issues: IssueLog) -> None:
    """Says what lies between: a block that the file's end cuts off, or something unreadable."""
    where = {"offset": begin, "skipped": end - begin}
    kind = "bad_block"
    if end == data.size:
        if end - begin < PAYLOAD:
            kind = "truncated_block"
        else:
            _, length, type_ = struct.unpack_from("<iii", data.memory, begin)
            if length > end - begin - FRAME and type_ in KNOWN_TYPES:
                kind = "truncated_block"
    issues.add(kind, **where)
