"""How many files of a station are at which stage, without counting again what did not change.

The ledger's ids sort by time, and the table keeps for each stretch of them (their first four
digits: 18 hours) a mark, the sum of its rows' hashes, as a projection: it is written and merged
with the rows themselves, so it cannot lag behind them. While a stretch's mark stays the same, so do
its counts, whatever was inserted, merged or deleted elsewhere; the others are folded anew
(decision 0160).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Set
from dataclasses import dataclass
from itertools import zip_longest

from uploaderd.catalog.client import Catalog

MARKS = """
SELECT arrayConcat(groupArray(toUInt64(stretch)), groupArray(mark)) AS marks
FROM (
    SELECT reinterpretAsUInt32(file_id) AS stretch, sum(cityHash64(file_id, version)) AS mark
    FROM files WHERE host_id = %(host_id)s GROUP BY host_id, stretch
)
SETTINGS max_threads = 1
"""
"""What the projection holds of a station: its stretches, then their marks."""
_COUNTS = """
SELECT reinterpretAsUInt32(file_id) AS stretch, count() AS files,
       countIf(stage = 'discovered') AS discovered, countIf(stage = 'fetched') AS fetched,
       countIf(stage IN ('failed', 'trashed')) AS refused,
       toFloat64(max(processed_at)) AS last_processed
FROM files FINAL WHERE host_id = %(host_id)s AND ({ranges}) GROUP BY stretch
"""
_RANGES = 50
"""More than these are no shorter to read than all."""
_STRETCHES = 200_000
"""Remembered for one database at most: forty megabytes."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Files of a stretch of ids, or of a whole station."""

    files: int = 0
    discovered: int = 0
    fetched: int = 0
    refused: int = 0
    """Failed or trashed."""
    last_processed: float = 0.0
    """Unix seconds; 0: never."""


@dataclass(frozen=True, slots=True)
class _Station:
    """What was counted of a station, each stretch after its mark was read."""

    marks: list[int]
    """The stretches, then their marks, as they came."""
    stretches: Mapping[int, tuple[int, Tally]]
    """For each stretch its mark and its counts."""
    total: Tally


class _Memory:
    """The stations of one database, the one asked for last at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stations: OrderedDict[int, _Station] = OrderedDict()
        self._size = 0

    def recall(self, host_id: int) -> _Station:
        with self._lock:
            return self._stations.get(host_id, _Station([], {}, Tally()))

    def keep(self, host_id: int, station: _Station) -> None:
        with self._lock:
            if before := self._stations.pop(host_id, None):
                self._size -= len(before.stretches)
            self._stations[host_id] = station
            self._size += len(station.stretches)
            while self._size > _STRETCHES and len(self._stations) > 1:
                self._size -= len(self._stations.popitem(last=False)[1].stretches)


_memories: dict[tuple[str, int, str], _Memory] = {}
"""By address and name of the database: all connections of a process to it share one."""


def tally(catalog: Catalog, host_id: int) -> Tally:
    """Counts of the station's files.

    A file of which rows come in meanwhile counts as it was before or after them.
    Raises `CatalogError`.
    """
    settings = catalog.settings
    memory = _memories.setdefault((settings.host, settings.port, settings.database), _Memory())
    known = memory.recall(host_id)
    marks: list[int] = catalog.query(MARKS, {"host_id": host_id})[0]["marks"]
    if known.marks == marks:
        return known.total
    half = len(marks) // 2
    now = dict(zip(marks[:half], marks[half:], strict=True))
    same = {one: old for one, old in known.stretches.items() if now.get(one) == old[0]}
    changed = now.keys() - same.keys()
    fresh = _count(catalog, host_id, now.keys(), changed) if changed else {}
    # A mark is older than its counts: what came in between has changed the mark since.
    stretches = {**same, **{one: (now[one], fresh.get(one, Tally())) for one in changed}}
    total = _sum([counts for _, counts in stretches.values()])
    memory.keep(host_id, _Station(marks, stretches, total))
    return total


def _count(
    catalog: Catalog, host_id: int, stretches: Set[int], changed: Set[int]
) -> dict[int, Tally]:
    ranges = _ranges(sorted(map(_start, stretches)), set(map(_start, changed)))
    rows = catalog.query(
        _COUNTS.format(ranges=" OR ".join(ranges) if len(ranges) <= _RANGES else "1"),
        {"host_id": host_id},
    )
    return {row.pop("stretch"): Tally(**row) for row in rows}


def _start(stretch: int) -> bytes:
    """The digits with which the ids of a stretch begin."""
    return stretch.to_bytes(4, "little")


def _ranges(starts: list[bytes], changed: set[bytes]) -> list[str]:
    """Conditions that hold for the ids of changed stretches; neighbours share one."""
    found: list[str] = []
    first: bytes | None = None
    for start, following in zip_longest(starts, starts[1:]):
        if start not in changed:
            continue
        first = first or start
        if following is None or following not in changed:
            end = f" AND file_id < {_literal(following)}" if following else ""
            found.append(f"(file_id >= {_literal(first)}{end})")
            first = None
    return found


def _literal(start: bytes) -> str:
    return f"toFixedString(unhex('{start.hex()}'), 32)"


def _sum(tallies: list[Tally]) -> Tally:
    return Tally(
        files=sum(one.files for one in tallies),
        discovered=sum(one.discovered for one in tallies),
        fetched=sum(one.fetched for one in tallies),
        refused=sum(one.refused for one in tallies),
        last_processed=max((one.last_processed for one in tallies), default=0.0),
    )
