"""Spectral blocks into groups of equal headers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats.crfs_bin.blocks import FRAME, PAYLOAD, Batch, Bytes
from uploaderd.formats.crfs_bin.layout import DESCRIBED_PREFIX, LAYOUTS, Coding, Layout
from uploaderd.formats.issues import IssueLog
from uploaderd.formats.model import NO_TIME
from uploaderd.formats.times import civil_to_ns

MAX_DESCRIPTION = 4096
"""Longest description in bytes that is believed."""
MAX_POINTS = 1 << 24
"""Most points in a compressed trace that are believed: such a trace may be longer than its bytes.
Uncompressed traces are bounded by the file itself."""
MAX_LEVEL = 300
"""Largest threshold or offset, in dB, that is believed where it is stored in 32 bits."""
NO_ERROR = -1
FLOWS_OF_A_WINDOW = 32
"""Flows told apart by comparison before rows are sorted."""

_WALL = np.dtype({"names": ["wall", "ns"], "formats": ["(8,)u1", "<u4"], "offsets": [0, 8]})


@dataclass(frozen=True, slots=True)
class Group:
    """Blocks of one flow, in file order. Only what is asked for is gathered from the parts.

    Attributes:
        key: bytes that identify the flow in its file.
        block_type: type of all the blocks.
        thread: thread id of all the blocks.
        layout: their layout.
        first: the header of the first block.
        description: text in the block, or `None`.
        at: int64 [n], indices into the following arrays.
        all_offsets: where blocks begin.
        all_rows: uint8, payloads up to the header's end.
        all_headers: structured, their header fields.
        all_levels_at: file offsets of the levels.
        offset_ns: the station's clock offset.
    """

    key: bytes
    block_type: int
    thread: int
    layout: Layout
    first: NDArray[Any]
    description: str | None
    at: NDArray[np.int64]
    all_offsets: NDArray[np.int64]
    all_rows: NDArray[np.uint8]
    all_headers: NDArray[Any]
    all_levels_at: NDArray[np.int64]
    offset_ns: int

    @property
    def count(self) -> int:
        """Number of blocks."""
        return int(self.at.size)

    @property
    def points(self) -> int:
        """Levels in each trace."""
        return int(self.first["points"])

    @property
    def offset(self) -> int:
        """Where the first block begins."""
        return int(self.all_offsets[self.at[0]])

    def field(self, name: str) -> NDArray[np.int64]:
        """A header field of each block: int64 [n]."""
        return self.all_headers[name][self.at].astype(np.int64)

    def levels_at(self) -> NDArray[np.int64]:
        """File offset of each block's levels: int64 [n]."""
        return self.all_levels_at[self.at]

    def alone(self, which: int) -> Group:
        """One of its blocks as a group of its own, which keeps nothing of the others."""
        at = self.at[which : which + 1 or None]
        return dataclasses.replace(
            self,
            at=np.zeros(1, np.int64),
            all_offsets=self.all_offsets[at],
            all_rows=self.all_rows[at],
            all_headers=self.all_headers[at],
            all_levels_at=self.all_levels_at[at],
        )

    def times(self, which: slice | list[int]) -> NDArray[np.int64]:
        """Times of some of the blocks, ns since 1970; `NO_TIME` where there is none, or no date."""
        chosen = self.at[which]
        rows, headers = self.all_rows[chosen], self.all_headers[chosen]
        return _times(rows, headers, self.layout, self.offset_ns)


def groups(data: Bytes, batch: Batch, issues: IssueLog, offset_ns: int) -> Iterator[Group]:
    """The spectral blocks of a batch by flow, without those with an error code or nonsense."""
    for block_type, layout in LAYOUTS.items():
        chosen = batch.types == block_type
        if not chosen.any():
            continue
        blocks = batch if chosen.all() else batch.only(chosen)
        for length, part in _by_description(data, blocks, layout, issues):
            yield from _by_key(data, part, length, issues, offset_ns)


def _by_description(
    data: Bytes, blocks: Batch, layout: Layout, issues: IssueLog
) -> Iterator[tuple[int, Batch]]:
    """Blocks whose header fits into the payload, by the length of their description (-1: none)."""
    least = layout.fields.itemsize
    if not layout.described:
        yield from ((-1, b) for b in _fitting(blocks, blocks.lengths >= least, issues))
        return
    for wide in _fitting(blocks, blocks.lengths >= least + DESCRIBED_PREFIX, issues):
        texts = data.i32(wide.offsets + PAYLOAD + 20)
        fits = (texts >= 0) & (texts <= MAX_DESCRIPTION)
        fits &= wide.lengths >= least + DESCRIBED_PREFIX + texts
        texts = texts[fits]
        for sound in _fitting(wide, fits, issues):
            for length in np.unique(texts):
                yield int(length), sound.only(texts == length)


def _fitting(blocks: Batch, fits: NDArray[np.bool_], issues: IssueLog) -> Iterator[Batch]:
    """The blocks that fit, if any; the others are noted as bad."""
    for i in np.flatnonzero(~fits):
        size = int(blocks.lengths[i]) + FRAME
        issues.add("bad_block", offset=int(blocks.offsets[i]), skipped=size)
    if fits.all():
        yield blocks
    elif fits.any():
        yield blocks.only(fits)


