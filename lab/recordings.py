"""Measurement files of invented stations, valid to the last bit: for demo, tests and benches."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from uploaderd.formats.writers.crfs_bin import FlowPlan, write

BEGAN_NS = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 10**9
FLOWS = (
    FlowPlan(10, "FM broadcasting", 88_000_000, 108_000_000, rbw_hz=10_000),
    FlowPlan(20, "Air traffic control", 118_000_000, 137_000_000, rbw_hz=10_000),
)
POINTS = (801, 761)
CARRIERS = 12


def write_crfs(path: Path, number: int, *, traces: int = 60, hostname: str = "rfeye000001") -> Path:
    """A CRFS file of two flows with noise and some carriers; another number gives another file."""
    random = np.random.default_rng(number)
    carriers = [random.integers(0, points, CARRIERS) for points in POINTS]
    began = BEGAN_NS + number * 3600 * 10**9

    def levels(flow: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        noise = random.normal(-105, 2, POINTS[flow])
        noise[carriers[flow]] += random.uniform(20, 50, CARRIERS)
        return noise

    write(
        path,
        FLOWS,
        (
            (flow, began + trace * 10**9 + flow * 10**7, levels(flow))
            for trace in range(traces)
            for flow in range(len(FLOWS))
        ),
        hostname=hostname,
        position=(-12.9716 + number % 3, -38.4815, 40.0),
    )
    return path
