"""Level statistics of one flow, gathered block by block in bounded memory.

Levels come as integer codes on a fixed raster (`CodeStatistics`) or as floats, whose percentiles
are taken on a raster (`FloatStatistics`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats.histogram import Histogram, bin_edges, bins_for, percentiles
from uploaderd.formats.model import LevelProfile, LevelStatistics, TraceSummary

CODES_AT_ONCE = 1 << 20
FLOATS_AT_ONCE = 1 << 18
"""Levels that are looked at at once."""

EXACT_LEVELS = 1 << 22
"""Levels of a flow up to which `CodeStatistics` counts every one for its percentiles."""
STRIDE = 8
"""Of the traces beyond, every `STRIDE`-th is counted for percentiles."""
KEPT_POINTS = 1 << 14
"""Points up to which a flow keeps its last trace, and sums it up only at the end."""
MAX_FLOWS = 128
"""Flows of a file of which a reader gathers code statistics; a station has some tens."""


def summary(levels: NDArray[Any]) -> TraceSummary | None:
    """Min, median, max and sum of one trace's finite levels; `None` if there is none."""
    # Finite ones first: a damaged file may hold signalling NaNs, which NumPy warns of in a cast.
    finite = np.asarray(levels[np.isfinite(levels)], np.float64)
    if not finite.size:
        return None
    return TraceSummary(
        float(finite.min()), float(np.median(finite)), float(finite.max()), float(finite.sum())
    )


