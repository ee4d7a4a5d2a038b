"""The system's `ssh` as the transport, for stations whose OpenSSH knows only SHA-1.

paramiko 5 has dropped ssh-rsa signatures, SHA-1 key exchange and CBC ciphers; OpenSSH 6, as
Debian 7 has it, offers little else. One `ssh` process is the master of the connection; each session
is a further `ssh` that talks through it by its control socket. Host keys are pinned in the same
file, and checked by `ssh` itself before anything secret is sent.
"""

from __future__ import annotations

import os
import selectors
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import cast

import paramiko

from uploaderd.errors import (
    AuthenticationFailed,
    ConfigError,
    HostKeyChanged,
    StationError,
    StationUnreachable,
)
from uploaderd.station.access import Access
from uploaderd.station.link import CommandResult
from uploaderd.station.paramiko_link import CIPHERS, SFTP_HINT, BytesSftpClient

OLD_ALGORITHMS = (
    "HostKeyAlgorithms=+ssh-rsa",
    "PubkeyAcceptedAlgorithms=+ssh-rsa",
    "KexAlgorithms=+diffie-hellman-group14-sha1,diffie-hellman-group-exchange-sha1,"
    "diffie-hellman-group1-sha1",
    "Ciphers=" + ",".join((*CIPHERS, "aes128-cbc", "aes256-cbc", "3des-cbc")),
    "MACs=+hmac-sha1",
)
MASTER_ONLY = ("-o", "BatchMode=yes", "-o", "ProxyCommand=false")
"""A session whose master is gone ends, instead of making a connection of its own."""
POLICIES = {"strict": "yes", "accept-new": "accept-new", "insecure": "no"}


