"""The memory that a reader takes depends neither on the file's size nor on its flows' number."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from uploaderd import formats
from uploaderd.formats.statistics import MAX_FLOWS
from uploaderd.formats.writers import cellplan_dbm, crfs_bin

LIMIT = 64 << 20
SIZE = 2_000_000_000
T0 = 1_700_000_000_000_000_000
LEVELS = np.random.default_rng(1).normal(-90, 8, (900, 1024))

MEASURE = """
import sys
from pathlib import Path
from uploaderd import formats

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))

formats.read(sys.argv[1], statistics=True)
base = peak()
recording = formats.read(sys.argv[2], statistics=True)
print(peak() - base, recording.outcome, sum(s.n_traces for s in recording.spectra))
"""


def peak_beyond_a_small_file(small: Path, large: Path) -> tuple[int, str, int]:
    """Bytes, outcome and traces of reading a large file in a process that has read a small one."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, small, large], capture_output=True, text=True, check=True
    )
    size, outcome, traces = done.stdout.split()
    return int(size), outcome, int(traces)


def crfs(path: Path, repeats: int) -> int:
    plans = [crfs_bin.FlowPlan(i, f"task {i}", 88_000_000, 108_000_000) for i in (1, 2, 3)]
    body = b"".join(
        crfs_bin.trace(plans[i % 3], T0 + i * 10**8, row) for i, row in enumerate(LEVELS)
    )
    repeats = min(repeats, SIZE // len(body))
    with path.open("wb") as file:
        file.write(crfs_bin.file_header(23) + crfs_bin.unit_info("rfeye009999"))
        for _ in range(repeats):
            file.write(body)
    return repeats * len(LEVELS)


def cellplan(path: Path, repeats: int) -> int:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    data = cellplan_dbm.write([cellplan_dbm.Record(start, 71e6, row) for row in LEVELS])
    head, body = bytearray(data[: cellplan_dbm.HEADER_SIZE]), data[cellplan_dbm.HEADER_SIZE :]
    repeats = min(repeats, SIZE // len(body))
    struct.pack_into("<i", head, 40, repeats * len(LEVELS))
    with path.open("wb") as file:
        file.write(head)
        for _ in range(repeats):
            file.write(body)
    return repeats * len(LEVELS)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("write", "name"), [(crfs, "a.bin"), (cellplan, cellplan_dbm.NAME)])
def test_two_gigabytes_take_little_memory(
    tmp_path: Path, write: Callable[[Path, int], int], name: str
) -> None:
    (tmp_path / "small").mkdir()
    small, large = tmp_path / "small" / name, tmp_path / name
    write(small, 1)
    try:
        expected = write(large, SIZE)
        assert large.stat().st_size > SIZE * 0.99
        size, outcome, traces = peak_beyond_a_small_file(small, large)
    finally:
        large.unlink(missing_ok=True)
    assert (outcome, traces) == ("ok", expected)
    assert size < LIMIT


def test_thousands_of_flows_take_little_memory(tmp_path: Path) -> None:
    small, large = tmp_path / "small.bin", tmp_path / "large.bin"
    crfs(small, 1)
    flows = 4000
    with large.open("wb") as file:
        file.write(crfs_bin.file_header(23) + crfs_bin.unit_info("rfeye009999"))
        for i in range(flows):
            plan = crfs_bin.FlowPlan(i, f"task {i}", 88_000_000, 108_000_000)
            file.write(crfs_bin.trace(plan, T0 + i * 10**8, LEVELS[i % 900]))
    size, outcome, traces = peak_beyond_a_small_file(small, large)
    assert (outcome, traces) == ("ok", flows)
    assert size < LIMIT


def test_of_more_flows_than_a_station_has_the_statistics_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    flows = MAX_FLOWS + 2
    plans = [crfs_bin.FlowPlan(i, "task", 88_000_000, 108_000_000) for i in range(flows)]
    path.write_bytes(
        crfs_bin.file_header(23)
        + b"".join(crfs_bin.trace(plan, T0, np.full(4, -90.0)) for plan in plans)
    )
    recording = formats.read(path, statistics=True)
    assert sum(spectrum.statistics is not None for spectrum in recording.spectra) == MAX_FLOWS
    assert [issue.as_dict() for issue in recording.issues] == [
        {"kind": "statistics_left_out", "flows": 2}
    ]
