"""Which messages were at work when a process died.

Each instance keeps a small mapped file with one slot a worker, and in it the digest of the message
at work. What is mapped survives SIGKILL, and costs no system call a message. A lock on the file
tells a living owner from a dead one. Whoever starts next, or gets a
redelivery, takes over the files of the dead, and counts each noted message in a file of one byte a
death.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

from uploaderd.broker.retry import ACQUIRED, DELIVERED, QuarantinedError, Received

DEATH_LIMIT = 2
DELIVERY_LIMIT = 15
"""Deliveries of one message, as the broker counts them, before it is quarantined. A broken
connection counts as well as a death, so this is far above the limit of our own notes;
it is below 20, after which RabbitMQ 4 drops what no policy says to keep."""
SLOT = 16
_EMPTY = bytes(SLOT)


class FlightNotes:
    """The notes of one instance, in `folder`; close it when the work has ended."""

    def __init__(self, folder: Path, queue: str, workers: int) -> None:
        self._suspects = folder / f"{queue}.suspects"
        self._suspects.mkdir(parents=True, exist_ok=True)
        self._folder, self._queue = folder, queue
        self.gather()
        self._path = folder / f"{queue}.{os.getpid()}-{uuid.uuid4().hex[:8]}.flight"
        # The file appears under its name only when it is locked: before, nobody looks at it.
        new = self._path.with_suffix(".new")
        self._file = new.open("w+b")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.truncate(SLOT * workers)
        self._map = mmap.mmap(self._file.fileno(), SLOT * workers)
        new.rename(self._path)

    def gather(self) -> None:
        """Counts what the dead had at work. Our own file is locked, by ourselves, too."""
        for path, _ in _flights(self._folder, self._queue):
            self._take_over(path)

    def note(self, worker: int, message_id: str) -> None:
        """The worker begins with the message."""
        self._map[worker * SLOT : (worker + 1) * SLOT] = _key(message_id)

    def clear(self, worker: int) -> None:
        """The worker has survived its message."""
        self._map[worker * SLOT : (worker + 1) * SLOT] = _EMPTY

    def deaths(self, message_id: str) -> int:
        """How many times a process died while it had the message at work."""
        try:
            return (self._suspects / _key(message_id).hex()).stat().st_size
        except FileNotFoundError:
            return 0

    def forget(self, message_id: str) -> None:
        """The message is settled."""
        (self._suspects / _key(message_id).hex()).unlink(missing_ok=True)

    def close(self) -> None:
        """Removes the instance's own file."""
        self._path.unlink(missing_ok=True)
        self._map.close()
        self._file.close()

    def _take_over(self, path: Path) -> None:
        try:
            file = path.open("r+b")
        except FileNotFoundError:
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            # Two who start at once may both have opened it; who finds it gone came second.
            if not path.exists():
                return
            notes = file.read()
            path.unlink()
        for start in range(0, len(notes), SLOT):
            key = notes[start : start + SLOT]
            if key != _EMPTY:
                with (self._suspects / key.hex()).open("ab") as count:
                    count.write(b"x")


def refuse_poison(notes: FlightNotes | None, received: Received, retry_limit: int) -> None:
    """Raises QuarantinedError for a redelivery that costs a process, or a connection, each time."""
    deaths = 0
    if notes is not None:
        notes.gather()
        deaths = notes.deaths(received.message_id)
    if deaths >= DEATH_LIMIT:
        raise QuarantinedError(
            f"The process died {deaths} times while it had this message at work.",
            hint="Find out why before it is replayed.",
        )
    count = received.headers.get(DELIVERED, 0)
    # From RabbitMQ 4.3 on it counts what we gave back as failed, too, and that has its own limit.
    allowed = DELIVERY_LIMIT + (retry_limit if ACQUIRED in received.headers else 0)
    if type(count) is int and count >= allowed:
        raise QuarantinedError(
            f"The message was delivered {count} times and never settled.",
            hint="Processes or connections that end while it is at work make it so.",
        )


def _key(message_id: str) -> bytes:
    return hashlib.blake2b(message_id.encode(), digest_size=SLOT).digest()


def who_has(folder: Path, queue: str, message_id: str) -> int | None:
    """The process on this machine that noted the message as at work; None if there is none.

    It may have died since: whether it lives is the asker's to see.
    """
    key = _key(message_id)
    for path, pid in _flights(folder, queue):
        try:
            notes = path.read_bytes()
        except FileNotFoundError:
            continue
        if any(notes[start : start + SLOT] == key for start in range(0, len(notes), SLOT)):
            return pid
    return None


def _flights(folder: Path, queue: str) -> Iterator[tuple[Path, int]]:
    """The notes of a queue's instances, and whose they are. Another queue may have our prefix."""
    own = re.compile(re.escape(queue) + r"\.(\d+)-[0-9a-f]{8}\.flight")
    for path in folder.glob(f"{queue}.*.flight"):
        match = own.fullmatch(path.name)
        if match:
            yield path, int(match[1])
