"""Makes complete files durable beside the reading of further ones: verify, sync, name.

One thread takes the files through all the small steps, for two would only take turns at the
interpreter: in each turn it writes a group and names the one before. A second thread waits
meanwhile: for the disk, which takes the bytes of one group and the names of the one before it
together, and for the station's hashes. Whatever has its name on the disk is told of.
"""

from __future__ import annotations

import contextlib
import logging
import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from uploaderd.errors import RemoteFileError, UploaderError
from uploaderd.station.budget import COMPLETE, OPEN_FILES
from uploaderd.station.outcome import Fetched, Limits, Outcome, Refused, Verification
from uploaderd.station.part_file import PartFile, TargetError
from uploaderd.station.placing import Group, Placing
from uploaderd.station.reading import Complete, shown
from uploaderd.station.verification import Verifier

LOG = logging.getLogger(__name__)
LARGEST_GROUP = 256
MOST_OPEN = 256
"""Files with a descriptor of their own; small ones have none before they are written."""
PROGRESS_S = 1.0


@dataclass(eq=False)
class UnderWay:
    """A group that was written, and later named."""

    batch: Sequence[Complete]
    files: Sequence[Placing]
    group: Group
    hashes: Sequence[str | None] = ()
    """What the station says of each, as far as it was asked and has answered."""

    def let_go(self) -> None:
        """Closes its files and folders; a later transfer goes on with what has no name."""
        _keep(self.batch)
        self.group.close()


@dataclass(frozen=True)
class Turn:
    """What the second thread waits for: the bytes of a group, and names of the one before it."""

    written: UnderWay | None
    done: Future[None]


