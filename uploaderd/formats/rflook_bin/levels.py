"""Levels of RFlook files: 8 bits with a trace's offset, 16 bits of 0.01, or 32-bit floats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats.model import LevelStatistics, TraceSummary
from uploaderd.formats.statistics import CodeStatistics, FloatStatistics

MAX_OFFSET = 300
"""Largest level offset, in dB, of a trace that is counted (histograms have a place a level)."""


def decoded(stored: NDArray[Any], offsets: NDArray[Any]) -> NDArray[np.float32]:
    """Stored levels [n, points] with each trace's offset [n] as levels in the flow's unit."""
    if stored.dtype == np.uint8:
        levels = stored.astype(np.float32) / np.float32(2)
        levels += (offsets.astype(np.float32) - np.float32(127.5))[:, None]
        return levels
    if stored.dtype == np.int16:
        return stored.astype(np.float32) / np.float32(100)
    return stored.astype(np.float32)


class FlowStatistics:
    """Statistics of a flow whose levels come as they are stored."""

    def __init__(self, points: int, dtype: np.dtype[Any]) -> None:
        self._coded = dtype == np.uint8
        self._codes = CodeStatistics(points, span=256, step=0.5, zero=-127.5)
        self._floats = FloatStatistics(points) if not self._coded else None

    def add(self, stored: NDArray[Any], offsets: NDArray[Any]) -> None:
        """Takes stored levels [n, points] and offsets [n]."""
        if self._floats is None:
            shifts = 2 * offsets.astype(np.int64)
            believed = np.abs(shifts) <= 2 * MAX_OFFSET
            self._codes.add(stored[believed], shifts[believed])
        else:
            self._floats.add(decoded(stored, offsets))

    @property
    def _active(self) -> CodeStatistics | FloatStatistics:
        return self._codes if self._floats is None else self._floats

    def result(self) -> LevelStatistics | None:
        """The statistics; `None` if nothing was added."""
        return self._active.result()

    @property
    def first_trace(self) -> TraceSummary | None:
        """Summary of the first trace that was added."""
        return self._active.first_trace

    @property
    def last_trace(self) -> TraceSummary | None:
        """Summary of the last trace that was added."""
        return self._active.last_trace
