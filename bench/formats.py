"""Readers of measurement files against one NumPy sum over the same bytes."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from uploaderd import formats
from uploaderd.formats.writers import crfs_bin, rflook_bin

SIZE = int(os.environ.get("BENCH_FORMATS_MB", "100")) * 1_000_000
RUNS = 3
T0 = 1_700_000_000_000_000_000


def run() -> Iterator[dict[str, Any]]:
    """MB/s of each format: metadata (checksums verified), and with level statistics."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.bin"
        for case, make in CASES.items():
            make(path)
            yield from _measured(case, path)


def _measured(case: str, path: Path) -> Iterator[dict[str, Any]]:
    def summed() -> None:
        np.fromfile(path, np.uint8).sum(dtype=np.uint64)

    megabytes = path.stat().st_size / 1e6
    limit = _speed(summed, megabytes)
    for what, with_levels in (("metadata", False), ("statistics", True)):
        ours = _speed(_reading(path, with_levels=with_levels), megabytes)
        yield {
            "case": f"{case}, {what}",
            "ours": round(ours, 1),
            "reference": round(limit, 1),
            "reference_name": "one NumPy sum",
            "ratio": round(ours / limit, 3),
            "unit": "MB/s",
            "runs": RUNS,
        }


def _speed(work: Callable[[], object], megabytes: float) -> float:
    """Median of megabytes a second, after one run that warms the caches."""
    work()
    found = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        work()
        found.append(megabytes / (time.perf_counter() - begin))
    return statistics.median(found)


def _reading(path: Path, *, with_levels: bool) -> Callable[[], object]:
    def work() -> None:
        recording = formats.read(path, statistics=with_levels)
        if recording.outcome != "ok":
            raise RuntimeError(f"the generated file is not sound: {recording.issues}")

    return work


def _crfs(path: Path, points: int, block_type: int) -> None:
    """Repeats some thousand blocks of three flows; a file may hold equal blocks."""
    random = np.random.default_rng(1)
    plans = [
        crfs_bin.FlowPlan(10 * (i + 1), f"task {i}", 88_000_000, 108_000_000, block_type)
        for i in range(3)
    ]
    blocks = b"".join(
        crfs_bin.trace(plans[i % 3], T0 + i * 10**8, random.normal(-90, 8, points))
        for i in range(900)
    )
    with path.open("wb") as file:
        file.write(crfs_bin.file_header(23) + crfs_bin.unit_info("rfeye009999"))
        for _ in range(max(1, SIZE // len(blocks))):
            file.write(blocks)


def _rflook(path: Path, write: Callable[..., None], bytes_a_trace: int) -> None:
    """10 MB, for compressing is slow; the reader's speed does not depend on the size."""
    points = 1000
    traces = max(10, min(SIZE, 10_000_000) // bytes_a_trace)
    levels = np.random.default_rng(1).normal(-90, 8, (traces, points))
    write(path, rflook_bin.Plan(), [T0 + i * 10**9 for i in range(traces)], levels)


CASES: dict[str, Callable[[Path], None]] = {
    "CRFS, blocks of 1.1 kB": lambda path: _crfs(path, 1024, 67),
    "CRFS, blocks of 2.5 kB": lambda path: _crfs(path, 2400, 63),
    "CRFS, blocks of 76 bytes": lambda path: _crfs(path, 4, 63),
    "RFlook v.1": lambda path: _rflook(path, rflook_bin.write_v1, 1020),
    "RFlook v.2": lambda path: _rflook(path, rflook_bin.write_v2, 850),
}