class SocketStream:
    """An SFTP session over the standard input and output of an `ssh` process."""

    def __init__(self, process: subprocess.Popen[bytes], near: socket.socket) -> None:
        self._process = process
        self._near = near
        self._near.setblocking(False)
        self._inbox = bytearray()

    def send(self, data: bytes) -> None:
        """Sends all of it, taking in what comes meanwhile: `ssh` may wait for us to read."""
        rest = memoryview(data)
        with selectors.DefaultSelector() as selector:
            selector.register(self._near, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while rest:
                for _, events in selector.select():
                    if events & selectors.EVENT_READ:
                        came = self._near.recv(1 << 20)
                        if not came:
                            raise OSError("ssh has ended")
                        self._inbox += came
                    if events & selectors.EVENT_WRITE:
                        rest = rest[self._near.send(rest) :]

    def receive(self, timeout_s: float) -> bytes:
        """What has come; `b""` at the end; raises TimeoutError if nothing came."""
        if self._inbox:
            data, self._inbox = bytes(self._inbox), bytearray()
            return data
        self._near.settimeout(timeout_s)
        try:
            return self._near.recv(1 << 20)
        finally:
            self._near.setblocking(False)

    def close(self) -> None:
        """Ends the session and its process."""
        self._near.close()
        _end(self._process)


class ProcessSocket:
    """What `paramiko.SFTPClient` needs of a channel, over an `ssh` process."""

    def __init__(self, process: subprocess.Popen[bytes], near: socket.socket) -> None:
        self._process = process
        self._near = near
        self.send = near.send
        self.recv = near.recv
        self.settimeout = near.settimeout

    def get_name(self) -> str:
        """Name of the session in paramiko's log."""
        return "ssh"

    def close(self) -> None:
        """Ends the session and its process."""
        self._near.close()
        _end(self._process)


class OpenSshLink:
    """A connection held by a master `ssh` process."""

    def __init__(self, access: Access, folder: Path) -> None:
        self._access = access
        self._folder = folder
        self._master: subprocess.Popen[bytes] | None = None

    def _command(self, *arguments: str) -> list[str]:
        return [
            *("ssh", "-F", "none", "-S", str(self._folder / "control")),
            *("-p", str(self._access.port), "-l", self._access.user),
            *arguments,
        ]

    def start(self) -> None:
        """Starts the master; raises StationError as `connection.connect` does."""
        access = self._access
        inherited = ("PATH", "HOME", *(("SSH_AUTH_SOCK",) if access.use_agent else ()))
        environment = {key: os.environ[key] for key in inherited if key in os.environ}
        errors = self._folder / "errors"
        with _Askpass(self._folder, access) as askpass, errors.open("wb") as sink:
            self._master = subprocess.Popen(
                self._command("-M", "-N", *_options(access), "--", access.host),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=sink,
                env={**environment, **askpass.environment},
                start_new_session=True,
            )
            limits = access.timeouts
            deadline = time.monotonic() + sum(
                (limits.connect_s, limits.banner_s, limits.authentication_s)
            )
            while not (self._folder / "control").exists():
                if self._master.poll() is not None:
                    raise explained(access, errors.read_text(errors="replace"))
                if time.monotonic() > deadline:
                    raise StationUnreachable(f"{access.address} did not let us in in time.")
                time.sleep(0.02)

    def _session(self, *arguments: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
        near, far = socket.socketpair()
        with far:
            process = subprocess.Popen(
                self._command(*MASTER_ONLY, *arguments),
                stdin=far.fileno(),
                stdout=far.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        return process, near

    def open_sftp(self) -> SocketStream:
        """A new SFTP session as a stream."""
        return SocketStream(*self._session("-s", "--", self._access.host, "sftp"))

    def open_command(self, command: bytes) -> SocketStream:
        """What a command writes, as a stream."""
        return SocketStream(*self._session("--", self._access.host, os.fsdecode(command)))

    def sftp_client(self) -> paramiko.SFTPClient:
        """A new SFTP session for control operations."""
        channel = ProcessSocket(*self._session("-s", "--", self._access.host, "sftp"))
        channel.settimeout(self._access.timeouts.stall_s)
        try:
            # paramiko documents only channels, and takes anything that sends and receives.
            return BytesSftpClient(cast(paramiko.Channel, channel))
        except (paramiko.SSHException, paramiko.SFTPError, EOFError, OSError) as error:
            channel.close()
            raise StationError(
                f"The station offers no SFTP: {error}.",
                hint=SFTP_HINT,
            ) from error

    def run(self, command: bytes, timeout_s: float, limit: int) -> CommandResult:
        """Runs a command; raises StationError as `Link.run` says."""
        try:
            done = subprocess.run(
                [*self._command(*MASTER_ONLY, "--", self._access.host), command],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise StationError(f"A command took longer than {timeout_s:.0f} s.") from error
        if len(done.stdout) + len(done.stderr) > limit:
            raise StationError(f"A command wrote more than {limit} bytes.")
        if done.returncode == 255 and (self._master is None or self._master.poll() is not None):
            raise StationUnreachable("The connection broke.")
        return CommandResult(done.returncode, done.stdout, done.stderr)

    def close(self) -> None:
        """Ends the master, and with it every session."""
        if self._master is not None:
            _end(self._master)
        shutil.rmtree(self._folder, ignore_errors=True)


def connect(access: Access) -> OpenSshLink:
    """Connects by `ssh`; raises as `connection.connect`, and ConfigError if there is no `ssh`."""
    if shutil.which("ssh") is None:
        raise ConfigError(
            "A legacy station needs the program `ssh`, which is not installed.",
            hint="Install openssh-client.",
        )
    # A control socket's path must be short: 108 bytes in all.
    link = OpenSshLink(access, Path(tempfile.mkdtemp(prefix="uploaderd-ssh-", dir="/tmp")))
    try:
        access.known_hosts.parent.mkdir(parents=True, exist_ok=True)
        link.start()
    except BaseException:
        link.close()
        raise
    return link


def _options(access: Access) -> list[str]:
    methods = "publickey,password,keyboard-interactive"
    options = [
        *OLD_ALGORITHMS,
        "BatchMode=no",
        f"ConnectTimeout={max(1, round(access.timeouts.connect_s))}",
        "GlobalKnownHostsFile=none",
        f"IdentitiesOnly={'no' if access.use_agent else 'yes'}",
        f"IdentityFile={access.key_file or 'none'}",
        "NumberOfPasswordPrompts=1",
        f"PreferredAuthentications={methods if access.password else 'publickey'}",
        f"ServerAliveInterval={max(1, round(access.timeouts.keepalive_s))}",
        f"StrictHostKeyChecking={POLICIES[access.host_key_policy]}",
        "UpdateHostKeys=no",
        f"UserKnownHostsFile={_known_hosts(access)}",
    ]
    return [part for option in options for part in ("-o", option)]


def _known_hosts(access: Access) -> str:
    # `ssh` splits the value at blanks, and expands percent signs.
    path = "/dev/null" if access.host_key_policy == "insecure" else str(access.known_hosts)
    return '"' + path.replace("%", "%%") + '"'


class _Askpass:
    """Hands the password to `ssh` through a named pipe: on no disk and in no environment."""

    def __init__(self, folder: Path, access: Access) -> None:
        secret = access.password or access.passphrase
        self.environment: dict[str, str] = {}
        self._pipe: int | None = None
        if secret is None:
            return
        fifo, script = folder / "secret", folder / "askpass"
        os.mkfifo(fifo, 0o600)
        script.write_text(f"#!/bin/sh\nIFS= read -r word <'{fifo}' && printf '%s\\n' \"$word\"\n")
        script.chmod(0o700)
        self._pipe = os.open(fifo, os.O_RDWR)
        os.write(self._pipe, secret.reveal().encode() + b"\n")
        self.environment = {"SSH_ASKPASS": str(script), "SSH_ASKPASS_REQUIRE": "force"}

    def __enter__(self) -> _Askpass:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pipe is not None:
            os.close(self._pipe)


def explained(access: Access, said: str) -> StationError:
    """The error for what `ssh` wrote to its standard error when it gave up."""
    last = said.strip().splitlines()[-1] if said.strip() else "ssh ended without a word"
    if "HOST IDENTIFICATION HAS CHANGED" in said or "Host key verification failed" in said:
        return HostKeyChanged(
            f"{access.address} does not show the pinned host key: {last} No connection was made.",
            hint=f"If the station was set up anew, remove its old key from {access.known_hosts}.",
        )
    if "Permission denied" in said or "Too many authentication failures" in said:
        return AuthenticationFailed(
            f"{access.address} refuses user {access.user}: {last}",
            hint="Check user, password and key; at the station, sshd's log names the reason.",
        )
    if "no matching" in said:
        return StationError(f"{access.address} shares no algorithm with us: {last}")
    return StationUnreachable(f"{access.address} cannot be reached: {last}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
