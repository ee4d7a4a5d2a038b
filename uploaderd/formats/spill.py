"""Unpacked data on disk instead of in memory, up to a budget."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats import files
from uploaderd.formats.errors import UNSAFE_ARCHIVE, FormatError

FLOOR = 16 << 20
"""Bytes that every file may unpack to."""
RATIO = 150
"""Times its size that a file may unpack to beyond the floor; CelZip itself reaches 128."""

Bytes = NDArray[np.uint8]


class Budget:
    """How many bytes a file may still unpack to, so that a small one cannot fill the disk."""

    def __init__(self, packed_size: int) -> None:
        self._left = FLOOR + RATIO * packed_size

    def take(self, size: int) -> None:
        """Counts bytes; raises FormatError `unsafe_archive` when there are none left."""
        self._left -= size
        if self._left < 0:
            raise FormatError(UNSAFE_ARCHIVE, "The file unpacks to far more than its size allows.")


def spill(parts: Iterable[bytes | Bytes], budget: Budget) -> Bytes:
    """All parts as one array that is backed by an unnamed temporary file."""
    with tempfile.TemporaryFile() as file:
        for part in parts:
            data = np.frombuffer(part, np.uint8) if isinstance(part, bytes) else part
            budget.take(data.size)
            file.write(data.data)
        file.flush()
        return _mapped(file)


def mapped_bytes(path: Path) -> Bytes:
    """A file's bytes, read as they are touched; raises FormatError as `files.mapped`."""
    return np.frombuffer(files.mapped(path), np.uint8)


def forget(data: Bytes, begin: int, end: int) -> None:
    """As `files.forget`, of an array of this module: bytes [begin, end) leave the memory."""
    base: Any = data
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    if isinstance(base, mmap.mmap):
        files.forget(base, begin, end)


def _mapped(file: Any) -> Bytes:
    if file.seek(0, 2) == 0:
        return np.empty(0, np.uint8)
    return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
