"""One SSH connection to a station: made, checked, and closed in one place."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path
from types import TracebackType

import paramiko
from paramiko.ssh_exception import BadAuthenticationType, IncompatiblePeer

from uploaderd.errors import (
    AuthenticationFailed,
    ConfigError,
    StationError,
    StationUnreachable,
)
from uploaderd.secret import Secret
from uploaderd.station import known_hosts, openssh
from uploaderd.station.access import Access
from uploaderd.station.known_hosts import HostKey
from uploaderd.station.link import CommandResult, Link, Stream
from uploaderd.station.paramiko_link import (
    CIPHERS,
    LOG_CHANNEL,
    PACKET,
    WINDOW,
    BufferedSocket,
    ParamikoLink,
)

AGENT_S = 30.0
"""Longest silence of the ssh-agent: somebody may be asked to confirm."""
LEGACY_HINT = (
    "Set `legacy` for this station: the system's `ssh` knows more algorithms, those of an OpenSSH "
    "older than 7.2 among them; `uploaderctl doctor ssh` shows what it offers."
)


class Connection:
    """An authenticated connection; a context manager that closes it."""

    def __init__(self, access: Access, link: Link) -> None:
        self.access = access
        self.link = link
        self._sftp: paramiko.SFTPClient | None = None
        self.hash_tool: str | None = None
        """The station's command that hashes files, as far as somebody asked for it."""
        self.archives = True
        """The station may have `tar`: nobody has asked in vain yet."""

    @property
    def sftp(self) -> paramiko.SFTPClient:
        """The session for control operations, opened at first use.

        Paths are best given as bytes; names that are not UTF-8 come as `os.fsdecode` gives them.
        """
        if self._sftp is None:
            self._sftp = self.link.sftp_client()
        return self._sftp

    @property
    def transport(self) -> paramiko.Transport:
        """paramiko's transport; raises StationError for a legacy station, which has none."""
        if not isinstance(self.link, ParamikoLink):
            raise StationError("A legacy station is reached by `ssh`, not by paramiko.")
        return self.link.transport

    def open_sftp(self) -> Stream:
        """A further SFTP session, as a byte stream for the transfer engine."""
        return self.link.open_sftp()

    def run(
        self, command: str | bytes, *, timeout_s: float = 60.0, limit: int = 16 << 20
    ) -> CommandResult:
        """Runs a command in the station's shell.

        Raises StationError if the station runs none, if it does not end within `timeout_s`, or if
        it writes more than `limit` bytes; StationUnreachable if the connection broke.
        """
        return self.link.run(os.fsencode(command), timeout_s, limit)

    def close(self) -> None:
        """Closes sessions and connection; may be called twice."""
        try:
            if self._sftp is not None:
                self._sftp.close()
        except (paramiko.SSHException, EOFError, OSError):
            # The connection is broken: there is nobody to say goodbye to.
            pass
        finally:
            self._sftp = None
            self.link.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def connect(access: Access) -> Connection:
    """Connects, compares the host key with the pinned one, and logs in.

    Raises StationUnreachable, HostKeyChanged or AuthenticationFailed, each with a way out; no
    password and no key is shown to a station before its host key is found right.
    """
    if access.legacy:
        return Connection(access, openssh.connect(access))
    transport = negotiate(access, dial(access))
    try:
        known_hosts.check(access, host_key(transport))
        authenticate(access, transport)
    except BaseException:
        transport.close()
        transport.join(timeout=10)
        raise
    transport.set_keepalive(max(1, round(access.timeouts.keepalive_s)))
    return Connection(access, ParamikoLink(transport, access.timeouts.stall_s))


def dial(access: Access) -> socket.socket:
    """A TCP connection; raises StationUnreachable with what the network said."""
    try:
        plain = socket.create_connection(
            (access.host, access.port), timeout=access.timeouts.connect_s
        )
    except socket.gaierror as error:
        raise StationUnreachable(
            f"The address of {access.host} cannot be found: {error.strerror}.",
            hint="Check the station's address and this machine's DNS.",
        ) from error
    except TimeoutError as error:
        raise StationUnreachable(
            f"{access.address} did not answer within {access.timeouts.connect_s:g} s.",
            hint="Check the station's power, link and VPN, and firewalls on the way.",
        ) from error
    except ConnectionRefusedError as error:
        raise StationUnreachable(
            f"{access.address} refuses connections.",
            hint="The machine is up: check that its sshd runs, and on which port.",
        ) from error
    except (OSError, UnicodeError) as error:
        raise StationUnreachable(f"{access.address} cannot be reached: {error}.") from error
    # Without it, small requests wait for acknowledgements: a twentieth of the speed.
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return plain


