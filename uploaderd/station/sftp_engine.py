"""A windowed, pipelined SFTP reader: many files in flight in one session.

OPEN, READ, FSTAT and CLOSE of different files overlap, so that a round trip is paid once a window
and not several times a file. Each file is read to one byte beyond its size, and looked at again
when it is read: one that grew, shrank, or was told wrong is found out without a further round trip.

OpenSSH's server takes requests in their order, and gives a file the first free handle: with one
file after the other it is always the same, so READ, FSTAT and CLOSE follow OPEN without waiting.
The answer to OPEN tells whether the guess was right; else handles are waited for from then on.
"""

from __future__ import annotations

import collections
import stat
import struct
import time
from collections.abc import Callable, Generator, Iterable, Iterator

from uploaderd.errors import RemoteFileError, StationUnreachable
from uploaderd.station import sftp_wire as wire
from uploaderd.station.budget import IN_FLIGHT
from uploaderd.station.link import Stream
from uploaderd.station.outcome import Limits, Refused, Wanted
from uploaderd.station.part_file import PartFile, TargetError
from uploaderd.station.reading import Complete, Reading, changed
from uploaderd.station.sftp_requests import Pace, Requests
from uploaderd.station.sftp_session import SAFE_READ, Session

TICK_S = 1.0
PAUSE_S = 0.002
FIRST_WAVE = 64
"""Files begun with a server that tells not how many handles it has, until one was guessed right."""


