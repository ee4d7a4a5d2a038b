"""`python -m tests.fuzz.reader FORMAT FOLDER [libFuzzer's options]`: one reader under coverage.

Mutates small sound files of our own writers, guided by the lines of the readers that they reach.
Ends with 0 if all that comes out are recordings and FormatErrors.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["uploaderd.formats"]):
    from uploaderd.formats import FormatError, ReadOptions
    from uploaderd.formats.registry import formats

    READERS = {reader.name: reader for reader in formats()}

from uploaderd.formats.writers import cellplan_dbm, celzip, crfs_bin, rflook_bin, text

START = datetime(2024, 5, 31, 23, 59, 58, tzinfo=UTC)
T0 = 1_700_000_000_000_000_000
LEVELS = np.random.default_rng(2).integers(-1200, -300, (3, 8)) / 10
SIGMF = b"""{"global":
{"core:datatype": "ci16_le", "core:version": "1.2.5", "core:sample_rate": 1e6},
"captures": [{"core:sample_start": 0, "core:frequency": 1e8}], "annotations": []}"""


def crfs() -> list[bytes]:
    """One file a block type."""
    head = crfs_bin.file_header(23) + crfs_bin.unit_info("rfeye009999")
    plans = [crfs_bin.FlowPlan(1, "task", 88_000_000, 108_000_000, kind) for kind in CRFS_TYPES]
    return [
        head + b"".join(crfs_bin.trace(plan, T0 + i, row) for i, row in enumerate(LEVELS))
        for plan in plans
    ]


CRFS_TYPES = (4, 7, 8, 60, 61, 62, 63, 64, 65, 67, 68, 69)


def rflook() -> list[bytes]:
    """One file a layout."""
    path = FOLDER / "seed.bin"
    found = []
    for write in (rflook_bin.write_v1, rflook_bin.write_v2):
        write(path, rflook_bin.Plan(), [T0 + i * 10**9 for i in range(3)], LEVELS)
        found.append(path.read_bytes())
    return found


def cellplan() -> list[bytes]:
    """A raw buffer without the long table of centres, and the same packed."""
    raw = cellplan_dbm.write([cellplan_dbm.Record(START, 71e6, trace) for trace in LEVELS])
    short = bytearray(raw[:216] + raw[cellplan_dbm.HEADER_SIZE :])
    struct.pack_into("<i", short, 36, 216)
    return [bytes(short), celzip.pack(bytes(short))]


def argus() -> list[bytes]:
    """A raw export and a compressed one."""
    return [
        text.argus_csv(START, range(8), LEVELS),
        text.argus_csv(START, range(8), LEVELS, counts=[3] * 3),
    ]


def sweeps() -> list[bytes]:
    """What rtl_power and hackrf_sweep write."""
    return [
        text.sweep_csv(START, [(0, 400), (400, 800)], 100, LEVELS),
        text.sweep_csv(START, [(0, 800)], 100, LEVELS, hackrf=True),
    ]


SEEDS: dict[str, tuple[str, Callable[[], list[bytes]]]] = {
    "crfs_bin": ("a.bin", crfs),
    "rflook_bin": ("a.bin", rflook),
    "cellplan_dbm": ("a.dBm", cellplan),
    "argus_csv": ("a.csv", argus),
    "sm1809": ("a.txt", lambda: [text.sm1809(START, [(1, 2), (3, 4)], [LEVELS, LEVELS])]),
    "sweep_csv": ("a.csv", sweeps),
    "sigmf": ("a.sigmf-meta", lambda: [SIGMF]),
}


def mended(data: bytes) -> bytes:
    """A CRFS file whose blocks have right checksums: else no mutation would reach their fields."""
    out, at = bytearray(data), 36
    while at + 20 <= len(out):
        end = at + 12 + struct.unpack_from("<i", out, at + 4)[0]
        if end < at + 12 or end + 8 > len(out):
            break
        struct.pack_into("<I4s", out, end, sum(out[at:end]) & 0xFFFFFFFF, b"UUUU")
        at = end + 8
    return bytes(out)


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    name, path = sys.argv[1], FOLDER / SEEDS[sys.argv[1]][0]
    reader = READERS[name]
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for i, seed in enumerate(SEEDS[name][1]()):
        (corpus / f"seed{i}").write_bytes(seed)

    def read(data: bytes) -> None:
        path.write_bytes(mended(data) if name == "crfs_bin" and data[-1:] != b"!" else data)
        try:
            reader.sniff(data, path)
            recording = reader.read(path, ReadOptions(statistics=True))
            for block in reader.traces(path, ReadOptions()):
                assert block.levels.shape[1] == recording.spectra[block.flow].points
        except FormatError:
            return

    atheris.Setup([sys.argv[0], *sys.argv[3:], str(corpus)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    FOLDER = Path(sys.argv[2])
    main()
