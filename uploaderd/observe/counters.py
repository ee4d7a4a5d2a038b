"""What a process counts of its work: a few sums by name and label, told to the supervisor.

A series is a text in Prometheus' notation, `retries_total{code="unreachable"}`, and the counts of
a process are one flat mapping from series to number, a histogram's buckets among them. So the
counts of a worker that has died and those of its successor are added by adding numbers.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import accumulate

BUCKETS_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Upper bounds of a duration's buckets: from a database query to a long slice of a backup."""

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Counters:
    """Thread-safe sums (`add`), durations (`observe`) and present values (`set`)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, float] = defaultdict(float)
        self._durations: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = {}
        """By name and labels: the count of each bucket for itself, and the sum."""
        self._gauges: dict[str, float] = {}

    def add(self, name: str, amount: float = 1, /, **labels: str) -> None:
        """Adds to a sum that only grows."""
        with self._lock:
            self._counts[series(name, **labels)] += amount

    def observe(self, name: str, seconds: float, /, **labels: str) -> None:
        """Counts a duration into a histogram."""
        key = (name, tuple(labels.items()))
        with self._lock:
            numbers = self._durations.get(key)
            if numbers is None:
                numbers = self._durations[key] = [0.0] * (len(BUCKETS_S) + 2)
            numbers[bisect_left(BUCKETS_S, seconds)] += 1
            numbers[-1] += seconds

    def set(self, name: str, value: float | None, /, **labels: str) -> None:
        """Sets a value of the moment; None: there is none."""
        with self._lock:
            if value is None:
                self._gauges.pop(series(name, **labels), None)
            else:
                self._gauges[series(name, **labels)] = value

    def told(self) -> tuple[dict[str, float], dict[str, float]]:
        """Sums since the start of the process, and values of the moment."""
        with self._lock:
            counts = dict(self._counts)
            for (name, labels), numbers in self._durations.items():
                counts.update(_histogram(name, dict(labels), numbers))
            return counts, dict(self._gauges)


COUNTERS = Counters()
"""The process's own, as `logging` has one root."""


def _histogram(
    name: str, labels: dict[str, str], numbers: list[float]
) -> Iterator[tuple[str, float]]:
    """The series of one histogram: a bucket counts all that is not above its bound."""
    *counts, seconds = numbers
    bounds = [*(f"{bound:g}" for bound in BUCKETS_S), "+Inf"]
    for bound, count in zip(bounds, accumulate(counts), strict=True):
        yield series(f"{name}_bucket", **labels, le=bound), count
    yield series(f"{name}_sum", **labels), seconds
    yield series(f"{name}_count", **labels), sum(counts)


def series(name: str, **labels: str) -> str:
    """`name{key="value",…}`, with the labels in the order given."""
    if not labels:
        return name
    inside = ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in labels.items())
    return f"{name}{{{inside}}}"


def labelled(key: str, **labels: str) -> str:
    """The series with more labels in front of its own."""
    name, brace, inside = key.partition("{")
    front = series(name, **labels)
    return f"{front[:-1]},{inside}" if brace else front


def added(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """The sums of both."""
    both = dict(one)
    for key, value in other.items():
        both[key] = both.get(key, 0) + value
    return both
