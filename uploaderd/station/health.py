"""Whether a station can be worked with: looked at from the network to the agent, touching nothing.

States: `offline` (no TCP connection), `auth-error` (no log-in, or another host key), `no-agent`,
`halted` (somebody else holds the flag), `degraded` (it answers, but something wants a hand), and
`online`.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import paramiko

from uploaderd.errors import (
    AgentMissing,
    AuthenticationFailed,
    HostKeyChanged,
    StationError,
    StationHalted,
    StationUnreachable,
)
from uploaderd.station import connection as ssh
from uploaderd.station import disk, halt
from uploaderd.station.access import Access
from uploaderd.station.agent import AgentConfig, read_config
from uploaderd.station.connection import Connection
from uploaderd.station.link import Link, is_broken
from uploaderd.station.ping import PingNotPermitted, ping

State = Literal["online", "degraded", "offline", "auth-error", "no-agent", "halted"]


@dataclass(frozen=True)
class Expected:
    """What a sound station is like."""

    agent_config: str
    folder: bytes | None = None
    """The folder with the files of a station that has no agent, and needs none."""
    free_bytes: int = 500_000_000
    clock_limit_s: float = 60.0
    clock_ahead_s: float = 0.0
    """How far the station's clock is known to be ahead of ours."""
    index_age_s: float = 26 * 3600.0
    ping_s: float = 2.0
    look_again_s: float = 3.0
    """Pause before a halt flag is looked at again: the agent's own lasts some seconds."""


@dataclass
class Health:
    """What a look at the station found; NaN and empty for what is not known."""

    state: State = "online"
    problems: list[str] = field(default_factory=list)
    ping: str = ""
    """The round trip, `no answer`, or `not permitted`."""
    connect_ms: float = math.nan
    banner: str = ""
    agent: str = ""
    """`present`, `none`, or `not needed`."""
    flag: str = ""
    """Who holds the halt flag; `free`."""
    index_bytes: float = math.nan
    index_age_s: float = math.nan
    free_bytes: float = math.nan
    total_bytes: float = math.nan
    clock_ahead_s: float = math.nan

    @property
    def reason(self) -> str:
        """Why the state is not online, in a sentence for an operator; else what was found."""
        return " ".join(self.problems) or f"The station answers ({self.banner})."


def examine(
    access: Access, expected: Expected, wait: Callable[[float], object] = time.sleep
) -> Health:
    """Look at a station; every failure of it is a state, and none is raised.

    Raises ConfigError if our own key or list of host keys cannot be read.
    """
    health = Health(ping=_pinged(access.host, expected.ping_s))
    try:
        _knock(access, health)
        with ssh.connect(access) as connection:
            _look(connection, expected, health, wait)
    except (StationError, OSError, EOFError, paramiko.SSHException) as error:
        health.problems.insert(0, _sentence(error))
        health.state = _state_of(error, health)
    else:
        health.state = "degraded" if health.problems else "online"
    return health


def _sentence(error: Exception) -> str:
    if isinstance(error, StationError):
        return str(error)
    if isinstance(error, OSError) and not is_broken(error):
        return f"It refuses: {error.strerror or error}."
    return f"The connection broke: {str(error) or type(error).__name__}."


def _state_of(error: Exception, health: Health) -> State:
    match error:
        case AuthenticationFailed() | HostKeyChanged():
            return "auth-error"
        case AgentMissing():
            return "no-agent"
        case StationHalted():
            return "halted"
        case StationUnreachable() if math.isnan(health.connect_ms):
            return "offline"
    return "degraded"


def _pinged(host: str, timeout_s: float) -> str:
    try:
        seconds = ping(host, timeout_s)
    except PingNotPermitted:
        return "not permitted"
    return "no answer" if seconds is None else f"{seconds * 1000:.1f} ms"


def _knock(access: Access, health: Health) -> None:
    """TCP connection and banner (RFC 4253, section 4.2), which other lines may precede."""
    begun = time.monotonic()
    try:
        plain = ssh.dial(access)
    except StationUnreachable as error:
        said = f"A ping: {health.ping}."
        raise StationUnreachable(f"{error.sentence} {said}", hint=error.hint) from error
    with plain:
        health.connect_ms = round((time.monotonic() - begun) * 1000, 1)
        plain.settimeout(access.timeouts.banner_s)
        health.banner = _banner(plain)