def negotiate(access: Access, plain: socket.socket) -> paramiko.Transport:
    """Banner and key exchange; owns the socket. Raises StationUnreachable or StationError."""
    transport = paramiko.Transport(
        BufferedSocket(plain),
        default_window_size=WINDOW,
        default_max_packet_size=PACKET,
    )
    transport.set_log_channel(LOG_CHANNEL)
    transport.banner_timeout = access.timeouts.banner_s
    transport.handshake_timeout = access.timeouts.banner_s
    transport.auth_timeout = access.timeouts.authentication_s
    options = transport.get_security_options()
    options.ciphers = CIPHERS
    options.key_types = _preferred_key_types(access, tuple(options.key_types))
    failure: Exception
    try:
        transport.start_client(timeout=2 * access.timeouts.banner_s)
        if transport.is_active() and transport.initial_kex_done:
            return transport
        failure = TimeoutError(f"no key exchange within {2 * access.timeouts.banner_s:g} s")
    except (paramiko.SSHException, EOFError, OSError) as error:
        failure = error
    transport.close()
    transport.join(timeout=10)
    if isinstance(failure, IncompatiblePeer):
        raise StationError(
            f"{access.address} shares no algorithm with us: {failure}.", hint=LEGACY_HINT
        ) from failure
    if isinstance(failure, EOFError) or not str(failure):
        failure = EOFError("it closed the connection")
    raise StationUnreachable(
        f"{access.address} answers, but not as an SSH server should: {failure}.",
        hint="Check that the port is that of sshd; an sshd with too many connections does so, too.",
    ) from failure


def host_key(transport: paramiko.Transport) -> HostKey:
    """The key that the station proved to hold."""
    key = transport.get_remote_server_key()
    return HostKey(key.get_name(), key.asbytes())


def authenticate(access: Access, transport: paramiko.Transport) -> None:
    """Logs in by key, by ssh-agent, by password: raises AuthenticationFailed when none is taken."""
    refused: list[str] = []
    allowed: set[str] = set()
    with closing(_attempts(access, transport)) as attempts:
        for label, attempt in attempts:
            try:
                attempt()
            except BadAuthenticationType as refusal:
                allowed.update(refusal.allowed_types)
            except (paramiko.SSHException, EOFError, OSError) as error:
                said_no = isinstance(error, paramiko.AuthenticationException)
                if not (transport.is_active() and said_no):
                    raise StationUnreachable(
                        f"{access.address} broke off during the login: {error or 'end of stream'}.",
                        hint="Many failed logins make sshd and fail2ban do so: look at its log.",
                    ) from error
            if transport.is_authenticated():
                return
            refused.append(label)
    if not refused:
        raise AuthenticationFailed(
            f"There is neither a key nor a password to log in with at {access.address}.",
            hint="Set key_file or a password, in the service's section or the station's file.",
        )
    offered = f" It takes only: {', '.join(sorted(allowed))}." if allowed else ""
    raise AuthenticationFailed(
        f"{access.address} refuses user {access.user} by {' and '.join(refused)}.{offered}",
        hint="Check user, password and key; at the station, sshd's log names the reason.",
    )


def _attempts(
    access: Access, transport: paramiko.Transport
) -> Generator[tuple[str, Callable[[], object]], None, None]:
    """What to try, one after the other; ssh-agent is asked when its turn comes."""
    if access.key_file is not None:
        key = _key(access.key_file, access.passphrase)
        yield f"key {access.key_file.name}", partial(transport.auth_publickey, access.user, key)
    if access.use_agent:
        try:
            agent = _Agent()
        except (paramiko.SSHException, OSError, ValueError) as error:
            # The others may do; if not, this is told with them.
            yield f"ssh-agent (which answers no sense: {error})", partial(_unasked, str(error))
        else:
            with closing(agent):
                for each in agent.get_keys():
                    yield "ssh-agent key", partial(transport.auth_publickey, access.user, each)
    if access.password is not None:
        yield (
            "password",
            partial(transport.auth_password, access.user, access.password.reveal()),
        )


class _Agent(paramiko.Agent):
    """The running ssh-agent; one that is silent, or answers no sense, is let go."""

    def _connect(self, conn: socket.socket) -> None:
        conn.settimeout(AGENT_S)
        try:
            super()._connect(conn)  # type: ignore[misc] # not in the stubs
        except BaseException:
            conn.close()
            raise


def _unasked(why: str) -> None:
    raise paramiko.AuthenticationException(why)


def _key(path: Path, passphrase: Secret | None) -> paramiko.PKey:
    # As bytes, whatever paramiko's annotation says: cryptography takes no text.
    password = passphrase.reveal().encode() if passphrase else None
    try:
        return paramiko.PKey.from_path(path, password=password)  # type: ignore[arg-type]
    except (OSError, ValueError, TypeError, paramiko.SSHException) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"{path}: the private key cannot be read: {reason or type(error).__name__}.",
            hint="It must be a private key in OpenSSH or PEM format that the daemon may read, "
            "and its passphrase must be right.",
        ) from error


def _preferred_key_types(access: Access, known: tuple[str, ...]) -> tuple[str, ...]:
    """Host key types, the pinned ones first: else a new type of an old station were an alarm."""
    if access.host_key_policy == "insecure":
        return known
    pins = {key.kind for key in known_hosts.pinned(access.known_hosts, access.host, access.port)}
    if "ssh-rsa" in pins:
        pins |= {"rsa-sha2-512", "rsa-sha2-256"}
    return tuple(sorted(known, key=lambda kind: kind not in pins))
