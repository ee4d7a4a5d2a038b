"""One file in flight, what becomes of it, and what may be wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from uploaderd.errors import RemoteFileError, UploaderError
from uploaderd.station import sftp_wire as wire
from uploaderd.station.digest import Digest
from uploaderd.station.outcome import Wanted
from uploaderd.station.part_file import WORTH_A_RECORD, PartFile
from uploaderd.station.small_file import SmallFile


def shown(wanted: Wanted) -> str:
    """The remote path, for a sentence."""
    return wanted.remote_path.decode("utf-8", "backslashreplace")


@dataclass(eq=False, slots=True)
class Reading:
    """One file in flight."""

    wanted: Wanted
    size: int = 0
    mtime: int = 0
    part: PartFile | SmallFile | None = None
    compared: Digest | None = None
    """What a second reading is hashed into; none in the first."""
    handle: bytes = b""
    """Of the open file: as the station told it, or as it is guessed; empty until then."""
    confirmed: bool = False
    """The station told that handle."""
    misled: bool = False
    """The guess was wrong: what comes for it is no word on this file, which is opened anew."""
    ranges: list[tuple[int, int]] = field(default_factory=list)
    due: int = 0
    """Answers that are still to come."""
    queued: bool = False
    """In the queue of those that have ranges to be asked for."""
    end: wire.Attributes | None = None
    error: UploaderError | None = None

    @property
    def name(self) -> str:
        """The remote path, for a sentence."""
        return shown(self.wanted)

    def begin(self, may_go_on: Callable[[Wanted, PartFile], bool]) -> None:
        """Decides where to begin: behind what an earlier transfer left, if it may be gone on with.

        Raises RepositoryError, or RemoteFileError if another process writes the target.
        """
        # What is worth a record is looked for; a smaller one is overwritten.
        if self.size >= WORTH_A_RECORD and PartFile.is_there(self.wanted.target):
            part = self._part_file()
            if part.begin(self.size, self.mtime) and not may_go_on(self.wanted, part):
                part.restart()
        self.ranges.append((self.position, self.size + 1))

    def _part_file(self) -> PartFile:
        """Made when the first byte is there: few are open, however many files are in flight."""
        self.part = part = PartFile(self.wanted.target, self.wanted.remote_path)
        return part

    @property
    def position(self) -> int:
        """How many bytes from the beginning are there, in this reading."""
        sink = self.compared or self.part
        return sink.position if sink is not None else 0

    def write(self, offset: int, data: memoryview) -> None:
        """Takes a piece.

        Raises RepositoryError, or RemoteFileError if another process writes the target.
        """
        if self.compared is not None:
            self.compared.write(offset, data)
        elif isinstance(self.part, PartFile):
            self.part.write(offset, data)
        elif len(data) == self.size:
            self.part = SmallFile(self.wanted.target, self.wanted.remote_path, bytes(data))
        else:
            part = self._part_file()
            if part.begin(self.size, self.mtime):
                # Nobody asked the station whether it fits.
                part.restart()
            part.write(offset, data)

    def take_status(self, asked: int, offset: int, code: int) -> None:
        """A status instead of what was asked for: the end of the file, or a refusal."""
        if asked == wire.CLOSE or self.error is not None:
            return
        if asked != wire.READ or code != wire.EOF:
            self.error = refused(self, code)
        elif offset < self.size:
            self.error = changed(self, None)

    def reads_on(self, *, twice: bool) -> bool:
        """Whether the file is to be opened once more: for what is missing, or to compare.

        Every answer for it is there. What was read is compared with what the station says.
        """
        if self.error is None:
            self._judge()
        if self.error is None and not self.ranges and twice:
            self._compare()
        if self.error is None and self.ranges:
            self.handle, self.confirmed, self.end = b"", False, None
            return True
        return False

    def _judge(self) -> None:
        if self.end is None or (self.end.size, self.end.mtime) != (self.size, self.mtime):
            self.error = changed(self, self.end)
        elif not self.ranges and self.position != self.size:
            self.error = changed(self, None)
        elif not self.size and self.part is None:
            self.write(0, memoryview(b""))

    def _compare(self) -> None:
        """After the first reading asks for a second, after the second compares the two."""
        if self.compared is None:
            self.compared = Digest()
            self.ranges.append((0, self.size + 1))
        elif self.part is not None and self.compared.hexdigest() != self.part.sha256:
            self.error = RemoteFileError(
                f"Two readings of {self.name} differ: it changes, or the station's disk fails."
            )

    def open_anew(self) -> None:
        """Forgets a wrong handle: what was asked for with it is to be asked for again."""
        self.handle, self.confirmed, self.misled, self.end = b"", False, False, None
        self.ranges.clear()
        self.ranges.append((self.position, self.size + 1))


@dataclass(frozen=True)
class Complete:
    """A file whose every byte is in its part file."""

    wanted: Wanted
    part: PartFile | SmallFile
    size: int
    mtime: int
    read_twice: bool
    remote_hash: str | None = None
    """What the station said of it, and is so; None if it was not asked yet."""


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
