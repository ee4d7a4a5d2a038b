"""CRFS peers: rfpye in an interpreter of its own, and a plain walk, block by block.

rfpye is installed by nobody here: `--rfpye PYTHON` names an interpreter that has it. The plain walk
stands in for it: the same work (frames, checksums, times, levels of every trace) as one writes
it at first, without NumPy but for the levels.
"""

from __future__ import annotations

import struct
import subprocess
import time
from pathlib import Path

import numpy as np

RFPYE = """
import sys, time
from rfpye.parser import parse_bin
begin = time.process_time()
parse_bin(sys.argv[1])
print(time.process_time() - begin)
"""


def rfpye_seconds(python: Path, path: Path) -> float:
    """Seconds of processor time that rfpye takes for a file."""
    done = subprocess.run(
        [python, "-c", RFPYE, path], capture_output=True, text=True, check=True, timeout=600
    )
    return float(done.stdout.split()[-1])


def plain_seconds(path: Path) -> float:
    """Seconds of processor time that the plain walk takes for a file of type 67 or 63 blocks."""
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