class Engine:
    """One SFTP session that reads files; `run` once."""

    def __init__(
        self,
        open_stream: Callable[[], Stream],
        limits: Limits,
        stall_s: float,
        may_go_on: Callable[[Wanted, PartFile], bool],
        progress: Callable[[], None],
    ) -> None:
        """`open_stream` gives the session's bytes once there is a file to read.

        `may_go_on` compares what a part file has with the station, before it is gone on with.

        `progress` is called whenever bytes arrive, and while there is nothing to receive.
        """
        self._session = Session(open_stream, stall_s)
        self._limits = limits
        self._may_go_on = may_go_on
        self._progress = progress
        self._requests = Requests(self._session)
        self._pace = Pace(limits.bytes_per_s)
        self._open: set[Reading] = set()
        self._ready: collections.deque[Reading] = collections.deque()
        self._greeted = False
        self._expectant = False
        """A file may be given to read at any moment."""
        self._guess: bytes | None = None
        self._read_size = SAFE_READ
        self._most_open = self._most_waited_for = FIRST_WAVE
        self._ended: collections.deque[Complete | Refused] = collections.deque()

    def run(
        self, wanted: Iterable[Wanted | None], has_room: Callable[[], bool]
    ) -> Generator[Complete | Refused | None, None, None]:
        """Reads the files; None now and then lets the caller look after what is complete.

        None among those that are wanted says that there is no further one just now. Nothing more
        is received unless `has_room`. Raises StationUnreachable when the connection
        breaks or stalls, RepositoryError when the disk takes no more. Part files are kept on every
        path out.
        """
        source = iter(wanted)
        more = True
        try:
            while more or self._open:
                more = self._fill(source, more)
                self._requests.flush()
                if len(self._requests) and has_room():
                    self._receive()
                elif more or self._open:
                    # No room, not permitted yet, or nothing to do.
                    self._pause()
                while self._ended:
                    yield self._ended.popleft()
                yield None
        except OSError as error:
            raise StationUnreachable(
                f"The connection broke during the transfer: {error or type(error).__name__}.",
                hint="What is complete is kept; the rest goes on where it stopped.",
            ) from error
        except (wire.ProtocolError, struct.error) as error:
            raise StationUnreachable(f"The station's SFTP answers nonsense: {error}.") from error
        finally:
            self._put_away()
            self._session.close()

    def _put_away(self) -> None:
        """Keeps the part files of what is not handed over."""
        for one in (*self._open, *self._ended):
            if not isinstance(one, Refused) and one.part is not None:
                one.part.keep()

    def _greet(self) -> None:
        """Opens the session, and heeds the server's limits from the first file on."""
        about = self._session.open()
        self._greeted = True
        self._read_size, self._guess = about.read_size, about.first_handle
        self._most_waited_for = min(about.handles or FIRST_WAVE, self._limits.files_in_flight)
        self._most_open = self._most_waited_for
        self._read_size = self._pace.step(self._read_size)

    def _pause(self) -> None:
        """Waits for what changes without word from the station; its silence is not counted."""
        time.sleep(PAUSE_S)
        self._session.listen_anew()
        self._progress()

    def _receive(self) -> None:
        patience_s = PAUSE_S if self._expectant else TICK_S
        if self._ready:
            patience_s = min(patience_s, max(0.001, self._pace.wait_s()))
        for kind, number, payload in self._session.packets(patience_s):
            asked, reading, offset, length = self._requests.answered(number)
            if asked != wire.OPEN and reading.handle and not reading.confirmed:
                self._mislead(reading)
            elif kind == wire.DATA and asked == wire.READ:
                self._take(reading, offset, length, wire.string(payload, 0))
            elif kind == wire.STATUS:
                reading.take_status(asked, offset, wire.word(payload, 0))
            else:
                self._take_word(kind, asked, reading, payload)
            if not reading.due and not reading.queued:
                self._settle(reading)
        self._progress()

    def _take_word(self, kind: int, asked: int, reading: Reading, payload: memoryview) -> None:
        """An answer that is neither data nor status."""
        if kind == wire.HANDLE and asked == wire.OPEN:
            self._opened(reading, bytes(wire.string(payload, 0)))
        elif kind == wire.ATTRS and asked == wire.STAT:
            self._looked(reading, wire.attributes(payload))
        elif kind == wire.ATTRS and asked == wire.FSTAT:
            reading.end = wire.attributes(payload)
        else:
            raise wire.ProtocolError(f"an answer of type {kind} to request {asked}")

    def _fill(self, source: Iterator[Wanted | None], more: bool) -> bool:
        """Sends reads of open files, then begins further files; False when there are no more."""
        self._expectant = False
        most = min(self._limits.bytes_in_flight, IN_FLIGHT.share)
        while True:
            if self._ready:
                if self._requests.due_bytes >= most or not self._pace.is_free():
                    return more
                self._read_next(self._ready[0])
            elif more and len(self._open) < self._most_open:
                try:
                    following = next(source)
                except StopIteration:
                    return False
                if following is None:
                    self._expectant = True
                    return True
                self._begin(following)
            else:
                return more

    def _begin(self, wanted: Wanted) -> None:
        if not self._greeted:
            self._greet()
        reading = Reading(wanted)
        self._open.add(reading)
        if wanted.size is None or wanted.mtime_ns is None:
            self._requests.about(wire.STAT, reading, wanted.remote_path)
        else:
            self._sized(reading, wanted.size, wanted.mtime_ns // 10**9)
            if reading.error is not None:
                self._settle(reading)

    def _looked(self, reading: Reading, seen: wire.Attributes) -> None:
        if seen.mode is not None and not stat.S_ISREG(seen.mode):
            reading.error = RemoteFileError(f"{reading.name} is no regular file.")
        elif seen.size is None or seen.mtime is None:
            reading.error = RemoteFileError(f"The station tells no size of {reading.name}.")
        elif reading.wanted.size not in (None, seen.size):
            reading.error = changed(reading, seen)
        else:
            self._sized(reading, seen.size, seen.mtime)

    def _sized(self, reading: Reading, size: int, mtime: int) -> None:
        reading.size, reading.mtime = size, mtime
        try:
            reading.begin(self._may_go_on)
        except (TargetError, RemoteFileError) as error:
            reading.error = error
            return
        self._queue(reading)

    def _queue(self, reading: Reading) -> None:
        """Has it opened, if it has no handle, and read."""
        reading.queued = True
        self._ready.append(reading)

    def _opened(self, reading: Reading, handle: bytes) -> None:
        if not reading.handle:
            reading.handle, reading.confirmed = handle, True
            self._queue(reading)
        elif handle == reading.handle and not reading.misled:
            reading.confirmed = True
            if self._guess is not None:
                self._most_open = self._limits.files_in_flight
        else:
            self._mislead(reading)
            self._requests.about(wire.CLOSE, reading, handle)

    def _mislead(self, reading: Reading) -> None:
        """The handle was guessed wrong: from here on they are waited for."""
        self._guess, self._most_open = None, self._most_waited_for
        reading.misled = True

    def _read_next(self, reading: Reading) -> None:
        """Sends the next request of the first file in the queue."""
        if reading.misled:
            self._leave_queue(reading)
            if not reading.due:
                self._settle(reading)
            return
        if not reading.handle:
            if self._guess is None:
                self._requests.open(reading)
                self._leave_queue(reading)
                return
            reading.handle = self._guess
            if self._ask_whole(reading):
                self._leave_queue(reading)
                return
            self._requests.open(reading)
        if reading.error is not None:
            reading.ranges.clear()
        else:
            self._ask_read(reading)
        if not reading.ranges:
            self._leave_queue(reading)
            self._requests.about(wire.FSTAT, reading, reading.handle)
            self._requests.about(wire.CLOSE, reading, reading.handle)

    def _ask_whole(self, reading: Reading) -> bool:
        """Asks for everything at once, if one read from the beginning gives it all."""
        start, end = reading.ranges[0]
        if start or end > self._read_size or len(reading.ranges) > 1:
            return False
        reading.ranges.clear()
        self._requests.whole(reading, end)
        self._pace.spend(end)
        return True

    def _leave_queue(self, reading: Reading) -> None:
        reading.queued = False
        self._ready.popleft()

    def _ask_read(self, reading: Reading) -> None:
        start, end = reading.ranges.pop(0)
        stop = min(end, start + self._read_size)
        self._requests.read(reading, start, stop - start)
        self._pace.spend(stop - start)
        if stop < end:
            reading.ranges.insert(0, (stop, end))

    def _take(self, reading: Reading, offset: int, length: int, data: memoryview) -> None:
        got = len(data)
        if reading.error is not None:
            return
        if offset + got > reading.size:
            reading.error = changed(reading, None)
        elif not 0 < got <= length:
            raise wire.ProtocolError(f"{got} bytes where {length} were asked for")
        else:
            try:
                reading.write(offset, data)
            except (TargetError, RemoteFileError) as error:
                reading.error = error
                return
            if got < length and offset + got < reading.size:
                # A server that reads less at once than it was asked for: ask it for less.
                self._read_size = max(4096, min(self._read_size, got))
                reading.ranges.append((offset + got, offset + length))

    def _settle(self, reading: Reading) -> None:
        """Every answer for the file is there: it is complete, refused, or read on."""
        if reading.misled:
            reading.open_anew()
            self._queue(reading)
            return
        if reading.reads_on(twice=self._limits.verification == "double_read"):
            self._queue(reading)
            return
        self._open.discard(reading)
        if reading.error is not None:
            if reading.part is not None:
                reading.part.drop()
            self._ended.append(Refused(reading.wanted, reading.error))
        elif reading.part is not None:
            twice = reading.compared is not None
            whole = Complete(reading.wanted, reading.part, reading.size, reading.mtime, twice)
            self._ended.append(whole)
