"""What a halt flag of ours says: which process it belongs to, and for how long."""

from __future__ import annotations

import os
import re
import socket
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_LINE = re.compile(
    r"uploaderd host=(\S+) boot=(\S+) pid=(\d+) started=(\d+) token=([0-9a-f]+) lease=(\d+)"
    r" since=(\S+)\n"
)


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


@dataclass(frozen=True)
class Claim:
    """The one line of a flag of ours."""

    owner: Owner
    token: str
    lease_s: int
    """Seconds without renewal after which it is stale, on whatever machine its owner ran."""
    since: str

    @classmethod
    def of(cls, content: bytes) -> Claim | None:
        """What a flag says; none if it is not ours."""
        match = _LINE.fullmatch(content.decode("utf-8", "replace"))
        if match is None:
            return None
        owner = Owner(match[1], match[2], int(match[3]), int(match[4]))
        return cls(owner, match[5], int(match[6]), match[7])

    @classmethod
    def now(cls, owner: Owner, token: str, lease_s: float) -> Claim:
        """A claim that begins now."""
        return cls(owner, token, int(lease_s), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))

    @property
    def line(self) -> bytes:
        """The content of the flag."""
        owner = self.owner
        return (
            f"uploaderd host={owner.host} boot={owner.boot} pid={owner.pid} "
            f"started={owner.started} token={self.token} lease={self.lease_s} since={self.since}\n"
        ).encode()

    def __str__(self) -> str:
        return f"uploaderd on {self.owner.host} (process {self.owner.pid}, since {self.since})"


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
