"""Levels of CRFS traces as integer codes, compressed ones unpacked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats.crfs_bin.blocks import Bytes
from uploaderd.formats.crfs_bin.layout import Coding, Layout
from uploaderd.formats.crfs_bin.traces import Group

_TOKEN = re.compile(rb"\xff(.)|\xfe(.)|[^\xff\xfe]+", re.DOTALL)


def codes(data: Bytes, group: Group) -> Iterator[tuple[slice, NDArray[Any], NDArray[np.int64]]]:
    """The group's traces as half-unit codes: (which, codes [k, points], shift [k]).

    The level is (code + shift)/2 + `zero(layout)`.
    """
    offsets = np.zeros(group.count, np.int64)
    if "offset" in (group.layout.fields.names or ()):
        offsets = group.field("offset")
    levels_at = group.levels_at()
    if group.layout.coding is Coding.COMPRESSED:
        for i in range(group.count):
            header = group.all_headers[group.at[i]]
            trace = _decompressed(data, int(levels_at[i]), header)
            yield slice(i, i + 1), trace[None], 2 * offsets[i : i + 1]
        return
    rows = max(1, (1 << 20) // group.points)
    for begin in range(0, group.count, rows):
        part = slice(begin, begin + rows)
        stored: NDArray[Any] = data.rows(levels_at[part], group.points)
        if group.layout.coding is Coding.INVERTED:
            stored = -stored.astype(np.int16)
        yield part, stored, 2 * offsets[part]


def zero(layout: Layout) -> float:
    """The level of code 0."""
    return -127.5 if layout.coding in {Coding.PLAIN, Coding.COMPRESSED} else 0.0


def _decompressed(data: Bytes, begin: int, header: NDArray[Any]) -> NDArray[np.int64]:
    """One compressed trace; a skipped point lies one unit below the threshold.

    `255, r` skips r points, `254, v` is the literal v, any other byte is a literal. One public
    reader does not know 254: if the count is right only without it, it is a literal, too.
    """
    points = int(header["points"])
    stored = data.bytes[begin : begin + int(header["nc"])].tobytes()
    below = 2 * (int(header["threshold"]) - 1 - int(header["offset"])) + 255
    filled = np.full(points, below, np.int64)
    if not _fill(filled, stored, escape=True):
        again = np.full(points, below, np.int64)
        if _fill(again, stored, escape=False):
            return again
    return filled


def _fill(trace: NDArray[np.int64], stored: bytes, *, escape: bool) -> bool:
    """Puts the stored literals in place; says whether they end exactly with the trace."""
    at = 0
    for token in _TOKEN.finditer(stored):
        skip, literal = token.group(1), token.group(2)
        if skip is not None:
            at += skip[0]
            continue
        values = token.group()
        if literal is not None and escape:
            values = literal
        fitting = np.frombuffer(values, np.uint8)[: max(trace.size - at, 0)]
        trace[at : at + fitting.size] = fitting
        at += len(values)
    return at == trace.size
