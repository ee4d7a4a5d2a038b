"""One file brought to another server by SFTP: resumable, compared by hash, and there or not there.

It grows as `NAME.part`, is made durable where the server can do that, compared with the server's
own SHA-256 of it, and renamed over `NAME` in one step (`posix-rename@openssh.com`).
"""

from __future__ import annotations

import hashlib
import posixpath
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
from paramiko.sftp import CMD_EXTENDED

from uploaderd import crash_points
from uploaderd.beating import beating
from uploaderd.errors import RemoteFileError, StationUnreachable
from uploaderd.maintenance.server import digest
from uploaderd.repository.placement import unwritable
from uploaderd.station.connection import Connection
from uploaderd.station.pipelined import answers

PIECE = 1 << 18
_ATTEMPTS = 2
"""A part whose hash is wrong begins anew, once."""


@contextmanager
def guarded(connection: Connection) -> Iterator[None]:
    """Makes of what paramiko raises a StationUnreachable, or a RemoteFileError for a refusal."""
    try:
        yield
    except (paramiko.SSHException, EOFError, OSError) as error:
        address = connection.access.address
        if isinstance(error, OSError) and connection.transport.is_active():
            raise RemoteFileError(
                f"{address} refuses: {error.strerror or error}.",
                hint="May the user write there, and is there room on the disk?",
            ) from error
        raise StationUnreachable(
            f"The connection to {address} broke: {error or 'end of stream'}."
        ) from error


def put(
    connection: Connection, path: Path, place: str, beat: Callable[[], None] = lambda: None
) -> None:
    """Brings a file to `place`, whose folder is made; what is there already is not sent again.

    Raises:
        StationUnreachable: the connection broke; the next call goes on from there.
        RemoteFileError: the server cannot write it, or has other bytes than were sent.
        RepositoryError: our own file cannot be read.
    """
    try:
        with beating(beat):
            size, sha256 = path.stat().st_size, digest(path)
    except OSError as error:
        raise unwritable(path, error) from error
    with guarded(connection):
        sftp = connection.sftp
        if _is_there(connection, place, size, sha256, beat):
            return
        part = f"{place}.part"
        make_folders(sftp, posixpath.dirname(place))
        for _ in range(_ATTEMPTS):
            _send(sftp, path, part, size, beat)
            _sync(sftp, part)
            if _is_there(connection, part, size, sha256, beat):
                crash_points.reached("export-sent:before")
                sftp.posix_rename(part, place)
                crash_points.reached("export-sent:after")
                return
            sftp.remove(part)
    raise RemoteFileError(
        f"{connection.access.address} has other bytes in {part} than were sent.",
        hint="Its disk or something on the way changes them; nothing was put in place.",
    )


def make_folders(sftp: paramiko.SFTPClient, folder: str) -> None:
    """Makes a folder and those above it. Raises what the connection raises."""
    if not folder or _size(sftp, folder) is not None:
        return
    make_folders(sftp, posixpath.dirname(folder))
    try:
        sftp.mkdir(folder)
    except OSError:
        # Somebody else may have made it meanwhile.
        if _size(sftp, folder) is None:
            raise


def _send(
    sftp: paramiko.SFTPClient, path: Path, part: str, size: int, beat: Callable[[], None]
) -> None:
    """Sends what the part lacks."""
    there = _size(sftp, part) or 0
    if there > size:
        sftp.remove(part)
        there = 0
    with path.open("rb") as source, sftp.open(part, "ab") as target:
        target.set_pipelined(True)
        source.seek(there)
        while piece := source.read(PIECE):
            target.write(piece)
            beat()


def _sync(sftp: paramiko.SFTPClient, part: str) -> None:
    """Asks the server to bring the bytes to its disk; an old one does not know how."""
    with sftp.open(part, "r+b") as target:
        next(answers(sftp, [(CMD_EXTENDED, b"fsync@openssh.com", target.handle)], 1))


def _is_there(
    connection: Connection, place: str, size: int, sha256: str, beat: Callable[[], None]
) -> bool:
    """Whether the server has just these bytes."""
    with beating(beat):
        return _size(connection.sftp, place) == size and _hash(connection, place) == sha256


def _size(sftp: paramiko.SFTPClient, place: str) -> int | None:
    try:
        return sftp.stat(place).st_size
    except FileNotFoundError:
        return None


def _hash(connection: Connection, place: str) -> str:
    """The server's SHA-256 of a file; read back where it runs no commands."""
    if connection.hash_tool != "none":
        said = connection.run(f"sha256sum < {shlex.quote(place)}", timeout_s=600.0)
        if said.status == 0 and len(word := said.output.split()[:1]) == 1 and len(word[0]) == 64:
            return word[0].decode("ascii", "replace")
        connection.hash_tool = "none"
    sha256 = hashlib.sha256()
    with connection.sftp.open(place, "rb") as file:
        file.prefetch()
        while piece := file.read(PIECE):
            sha256.update(piece)
    return sha256.hexdigest()
