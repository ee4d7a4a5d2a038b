"""What keeps a process with many connections small, and its interpreter from useless work."""

from __future__ import annotations

import ctypes
import gc
import sys
from types import ModuleType
from typing import cast

GARBAGE = 10_000
"""New objects after which cycles are looked for."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3)."""
_ARENAS = 2
_MAPPED = 1 << 20
"""Bytes from which on a piece of memory is asked of the kernel by itself, and given back at once:
above the 256 KiB packets of a transfer, each of which would be mapped, zeroed and unmapped."""
_TRIMMED = 4 << 20
"""Free bytes at a heap's end that are given back: several packets, else they come and go, too."""


def spare() -> None:
    """Few heaps for all threads, which keep what a transfer needs, and no library nobody uses.

    glibc gives up to eight heaps a core to the threads; what one has let go, the others do not
    find, and under the interpreter's lock they hardly ever ask at the same time. paramiko loads
    Invoke (4 MB, for `Match exec` of a configuration that is not read here) if it finds it.
    """
    sys.modules.setdefault("invoke", cast(ModuleType, None))
    # Other C libraries than glibc have no such call, and no such heaps.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED)
        mallopt(_M_TRIM_THRESHOLD, _TRIMMED)


def settle() -> None:
    """What is loaded by now stays: it is not to be looked at for garbage again and again.

    Nearly all that is made for a file goes by itself when its last use does. Looking for cycles
    after every 700 objects, as the interpreter does, costs a tenth of a transfer of small files.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, 20, 20)
