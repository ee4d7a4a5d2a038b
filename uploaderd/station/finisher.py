"""Makes complete files durable beside the reading of further ones: verify, sync, name."""

from __future__ import annotations

import contextlib
import logging
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from uploaderd.errors import RemoteFileError, UploaderError
from uploaderd.station.budget import COMPLETE, OPEN_FILES
from uploaderd.station.outcome import Fetched, Limits, Outcome, Refused, Verification
from uploaderd.station.part_file import TargetError
from uploaderd.station.placing import Placing, place
from uploaderd.station.reading import Complete, shown
from uploaderd.station.verification import Verifier

LOG = logging.getLogger(__name__)
WORKERS = 2
"""One writes while the other waits for the disk."""
LARGEST_BATCH = 256
MOST_PENDING = 1024
PROGRESS_S = 1.0


class Finisher:
    """Threads that take complete files, a batch at a time, to their places."""

    def __init__(self, verifier: Verifier, limits: Limits) -> None:
        self._verifier = verifier
        self._limits = limits
        self._tasks: queue.SimpleQueue[Complete | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[tuple[Outcome, int]] = queue.SimpleQueue()
        self._told = False
        self._held = 0
        self.failure: UploaderError | None = None
        """Why no more files can be finished: the disk, or the connection."""
        self.pending = 0
        """Files that were taken and not given out; counted by the caller's thread alone."""
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="finisher")
        self._work_done = [self._workers.submit(self._work) for _ in range(WORKERS)]

    def take(self, complete: Complete) -> None:
        """Hands over a complete file."""
        self.pending += 1
        self._held += complete.part.held
        self._tasks.put(complete)

    def has_room(self) -> bool:
        """Whether more may be received: each file holds memory or a descriptor until it is done."""
        for work in self._work_done:
            if work.done():
                # It ends by itself only by an error of ours, which is not to go unheard.
                work.result()
        return self.pending < MOST_PENDING and self._held < COMPLETE.share

    def done(self) -> Iterator[Outcome]:
        """The outcomes that are known by now."""
        while not self._outcomes.empty():
            outcome, held = self._outcomes.get()
            self.pending -= 1
            self._held -= held
            yield outcome

    def stop(self, progress: Callable[[], None]) -> None:
        """Waits until all that was taken is finished, or kept; `done` then gives the rest.

        `progress` is called every second of it.
        """
        for _ in self._work_done:
            self._tasks.put(None)
        while wait(self._work_done, PROGRESS_S).not_done:
            progress()
        self._workers.shutdown()
        for work in self._work_done:
            work.result()

    def _work(self) -> None:
        last = False
        while not last:
            batch = self._next_batch()
            last = batch[-1] is None
            if tasks := [task for task in batch if task is not None]:
                self._finish(tasks)

    def _next_batch(self) -> list[Complete | None]:
        """What there is by now, at least one; ends with None if nothing comes after it."""
        batch = [self._tasks.get()]
        most = min(LARGEST_BATCH, OPEN_FILES.share // WORKERS)
        with contextlib.suppress(queue.Empty):
            while batch[-1] is not None and len(batch) < most:
                batch.append(self._tasks.get_nowait())
        return batch

    def _finish(self, batch: Sequence[Complete]) -> None:
        try:
            if self.failure is None:
                self._place(batch)
                return
        except UploaderError as error:
            self.failure = error
        for complete in batch:
            complete.part.keep()

    def _place(self, batch: Sequence[Complete]) -> None:
        """Makes a batch durable and tells; raises UploaderError if that is impossible now."""
        hashes = [one.remote_hash for one in batch]
        if self._limits.verification == "remote_hash":
            asked = iter(
                self._verifier.remote_hashes([one for one in batch if not one.remote_hash])
            )
            hashes = [known or next(asked) for known in hashes]
        files = [self._checked(*one) for one in zip(batch, hashes, strict=True)]
        place(files)
        for complete, remote, file in zip(batch, hashes, files, strict=True):
            self._tell(complete, remote, file)

    def _checked(self, complete: Complete, remote: str | None) -> Placing:
        """What is to be placed, with an error if the station's hash is another."""
        file = Placing(complete.part, _mtime_ns(complete))
        if remote is not None:
            file.attempt(self._check, complete, remote)
        return file

    def _check(self, complete: Complete, remote: str) -> None:
        if remote != self._verifier.ours(complete.part):
            raise RemoteFileError(
                f"{shown(complete.wanted)} has the hash {remote} at the station, and another here."
            )

    def _tell(self, complete: Complete, remote: str | None, file: Placing) -> None:
        """Gives out what became of a file; one that the disk does not take now is kept."""
        wanted, part, error = complete.wanted, complete.part, file.error
        outcome: Outcome
        if error is None:
            level = self._level(complete, remote)
            outcome = Fetched(wanted, complete.size, file.mtime_ns, part.sha256, level)
        elif isinstance(error, TargetError | RemoteFileError):
            part.drop()
            outcome = Refused(wanted, error)
        else:
            part.keep()
            self.failure = error
            return
        self._outcomes.put((outcome, part.held))

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


def _mtime_ns(complete: Complete) -> int:
    """The discovery's mtime if it is of the second that the station tells: it may be finer."""
    told = complete.wanted.mtime_ns
    if told is not None and told // 10**9 == complete.mtime:
        return told
    return complete.mtime * 10**9
