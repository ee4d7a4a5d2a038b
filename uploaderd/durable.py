"""What makes bytes and names on a disk outlive a power cut."""

from __future__ import annotations

import ctypes
import os
import re
from functools import cache
from pathlib import Path

TOLD_SINCE = (5, 8)
"""From this Linux on, `syncfs` tells of bytes that could not be written (syncfs(2))."""
ON_A_DISK = {0xEF53, 0x58465342, 0x9123683E, 0xF2F52010}
"""ext4, XFS, btrfs and F2FS, by the magic number of statfs(2)."""
KNOWN_FILE_SYSTEMS = ON_A_DISK | {0x01021994}
"""With tmpfs. Others are not trusted: FUSE and overlays hand a `syncfs` on, or do not."""


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file_system(handle: int) -> None:
    """Makes durable all that was written on the file system of an open file.

    Raises OSError, also for bytes of other files that could not be written since this was opened.
    """
    if _libc().syncfs(handle):
        _raise_errno()


def syncs_file_systems(handle: int) -> bool:
    """Whether `sync_file_system` says the truth of the file system of an open file."""
    if not (kernel_tells(os.uname().release) and hasattr(_libc(), "syncfs")):
        return False
    return _file_system(handle) in KNOWN_FILE_SYSTEMS


def is_on_a_disk(handle: int) -> bool:
    """Whether an open file lies on a file system of a disk of this machine; raises OSError."""
    return _file_system(handle) in ON_A_DISK


def _file_system(handle: int) -> int:
    about = (ctypes.c_long * 32)()
    if _libc().fstatfs(handle, about):
        _raise_errno()
    return about[0]


def kernel_tells(release: str) -> bool:
    """Whether the Linux of that release tells of errors when a file system is synced."""
    version = re.match(r"(\d+)\.(\d+)", release)
    return version is not None and (int(version[1]), int(version[2])) >= TOLD_SINCE


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _raise_errno() -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))
