"""Requests that wait to be sent, those whose answers are due, and the pace they are sent at."""

from __future__ import annotations

import time

from uploaderd.station import sftp_wire as wire
from uploaderd.station.reading import Reading
from uploaderd.station.sftp_session import Session

Due = tuple[int, Reading, int, int]
"""What was asked, for which file, from which offset on, how many bytes."""


WORTH_SENDING = 64
"""Pieces that are sent together: every sending costs a packet, and two threads their turns."""


class Requests:
    """The requests of one session, numbered."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._unsent: list[bytes] = []
        self._packed = 0
        """Requests that wait behind another in one piece."""
        self._number = 0
        self._due: dict[int, Due] = {}
        self.due_bytes = 0
        """How many bytes were asked for that have not come."""

    def __len__(self) -> int:
        """How many answers are still to come."""
        return len(self._due)

    def _note(self, due: Due) -> int:
        self._number = number = (self._number + 1) & 0xFFFFFFFF
        self._due[number] = due
        due[1].due += 1
        return number

    def open(self, reading: Reading) -> None:
        """Asks for the file's handle."""
        number = self._note((wire.OPEN, reading, 0, 0))
        self._unsent.append(wire.open_to_read(number, reading.wanted.remote_path))

    def whole(self, reading: Reading, length: int) -> None:
        """All that a file of one read needs, its handle being guessed."""
        first = self._number + 1 if self._number < 0xFFFFFFF0 else 1
        self._number = first + 3
        due = self._due
        due[first] = (wire.OPEN, reading, 0, 0)
        due[first + 1] = (wire.READ, reading, 0, length)
        due[first + 2] = (wire.FSTAT, reading, 0, 0)
        due[first + 3] = (wire.CLOSE, reading, 0, 0)
        reading.due += 4
        self.due_bytes += length
        path = reading.wanted.remote_path
        self._unsent.append(wire.whole(first, path, reading.handle, length))
        self._packed += 3

    def about(self, kind: int, reading: Reading, subject: bytes) -> None:
        """STAT of a path, FSTAT or CLOSE of a handle."""
        self._unsent.append(wire.request(kind, self._note((kind, reading, 0, 0)), subject))

    def read(self, reading: Reading, start: int, length: int) -> None:
        """Asks for bytes of the open file."""
        number = self._note((wire.READ, reading, start, length))
        self._unsent.append(wire.read(number, reading.handle, start, length))
        self.due_bytes += length

    def answered(self, number: int) -> Due:
        """What an answer is to; raises ProtocolError if it is to nothing."""
        try:
            due = self._due.pop(number)
        except KeyError:
            raise wire.ProtocolError(f"an answer {number} to no request") from None
        due[1].due -= 1
        self.due_bytes -= due[3]
        return due

    def flush(self) -> None:
        """Sends what waits to be sent, once it is worth a packet or little else is on its way."""
        waiting = len(self._unsent) + self._packed
        if waiting and (len(self._unsent) >= WORTH_SENDING or 2 * waiting >= len(self._due)):
            # If nothing else was due, the station's silence begins here.
            first = len(self._unsent) + self._packed == len(self._due)
            self._session.send(b"".join(self._unsent), first=first)
            self._unsent.clear()
            self._packed = 0


class Pace:
    """Spreads what is asked for over the time that its amount may take."""

    def __init__(self, bytes_per_s: float | None) -> None:
        self._bytes_per_s = bytes_per_s
        self._allowed_at = 0.0

    def step(self, read_size: int) -> int:
        """How much to ask for at once: small steps under a limit, for an even flow."""
        if not self._bytes_per_s:
            return read_size
        return max(4096, min(read_size, int(self._bytes_per_s / 4)))

    def is_free(self) -> bool:
        """Whether more may be asked for now."""
        return not self._bytes_per_s or time.monotonic() >= self._allowed_at

    def wait_s(self) -> float:
        """How long until then."""
        return max(0.0, self._allowed_at - time.monotonic())

    def spend(self, count: int) -> None:
        """Notes that so many bytes were asked for."""
        if self._bytes_per_s:
            begun = max(self._allowed_at, time.monotonic())
            self._allowed_at = begun + count / self._bytes_per_s