class CodeStatistics:
    """Statistics of levels that are `code · step + zero`, code an integer.

    Count, min, mean, max and the first and last trace are exact. Percentiles come from a histogram
    of codes for each bin: exact up to `EXACT_LEVELS` levels, of later traces every `STRIDE`-th
    is counted, with that weight.

    Args:
        points: levels in a trace, ≥ 1.
        span: number of different codes of one trace; a flow may have twice as many.
        step: unit per code.
        zero: level of code 0.
        flows: flows of the file of which statistics are gathered at the same time.

    Attributes:
        first_trace: summary of the first trace that was added.
    """

    def __init__(
        self, points: int, *, span: int, step: float, zero: float = 0.0, flows: int = 1
    ) -> None:
        self.points = points
        self.bins = bins_for(points, span, flows)
        self.first_trace: TraceSummary | None = None
        self._last: tuple[NDArray[Any], int] | TraceSummary | None = None
        self._step, self._zero = step, zero
        self._edges = bin_edges(points, self.bins)
        self._widths = np.diff(self._edges)
        self._histogram = Histogram(points, self.bins, span=2 * span, flows=flows)
        self._low = np.full(self.bins, np.iinfo(np.int64).max)
        self._high = np.full(self.bins, np.iinfo(np.int64).min)
        self._sum = np.zeros(self.bins, np.int64)
        self._seen = self._counted = 0
        self._exact = max(1, EXACT_LEVELS // points)

    def add(self, codes: NDArray[Any], shift: int | NDArray[Any] = 0) -> None:
        """Takes integer codes [n, points]; `shift` (a number, or [n]) is added to each trace's."""
        if not len(codes):
            return
        shifts = np.broadcast_to(np.asarray(shift, np.int64), (len(codes),))
        if self.first_trace is None:
            self.first_trace = self._summary(codes[0], shifts[0])
        few = self.points <= KEPT_POINTS
        last = (codes[-1].copy(), int(shifts[-1]))
        self._last = last if few else self._summary(*last)
        rows = max(1, CODES_AT_ONCE // self.points)
        for begin in range(0, len(codes), rows):
            part, moved = codes[begin : begin + rows], shifts[begin : begin + rows]
            self._add_part(*_with_one_shift(part, moved))

    def _add_part(self, codes: NDArray[Any], shift: int) -> None:
        """Takes one chunk whose traces have the same shift."""
        low = self._over_bins(np.minimum, codes.min(axis=0)).astype(np.int64)
        high = self._over_bins(np.maximum, codes.max(axis=0)).astype(np.int64)
        sums = _column_sums(codes, max(-int(low.min()), int(high.max())))
        np.minimum(self._low, low + shift, out=self._low)
        np.maximum(self._high, high + shift, out=self._high)
        self._sum += self._over_bins(np.add, sums)
        self._sum += shift * len(codes) * self._widths
        chosen, weight = codes, 1
        if self._seen >= self._exact:
            chosen, weight = codes[-self._seen % STRIDE :: STRIDE], STRIDE
        self._histogram.add(chosen, shift, weight)
        self._counted += chosen.size
        self._seen += len(codes)

    def _over_bins(self, ufunc: np.ufunc, points: NDArray[Any]) -> NDArray[Any]:
        """Figures of points put together for each bin."""
        if self.bins == self.points:
            return points
        together: NDArray[Any] = ufunc.reduceat(points, self._edges[:-1])
        return together

    def result(self) -> LevelStatistics | None:
        """The statistics of all that was added; `None` if nothing was."""
        if not self._seen:
            return None
        table, codes = self._histogram.table()
        raster = codes * self._step + self._zero
        profile = percentiles(table, raster)
        profile["min"] = self._low * self._step + self._zero
        profile["max"] = self._high * self._step + self._zero
        levels = self._widths * self._seen
        profile["mean"] = self._sum / levels * self._step + self._zero
        total = percentiles(table.sum(axis=0, keepdims=True, dtype=np.int64), raster)
        count = self.points * self._seen
        total["min"] = profile["min"].min(keepdims=True)
        total["max"] = profile["max"].max(keepdims=True)
        total["mean"] = self._sum.sum(keepdims=True) / count * self._step + self._zero
        return _statistics(count, total, profile, counted=self._counted, rounding=0.0)

    @property
    def last_trace(self) -> TraceSummary | None:
        """Summary of the last trace that was added."""
        return self._summary(*self._last) if isinstance(self._last, tuple) else self._last

    def _summary(self, codes: NDArray[Any], shift: Any) -> TraceSummary | None:
        return summary((codes.astype(np.int64) + shift) * self._step + self._zero)


def _with_one_shift(codes: NDArray[Any], shifts: NDArray[np.int64]) -> tuple[NDArray[Any], int]:
    """The same levels as codes whose traces have one shift: in 8 bits if they fit, else in 16."""
    low, high = int(shifts.min()), int(shifts.max())
    if low == high:
        return codes, low
    if codes.dtype == np.uint8:
        if codes.min() >= high - low:
            return codes - (high - shifts).astype(np.uint8)[:, None], high
        if codes.max() <= 255 - (high - low):
            return codes + (shifts - low).astype(np.uint8)[:, None], low
    return codes + shifts.astype(np.int16)[:, None], 0


def _column_sums(codes: NDArray[Any], largest: int) -> NDArray[np.int64]:
    """Sums over traces: int64 [points]; `largest` is the largest absolute code.

    As many traces as fit are first summed in 16 bits, which processors do many at a time.
    """
    narrow = np.uint16 if codes.dtype == np.uint8 else np.int16
    at_once = np.iinfo(narrow).max // max(largest, 1)
    if codes.dtype.itemsize > 2 or at_once < 8:
        whole: NDArray[np.int64] = codes.sum(axis=0, dtype=np.int64)
        return whole
    sums = np.zeros(codes.shape[1], np.int64)
    for begin in range(0, len(codes), at_once):
        sums += codes[begin : begin + at_once].sum(axis=0, dtype=narrow)
    return sums


class FloatStatistics:
    """Statistics of float levels; NaN and infinities are left out.

    Min, mean, max and the first and last trace are exact; percentiles are taken on a raster of
    `RASTER` between `LOW` and `HIGH` (levels beyond count at the raster's end).

    Attributes:
        first_trace: summary of the first trace that was added.
        last_trace: summary of the last one.
    """

    RASTER = 0.25
    LOW = -250.0
    HIGH = 250.0

    def __init__(self, points: int, *, flows: int = 1) -> None:
        self.points = points
        self.first_trace: TraceSummary | None = None
        self.last_trace: TraceSummary | None = None
        span = round((self.HIGH - self.LOW) / self.RASTER) + 1
        self.bins = bins_for(points, span, flows)
        self._histogram = Histogram(points, self.bins, span=2 * span, flows=flows)
        self._first_is_due = True
        self._edges = bin_edges(points, self.bins)
        self._sum = np.zeros(self.bins)
        self._min = np.full(self.bins, np.inf)
        self._max = np.full(self.bins, -np.inf)

    def add(self, levels: NDArray[Any]) -> None:
        """Counts float levels [n, points]."""
        if not len(levels):
            return
        if self._first_is_due:
            self.first_trace, self._first_is_due = summary(levels[0]), False
        self.last_trace = summary(levels[-1])
        rows = max(1, FLOATS_AT_ONCE // self.points)
        for begin in range(0, len(levels), rows):
            self._add_part(levels[begin : begin + rows])

    def _add_part(self, levels: NDArray[Any]) -> None:
        finite = np.isfinite(levels)
        starts = self._edges[:-1]
        whole = bool(finite.all())
        low = high = zeroed = levels
        if not whole:
            low, high = np.where(finite, levels, np.inf), np.where(finite, levels, -np.inf)
            zeroed = np.where(finite, levels, 0)
        self._min = np.minimum(self._min, np.minimum.reduceat(low.min(axis=0), starts))
        self._max = np.maximum(self._max, np.maximum.reduceat(high.max(axis=0), starts))
        self._sum += np.add.reduceat(zeroed.sum(axis=0, dtype=np.float64), starts)
        clipped = np.clip(zeroed, self.LOW, self.HIGH)
        codes = np.rint((clipped - self.LOW) / self.RASTER).astype(np.int16)
        if whole:
            self._histogram.add(codes)
        else:
            self._histogram.add_some(codes, finite)

    def result(self) -> LevelStatistics | None:
        """The statistics of all that was added; `None` if no level was finite."""
        table, codes = self._histogram.table()
        per_bin = table.sum(axis=1, dtype=np.int64)
        count = int(per_bin.sum())
        if not count:
            return None
        raster = codes * self.RASTER + self.LOW
        total = percentiles(table.sum(axis=0, keepdims=True, dtype=np.int64), raster)
        profile = percentiles(table, raster)
        some = per_bin > 0
        profile["min"] = np.where(some, self._min, np.nan)
        profile["max"] = np.where(some, self._max, np.nan)
        profile["mean"] = np.where(some, self._sum / np.maximum(per_bin, 1), np.nan)
        total["min"], total["max"] = self._min.min(keepdims=True), self._max.max(keepdims=True)
        total["mean"] = self._sum.sum(keepdims=True) / count
        return _statistics(count, total, profile, counted=count, rounding=self.RASTER / 2)


def _statistics(
    count: int,
    total: dict[str, NDArray[Any]],
    profile: dict[str, NDArray[Any]],
    *,
    counted: int,
    rounding: float,
) -> LevelStatistics:
    return LevelStatistics(
        count=count,
        percentile_levels=counted,
        percentile_rounding=rounding,
        **{name: float(values[0]) for name, values in total.items()},
        profile=LevelProfile(**{name: tuple(v.tolist()) for name, v in profile.items()}),
    )
