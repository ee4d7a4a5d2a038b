"""The files that readers are measured on: 100 MB each, by our own writers.

Most repeat a shorter run of blocks or lines, for a file may hold equal ones, and Python writes
some formats at no more than a megabyte a second.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats.cellplan_dbm.celzip import (
    CHUNK_SIZE,
    END_OF_CHUNK,
    END_OF_DATA,
    read_header,
)
from uploaderd.formats.cellplan_dbm.celzip import HEADER_SIZE as PACKED_HEADER
from uploaderd.formats.writers import (
    cellplan_dbm,
    celzip,
    crfs_bin,
    rflook_bin,
    sigmf_recording,
    text,
)

SIZE = int(os.environ.get("BENCH_FORMATS_MB", "100")) * 1_000_000
T0 = 1_700_000_000_000_000_000
START = datetime(2026, 1, 1, tzinfo=UTC)
POINTS = 1000
CELLPLAN_POINTS = 1207
"""51 records with so many levels are as long as a chunk of CelZip."""
PERIOD = 204
"""Records of four chunks."""


@dataclass(frozen=True)
class Case:
    """A file to measure: what it is called, its name on disk, and what writes it."""

    title: str
    name: str
    write: Callable[[Path], None]


def _levels(traces: int, points: int = POINTS) -> NDArray[np.float64]:
    return np.random.default_rng(1).normal(-90, 8, (traces, points))


def _repeated(path: Path, head: bytes, body: bytes) -> None:
    """Writes the head and as many bodies as the size takes."""
    with path.open("wb") as file:
        file.write(head)
        for _ in range(max(1, (SIZE - len(head)) // len(body))):
            file.write(body)


def _crfs(path: Path, points: int, block_type: int) -> None:
    """Repeats 900 blocks of three flows."""
    plans = [
        crfs_bin.FlowPlan(10 * (i + 1), f"task {i}", 88_000_000, 108_000_000, block_type)
        for i in range(3)
    ]
    blocks = b"".join(
        crfs_bin.trace(plans[i % 3], T0 + i * 10**8, levels)
        for i, levels in enumerate(_levels(900, points))
    )
    _repeated(path, crfs_bin.file_header(23) + crfs_bin.unit_info("rfeye009999"), blocks)


def _rflook_v1(path: Path) -> None:
    traces = max(10, SIZE // POINTS)
    times = [T0 + i * 10**9 for i in range(traces)]
    rflook_bin.write_v1(path, rflook_bin.Plan(), times, _levels(traces))


def _rflook_v2(path: Path) -> None:
    """Repeats 2,000 blocks."""
    times = [T0 + i * 10**9 for i in range(2000)]
    rflook_bin.write_v2(path, rflook_bin.Plan(), times, _levels(len(times)))
    head, begin, blocks = path.read_bytes().partition(b"StArT")
    _repeated(path, head, begin + blocks)


def _cellplan(records: int, declared: int) -> bytes:
    """A raw buffer whose records repeat after a period, and whose header declares a number."""
    levels = _levels(min(records, PERIOD), CELLPLAN_POINTS)
    rows = [cellplan_dbm.Record(START, 71e6, row) for row in levels]
    data = bytearray(cellplan_dbm.write(rows * (records // len(rows))))
    struct.pack_into("<i", data, 40, declared)
    return bytes(data)


def _cellplan_raw(path: Path) -> None:
    data = _cellplan(PERIOD, PERIOD)
    head, body = data[: cellplan_dbm.HEADER_SIZE], data[cellplan_dbm.HEADER_SIZE :]
    _repeated(path, head, body)
    with path.open("r+b") as file:
        file.seek(40)
        file.write(struct.pack("<i", PERIOD * ((path.stat().st_size - len(head)) // len(body))))


def _cellplan_packed(path: Path) -> None:
    """Repeats the second four chunks of nine; the first has the header, the last is shorter."""
    data = celzip.pack(_cellplan(2 * PERIOD, 2 * PERIOD))
    times = max(1, (SIZE * len(data) // (9 * CHUNK_SIZE)) // (4 * CHUNK_SIZE))
    data = celzip.pack(_cellplan(2 * PERIOD, PERIOD * (1 + times)))
    header = read_header(data)
    if header is None:
        raise RuntimeError("the writer of CelZip wrote no header")
    end = (header.packed_size - PACKED_HEADER - 4 * header.chunks) // 2
    codes = np.frombuffer(data, "<u2", end, PACKED_HEADER)
    chunks = np.split(codes, np.flatnonzero(codes >= END_OF_CHUNK) + 1)[:-1]
    chunks = [*chunks[:4], *chunks[4:8] * times, chunks[8]]
    starts = np.cumsum([0, *map(len, chunks[:-1])]).astype("<u4")
    packed = PACKED_HEADER + sum(chunk.nbytes for chunk in chunks) + starts.nbytes
    original = cellplan_dbm.HEADER_SIZE + 4 * CHUNK_SIZE * (1 + times)
    sizes = struct.pack("<IIfI", original, packed, 100 * (1 - packed / original), len(chunks))
    if int(chunks[-1][-1]) != END_OF_DATA:
        raise RuntimeError("the chunks of CelZip are not those that were expected")
    body = b"".join(chunk.tobytes() for chunk in chunks)
    path.write_bytes(data[: PACKED_HEADER - len(sizes)] + sizes + body + starts.tobytes())


def _lines(path: Path, data: bytes, body: bytes, before: int) -> None:
    """Repeats the body after `data`; `before` lines of the body are those of a header."""
    _repeated(path, data, body.split(b"\n", before)[before])


def _argus(path: Path, *, compressed: bool) -> None:
    counts = [30] * 50 if compressed else []
    frequencies = list(range(88_000_000, 88_000_000 + POINTS * 10_000, 10_000))
    first, more = (
        text.argus_csv(START, frequencies, _levels(50), counts=counts, info=info)
        for info in (text.INFO, ())
    )
    _lines(path, first, more, 1)


def _sm1809(path: Path) -> None:
    scans = text.sm1809(START, [(88_000.0, 108_000.0)], [_levels(200)])
    _lines(path, scans, scans, scans.count(b"\n") - 200)


def _sweep(path: Path) -> None:
    band = (88_000_000, 88_000_000 + POINTS * 10_000)
    _repeated(path, b"", text.sweep_csv(START, [band], 10_000.0, _levels(200)))


def _sigmf(path: Path) -> None:
    meta, samples = path.with_suffix(".sigmf-meta"), SIZE // sigmf_recording.BYTES_A_SAMPLE
    sigmf_recording.write(meta, 20e6, [(0, 100e6, START)], samples)
    document = json.loads(meta.read_text())
    document["global"]["core:sha512"] = hashlib.sha512(path.read_bytes()).hexdigest()
    meta.write_text(json.dumps(document))


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
