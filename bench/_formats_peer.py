"""CRFS peers: rfpye in an interpreter of its own, and a plain walk, block by block.

rfpye is not installed here: `--rfpye PYTHON` names an interpreter that has it (`pip install numpy
Cython 'setuptools<70'`, then `pip install --no-build-isolation rfpye`). The plain walk is what one
writes at first: frames, checksums and levels block by block.
"""

from __future__ import annotations

import struct
import subprocess
import time
from pathlib import Path

import numpy as np

RFPYE = """
import platform, sys, time
platform.python_version = lambda: "3.9.0"
from rfpye.parser import parse_bin
begin = time.process_time()
found = parse_bin(sys.argv[1])
for spectrum in found["spectrum"] if sys.argv[2] == "statistics" else ():
    spectrum.levels
print(time.process_time() - begin)
"""
"""rfpye 0.3.7 takes Python 3.11 for 3.1, and refuses it."""


def rfpye_seconds(python: Path, path: Path, work: str) -> float:
    """Seconds of processor time that rfpye takes to parse a file; `statistics`: with all levels."""
    done = subprocess.run(
        [python, "-c", RFPYE, path, work], capture_output=True, text=True, check=True, timeout=600
    )
    return float(done.stdout.split()[-1])


def plain_seconds(path: Path, _work: str) -> float:
    """Seconds of processor time that the plain walk takes, which always looks at all levels."""
    begin = time.process_time()
    plain_walk(path)
    return time.process_time() - begin


def plain_walk(path: Path) -> dict[int, int]:
    """Traces of each thread of a CRFS file whose blocks are all sound."""
    data = path.read_bytes()
    position, flows = 36, dict[int, list[float]]()
    while position < len(data):
        thread, length, kind = struct.unpack_from("<iii", data, position)
        end = position + 12 + length
        checksum, marker = struct.unpack_from("<I4s", data, end)
        if sum(data[position:end]) & 0xFFFFFFFF != checksum or marker != b"UUUU":
            raise ValueError(f"the block at {position} is damaged")
        if kind >= 60:
            levels = np.frombuffer(data[end - length // 2 : end], np.uint8) / 2 - 127.5
            flows.setdefault(thread, []).append(float(levels.mean()))
        position = end + 8
    return {thread: len(means) for thread, means in flows.items()}
