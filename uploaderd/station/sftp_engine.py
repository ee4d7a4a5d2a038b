"""A windowed, pipelined SFTP reader: many files in flight in one session.

OPEN, READ, FSTAT and CLOSE of different files overlap, so that a round trip is paid once a window
and not several times a file. Each file is read to one byte beyond its size, and looked at again
when it is read: one that grew, shrank, or was told wrong is found out without a further round trip.
"""

from __future__ import annotations

import collections
import stat
import struct
import time
from collections.abc import Callable, Generator, Iterable, Iterator

from uploaderd.errors import RemoteFileError, StationUnreachable
from uploaderd.station import sftp_wire as wire
from uploaderd.station.link import Stream
from uploaderd.station.outcome import Limits, Refused, Wanted
from uploaderd.station.part_file import Digest, PartFile, TargetError
from uploaderd.station.reading import Complete, Reading, changed, refused
from uploaderd.station.sftp_session import SAFE_READ, Session

TICK_S = 1.0


class Engine:
    """One SFTP session that reads files; `run` once."""

    def __init__(
        self,
        stream: Stream,
        limits: Limits,
        stall_s: float,
        may_go_on: Callable[[Wanted, PartFile], bool],
        progress: Callable[[], None],
    ) -> None:
        """`may_go_on` compares what a part file has with the station, before it is gone on with.

        `progress` is called whenever bytes arrive, and while the caller has no room for more.
        """
        self._session = Session(stream, stall_s)
        self._limits = limits
        self._may_go_on = may_go_on
        self._progress = progress
        self._out: list[bytes] = []
        self._number = 0
        self._due: dict[int, tuple[int, Reading, int, int]] = {}
        self._due_bytes = 0
        self._open: set[Reading] = set()
        self._ready: collections.deque[Reading] = collections.deque()
        self._read_size = SAFE_READ
        self._most_open = limits.files_in_flight
        self._allowed_at = 0.0
        self._ended: list[Complete | Refused] = []

    def run(
        self, wanted: Iterable[Wanted], has_room: Callable[[], bool]
    ) -> Generator[Complete | Refused | None, None, None]:
        """Reads the files; None now and then lets the caller look after what is complete.

        New files are begun while `has_room`. Raises StationUnreachable when the connection breaks
        or stalls, RepositoryError when the disk takes no more. Part files are kept on every path
        out.
        """
        source = iter(wanted)
        more = True
        try:
            self._greet()
            while more or self._open:
                more = self._fill(source, more, has_room)
                self._flush()
                if self._due:
                    self._receive()
                else:
                    # Not permitted yet, or no room: both change without word from the station.
                    time.sleep(0.005)
                    self._progress()
                yield from self._ended
                self._ended.clear()
                yield None
        except OSError as error:
            raise StationUnreachable(
                f"The connection broke during the transfer: {error or type(error).__name__}.",
                hint="What is complete is kept; the rest goes on where it stopped.",
            ) from error
        except (wire.ProtocolError, struct.error) as error:
            raise StationUnreachable(f"The station's SFTP answers nonsense: {error}.") from error
        finally:
            for reading in self._open:
                if reading.part is not None:
                    reading.part.keep()
            for result in self._ended:
                if isinstance(result, Complete):
                    result.part.keep()

    def _greet(self) -> None:
        """Opens the session, and heeds the server's limits from the first file on."""
        self._read_size, handles = self._session.open()
        if handles is not None:
            self._most_open = min(self._most_open, handles)
        if self._limits.bytes_per_s:
            # Small steps, for an even flow.
            self._read_size = max(4096, min(self._read_size, int(self._limits.bytes_per_s / 4)))

    def _patience(self) -> float:
        """How long to wait for the station before there is something else to do."""
        until_allowed = self._allowed_at - time.monotonic()
        return min(TICK_S, max(0.001, until_allowed)) if self._ready else TICK_S

    def _permitted(self) -> bool:
        return not self._limits.bytes_per_s or time.monotonic() >= self._allowed_at

    def _receive(self) -> None:
        for kind, number, payload in self._session.packets(self._patience()):
            try:
                asked, reading, offset, length = self._due.pop(number)
            except KeyError:
                raise wire.ProtocolError(f"an answer {number} to no request") from None
            reading.due -= 1
            self._due_bytes -= length
            if kind == wire.DATA and asked == wire.READ:
                self._progress()
                self._take(reading, offset, length, wire.string(payload, 0))
            elif kind == wire.STATUS:
                self._take_status(asked, reading, offset, wire.word(payload, 0))
            elif kind == wire.HANDLE and asked == wire.OPEN:
                self._opened(reading, bytes(wire.string(payload, 0)))
            elif kind == wire.ATTRS and asked == wire.STAT:
                self._looked(reading, wire.attributes(payload))
            elif kind == wire.ATTRS and asked == wire.FSTAT:
                reading.end = wire.attributes(payload)
            else:
                raise wire.ProtocolError(f"an answer of type {kind} to request {asked}")
            if not reading.due and not reading.queued:
                self._settle(reading)

    def _ask(self, kind: int, reading: Reading, offset: int = 0, length: int = 0) -> None:
        self._number = number = (self._number + 1) & 0xFFFFFFFF
        if kind == wire.READ:
            self._out.append(wire.read(number, reading.handle, offset, length))
        elif kind == wire.OPEN:
            self._out.append(wire.open_to_read(number, reading.wanted.remote_path))
        elif kind == wire.STAT:
            self._out.append(wire.request(kind, number, reading.wanted.remote_path))
        else:
            self._out.append(wire.request(kind, number, reading.handle))
        self._due[number] = (kind, reading, offset, length)
        self._due_bytes += length
        reading.due += 1

    def _flush(self) -> None:
        if self._out:
            # If nothing else was due, the station's silence begins here.
            self._session.send(b"".join(self._out), first=len(self._out) == len(self._due))
            self._out.clear()

    def _fill(self, source: Iterator[Wanted], more: bool, has_room: Callable[[], bool]) -> bool:
        """Sends reads of open files, then begins further files; False when there are no more."""
        limits = self._limits
        while len(self._due) < limits.requests_in_flight:
            if self._ready:
                if self._due_bytes >= limits.bytes_in_flight or not self._permitted():
                    break
                self._read_next(self._ready[0])
            elif more and len(self._open) < self._most_open and has_room():
                following = next(source, None)
                if following is None:
                    return False
                self._begin(following)
            else:
                break
        return more

    def _begin(self, wanted: Wanted) -> None:
        reading = Reading(wanted)
        self._open.add(reading)
        if wanted.size is None or wanted.mtime_ns is None:
            self._ask(wire.STAT, reading)
        else:
            reading.size, reading.mtime = wanted.size, wanted.mtime_ns // 10**9
            self._ask(wire.OPEN, reading)

    def _looked(self, reading: Reading, seen: wire.Attributes) -> None:
        if seen.mode is not None and not stat.S_ISREG(seen.mode):
            reading.error = RemoteFileError(f"{reading.name} is no regular file.")
        elif seen.size is None or seen.mtime is None:
            reading.error = RemoteFileError(f"The station tells no size of {reading.name}.")
        elif reading.wanted.size not in (None, seen.size):
            reading.error = changed(reading, seen)
        else:
            reading.size, reading.mtime = seen.size, seen.mtime
            self._ask(wire.OPEN, reading)

    def _opened(self, reading: Reading, handle: bytes) -> None:
        reading.handle = handle
        if reading.sink is None:
            try:
                reading.part = reading.sink = PartFile(
                    reading.wanted.target, reading.wanted.remote_path
                )
                if reading.part.begin(reading.size, reading.mtime) and not self._may_go_on(
                    reading.wanted, reading.part
                ):
                    reading.part.restart()
            except (TargetError, RemoteFileError) as error:
                reading.error = error
                self._ask(wire.CLOSE, reading)
                return
            reading.ranges.append((reading.part.position, reading.size + 1))
        reading.queued = True
        self._ready.append(reading)

    def _read_next(self, reading: Reading) -> None:
        if reading.error is not None:
            reading.ranges.clear()
        else:
            start, end = reading.ranges.popleft()
            stop = min(end, start + self._read_size)
            self._ask(wire.READ, reading, start, stop - start)
            if stop < end:
                reading.ranges.appendleft((stop, end))
            if self._limits.bytes_per_s:
                begun = max(self._allowed_at, time.monotonic())
                self._allowed_at = begun + (stop - start) / self._limits.bytes_per_s
        if not reading.ranges:
            reading.queued = False
            self._ready.popleft()
            self._ask(wire.FSTAT, reading)
            self._ask(wire.CLOSE, reading)

    def _take(self, reading: Reading, offset: int, length: int, data: memoryview) -> None:
        got = len(data)
        if reading.error is not None or reading.sink is None:
            return
        if offset + got > reading.size:
            reading.error = changed(reading, None)
        elif not 0 < got <= length:
            raise wire.ProtocolError(f"{got} bytes where {length} were asked for")
        else:
            reading.sink.write(offset, data)
            if got < length and offset + got < reading.size:
                # A server that reads less at once than it was asked for: ask it for less.
                self._read_size = max(4096, min(self._read_size, got))
                reading.ranges.append((offset + got, offset + length))

    def _take_status(self, asked: int, reading: Reading, offset: int, code: int) -> None:
        if asked == wire.CLOSE or reading.error is not None:
            return
        if asked != wire.READ or code != wire.EOF:
            reading.error = refused(reading, code)
        elif offset < reading.size:
            reading.error = changed(reading, None)

    def _settle(self, reading: Reading) -> None:
        """Every answer for the file is there: it is complete, refused, or read on."""
        if reading.error is None and reading.sink is not None:
            end = reading.end
            if end is None or (end.size, end.mtime) != (reading.size, reading.mtime):
                reading.error = changed(reading, end)
            elif not reading.ranges and reading.sink.position != reading.size:
                reading.error = changed(reading, None)
        if reading.error is None and self._reads_on(reading):
            self._ask(wire.OPEN, reading)
            return
        self._open.discard(reading)
        if reading.error is not None:
            if reading.part is not None:
                reading.part.drop()
            self._ended.append(Refused(reading.wanted, reading.error))
        elif reading.part is not None:
            twice = isinstance(reading.sink, Digest)
            self._ended.append(
                Complete(reading.wanted, reading.part, reading.size, reading.mtime, twice)
            )

    def _reads_on(self, reading: Reading) -> bool:
        """Whether the file is to be opened once more: for what is missing, or to compare."""
        if reading.ranges:
            return True
        if reading.part is None or self._limits.verification != "double_read":
            return False
        if not isinstance(reading.sink, Digest):
            reading.sink, reading.end = Digest(), None
            reading.ranges.append((0, reading.size + 1))
            return True
        if reading.sink.hexdigest() != reading.part.digest.hexdigest():
            reading.error = RemoteFileError(
                f"Two readings of {reading.name} differ: it changes, or the station's disk fails."
            )
        return False
