"""Files as read-only memory, and giving that memory back."""

from __future__ import annotations

import mmap
from pathlib import Path

from uploaderd.formats.errors import EMPTY_FILE, UNREADABLE, FormatError


def mapped(path: Path) -> mmap.mmap:
    """The file as a read-only memory map; it is closed when nothing refers to it any more.

    Raises FormatError: `unreadable`, or `empty_file`.
    """
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise FormatError(EMPTY_FILE, f"{path.name} is empty.")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise FormatError(UNREADABLE, f"{path.name} cannot be read: {error.strerror}.") from error


def forget(memory: mmap.mmap, begin: int, end: int) -> None:
    """Lets the kernel take the pages of bytes [begin, end) out of this process's memory.

    They stay in the page cache; touching them again maps them again.
    """
    first = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
    whole = end // mmap.PAGESIZE * mmap.PAGESIZE - first
    if whole > 0 and hasattr(mmap, "MADV_DONTNEED"):
        memory.madvise(mmap.MADV_DONTNEED, first, whole)
