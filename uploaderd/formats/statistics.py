"""Level statistics of one flow, gathered block by block in bounded memory.

Levels come as integer codes on a fixed raster (`CodeStatistics`, exact: histograms of the codes)
or as floats, whose percentiles are taken on a raster (`FloatStatistics`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats.model import MAX_BINS, LevelProfile, LevelStatistics, TraceSummary

CHUNK = 1 << 18
"""Levels that are counted at once: their indices (8 bytes each) stay within the cache."""

MAX_CELLS = 1 << 22
"""Most counters (4 bytes each) of all histograms of a file: the memory that statistics take."""


def summary(levels: NDArray[Any]) -> TraceSummary | None:
    """Min, median, max and sum of one trace's finite levels; `None` if there is none."""
    finite = np.asarray(levels, np.float64)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return None
    return TraceSummary(
        float(finite.min()), float(np.median(finite)), float(finite.max()), float(finite.sum())
    )


def bins_for(points: int, span: int, flows: int = 1) -> int:
    """Bins of a flow's profile, so that all flows of a file stay within `MAX_CELLS` counters."""
    return max(1, min(points, MAX_BINS, MAX_CELLS // (span * max(flows, 1))))


def bin_edges(points: int, bins: int) -> NDArray[np.int64]:
    """First point of each bin, and `points` at the end: int64 [bins + 1]."""
    return np.arange(bins + 1, dtype=np.int64) * points // bins


class CodeStatistics:
    """Statistics of levels that are `code · step + zero`, code an integer.

    Feeds a histogram of codes for each frequency bin, from which every figure is exact.

    Args:
        points: levels in a trace, ≥ 1.
        first: least code that is expected.
        span: number of different codes that are expected; room for others is made as they occur.
        step: unit per code.
        zero: level of code 0.
        flows: flows of the file of which statistics are gathered at the same time.
    """

    def __init__(
        self,
        points: int,
        *,
        first: int,
        span: int,
        step: float,
        zero: float = 0.0,
        flows: int = 1,
    ) -> None:
        self.points = points
        self.bins = bins_for(points, span, flows)
        self._first, self._span, self._step, self._zero = first, span, step, zero
        edges = bin_edges(points, self.bins)
        bin_of_point = np.repeat(np.arange(self.bins), np.diff(edges))
        self._bin_of_point = bin_of_point
        self._counts = np.zeros(self.bins * span, np.uint32)
        self._first_codes: NDArray[Any] | None = None
        self._last_codes: NDArray[Any] | None = None

    def add(self, codes: NDArray[Any], shift: int | NDArray[Any] = 0) -> None:
        """Counts integer codes [n, points]; `shift` (a number, or [n]) is added to each trace's."""
        if not len(codes):
            return
        shifts = np.broadcast_to(np.asarray(shift, np.int64), (len(codes),))
        if self._first_codes is None:
            self._first_codes = codes[0].astype(np.int64) + shifts[0]
        self._last_codes = codes[-1].astype(np.int64) + shifts[-1]
        rows = max(1, CHUNK // self.points)
        for begin in range(0, len(codes), rows):
            self._count(codes[begin : begin + rows], shifts[begin : begin + rows])

    def _count(self, codes: NDArray[Any], shifts: NDArray[np.int64]) -> None:
        """Counts one chunk, all of whose traces may have different shifts."""
        common = int(shifts[0])
        if (shifts != common).any():
            codes, common = codes + shifts[:, None], 0
        self._widen(int(codes.min()) + common, int(codes.max()) + common)
        index = codes + (self._bin_of_point * self._span + (common - self._first))
        counts = np.bincount(index.ravel(), minlength=self._counts.size)
        self._counts += counts.astype(np.uint32)

    def _widen(self, low: int, high: int) -> None:
        """Makes room for codes from `low` to `high`."""
        first, end = min(low, self._first), max(high + 1, self._first + self._span)
        if end - first == self._span:
            return
        wide = np.zeros((self.bins, end - first), np.uint32)
        before = self._first - first
        wide[:, before : before + self._span] = self._counts.reshape(self.bins, self._span)
        self._counts, self._first, self._span = wide.reshape(-1), first, end - first

    def result(self) -> LevelStatistics | None:
        """The statistics of all that was added; `None` if nothing was."""
        table = self._counts.reshape(self.bins, self._span)
        if not table.any():
            return None
        levels = (np.arange(self._span) + self._first) * self._step + self._zero
        total = _figures(table.sum(axis=0, keepdims=True, dtype=np.int64), levels)
        profile = _figures(table, levels)
        return LevelStatistics(
            count=int(table.sum()),
            **{name: float(values[0]) for name, values in total.items()},
            profile=LevelProfile(**{n: tuple(v.tolist()) for n, v in profile.items()}),
        )

    @property
    def first_trace(self) -> TraceSummary | None:
        """Summary of the first trace that was added."""
        return self._summary(self._first_codes)

    @property
    def last_trace(self) -> TraceSummary | None:
        """Summary of the last trace that was added."""
        return self._summary(self._last_codes)

    def _summary(self, codes: NDArray[Any] | None) -> TraceSummary | None:
        return None if codes is None else summary(codes * self._step + self._zero)


class FloatStatistics:
    """Statistics of float levels; NaN and infinities are left out.

    Min, mean, max and the first and last trace are exact; percentiles are taken on a raster of
    `RASTER` between `LOW` and `HIGH` (levels beyond count at the raster's end).
    """

    RASTER = 0.25
    LOW = -250.0
    HIGH = 250.0

    def __init__(self, points: int, *, flows: int = 1) -> None:
        self.points = points
        span = round((self.HIGH - self.LOW) / self.RASTER) + 1
        self.bins = bins_for(points, span, flows)
        self._span = span
        self._edges = bin_edges(points, self.bins)
        self._bin_of_point = np.repeat(np.arange(self.bins), np.diff(self._edges))
        self._counts = np.zeros(self.bins * span, np.uint32)
        self._sum = np.zeros(self.bins)
        self._min = np.full(self.bins, np.inf)
        self._max = np.full(self.bins, -np.inf)
        self._first: NDArray[Any] | None = None
        self._last: NDArray[Any] | None = None

    def add(self, levels: NDArray[Any]) -> None:
        """Counts float levels [n, points]."""
        if not len(levels):
            return
        if self._first is None:
            self._first = levels[0].copy()
        self._last = levels[-1].copy()
        rows = max(1, CHUNK // self.points)
        for begin in range(0, len(levels), rows):
            self._add_part(levels[begin : begin + rows])

    def _add_part(self, levels: NDArray[Any]) -> None:
        finite = np.isfinite(levels)
        starts = self._edges[:-1]
        if finite.all():
            low = high = zeroed = levels
        else:
            low, high = np.where(finite, levels, np.inf), np.where(finite, levels, -np.inf)
            zeroed = np.where(finite, levels, 0)
        self._min = np.minimum(self._min, np.minimum.reduceat(low.min(axis=0), starts))
        self._max = np.maximum(self._max, np.maximum.reduceat(high.max(axis=0), starts))
        self._sum += np.add.reduceat(zeroed.sum(axis=0, dtype=np.float64), starts)
        clipped = np.clip(zeroed, self.LOW, self.HIGH)
        codes = np.rint((clipped - self.LOW) / self.RASTER).astype(np.int64)
        codes += self._bin_of_point * self._span
        values, counts = np.unique(codes[finite], return_counts=True)
        self._counts[values] += counts.astype(np.uint32)

    def result(self) -> LevelStatistics | None:
        """The statistics of all that was added; `None` if no level was finite."""
        table = self._counts.reshape(self.bins, self._span)
        per_bin = table.sum(axis=1, dtype=np.int64)
        count = int(per_bin.sum())
        if not count:
            return None
        raster = np.arange(self._span) * self.RASTER + self.LOW
        total = _figures(table.sum(axis=0, keepdims=True, dtype=np.int64), raster)
        profile = _figures(table, raster)
        some = per_bin > 0
        profile["min"] = np.where(some, self._min, np.nan)
        profile["max"] = np.where(some, self._max, np.nan)
        profile["mean"] = np.where(some, self._sum / np.maximum(per_bin, 1), np.nan)
        total["min"], total["max"] = self._min.min(keepdims=True), self._max.max(keepdims=True)
        total["mean"] = self._sum.sum(keepdims=True) / count
        return LevelStatistics(
            count=count,
            **{name: float(values[0]) for name, values in total.items()},
            profile=LevelProfile(**{n: tuple(v.tolist()) for n, v in profile.items()}),
        )

    @property
    def first_trace(self) -> TraceSummary | None:
        """Summary of the first trace that was added."""
        return None if self._first is None else summary(self._first)

    @property
    def last_trace(self) -> TraceSummary | None:
        """Summary of the last trace that was added."""
        return None if self._last is None else summary(self._last)


def _figures(table: NDArray[Any], levels: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Figures of histograms [bins, codes]: each a float64 [bins], NaN where a bin is empty."""
    running = table.cumsum(axis=1, dtype=np.int64)
    count = running[:, -1]
    some = count > 0

    def level_of_rank(rank: NDArray[Any]) -> NDArray[np.float64]:
        reached = (running >= np.maximum(rank, 1)[:, None]).argmax(axis=1)
        return np.where(some, levels[reached], np.nan)

    figures = {f"p{p}": level_of_rank(-(-count * p // 100)) for p in (10, 50, 90)}
    figures["min"] = level_of_rank(np.ones_like(count))
    figures["max"] = level_of_rank(count)
    figures["mean"] = np.where(some, (table @ levels) / np.maximum(count, 1), np.nan)
    return figures
