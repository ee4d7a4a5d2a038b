"""Peak memory of reading large files with statistics, above that of an interpreter with readers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from uploaderd.formats.writers import crfs_bin, rflook_bin, text

LARGE = int(os.environ.get("BENCH_FORMATS_MEMORY_MB", "2000")) * 1_000_000
"""Bytes of the CRFS file; the others have a tenth, for they are read more slowly."""
BOUND = 64.0
"""MiB that a reader may take."""
START = datetime(2026, 1, 1, tzinfo=UTC)
T0 = 1_700_000_000_000_000_000

MEASURE = """
import sys
from pathlib import Path
from uploaderd import formats

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

formats.read(sys.argv[1], statistics=True)
base = peak()
recording = formats.read(sys.argv[2], statistics=True)
if recording.outcome != "ok":
    sys.exit(f"the generated file is not sound: {recording.issues}")
print((peak() - base) / 1024)
"""


def run(folder: Path) -> Iterator[dict[str, Any]]:
    """One result a format: MiB beyond what reading a small file of the same kind takes."""
    levels = np.random.default_rng(1).normal(-90, 8, (300, 1000))
    for title, name, size, write in (
        ("CRFS", "large.bin", LARGE, _crfs),
        ("RFlook v.2", "large.bin", LARGE // 10, _rflook),
        ("Argus CSV", "large.csv", LARGE // 10, _argus),
        ("rtl_power CSV", "large.csv", LARGE // 10, _sweep),
    ):
        (folder / "small").mkdir(exist_ok=True)
        small, large = folder / "small" / name, folder / name
        head, body = write(small, levels)
        _repeated(small, head, body, 1)
        _repeated(large, head, body, size)
        yield _result(title, small, large)
        large.unlink()


def _result(title: str, small: Path, large: Path) -> dict[str, Any]:
    megabytes = large.stat().st_size / 1e6
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, small, large], capture_output=True, text=True, check=True
    )
    taken = float(done.stdout)
    return {
        "case": f"{title}, {megabytes:.0f} MB, memory above the interpreter's",
        "ours": round(taken, 1),
        "reference": BOUND,
        "reference_name": "bound",
        "ratio": round(taken / BOUND, 3),
        "unit": "MiB",
        "file_mb": round(megabytes, 1),
        "runs": 1,
    }


def _repeated(path: Path, head: bytes, body: bytes, size: int) -> None:
    with path.open("wb") as file:
        file.write(head)
        for _ in range(max(1, size // len(body))):
            file.write(body)


def _crfs(_: Path, levels: Any) -> tuple[bytes, bytes]:
    plans = [crfs_bin.FlowPlan(i, f"task {i}", 88_000_000, 108_000_000) for i in (1, 2, 3)]
    blocks = [crfs_bin.trace(plans[i % 3], T0 + i * 10**8, trace) for i, trace in enumerate(levels)]
    return crfs_bin.file_header(23) + crfs_bin.unit_info("rfeye009999"), b"".join(blocks)


def _rflook(path: Path, levels: Any) -> tuple[bytes, bytes]:
    times = [T0 + i * 10**9 for i in range(len(levels))]
    rflook_bin.write_v2(path, rflook_bin.Plan(), times, levels)
    data = path.read_bytes()
    begin = data.index(b"StArT")
    return data[:begin], data[begin:]


def _argus(_: Path, levels: Any) -> tuple[bytes, bytes]:
    frequencies = list(range(88_000_000, 98_000_000, 10_000))
    data = text.argus_csv(START, frequencies, levels, counts=[30] * len(levels), info=())
    begin = data.index(b"\n") + 1
    return data[:begin], data[begin:]


def _sweep(_: Path, levels: Any) -> tuple[bytes, bytes]:
    return b"", text.sweep_csv(START, [(88_000_000, 98_000_000)], 10_000.0, levels)
