"""What the transfer engine and the protocols need of an SSH connection, whoever makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import paramiko

from uploaderd.errors import StationError


class NoSession(StationError):
    """As many sessions are open on a connection as the station allows."""


class Stream(Protocol):
    """A byte stream in both directions: an SFTP session before its protocol."""

    def send(self, data: bytes) -> None:
        """Sends all of it; raises OSError if the connection is gone."""

    def receive(self, timeout_s: float) -> bytes:
        """What has come, at least a byte; `b""` at the end; raises TimeoutError if nothing came."""

    def close(self) -> None:
        """Ends the session; may be called twice."""


@dataclass(frozen=True)
class CommandResult:
    """A finished command of the station."""

    status: int
    output: bytes
    errors: bytes


def is_broken(error: OSError) -> bool:
    """Whether the connection broke; otherwise it is the station that refuses something."""
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    # paramiko's "Socket is closed" has no number.
    return error.errno is None and "closed" in str(error).lower()


class Link(Protocol):
    """An authenticated SSH connection; paramiko's (`paramiko_link`) or `ssh`'s (`openssh`)."""

    def open_sftp(self) -> Stream:
        """A new SFTP session as a stream; raises StationError."""

    def sftp_client(self) -> paramiko.SFTPClient:
        """A new SFTP session for control operations; raises StationError."""

    def open_command(self, command: bytes) -> Stream:
        """What a command writes, as a stream to receive from; raises StationError."""

    def run(self, command: bytes, timeout_s: float, limit: int) -> CommandResult:
        """Runs a command; raises StationError if it cannot be or does not end in time."""

    def close(self) -> None:
        """Ends the connection; may be called twice."""
