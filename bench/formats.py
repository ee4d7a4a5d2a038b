"""Readers of measurement files against one NumPy sum over the same bytes.

Sizes are small, so that all formats take little time; `BENCH_FORMATS_MB` sets that of CRFS files,
and scales the others. Speeds are per second of processor time, which other work on the machine
disturbs least. All readers are single-threaded.
"""

from __future__ import annotations

import argparse
import itertools
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import _formats_memory, _formats_peer
from uploaderd import formats
from uploaderd.formats.writers import (
    cellplan_dbm,
    celzip,
    crfs_bin,
    rflook_bin,
    sigmf_recording,
    text,
)

SIZE = int(os.environ.get("BENCH_FORMATS_MB", "100")) * 1_000_000
RUNS = 4
T0 = 1_700_000_000_000_000_000
START = datetime(2026, 1, 1, tzinfo=UTC)
POINTS = 1000


@dataclass(frozen=True)
class Case:
    """A file to measure: what it is called, its name on disk, and what writes it."""

    title: str
    name: str
    write: Callable[[Path], None]


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `run` is given."""
    parser.add_argument("--rfpye", type=Path, metavar="PYTHON", help="interpreter with rfpye")
    parser.add_argument("--no-memory", action="store_true", help="without the 2 GB file")


def run(choice: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """MB/s of each format: metadata (CRFS: all checksums verified), and with level statistics.

    Then the same CRFS file beside a peer, and the memory that large files take.
    """
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            path = Path(folder) / case.name
            case.write(path)
            yield from _measured(case.title, path)
            path.unlink()
        path = Path(folder) / "inflate.bin"
        _rflook_v2(path)
        yield _result("RFlook v.2, statistics, against zlib", path, statistics_of, _inflated)
        path.unlink()
        _crfs(path, 1024, 67)
        yield from _beside_peers(path, choice.rfpye)
        path.unlink()
        if not choice.no_memory:
            yield from _formats_memory.run(Path(folder))


def _beside_peers(path: Path, rfpye: Path | None) -> Iterator[dict[str, Any]]:
    """One CRFS file of ours and theirs, by turns in the same run."""
    peers = {"a plain walk": _formats_peer.plain_seconds}
    if rfpye:
        peers["rfpye"] = partial(_formats_peer.rfpye_seconds, rfpye)
    megabytes = path.stat().st_size / 1e6
    for name, seconds in peers.items():
        for title, work in (("metadata", metadata_of), ("statistics", statistics_of)):
            theirs = megabytes / seconds(path, title)
            ours = _speeds(path, (work,))[0]
            yield {
                "case": f"CRFS, blocks of 1.1 kB, {title}, beside {name}",
                "ours": round(ours, 1),
                "reference": round(theirs, 1),
                "reference_name": name,
                "ratio": round(ours / theirs, 1),
                "unit": "MB/s",
                "file_mb": round(megabytes, 1),
                "runs": RUNS,
            }


def _measured(title: str, path: Path) -> Iterator[dict[str, Any]]:
    yield _result(f"{title}, metadata", path, metadata_of, _summed)
    if path.suffix == ".sigmf-data":
        return  # Samples are not levels.
    yield _result(f"{title}, statistics", path, statistics_of, _summed)


def _result(
    case: str, path: Path, work: Callable[[Path], None], reference: Callable[[Path], None]
) -> dict[str, Any]:
    """Runs of reader and reference by turns, so that what disturbs one disturbs the other."""
    speeds = _speeds(path, (work, reference))
    return {
        "case": case,
        "ours": round(speeds[0], 1),
        "reference": round(speeds[1], 1),
        "reference_name": "one NumPy sum" if reference is _summed else "zlib alone",
        "ratio": round(speeds[0] / speeds[1], 3),
        "unit": "MB/s",
        "file_mb": round(path.stat().st_size / 1e6, 1),
        "runs": RUNS,
    }


def _speeds(path: Path, works: Sequence[Callable[[Path], None]]) -> list[float]:
    """Best of megabytes a second of processor time; a first run of each warms the caches."""
    best = [float("inf")] * len(works)
    for turn, (i, work) in itertools.product(range(RUNS + 1), enumerate(works)):
        begin = time.process_time()
        work(path)
        if turn:
            best[i] = min(best[i], time.process_time() - begin)
    return [path.stat().st_size / 1e6 / seconds for seconds in best]


def metadata_of(path: Path) -> None:
    """Reads without levels."""
    _check(formats.read(path))


def statistics_of(path: Path) -> None:
    """Reads with level statistics."""
    _check(formats.read(path, statistics=True))


def _check(recording: formats.Recording) -> None:
    if recording.outcome != "ok":
        raise RuntimeError(f"the generated file is not sound: {recording.issues}")


def _summed(path: Path) -> None:
    np.memmap(path, np.uint8, "r").sum(dtype=np.uint64)


def _inflated(path: Path) -> None:
    """All gzip streams of a RFlook file, and nothing else."""
    data = path.read_bytes()
    begin = data.index(b"StArT")
    for block in data[begin:].split(b"StOpStArT"):
        stream = block[block.index(b"\x1f\x8b\x08") :]
        zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(stream)


def _levels(traces: int, points: int = POINTS) -> NDArray[np.float64]:
    return np.random.default_rng(1).normal(-90, 8, (traces, points))


def _repeated(path: Path, head: bytes, body: bytes, size: int) -> int:
    """Writes the head and as many bodies as `size` takes; their number."""
    times = max(1, size // len(body))
    with path.open("wb") as file:
        file.write(head)
        for _ in range(times):
            file.write(body)
    return times


def _crfs(path: Path, points: int, block_type: int) -> None:
    """Repeats 900 blocks of three flows; a file may hold equal blocks."""
    plans = [
        crfs_bin.FlowPlan(10 * (i + 1), f"task {i}", 88_000_000, 108_000_000, block_type)
        for i in range(3)
    ]
    blocks = b"".join(
        crfs_bin.trace(plans[i % 3], T0 + i * 10**8, levels)
        for i, levels in enumerate(_levels(900, points))
    )
    _repeated(path, crfs_bin.file_header(23) + crfs_bin.unit_info("rfeye009999"), blocks, SIZE)


def _rflook_v1(path: Path) -> None:
    traces = max(10, SIZE // 4 // POINTS)
    times = [T0 + i * 10**9 for i in range(traces)]
    rflook_bin.write_v1(path, rflook_bin.Plan(), times, _levels(traces))


def _rflook_v2(path: Path) -> None:
    """Repeats 2,000 blocks; a file may hold equal blocks."""
    times = [T0 + i * 10**9 for i in range(2000)]
    rflook_bin.write_v2(path, rflook_bin.Plan(), times, _levels(len(times)))
    head, begin, blocks = path.read_bytes().partition(b"StArT")
    _repeated(path, head, begin + blocks, SIZE)


def _cellplan(traces: int) -> tuple[bytes, bytes]:
    """Header and records of a raw buffer."""
    data = cellplan_dbm.write(
        [cellplan_dbm.Record(START, 71e6, levels) for levels in _levels(traces)]
    )
    return data[: cellplan_dbm.HEADER_SIZE], data[cellplan_dbm.HEADER_SIZE :]


def _cellplan_raw(path: Path) -> None:
    head, body = _cellplan(500)
    times = _repeated(path, head, body, SIZE // 2)
    with path.open("r+b") as file:
        file.seek(40)
        file.write(struct.pack("<i", 500 * times))


def _cellplan_packed(path: Path) -> None:
    path.write_bytes(celzip.pack(b"".join(_cellplan(max(1, SIZE // 50 // (2 * POINTS))))))


def _argus(path: Path, *, compressed: bool) -> None:
    traces = max(1, SIZE // 5 // (POINTS * 50))
    counts = [30] * traces if compressed else []
    frequencies = range(88_000_000, 88_000_000 + POINTS * 10_000, 10_000)
    path.write_bytes(text.argus_csv(START, list(frequencies), _levels(traces), counts=counts))


def _sm1809(path: Path) -> None:
    scans = max(1, SIZE // 20 // (POINTS * 6))
    path.write_bytes(text.sm1809(START, [(88_000.0, 108_000.0)], [_levels(scans)]))


def _sweep(path: Path) -> None:
    sweeps = max(1, SIZE // 20 // (POINTS * 7))
    band = (88_000_000, 88_000_000 + POINTS * 10_000)
    path.write_bytes(text.sweep_csv(START, [band], 10_000.0, _levels(sweeps)))


def _sigmf(path: Path) -> None:
    samples = SIZE // sigmf_recording.BYTES_A_SAMPLE
    sigmf_recording.write(path.with_suffix(".sigmf-meta"), 20e6, [(0, 100e6, START)], samples)


CASES = (
    Case("CRFS, blocks of 1.1 kB", "a.bin", lambda path: _crfs(path, 1024, 67)),
    Case("CRFS, blocks of 2.5 kB", "b.bin", lambda path: _crfs(path, 2400, 63)),
    Case("CRFS, blocks of 76 bytes", "c.bin", lambda path: _crfs(path, 4, 63)),
    Case("RFlook v.1", "d.bin", _rflook_v1),
    Case("RFlook v.2", "e.bin", _rflook_v2),
    Case("CellPlan, raw", cellplan_dbm.NAME, _cellplan_raw),
    Case("CellPlan, CelZip", cellplan_dbm.NAME, _cellplan_packed),
    Case("Argus CSV, raw", "f.csv", partial(_argus, compressed=False)),
    Case("Argus CSV, compressed", "f.csv", partial(_argus, compressed=True)),
    Case("SM.1809", "g.txt", _sm1809),
    Case("rtl_power CSV", "h.csv", _sweep),
    Case("SigMF", "i.sigmf-data", _sigmf),
)