class Finisher:
    """Threads that take complete files, a group at a time, to their places."""

    def __init__(self, verifier: Verifier, limits: Limits) -> None:
        self._verifier = verifier
        self._limits = limits
        self._gathered: list[Complete] = []
        self._tasks: queue.SimpleQueue[list[Complete]] = queue.SimpleQueue()
        """Groups; an empty one says that there are no more."""
        self._outcomes: queue.SimpleQueue[tuple[list[Outcome], int, int]] = queue.SimpleQueue()
        """What became of a group, and what it does not hold any more, as below."""
        self._told = False
        self._held = 0
        """Bytes in memory of what was taken and not given out."""
        self._open = 0
        """Files among that with a descriptor of their own."""
        self.failure: UploaderError | None = None
        """Why no more files can be finished: the disk, or the connection."""
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="finisher")
        self._work_done = self._threads.submit(self._work)

    def take(self, complete: Complete) -> None:
        """Hands over a complete file."""
        self._held += complete.part.held
        self._open += isinstance(complete.part, PartFile)
        self._gathered.append(complete)
        if len(self._gathered) >= min(LARGEST_GROUP, OPEN_FILES.share // 2):
            self._hand_on()

    def _hand_on(self) -> None:
        if self._gathered:
            self._tasks.put(self._gathered)
            self._gathered = []

    def has_room(self) -> bool:
        """Whether more may be received: each file holds memory or a descriptor until it is done."""
        if self._work_done.done():
            # It ends by itself only by an error of ours, which is not to go unheard.
            self._work_done.result()
        return self._open < MOST_OPEN and self._held < COMPLETE.share

    def done(self) -> Iterator[Outcome]:
        """The outcomes that are known by now; to be asked for now and then."""
        if self._tasks.empty():
            # Nothing waits: better a small group now than a large one later.
            self._hand_on()
        while not self._outcomes.empty():
            outcomes, held, opened = self._outcomes.get()
            self._held -= held
            self._open -= opened
            yield from outcomes

    def stop(self, progress: Callable[[], None]) -> None:
        """Waits until all that was taken is finished, or kept; `done` then gives the rest.

        `progress` is called every second of it.
        """
        self._hand_on()
        self._tasks.put([])
        while wait([self._work_done], PROGRESS_S).not_done:
            progress()
        self._threads.shutdown()
        self._work_done.result()

    def _work(self) -> None:
        turn: Turn | None = None
        last = False
        while not last or turn is not None:
            batch = self._next_batch(patient=turn is None)
            last = last or batch == []
            written = self._write(batch) if batch else None
            named = self._name(turn) if turn is not None else None
            turn = None
            if written is not None or named is not None:
                turn = Turn(written, self._threads.submit(self._wait, written, named))

    def _next_batch(self, *, patient: bool) -> list[Complete] | None:
        """The next group; None if there is none just now, and we are not patient."""
        with contextlib.suppress(queue.Empty):
            return self._tasks.get(block=patient)
        return None

    def _write(self, batch: Sequence[Complete]) -> UnderWay | None:
        """Writes a group, unless no more can be finished."""
        if self.failure is not None:
            _keep(batch)
            return None
        files = [Placing(one.part, _mtime_ns(one)) for one in batch]
        group = Group(files)
        group.write()
        return UnderWay(batch, files, group)

    def _wait(self, written: UnderWay | None, named: UnderWay | None) -> None:
        """In the second thread: the disk, and the hashes as far as the station gives them.

        Raises RepositoryError if the names cannot be made durable, StationUnreachable when the
        connection breaks.
        """
        try:
            if written is not None:
                written.group.sync(named.group if named is not None else None)
            elif named is not None:
                named.group.sync_names()
            if named is not None:
                self._tell(named)
        finally:
            if named is not None:
                named.let_go()
        if written is not None:
            written.hashes = self._hashes(written.batch)

    def _hashes(self, batch: Sequence[Complete]) -> list[str | None]:
        hashes = [one.remote_hash for one in batch]
        if self._limits.verification == "remote_hash":
            unknown = [one for one in batch if one.remote_hash is None]
            asked = iter(self._verifier.remote_hashes(unknown))
            hashes = [next(asked) if known is None else known for known in hashes]
        return hashes

    def _name(self, turn: Turn) -> UnderWay | None:
        """Compares, and gives the names, once the bytes are on the disk."""
        written = turn.written
        try:
            turn.done.result()
        except UploaderError as error:
            self.failure = error
            if written is not None:
                written.let_go()
            return None
        if written is not None:
            for complete, remote, file in zip(
                written.batch, written.hashes, written.files, strict=True
            ):
                if remote is not None:
                    file.attempt(self._check, complete, remote)
            written.group.name()
        return written

    def _tell(self, named: UnderWay) -> None:
        """Gives out what became of a group, once its names are on the disk."""
        each = zip(named.batch, named.hashes, named.files, strict=True)
        told = [self._told_of(*one) for one in each]
        outcomes = [outcome for outcome in told if outcome is not None]
        held = sum(one.part.held for one in named.batch)
        opened = sum(isinstance(one.part, PartFile) for one in named.batch)
        self._outcomes.put((outcomes, held, opened))

    def _check(self, complete: Complete, remote: str) -> None:
        if remote != self._verifier.ours(complete.part):
            raise RemoteFileError(
                f"{shown(complete.wanted)} has the hash {remote} at the station, and another here."
            )

    def _told_of(self, complete: Complete, remote: str | None, file: Placing) -> Outcome | None:
        """What became of a file; one that the disk does not take now is kept, and not told of."""
        wanted, part, error = complete.wanted, complete.part, file.error
        if error is None:
            level = self._level(complete, remote)
            return Fetched(wanted, complete.size, file.mtime_ns, part.sha256, level)
        if isinstance(error, TargetError | RemoteFileError):
            part.drop()
            return Refused(wanted, error)
        part.keep()
        self.failure = error
        return None

    def _level(self, complete: Complete, remote: str | None) -> Verification:
        if remote is not None:
            return "remote_hash"
        if complete.read_twice:
            return "double_read"
        if self._limits.verification != "size" and not self._told:
            self._told = True
            LOG.warning(
                "The station gave no hash of %s: such files are verified by size only, and their "
                "rows say so.",
                shown(complete.wanted),
            )
        return "size"


def _keep(batch: Iterable[Complete]) -> None:
    for one in batch:
        one.part.keep()


def _mtime_ns(complete: Complete) -> int:
    """The discovery's mtime if it is of the second that the station tells: it may be finer."""
    told = complete.wanted.mtime_ns
    if told is not None and told // 10**9 == complete.mtime:
        return told
    return complete.mtime * 10**9
