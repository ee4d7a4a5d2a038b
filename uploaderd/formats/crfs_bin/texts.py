"""What the other CRFS blocks tell: station, script, names of threads, GPS fixes, clocks."""

from __future__ import annotations

import struct
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats.crfs_bin.blocks import PAYLOAD, Batch, Bytes
from uploaderd.formats.crfs_bin.traces import decoded, wall_times
from uploaderd.formats.issues import IssueLog
from uploaderd.formats.model import NO_TIME, Position
from uploaderd.formats.positions import FixLog

MAX_THREADS = 4096
"""Threads whose names are kept."""
MAX_TEXT = 4096
"""Bytes of a text that are kept."""
QUARTER_NS = 900 * 1_000_000_000
"""Time zones differ by multiples of a quarter of an hour."""


class Station:
    """Gathers, batch after batch, what is not a spectrum."""

    def __init__(self, data: Bytes, offset_ns: int) -> None:
        self._data, self._offset_ns = data, offset_ns
        self.hostname: str | None = None
        self.unit_info: str | None = None
        self.method: str | None = None
        self.names: dict[int, str] = {}
        self._fixes = FixLog()
        self._quarters: Counter[int] = Counter()

    def add(self, batch: Batch) -> None:
        """Takes what a batch tells."""
        for block_type, take in (
            (1, self._unit), (21, self._unit), (3, self._name), (22, self._name), (24, self._name),
        ):  # fmt: skip
            for i in np.flatnonzero(batch.types == block_type):
                begin = int(batch.offsets[i]) + PAYLOAD
                length = min(int(batch.lengths[i]), 4 * MAX_TEXT)
                payload = self._data.bytes[begin : begin + length].tobytes()
                take(block_type, int(batch.threads[i]), payload)
        self._add_fixes(batch)

    def _unit(self, block_type: int, _thread: int, payload: bytes) -> None:
        if len(payload) < 20 or self.hostname is not None:
            return
        self.hostname = decoded(payload[:16]) or None
        info, after = _text(payload, 16)
        self.unit_info = info or None
        if block_type == 21:
            self.method = _text(payload, after)[0] or None

    def _name(self, block_type: int, thread: int, payload: bytes) -> None:
        if thread in self.names or len(self.names) < MAX_THREADS:
            self.names[thread] = _text(payload, 4 if block_type == 24 else 0)[0]

    def _add_fixes(self, batch: Batch) -> None:
        modern = batch.only((batch.types == 40) & (batch.lengths >= 40))
        if modern.offsets.size:
            rows = self._data.rows(modern.offsets + PAYLOAD, 40)
            valid = rows[:, 20] != 0
            self._keep(rows[:, 24:32], rows[:, 36:40], valid)
            self._compare_clocks(rows[valid])
        old = batch.only((batch.types == 2) & (batch.lengths >= 32))
        if old.offsets.size:
            rows = self._data.rows(old.offsets + PAYLOAD, 32)
            self._keep(rows[:, 14:22], rows[:, 28:32], (rows[:, 10:12] != 0).any(axis=1))

    def _keep(
        self, place: NDArray[np.uint8], altitude: NDArray[np.uint8], valid: NDArray[np.bool_]
    ) -> None:
        """Keeps valid fixes: bytes of latitude and longitude [n, 8] and altitude [n, 4]."""
        parts = np.concatenate([place[valid], altitude[valid]], axis=1)
        lat, lon, alt = np.ascontiguousarray(parts).view("<i4").T
        self._fixes.add(lat / 1e6, lon / 1e6, alt / 1e3)

    def _compare_clocks(self, rows: NDArray[np.uint8]) -> None:
        """Counts by how many quarters of an hour the wall clock is ahead of GPS time."""
        if not len(rows) or len(self._quarters) > MAX_THREADS:
            return
        wall = wall_times(rows[:, :8], 0, self._offset_ns)
        gps = wall_times(rows[:, 12:20], 0, 0)
        known = (wall != NO_TIME) & (gps != NO_TIME)
        quarters = np.rint((wall[known] - gps[known]) / QUARTER_NS).astype(np.int64)
        values, counts = np.unique(quarters, return_counts=True)
        self._quarters.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))

    def note_clock(self, issues: IssueLog) -> None:
        """Reports a wall clock that differs from GPS time by a multiple of 15 minutes."""
        if not self._quarters:
            return
        quarters, fixes = self._quarters.most_common(1)[0]
        if quarters:
            issues.add("clock_offset", minutes=15 * quarters, fixes=fixes)

    def position(self) -> Position | None:
        """Median of the valid fixes, with their number."""
        return self._fixes.position()


def _text(payload: bytes, at: int) -> tuple[str, int]:
    """Length-prefixed text at an offset, and where it ends; empty if it does not fit."""
    if at + 4 > len(payload):
        return "", len(payload)
    length = struct.unpack_from("<I", payload, at)[0]
    return decoded(payload[at + 4 : at + 4 + min(length, MAX_TEXT)]), at + 4 + length
