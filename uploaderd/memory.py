"""What keeps a process with many connections small; to be done before it grows."""

from __future__ import annotations

import ctypes
import sys
from types import ModuleType
from typing import cast

_M_ARENA_MAX = -8
_ARENAS = 2


def spare() -> None:
    """Few heaps for all threads, and no library that nobody uses.

    glibc gives up to eight heaps a core to the threads; what one has let go, the others do not
    find, and under the interpreter's lock they hardly ever ask at the same time. paramiko loads
    Invoke (4 MB, for `Match exec` of a configuration that is not read here) if it finds it.
    """
    sys.modules.setdefault("invoke", cast(ModuleType, None))
    # Other C libraries than glibc have no such call, and no such heaps.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