def _by_key(
    data: Bytes, blocks: Batch, text: int, issues: IssueLog, offset_ns: int
) -> Iterator[Group]:
    """Blocks of one type and description length into flows."""
    block_type = int(blocks.types[0])
    layout = LAYOUTS[block_type]
    prefix = DESCRIBED_PREFIX + text if layout.described else 0
    width = prefix + layout.fields.itemsize
    rows = data.rows(blocks.offsets + PAYLOAD, width)
    headers = _view(rows[:, prefix:], layout.fields)
    blocks, rows, headers = _without_errors(blocks, rows, headers, issues)
    levels_at = blocks.offsets + PAYLOAD + width
    if layout.tuned:
        levels_at = levels_at + 4 * headers["nt"].astype(np.int64) + headers["na"]
    names = layout.fields.names or ()
    stored = headers["nc" if "nc" in names else "points"].astype(np.int64)
    fits = (levels_at + stored <= blocks.offsets + PAYLOAD + blocks.lengths) & (stored > 0)
    if layout.coding is Coding.COMPRESSED:
        fits &= (headers["points"] > 0) & (headers["points"] <= MAX_POINTS)
        for name in ("threshold", "offset"):
            fits &= np.abs(headers[name].astype(np.int64)) <= MAX_LEVEL
    if "exponent" in names:
        fits &= headers["exponent"] <= 9
    keys = _keys(blocks, rows, headers, layout, prefix)
    for at in _equal_rows(keys, np.flatnonzero(fits)):
        first = int(at[0])
        yield Group(
            key=bytes([block_type]) + keys[first].tobytes(),
            block_type=block_type,
            thread=int(blocks.threads[first]),
            layout=layout,
            first=headers[first].copy(),
            description=_text(rows[first], prefix) if layout.described else None,
            at=at,
            all_offsets=blocks.offsets,
            all_rows=rows,
            all_headers=headers,
            all_levels_at=levels_at,
            offset_ns=offset_ns,
        )
    for _ in _fitting(blocks, fits, issues):
        pass


def _view(rows: NDArray[np.uint8], fields: np.dtype[Any]) -> NDArray[Any]:
    """Rows of bytes as structured headers."""
    return np.ascontiguousarray(rows).view(fields)[:, 0]


def _without_errors(
    blocks: Batch, rows: NDArray[np.uint8], headers: NDArray[Any], issues: IssueLog
) -> tuple[Batch, NDArray[np.uint8], NDArray[Any]]:
    """Leaves out blocks with which the receiver reported an error."""
    if "error" not in (headers.dtype.names or ()):
        return blocks, rows, headers
    good = headers["error"] == NO_ERROR
    if good.all():
        return blocks, rows, headers
    for i in np.flatnonzero(~good):
        code = int(headers["error"][i])
        issues.add("block_error_code", offset=int(blocks.offsets[i]), code=code)
    return blocks.only(good), rows[good], headers[good]


def _keys(
    blocks: Batch, rows: NDArray[np.uint8], headers: NDArray[Any], layout: Layout, prefix: int
) -> NDArray[np.uint64]:
    """What makes a flow, in words a block: thread, description and the layout's key fields."""
    columns = [blocks.threads.astype("<i4").view(np.uint8).reshape(-1, 4)]
    if layout.described:
        columns.append(rows[:, 20:prefix])
    for name in layout.key_fields:
        column = np.ascontiguousarray(headers[name])
        columns.append(column.view(np.uint8).reshape(len(headers), column.itemsize))
    width = sum(column.shape[1] for column in columns)
    columns.append(np.zeros((len(headers), -width % 8), np.uint8))
    return np.concatenate(columns, axis=1).view(np.uint64)


def _equal_rows(keys: NDArray[np.uint64], at: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Indices of equal rows among those at `at`, one flow after the other.

    A window holds few flows as a rule: each is compared with its first row, column by column. Of
    what is left after many flows, the rows are sorted.
    """
    for _ in range(FLOWS_OF_A_WINDOW):
        if not at.size:
            return
        equal = np.ones(at.size, np.bool_)
        for column in keys.T:
            equal &= column[at] == column[at[0]]
        if equal.all():
            yield at
            return
        yield at[equal]
        at = at[~equal]
    _, inverse = np.unique(keys[at], axis=0, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    yield from np.split(at[order], np.flatnonzero(np.diff(inverse[order])) + 1)


def _text(row: NDArray[np.uint8], prefix: int) -> str:
    return decoded(row[DESCRIBED_PREFIX:prefix].tobytes())


def decoded(text: bytes) -> str:
    """Text up to the first NUL; bytes that are not UTF-8 (older scripts: Latin-1) are replaced."""
    return text.split(b"\0", 1)[0].decode("utf-8", "replace").strip()


def _times(
    rows: NDArray[np.uint8], headers: NDArray[Any], layout: Layout, offset_ns: int
) -> NDArray[np.int64]:
    """Wall clock of each block less the station's offset."""
    if layout.described:
        wall = _view(rows[:, : _WALL.itemsize], _WALL)
    elif "wall" in (layout.fields.names or ()):
        wall = headers
    else:
        return np.full(len(rows), NO_TIME)
    nanoseconds = wall["ns"] if "ns" in (wall.dtype.names or ()) else 0
    return wall_times(wall["wall"], nanoseconds, offset_ns)


def wall_times(stamp: NDArray[np.uint8], nanoseconds: Any, offset_ns: int) -> NDArray[np.int64]:
    """Dates and times of 8 bytes each (day, month, year - 2000, 0, hour, minute, second, 0)."""
    day, month, year, _, hour, minute, second, _ = stamp.T.astype(np.int64)
    times, valid = civil_to_ns((year + 2000, month, day), (hour, minute, second), nanoseconds)
    return np.where(valid, times - offset_ns, NO_TIME)
