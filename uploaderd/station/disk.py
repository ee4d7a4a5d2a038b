"""How much room a station's disk has: by SFTP where it tells, else by `df`."""

from __future__ import annotations

import os
import shlex
import struct

from paramiko.sftp import CMD_EXTENDED

from uploaderd.errors import StationError
from uploaderd.station.connection import Connection
from uploaderd.station.pipelined import one

_STATVFS = struct.Struct("!11Q")
"""f_bsize, f_frsize, f_blocks, f_bfree, f_bavail… (OpenSSH, PROTOCOL, section 4.4)."""


def space(connection: Connection, folder: bytes) -> tuple[int, int] | None:
    """Bytes that are free (for users other than root) and in all; None if nobody tells.

    Raises what the connection raises: `paramiko.SSHException`, `EOFError`.
    """
    try:
        answer = one(connection.sftp, CMD_EXTENDED, b"statvfs@openssh.com", folder)
        _, unit, blocks, _, free, *_ = _STATVFS.unpack(answer.message.get_bytes(_STATVFS.size))
        return free * unit, blocks * unit
    except OSError:
        return _by_command(connection, folder)


def _by_command(connection: Connection, folder: bytes) -> tuple[int, int] | None:
    """POSIX `df -P`: device, kibibytes in all, used, free, capacity, mount point."""
    command = "df -Pk -- " + shlex.quote(os.fsdecode(folder))
    try:
        result = connection.run(command, timeout_s=connection.access.timeouts.stall_s)
        _, total, _, free, *_ = result.output.splitlines()[1].split()
        return int(free) * 1024, int(total) * 1024
    except (StationError, ValueError, IndexError):
        return None
