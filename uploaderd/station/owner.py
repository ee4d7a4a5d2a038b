"""Which process a halt flag names, such that its death can be told from any other one."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Owner:
    """A process, such that it can be told later whether it still lives."""

    host: str
    boot: str
    pid: int
    started: int
    """Start of the process in clock ticks since boot, so that a reused pid is told apart."""

    def is_dead(self) -> bool:
        """Whether it is known to be dead: it ran on this machine, and does so no more."""
        if self.host != socket.gethostname():
            return False
        return self.boot != _boot_id() or _started(self.pid) != self.started


def this_process() -> Owner:
    """The owner that flags of this process name."""
    pid = os.getpid()
    return Owner(socket.gethostname(), _boot_id(), pid, _started(pid) or 0)


@cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _started(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat (proc(5)); none if there is no such process, or a dead one."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
