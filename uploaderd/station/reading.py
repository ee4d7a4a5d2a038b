"""One file in flight, what becomes of it, and what may be wrong with it."""

from __future__ import annotations

import collections
from dataclasses import dataclass, field

from uploaderd.errors import RemoteFileError, UploaderError
from uploaderd.station import sftp_wire as wire
from uploaderd.station.outcome import Wanted
from uploaderd.station.part_file import Digest, PartFile


@dataclass(eq=False, slots=True)
class Reading:
    """One file in flight."""

    wanted: Wanted
    size: int = 0
    mtime: int = 0
    part: PartFile | None = None
    sink: PartFile | Digest | None = None
    handle: bytes = b""
    ranges: collections.deque[tuple[int, int]] = field(default_factory=collections.deque)
    due: int = 0
    """Answers that are still to come."""
    queued: bool = False
    """Open, with ranges that are still to be asked for."""
    end: wire.Attributes | None = None
    error: UploaderError | None = None

    @property
    def name(self) -> str:
        """The remote path, for a sentence."""
        return self.wanted.remote_path.decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class Complete:
    """A file whose every byte is in its part file."""

    wanted: Wanted
    part: PartFile
    size: int
    mtime: int
    read_twice: bool


def changed(reading: Reading, seen: wire.Attributes | None) -> RemoteFileError:
    """The error for a file that is not, or not any more, what the station said of it."""
    now = "" if seen is None else f" Now: {seen.size} bytes, mtime {seen.mtime}."
    return RemoteFileError(
        f"{reading.name} is not what the station said: {reading.size} bytes, "
        f"mtime {reading.mtime}.{now}",
        hint="It was being written, or the station's listing lies; it is tried again later.",
    )


def refused(reading: Reading, code: int) -> RemoteFileError:
    """The error for an SFTP status of the station."""
    if code == wire.NO_SUCH_FILE:
        return RemoteFileError(f"{reading.name} is not there (any more).")
    if code == wire.PERMISSION_DENIED:
        return RemoteFileError(
            f"{reading.name} may not be read.",
            hint="The station's user needs the right to read it.",
        )
    return RemoteFileError(
        f"{reading.name} cannot be read: the station answers with SFTP status {code}."
    )
