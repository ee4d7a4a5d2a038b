"""The rows of an Argus export, block by block, without a Python object for each.

A row is as many quoted fields as the header names, of which the last, the info column, may be empty
without quotes. The quotes' places in a block give all fields of all rows at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats import decimals
from uploaderd.formats.argus_csv import fixed

BLOCK = 1 << 20
"""Bytes that are parsed at once."""
HEAD = 1 << 16
"""Bytes among which the header line is looked for."""
INFO_ROWS = 400
"""Rows whose info column is read."""

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Where the rows begin (bytes), and their columns.

    Attributes:
        columns: names of all columns, the info column last.
    """

    begin: int
    columns: tuple[str, ...]

    @property
    def compressed(self) -> bool:
        """Whether every row merges several scans."""
        return "Value Count" in self.columns

    @property
    def measured(self) -> int:
        """Columns before the info column."""
        return len(self.columns) - 1

    @property
    def unit(self) -> str | None:
        """The unit in the name of the level column, in ASCII."""
        name = self.columns[2]
        unit = name[name.find("(") + 1 : name.rfind(")")] if "(" in name else ""
        return unit.replace("\u00b5", "u").replace("\u03bc", "u") or None


class Rows(NamedTuple):
    """Sound rows of one block with a Value Count above 0, and the number of bad ones.

    `stamps` are the first and last byte (exclusive) of each row's time in `data`.
    """

    data: Bytes
    stamps: Places
    frequency: Places
    level: NDArray[np.float32]
    counts: Places
    bad: int


def layout(head: bytes) -> Layout | None:
    """The layout that a file's first bytes show, or None if no line names the columns."""
    begin = 0
    for line in head[:HEAD].splitlines(keepends=True):
        begin += len(line)
        text = text_of(line).strip().removeprefix("\ufeff")
        if "Frequency (Hz)" not in text or "File Info" not in text:
            continue
        columns = tuple(name.strip().strip('"') for name in text.split(","))
        known = columns[0] == "Time" and columns[1] == "Frequency (Hz)"
        if known and len(columns) >= 4 and columns[-1] == "File Info":
            return Layout(begin, columns)
    return None


def text_of(raw: bytes) -> str:
    """UTF-8 if it is, else Windows-1252, the exporter's own."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def read(path: Path, plan: Layout) -> Iterator[Rows]:
    """All rows of the file, in blocks."""
    with path.open("rb") as file:
        file.seek(plan.begin)
        rest = b""
        while piece := file.read(BLOCK):
            whole, newline, rest = (rest + piece).rpartition(b"\n")
            if newline:
                yield from _segments(whole + newline, plan)
            elif len(rest) > BLOCK:
                # No row is that long: counts as one bad row, whatever follows to its end.
                yield _parse(b"\n" if not rest.strip() else b"x\n", plan)
                rest = b""
        if rest:
            yield _parse(rest + b"\n", plan)


def _segments(block: bytes, plan: Layout) -> Iterator[Rows]:
    """Whole rows: runs of one width column by column, the others by their quotes."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == 10) + 1
    begins = np.concatenate([[0], ends[:-1]])
    widths = ends - begins
    for first, end, equal in fixed.segments(widths):
        a, b = int(begins[first]), int(ends[end - 1])
        found = None
        if equal:
            found = _parse_fixed(data, a, int(widths[first]), end - first, plan)
        yield found or _parse(block[a:b], plan)


def _parse_fixed(data: Bytes, begin: int, width: int, count: int, plan: Layout) -> Rows | None:
    """Rows of one width; `None` if one of them needs a closer look."""
    table = fixed.table(data, begin, width, count)
    fields = fixed.fields(table, plan.measured)
    if fields is None:
        return None
    columns = [1, 2, *([plan.columns.index("Value Count")] if plan.compressed else [])]
    numbers = []
    for column in columns:
        a, b = fields.opened[column], fields.closed[column]
        if not 0 < b - a <= decimals.MAX_DIGITS:
            return None
        values, good = decimals.parse_table(np.ascontiguousarray(table[:, a:b].T))
        if not good.all():
            return None
        numbers.append(values)
    frequency, level, counts = numbers if plan.compressed else [*numbers, np.ones(count)]
    if frequency.min() < 0 or frequency.max() >= 1e13 or counts.min() < 1:
        return None
    starts = np.arange(count) * width + begin
    return Rows(
        data=data,
        stamps=np.stack([starts + fields.opened[0], starts + fields.closed[0]], axis=1),
        frequency=frequency.astype(np.int64),
        level=level.astype(np.float32),
        counts=counts.astype(np.int64),
        bad=0,
    )


def _parse(block: bytes, plan: Layout) -> Rows:
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == 10)
    begins = np.concatenate([[0], ends[:-1] + 1])
    filled = ends - begins > 1
    begins, ends = begins[filled], ends[filled]
    wanted = 2 * plan.measured
    quotes = np.append(np.flatnonzero(data == 34), np.full(wanted, data.size))
    first = np.searchsorted(quotes, begins)
    marks = quotes[first + np.arange(wanted)[:, None]]
    sound = _shaped(data, begins, ends, marks)
    marks = marks[:, sound]
    opened, closed = marks[0::2] + 1, marks[1::2]
    frequency, good = decimals.parse(data, opened[1], closed[1])
    level, good_level = decimals.parse(data, opened[2], closed[2])
    good &= good_level & (frequency >= 0) & (frequency < 1e13)
    count = np.ones(marks.shape[1])
    if plan.compressed:
        column = plan.columns.index("Value Count")
        count, good_count = decimals.parse(data, opened[column], closed[column])
        good &= good_count & (count >= 0)
    keep = good & (count > 0)
    return Rows(
        data=data,
        stamps=np.stack([opened[0, keep], closed[0, keep]], axis=1),
        frequency=frequency[keep].astype(np.int64),
        level=level[keep].astype(np.float32),
        counts=count[keep].astype(np.int64),
        bad=int(filled.sum() - good.sum()),
    )


def _shaped(data: Bytes, begins: Places, ends: Places, marks: Places) -> NDArray[np.bool_]:
    """Which rows are `"…","…",…` in all measured columns, and end after them or in a quote."""
    limit = data.size - 1
    sound = (marks[0] == begins) & (marks[-1] < ends)
    after = np.minimum(marks[1::2] + 1, limit)
    sound &= (data[after] == 44).all(axis=0)
    sound &= (marks[2::2] == marks[1:-1:2] + 2).all(axis=0)
    tail = np.minimum(after[-1] + 1, limit)
    char = data[tail]
    empty = (char == 10) | (char == 13)
    closed = (data[ends - 1] == 34) | ((data[ends - 1] == 13) & (data[ends - 2] == 34))
    result: NDArray[np.bool_] = sound & (empty | ((char == 34) & closed & (ends - tail > 1)))
    return result
