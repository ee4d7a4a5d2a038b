"""How often each level code occurs in each frequency bin of a flow, in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats.model import MAX_BINS

MAX_CELLS = 1 << 22
"""Counters (4 bytes each) that the histograms of a file share out; the n-th flow may have 1/n."""
WAITING = 1 << 20
"""Levels that wait to be counted together, for a file's first flow; the n-th flow may have 1/n."""
MARGIN = 32
"""The range of codes of a histogram grows to multiples of this."""
STRIP = 64
"""Bins that are counted at once."""
AT_ONCE = 1 << 18
"""Levels that are counted at once."""


def bins_for(points: int, span: int, flows: int = 1) -> int:
    """Bins of a flow's profile, so that all flows of a file stay within about `MAX_CELLS`."""
    return max(1, min(points, MAX_BINS, MAX_CELLS // (span * max(flows, 1))))


def bin_edges(points: int, bins: int) -> NDArray[np.int64]:
    """First point of each bin, and `points` at the end: int64 [bins + 1]."""
    return np.arange(bins + 1, dtype=np.int64) * points // bins


def percentiles(table: NDArray[Any], levels: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """p10, p50 and p90 of histograms [bins, codes]: float64 [bins], NaN where a bin is empty."""
    running = table.cumsum(axis=1, dtype=np.int64)
    count = running[:, -1]
    figures = {}
    for p in (10, 50, 90):
        rank = np.maximum(-(-count * p // 100), 1)
        reached = (running >= rank[:, None]).argmax(axis=1)
        figures[f"p{p}"] = np.where(count > 0, levels[reached], np.nan)
    return figures


class Histogram:
    """Counters of codes for each bin; their range grows as codes occur.

    Args:
        points: levels in a trace.
        bins: frequency bins.
        span: different codes that have a counter each. What lies further from the first codes that
            were added counts at the range's end.
        flows: flows of the file of which there are histograms at the same time.
    """

    def __init__(self, points: int, bins: int, *, span: int, flows: int = 1) -> None:
        self._bins, self._points = bins, points
        self._edges = bin_edges(points, bins)
        self._span, self._first = 0, 0
        self._room, self._limits = span, (0, 0)
        self._counts = np.zeros(0, np.uint32)
        self._patience = WAITING // flows
        self._waiting: list[tuple[NDArray[Any], int]] = []
        self._waiting_levels, self._weight = 0, 1

    def add(self, codes: NDArray[Any], shift: int = 0, weight: int = 1) -> None:
        """Counts codes [n, points], each plus `shift`, `weight` times; it keeps no reference."""
        if weight != self._weight:
            self.settle()
            self._weight = weight
        self._waiting_levels += codes.size
        if self._waiting_levels > self._patience:
            self._waiting.append((codes, shift))
            self.settle()
        elif codes.size:
            self._waiting.append((codes.copy(), shift))

    def add_some(self, codes: NDArray[Any], chosen: NDArray[np.bool_]) -> None:
        """Counts those of the codes [n, points] that a mask chooses."""
        if not chosen.any():
            return
        filler = codes[chosen].min()
        codes = self._within(np.where(chosen, codes, filler), 0)
        self._count(codes, 0, 1)
        left_out = np.add.reduceat((~chosen).sum(axis=0), self._edges[:-1])
        table = self._counts.reshape(self._bins, self._span)
        table[:, codes.min() - self._first] -= left_out.astype(np.uint32)

    def settle(self) -> None:
        """Counts what waits, chunks of equal shift together."""
        while self._waiting:
            shift = self._waiting[0][1]
            alike = [codes for codes, other in self._waiting if other == shift]
            self._waiting = [entry for entry in self._waiting if entry[1] != shift]
            codes = alike[0] if len(alike) == 1 else np.concatenate(alike)
            self._count(self._within(codes, shift), shift, self._weight)
        self._waiting_levels = 0

    def table(self) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Counters [bins, codes], and the codes."""
        self.settle()
        codes = np.arange(self._span, dtype=np.int64) + self._first
        return self._counts.reshape(self._bins, self._span), codes

    def _count(self, codes: NDArray[Any], shift: int, weight: int) -> None:
        """Counts codes [n, points] within the range `weight` times, strip after strip of bins.

        The cells of a strip are 16-bit numbers, and its counters stay in the processor's cache:
        that is more than twice as fast as all bins at once.
        """
        wide = -(-self._points // self._bins)
        strip = max(1, min(STRIP, (1 << 16) // self._span, AT_ONCE // wide))
        for begin in range(0, self._bins, strip):
            end = min(begin + strip, self._bins)
            columns = slice(int(self._edges[begin]), int(self._edges[end]))
            bins = np.repeat(np.arange(end - begin), np.diff(self._edges[begin : end + 1]))
            # Sums wrap round at 16 bits, as often back as forth.
            base = (bins * self._span + (shift - self._first)).astype(np.uint16)
            rows = max(1, AT_ONCE // base.size)
            counts = self._counts[begin * self._span : end * self._span]
            for row in range(0, len(codes), rows):
                part = codes[row : row + rows, columns]
                cells = np.add(part, base, dtype=np.uint16, casting="unsafe")
                found = np.bincount(cells.ravel(), minlength=counts.size)
                counts += found.astype(np.uint32) * np.uint32(weight)

    def _within(self, codes: NDArray[Any], shift: int) -> NDArray[Any]:
        """Makes room for the codes; those beyond the limits are moved to them."""
        low, high = int(codes.min()), int(codes.max())
        if not self._span:
            centre = (low + high) // 2 + shift
            self._limits = centre - self._room // 2, centre + self._room // 2 - 1
        least, most = (limit - shift for limit in self._limits)
        self._widen(max(low, least) + shift, min(high, most) + shift)
        if low >= least and high <= most:
            return codes
        return np.clip(codes.astype(np.int64), least, most)

    def _widen(self, low: int, high: int) -> None:
        least, most = self._limits
        first = max(low // MARGIN * MARGIN, least)
        end = min(high // MARGIN * MARGIN + MARGIN, most + 1)
        if self._span:
            first, end = min(first, self._first), max(end, self._first + self._span)
        if end - first == self._span:
            return
        wide = np.zeros((self._bins, end - first), np.uint32)
        before = self._first - first if self._span else 0
        wide[:, before : before + self._span] = self._counts.reshape(self._bins, self._span)
        self._counts, self._first, self._span = wide.reshape(-1), first, end - first
