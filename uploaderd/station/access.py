"""How a station is reached, and as whom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from uploaderd.secret import Secret

HostKeyPolicy = Literal["strict", "accept-new", "insecure"]
"""What is done about a host key: `strict` connects only to stations that are already pinned,
`accept-new` pins the key of the first contact, `insecure` takes any key and pins none."""


@dataclass(frozen=True)
class Timeouts:
    """How long each step may take, in seconds."""

    connect_s: float = 15.0
    banner_s: float = 20.0
    authentication_s: float = 30.0
    stall_s: float = 60.0
    """Longest silence of a station that owes us an answer."""
    keepalive_s: float = 15.0
    """Interval of the keepalive messages on a silent connection."""


@dataclass(frozen=True)
class Access:
    """Address, account and trust of one station.

    Keys are tried before the password: `key_file` (any format that OpenSSH writes; `passphrase`
    opens it), then the keys of a running ssh-agent if `use_agent`.
    """

    host: str
    port: int = 22
    user: str = "root"
    password: Secret | None = None
    key_file: Path | None = None
    host_key_policy: HostKeyPolicy = "accept-new"
    known_hosts: Path = Path("/var/lib/uploaderd/known_hosts")
    legacy: bool = False
    """Reach it by the system's `ssh` with the SHA-1 algorithms that OpenSSH 6 needs."""
    passphrase: Secret | None = None
    use_agent: bool = False
    timeouts: Timeouts = Timeouts()

    @property
    def address(self) -> str:
        """`host:port` for a sentence; an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