def _banner(plain: socket.socket) -> str:
    read = b""
    try:
        while len(read) < 8192 and (more := plain.recv(256)):
            read += more
            for line in read.split(b"\n")[:-1]:
                if line.startswith(b"SSH-"):
                    return line.decode("ascii", "replace").strip()
    except OSError as error:
        raise StationUnreachable(
            f"Its port is open, but no SSH server answers there: {error}.",
            hint="The machine may be overloaded, or sshd out of connections.",
        ) from error
    raise StationUnreachable(
        "Its port is open, but what answers there is no SSH server.",
        hint="Check that the port is that of sshd.",
    )


def _look(
    connection: Connection,
    expected: Expected,
    health: Health,
    wait: Callable[[float], object],
) -> None:
    health.clock_ahead_s = clock_ahead_s(connection.link, connection.access.timeouts.stall_s)
    sftp = connection.sftp
    off = health.clock_ahead_s - expected.clock_ahead_s
    if abs(off) > expected.clock_limit_s:
        health.problems.append(f"Its clock is {off:+.0f} s off.")
    if expected.folder is not None:
        health.agent = "not needed"
        _look_at_disk(connection, expected.folder, expected, health)
        return
    try:
        config = read_config(sftp, expected.agent_config)
    except AgentMissing:
        health.agent = "none"
        raise
    health.agent = "present"
    _look_at_disk(connection, config.local_repo, expected, health)
    _look_at_index(sftp, config, expected, health)
    _look_at_flag(sftp, config, expected, health, wait)


def _look_at_disk(
    connection: Connection, folder: bytes, expected: Expected, health: Health
) -> None:
    space = disk.space(connection, folder)
    if space is None:
        return
    health.free_bytes, health.total_bytes = space
    if health.free_bytes < expected.free_bytes:
        free, floor = health.free_bytes / 1e6, expected.free_bytes / 1e6
        health.problems.append(
            f"Only {free:,.0f} MB of its disk are free ({floor:,.0f} should be)."
        )


def _look_at_index(
    sftp: paramiko.SFTPClient, config: AgentConfig, expected: Expected, health: Health
) -> None:
    """An agent renews its index at every run, even if nothing is new."""
    found = []
    for path in (config.index, config.second_index):
        try:
            found.append(sftp.stat(path))
        except FileNotFoundError:
            continue
    health.index_bytes = sum(each.st_size or 0 for each in found)
    if not found:
        return
    ahead = 0.0 if math.isnan(health.clock_ahead_s) else health.clock_ahead_s
    newest = max(each.st_mtime or 0 for each in found)
    health.index_age_s = max(0.0, round(time.time() + ahead - newest, 1))
    if health.index_age_s > expected.index_age_s:
        hours = health.index_age_s / 3600
        health.problems.append(f"Its index is {hours:.0f} hours old: the agent does not run.")


def _look_at_flag(
    sftp: paramiko.SFTPClient,
    config: AgentConfig,
    expected: Expected,
    health: Health,
    wait: Callable[[float], object],
) -> None:
    holder = halt.look(sftp, config)
    if holder is not None and holder.claim is None:
        wait(expected.look_again_s)
        holder = halt.look(sftp, config)
    health.flag = str(holder or "free")
    if holder is None:
        return
    if holder.claim is None:
        raise StationHalted(f"The station is halted by {holder}.")
    if holder.claim.owner.is_dead():
        health.problems.append(f"A dead {holder} left its flag: the next backup takes it over.")


def clock_ahead_s(link: Link, timeout_s: float) -> float:
    """The station's clock less ours; NaN if it does not tell. BusyBox knows no nanoseconds."""
    asked = time.time()
    try:
        answer = link.run(b"date +%s.%N", timeout_s, 4096)
        told = float(answer.output.decode("ascii").strip().removesuffix(".%N").removesuffix(".N"))
    except (StationError, ValueError):
        return math.nan
    return round(told - (asked + time.time()) / 2, 3)
