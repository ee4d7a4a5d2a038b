"""Readers of measurement files against one NumPy sum over the same bytes.

Files have 100 MB, or what `BENCH_FORMATS_MB` says. Speeds are per second of processor time, which
other work on the machine disturbs least. All readers are single-threaded.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import _formats_memory, _formats_peer
from bench._formats_files import CASES
from uploaderd import formats

RUNS = 4
USUAL = "CRFS, blocks of 1.1 kB"
"""The case that is measured beside peers."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `run` is given."""
    parser.add_argument("--rfpye", type=Path, metavar="PYTHON", help="interpreter with rfpye")
    parser.add_argument("--no-memory", action="store_true", help="without the 2 GB file")
    parser.add_argument("--only", metavar="TEXT", help="formats whose title holds the text, alone")


def run(choice: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """MB/s of each format: metadata (CRFS: all checksums verified), and with level statistics.

    Then the same CRFS file beside a peer, and the memory that large files take.
    """
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if choice.only is None or choice.only in case.title:
                path = Path(folder) / case.name
                case.write(path)
                yield from _measured(case.title, path)
                yield from _against_others(case.title, path, choice.rfpye)
                path.unlink()
        if not choice.no_memory and choice.only is None:
            yield from _formats_memory.run(Path(folder))


def _against_others(title: str, path: Path, rfpye: Path | None) -> Iterator[dict[str, Any]]:
    if title == "RFlook v.2":
        yield _result(f"{title}, statistics, against zlib", path, statistics_of, _inflated)
    if title == USUAL:
        yield from _beside_peers(path, rfpye)


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
                "case": f"{USUAL}, {title}, beside {name}",
                "ours": round(ours, 1),
                "reference": round(theirs, 1),
                "reference_name": name,
                "ratio": round(ours / theirs, 1),
                "unit": "MB/s",
                "file_mb": round(megabytes, 1),
                "runs": RUNS,
            }


def _measured(title: str, path: Path) -> Iterator[dict[str, Any]]:
    """CRFS is never read without its checksums, RFlook v.2 compares them with statistics."""
    checked = ", every checksum verified" if title.startswith("CRFS") else ""
    yield _result(f"{title}, metadata{checked}", path, metadata_of, _summed)
    if title == "SigMF":
        # Samples are not levels.
        yield _result(f"{title}, checksum verified", path, verified_of, _summed)
        return
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


def verified_of(path: Path) -> None:
    """Reads without levels, but all that a checksum is over."""
    _check(formats.read(path, verify=True))


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
