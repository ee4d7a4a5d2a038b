"""Many small files by one command of the station: its `tar` gives them as one stream.

A file costs the station's SFTP server four requests, and us four answers; in an archive it costs a
header. Where the station runs no commands, or has no `tar`, the SFTP reader fetches everything.

An archive tells less than SFTP does, and so it is believed less: a file counts only if it came as
a regular one of the wanted name, size and time, and if the same command, once the archive was
written, says of it what we have: its hash, or its size and time where sizes are enough. Whatever is
not so is left to the SFTP reader, which looks anew and finds the words for what is the matter.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from uploaderd.errors import StationError
from uploaderd.station.budget import IN_FLIGHT
from uploaderd.station.connection import Connection
from uploaderd.station.link import Stream
from uploaderd.station.outcome import Limits, Wanted
from uploaderd.station.reading import Complete
from uploaderd.station.small_file import SmallFile
from uploaderd.station.tar_stream import NotAnArchive, TarStream
from uploaderd.station.verification import LONGEST_COMMAND, Verifier, quoted

LOG = logging.getLogger(__name__)
AT_ONCE = 6
"""Archives on their way: a long link takes two round trips to begin one. OpenSSH allows ten
sessions on a connection (sshd_config(5), MaxSessions), and others are needed beside."""
MOST_BYTES = 4 << 20
FIRST_FILES = 128
MOST_FILES = 1024
"""The first archive is small, for nothing is to be done before it is there; each is twice as large
as the one before."""
WORTH_IT = 16
"""Files for which a command is worth its start."""
LARGEST_UNHASHED = 32 << 10
"""Beyond that size SFTP is as fast, unless a command is needed for the hashes anyway."""
LONGEST_WORD = 200
"""Bytes that the station says of a file behind an archive, beside its name."""


@dataclass(eq=False)
class Chunk:
    """Files that are to come in one archive."""

    files: list[Wanted] = field(default_factory=list)
    bytes: int = 0
    letters: int = 0
    """Of all their names."""

    def add(self, one: Wanted) -> None:
        """One more; its size is known."""
        self.files.append(one)
        self.bytes += one.size or 0
        self.letters += len(one.remote_path) + 3


class Archives:
    """The small files among those that are wanted, by archives; a context manager."""

    def __init__(
        self, connection: Connection, verifier: Verifier, limits: Limits, silence_s: float
    ) -> None:
        self._connection = connection
        self._verifier = verifier
        self._limits = limits
        self._silence_s = silence_s
        self._hashed = limits.verification == "remote_hash"
        self._most_files = FIRST_FILES
        self._tasks: list[Future[tuple[list[Complete], list[Wanted]]]] = []
        self._complete: list[Complete] = []
        self._left: list[Wanted] = []
        self._streams: set[Stream] | None = set()
        """Of the archives on their way; None when no more may be."""
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="archive")

    def __enter__(self) -> Archives:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends what is on its way: its files are fetched another time."""
        with self._lock:
            streams, self._streams = self._streams or set(), None
        for stream in streams:
            stream.close()
        self._pool.shutdown()

    def sift(
        self, wanted: Iterable[Wanted], has_room: Callable[[], bool]
    ) -> Iterator[Wanted | None]:
        """What the SFTP reader is to fetch; None says that there is nothing for it now.

        All others are fetched meanwhile, and given by `complete`.
        """
        chunk, most = Chunk(), self._most_bytes
        largest = MOST_BYTES if self._hashed else LARGEST_UNHASHED
        for one in wanted:
            fits = _is_archivable(one, min(largest, most // WORTH_IT))
            if not (fits and self._connection.archives):
                yield one
                continue
            chunk.add(one)
            if self._is_full(chunk, most):
                while len(self._tasks) >= AT_ONCE or not has_room():
                    yield self._left_over()
                self._start(chunk)
                chunk, most = Chunk(), self._most_bytes
        if len(chunk.files) < WORTH_IT:
            yield from chunk.files
        else:
            self._start(chunk)
        while self._tasks or self._left:
            yield self._left_over()

    def complete(self) -> Sequence[Complete]:
        """What has come whole since this was asked last."""
        self._collect()
        complete, self._complete = self._complete, []
        return complete

    def _left_over(self) -> Wanted | None:
        self._collect()
        return self._left.pop() if self._left else None

    def _collect(self) -> None:
        for task in [task for task in self._tasks if task.done()]:
            self._tasks.remove(task)
            complete, left = task.result()
            self._complete += complete
            self._left += left

    @property
    def _most_bytes(self) -> int:
        """Of one archive; zero where there are to be none."""
        limits = self._limits
        if limits.bytes_per_s or limits.verification == "double_read":
            return 0
        return min(MOST_BYTES, limits.bytes_in_flight // AT_ONCE, IN_FLIGHT.share // AT_ONCE)

    def _is_full(self, chunk: Chunk, most_bytes: int) -> bool:
        return (
            len(chunk.files) >= min(self._most_files, self._limits.files_in_flight // AT_ONCE)
            or chunk.bytes >= most_bytes
            or chunk.letters >= LONGEST_COMMAND
        )

    def _start(self, chunk: Chunk) -> None:
        self._most_files = min(2 * self._most_files, MOST_FILES)
        self._tasks.append(self._pool.submit(self._fetch, chunk))

    def _fetch(self, chunk: Chunk) -> tuple[list[Complete], list[Wanted]]:
        """In a thread of its own: what came by one archive, and what did not."""
        complete: list[Complete] = []
        try:
            complete = self._archive(chunk)
        except (StationError, NotAnArchive, EOFError, OSError) as error:
            # The SFTP reader meets a broken connection as well, and says so.
            LOG.debug("an archive came to nothing: %s", error)
        if not complete:
            # No `tar`, no commands, or no session to spare: others need them more.
            self._connection.archives = False
        came = {id(one.wanted) for one in complete}
        return complete, [one for one in chunk.files if id(one) not in came]

    def _archive(self, chunk: Chunk) -> list[Complete]:
        stream = self._connection.link.open_command(self._command(chunk))
        try:
            with self._lock:
                if self._streams is None:
                    return []
                self._streams.add(stream)
            archive = TarStream(stream, self._silence_s)
            by_name = {_member(one): one for one in chunk.files}
            came: list[SmallFile] = []
            wanted: list[Wanted] = []
            for entry in archive.entries(MOST_BYTES, len(chunk.files)):
                one = by_name.pop(entry.name.lstrip(b"/"), None)
                if one is not None and _matches(one, len(entry.content), entry.mtime):
                    came.append(SmallFile(one.target, one.remote_path, entry.content))
                    wanted.append(one)
            said = archive.rest(chunk.letters + LONGEST_WORD * len(chunk.files))
            return list(self._agreed(wanted, came, said))
        finally:
            with self._lock:
                if self._streams is not None:
                    self._streams.discard(stream)
            stream.close()

    def _command(self, chunk: Chunk) -> bytes:
        return b'exec 2>/dev/null; set -- %s; tar -b 128 -cf - -- "$@"; %s -- "$@"' % (
            b" ".join(quoted(one.remote_path) for one in chunk.files),
            self._verifier.command if self._hashed else b"stat -c '%s %Y %n'",
        )

    def _agreed(
        self, wanted: Sequence[Wanted], parts: Sequence[SmallFile], said: bytes
    ) -> Iterator[Complete]:
        """The files of which the station says what we have."""
        hashes = self._verifier.parsed(said) if self._hashed else {}
        known = set() if self._hashed else set(said.split(b"\n"))
        for one, part in zip(wanted, parts, strict=True):
            size, mtime, path = part.position, (one.mtime_ns or 0) // 10**9, one.remote_path
            digest = hashes.get(path)
            ours = self._verifier.ours(part) if self._hashed else None
            if digest == ours and (self._hashed or _word(size, mtime, path) in known):
                yield Complete(one, part, size, mtime, read_twice=False, remote_hash=digest)


def _is_archivable(one: Wanted, largest: int) -> bool:
    """Whether it is known so well, and is so small, that many like it go into one archive."""
    path = one.remote_path
    return (
        one.size is not None
        and one.size < largest
        and one.mtime_ns is not None
        and path.startswith(b"/")
        and b"\n" not in path
    )


def _member(one: Wanted) -> bytes:
    """Its name in the archive: `tar` leaves out the slashes in front."""
    return one.remote_path.lstrip(b"/")


def _matches(one: Wanted, size: int, mtime: int) -> bool:
    return one.mtime_ns is not None and (size, mtime) == (one.size, one.mtime_ns // 10**9)


def _word(size: int, mtime: int, path: bytes) -> bytes:
    """What `stat` says of a file as we have it."""
    return b"%d %d %s" % (size, mtime, path)
