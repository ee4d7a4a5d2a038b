"""The markers of RFlook v.2 files: `StArT` before a block, `StOp` after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

BEGIN: Final = b"StArT"
END: Final = b"StOp"
WINDOW: Final = 1 << 20
"""Bytes that are searched at once."""
CHUNK: Final = 4096
"""Markers that are given at once, more or less."""

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]


def marks(data: Bytes) -> Iterator[tuple[Offsets, Offsets]]:
    """Offsets and lengths of markers, in order; the joint `StOpStArT` counts as one."""
    waiting: list[tuple[Offsets, Offsets]] = []
    number = 0
    for begin in range(0, data.size, WINDOW):
        waiting.append(_marks_from(data, begin))
        number += waiting[-1][0].size
        if number >= CHUNK:
            yield _joined(waiting)
            waiting, number = [], 0
    if number:
        yield _joined(waiting)


def _joined(parts: list[tuple[Offsets, Offsets]]) -> tuple[Offsets, Offsets]:
    return np.concatenate([at for at, _ in parts]), np.concatenate([size for _, size in parts])


def _marks_from(data: Bytes, begin: int) -> tuple[Offsets, Offsets]:
    """Those markers that begin in the window at `begin`."""
    window = data[begin : begin + WINDOW + 1]
    at = np.flatnonzero((window[:-1] == BEGIN[0]) & (window[1:] == BEGIN[1])) + begin
    # No byte of a marker is that before or after it: what is repeated at the file's ends is none.
    around = data.take(at[:, None] + np.arange(-len(END), len(END + BEGIN)), mode="clip")
    after_end, here = _begins_with(around, END), around[:, len(END) :]
    is_end, is_begin = _begins_with(here, END), _begins_with(here, BEGIN)
    is_joint = is_end & _begins_with(here[:, len(END) :], BEGIN)
    lengths = np.where(is_joint, len(END + BEGIN), np.where(is_end, len(END), len(BEGIN)))
    chosen = is_end | (is_begin & ~after_end)
    return at[chosen], lengths[chosen]


def _begins_with(rows: NDArray[np.uint8], text: bytes) -> NDArray[np.bool_]:
    equal = np.ones(len(rows), np.bool_)
    for column, value in enumerate(text):
        equal &= rows[:, column] == value
    return equal
