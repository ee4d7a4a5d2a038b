"""A connection taken apart: each step with what was offered, agreed or refused, and the way out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import paramiko
from paramiko.ssh_exception import BadAuthenticationType

from uploaderd.errors import AuthenticationFailed, StationError, UploaderError
from uploaderd.station import connection as ssh
from uploaderd.station import known_hosts, openssh
from uploaderd.station.access import Access, HostKeyPolicy
from uploaderd.station.agent import read_config
from uploaderd.station.health import clock_ahead_s
from uploaderd.station.link import Link
from uploaderd.station.offer import offer
from uploaderd.station.paramiko_link import ParamikoLink

_PATIENCE_S = 30.0
"""For a small command."""
_CLOCKS_DIFFER_S = 60.0


@dataclass(frozen=True)
class Step:
    """One step of the connection: what was found, and the way out if it failed."""

    step: str
    ok: bool
    found: str
    hint: str = ""


def examine(access: Access, agent_config: str | None = None) -> Iterator[Step]:
    """The steps of a connection, up to the first that fails; pins no host key.

    With `agent_config`, the path of the agent's configuration, that is looked at, too.
    """
    steps = (_legacy_steps if access.legacy else _steps)(access, agent_config)
    name = "connection"
    try:
        for name, found in steps:
            if found:
                yield Step(name, True, found)
    except UploaderError as error:
        yield Step(name, False, error.sentence, error.hint)


def _greeting(access: Access) -> Iterator[tuple[str, str]]:
    with ssh.dial(access) as plain:
        yield "connection", f"{plain.getpeername()[0]} answers at port {access.port}"
    yield "banner", ""
    offered = offer(access)
    yield "banner", offered.banner
    yield "offer", str(offered)


def _steps(access: Access, agent_config: str | None) -> Iterator[tuple[str, str]]:
    """Name and finding of each step; the name comes first, with no finding, when it is begun."""
    yield from _greeting(access)
    yield "key exchange", ""
    transport = ssh.negotiate(access, ssh.dial(access))
    try:
        cipher = transport.remote_cipher  # type: ignore[attr-defined] # not in the stubs
        yield "key exchange", f"agreed: {transport.host_key_type}, {cipher}"
        yield "host key", ""
        yield "host key", _host_key(access, transport)
        yield "login methods", ""
        yield "login methods", _methods(access, transport)
        yield "login", ""
        if not transport.is_authenticated():
            ssh.authenticate(access, transport)
        yield "login", f"the station lets user {access.user} in"
        yield from _use(ParamikoLink(transport, access.timeouts.stall_s), agent_config)
    finally:
        transport.close()
        transport.join(timeout=10)


def _legacy_steps(access: Access, agent_config: str | None) -> Iterator[tuple[str, str]]:
    yield from _greeting(access)
    policy: HostKeyPolicy = "strict" if _pins(access) else "insecure"
    yield "connection and login by ssh", ""
    link = openssh.connect(dataclasses.replace(access, host_key_policy=policy))
    try:
        yield "connection and login by ssh", f"the station lets user {access.user} in"
        yield from _use(link, agent_config)
    finally:
        link.close()


def _use(link: Link, agent_config: str | None) -> Iterator[tuple[str, str]]:
    yield "sftp", ""
    client = link.sftp_client()
    try:
        yield "sftp", f"begins in {client.normalize('.')}"
        if agent_config is not None:
            yield "agent", ""
            repository = read_config(client, agent_config).local_repo.decode("utf-8", "replace")
            yield "agent", f"configured by {agent_config}, for the files below {repository}"
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise StationError(f"The station's SFTP does not answer: {error}.") from error
    finally:
        client.close()
    yield "commands", _commands(link)
    yield "clock", ""
    if not math.isnan(ahead_s := clock_ahead_s(link, _PATIENCE_S)):
        yield "clock", _clock(ahead_s)


def _pins(access: Access) -> tuple[known_hosts.HostKey, ...]:
    return known_hosts.pinned(access.known_hosts, access.host, access.port)


def _host_key(access: Access, transport: paramiko.Transport) -> str:
    key = ssh.host_key(transport)
    shown = f"{key.kind} {key.fingerprint}"
    if not _pins(access):
        return f"{shown}, not pinned yet: compare it at the station before the first contact"
    known_hosts.check(dataclasses.replace(access, host_key_policy="strict"), key)
    return f"{shown}, as pinned"


def _methods(access: Access, transport: paramiko.Transport) -> str:
    try:
        transport.auth_none(access.user)
    except BadAuthenticationType as refusal:
        return ", ".join(refusal.allowed_types)
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise AuthenticationFailed(
            f"The station names no way to log in: {error}.",
            hint="Its sshd_config may not admit this user (AllowUsers, PermitRootLogin).",
        ) from error
    return "none needed: anybody may log in"


def _commands(link: Link) -> str:
    """No failure: without commands, files are verified by size or by reading them twice."""
    try:
        answer = link.run(b"printf x | sha256sum", _PATIENCE_S, 4096).output
    except StationError as error:
        return f"none ({error.sentence}); files cannot be verified by the station's own hash"
    if answer.startswith(b"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"):
        return "allowed, with sha256sum: files are verified by the station's own hash"
    return "no sha256sum; files cannot be verified by the station's own hash"


def _clock(ahead_s: float) -> str:
    said = f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} ours"
    if abs(ahead_s) > _CLOCKS_DIFFER_S:
        raise StationError(
            f"It is {said}.",
            hint="Set it, or let it ask a time server: times of files are its own.",
        )
    return said
