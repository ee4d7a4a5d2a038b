"""Level statistics of one flow, gathered block by block in bounded memory.

Levels come as integer codes on a fixed raster (`CodeStatistics`: histograms of the codes) or as
floats, whose percentiles are taken on a raster (`FloatStatistics`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats.model import MAX_BINS, LevelProfile, LevelStatistics, TraceSummary

CHUNK = 1 << 18
"""Levels that are counted at once: their indices (8 bytes each) stay within the cache."""

EXACT_LEVELS = 1 << 22
"""Levels of a flow up to which `CodeStatistics` counts every one for its percentiles."""
STRIDE = 8
"""Of the traces beyond, every `STRIDE`-th is counted for percentiles."""

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

    Count, min, mean, max and the first and last trace are exact. Percentiles come from a histogram
    of codes for each bin: exact up to `EXACT_LEVELS` levels, of later traces every `STRIDE`-th
    is counted, with that weight.

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
        self._edges = bin_edges(points, self.bins)
        self._bin_of_point = np.repeat(np.arange(self.bins), np.diff(self._edges))
        self._counts = np.zeros(self.bins * span, np.uint32)
        self._low = np.full(points, np.iinfo(np.int32).max, np.int32)
        self._high = np.full(points, np.iinfo(np.int32).min, np.int32)
        self._sum = np.zeros(points, np.int64)
        self._seen = 0
        self._exact = max(1, EXACT_LEVELS // points)
        self._waiting: list[tuple[NDArray[Any], int]] = []
        self._waiting_levels = 0
        self._first_codes: NDArray[Any] | None = None
        self._last_codes: NDArray[Any] | None = None

    def add(self, codes: NDArray[Any], shift: int | NDArray[Any] = 0) -> None:
        """Takes integer codes [n, points]; `shift` (a number, or [n]) is added to each trace's."""
        shifts = np.broadcast_to(np.asarray(shift, np.int64), (len(codes),))
        rows = max(1, CHUNK // self.points)
        for begin in range(0, len(codes), rows):
            part, moved = codes[begin : begin + rows], shifts[begin : begin + rows]
            common = int(moved[0])
            if (moved != common).any():
                part, common = part + moved.astype(np.int16)[:, None], 0
            self._add_part(part, common)

    def _add_part(self, codes: NDArray[Any], shift: int) -> None:
        """Takes one chunk whose traces have the same shift."""
        if self._first_codes is None:
            self._first_codes = codes[0].astype(np.int64) + shift
        self._last_codes = codes[-1].astype(np.int64) + shift
        np.minimum(self._low, codes.min(axis=0).astype(np.int32) + shift, out=self._low)
        np.maximum(self._high, codes.max(axis=0).astype(np.int32) + shift, out=self._high)
        self._sum += codes.sum(axis=0, dtype=np.int32)
        self._sum += shift * len(codes)
        if self._seen < self._exact:
            self._wait(codes, shift)
        else:
            self._wait(codes[-self._seen % STRIDE :: STRIDE], shift)
        self._seen += len(codes)
        if self._seen >= self._exact > self._seen - len(codes):
            self._count_waiting(1)
        elif self._waiting_levels >= 4 * CHUNK:
            self._count_waiting(1 if self._seen <= self._exact else STRIDE)

    def _wait(self, codes: NDArray[Any], shift: int) -> None:
        """Keeps a copy, so that the histogram is brought up to date seldom and with many levels."""
        if len(codes):
            self._waiting.append((codes.copy(), shift))
            self._waiting_levels += codes.size

    def _count_waiting(self, weight: int) -> None:
        """Counts the waiting codes, chunks of equal shift together."""
        while self._waiting:
            shift = self._waiting[0][1]
            alike = [codes for codes, other in self._waiting if other == shift]
            self._waiting = [entry for entry in self._waiting if entry[1] != shift]
            codes = np.concatenate(alike)
            self._widen(int(codes.min()) + shift, int(codes.max()) + shift)
            index = codes + (self._bin_of_point * self._span + (shift - self._first))
            counts = np.bincount(index.ravel(), minlength=self._counts.size)
            self._counts += (counts * weight).astype(np.uint32)
        self._waiting_levels = 0

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
        if not self._seen:
            return None
        self._count_waiting(1 if self._seen <= self._exact else STRIDE)
        table = self._counts.reshape(self.bins, self._span)
        raster = (np.arange(self._span) + self._first) * self._step + self._zero
        starts, widths = self._edges[:-1], np.diff(self._edges)
        profile = _percentiles(table, raster)
        profile["min"] = np.minimum.reduceat(self._low, starts) * self._step + self._zero
        profile["max"] = np.maximum.reduceat(self._high, starts) * self._step + self._zero
        sums = np.add.reduceat(self._sum, starts)
        profile["mean"] = sums / (widths * self._seen) * self._step + self._zero
        total = _percentiles(table.sum(axis=0, keepdims=True, dtype=np.int64), raster)
        count = self.points * self._seen
        total["min"] = profile["min"].min(keepdims=True)
        total["max"] = profile["max"].max(keepdims=True)
        total["mean"] = sums.sum(keepdims=True) / count * self._step + self._zero
        return _statistics(count, total, profile)

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
        total = _percentiles(table.sum(axis=0, keepdims=True, dtype=np.int64), raster)
        profile = _percentiles(table, raster)
        some = per_bin > 0
        profile["min"] = np.where(some, self._min, np.nan)
        profile["max"] = np.where(some, self._max, np.nan)
        profile["mean"] = np.where(some, self._sum / np.maximum(per_bin, 1), np.nan)
        total["min"], total["max"] = self._min.min(keepdims=True), self._max.max(keepdims=True)
        total["mean"] = self._sum.sum(keepdims=True) / count
        return _statistics(count, total, profile)

    @property
    def first_trace(self) -> TraceSummary | None:
        """Summary of the first trace that was added."""
        return None if self._first is None else summary(self._first)

    @property
    def last_trace(self) -> TraceSummary | None:
        """Summary of the last trace that was added."""
        return None if self._last is None else summary(self._last)


def _percentiles(table: NDArray[Any], levels: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """p10, p50 and p90 of histograms [bins, codes]: float64 [bins], NaN where a bin is empty."""
    running = table.cumsum(axis=1, dtype=np.int64)
    count = running[:, -1]
    figures = {}
    for p in (10, 50, 90):
        rank = np.maximum(-(-count * p // 100), 1)
        reached = (running >= rank[:, None]).argmax(axis=1)
        figures[f"p{p}"] = np.where(count > 0, levels[reached], np.nan)
    return figures


def _statistics(
    count: int, total: dict[str, NDArray[Any]], profile: dict[str, NDArray[Any]]
) -> LevelStatistics:
    return LevelStatistics(
        count=count,
        **{name: float(values[0]) for name, values in total.items()},
        profile=LevelProfile(**{name: tuple(v.tolist()) for name, v in profile.items()}),
    )
