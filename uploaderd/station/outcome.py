"""What is asked of a transfer, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from uploaderd.errors import UploaderError

Verification = Literal["remote_hash", "double_read", "size"]
"""`remote_hash`: the station's own SHA-256 is ours; `double_read`: two readings gave the same
SHA-256; `size`: the length is the one that the station names before and after the reading."""


@dataclass(frozen=True)
class Wanted:
    """A file to fetch; size and mtime as its discovery saw them, if it did.

    With both known, the file is opened without a look at it first: its discovery must have seen
    that it is a regular file (to open a named pipe would block the whole session).
    """

    remote_path: bytes
    target: Path
    size: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True)
class Fetched:
    """A file that lies complete and durable at its target.

    SFTP tells whole seconds; `mtime_ns` is the discovery's if that is of the same second.
    """

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
    """Bounds of one transfer, and the verification that is asked for."""

    bytes_per_s: float | None = None
    files_in_flight: int = 4096
    bytes_in_flight: int = 16 << 20
    stall_s: float | None = None
    """Longest silence while answers are due; by default that of the station's access."""
    verification: Verification = "remote_hash"
