"""Makes complete files durable beside the reading of further ones: verify, fsync, rename."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from uploaderd import crash_points
from uploaderd.durable import sync_folder
from uploaderd.errors import RemoteFileError, RepositoryError, UploaderError
from uploaderd.station.budget import COMPLETE
from uploaderd.station.outcome import Fetched, Limits, Outcome, Refused, Verification
from uploaderd.station.part_file import TargetError, not_written
from uploaderd.station.reading import Complete, shown
from uploaderd.station.verification import Verifier

LOG = logging.getLogger(__name__)
LARGEST_BATCH = 256
MOST_PENDING = 512
SYNCS_AT_ONCE = 8
PROGRESS_S = 1.0
_POOL = ThreadPoolExecutor(SYNCS_AT_ONCE, thread_name_prefix="fsync")
"""One for all transfers of the process: threads cost memory, and the disk is one as well."""


class Finisher:
    """One thread that takes complete part files, a batch at a time, to their places."""

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
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="finisher")
        self._work_done = self._worker.submit(self._work)

    def take(self, complete: Complete) -> None:
        """Hands over a complete file."""
        self.pending += 1
        self._held += complete.part.held
        self._tasks.put(complete)

    def has_room(self) -> bool:
        """Whether more may be received: each file holds memory or a descriptor until it is done."""
        if self._work_done.done():
            # It ends by itself only by an error of ours, which is not to go unheard.
            self._work_done.result()
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
        self._tasks.put(None)
        while not wait([self._work_done], PROGRESS_S).done:
            progress()
        self._worker.shutdown()
        self._work_done.result()

    def _work(self) -> None:
        last = False
        while not last:
            batch = [self._tasks.get()]
            while len(batch) < LARGEST_BATCH and not self._tasks.empty():
                batch.append(self._tasks.get())
            last = batch[-1] is None
            self._finish([task for task in batch if task is not None])

    def _finish(self, batch: list[Complete]) -> None:
        hashes: list[str | None] = [None] * len(batch)
        try:
            if self._limits.verification == "remote_hash" and self.failure is None:
                hashes = self._verifier.remote_hashes(batch)
        except UploaderError as error:
            self.failure = error
        if self.failure is not None:
            for complete in batch:
                complete.part.keep()
            return
        # Several at once, for the file system's journal takes them all in one commit.
        tasks = list(zip(batch, hashes, strict=True))
        shares = [tasks[number::SYNCS_AT_ONCE] for number in range(min(SYNCS_AT_ONCE, len(tasks)))]
        results = [one for share in _POOL.map(self._place_all, shares) for one in share]
        try:
            crash_points.reached("folder-synced:before")
            placed = [result.wanted for result, _ in results if isinstance(result, Fetched)]
            for folder in {wanted.target.parent for wanted in placed}:
                sync_folder(folder)
            crash_points.reached("folder-synced:after")
        except OSError as error:
            self.failure = not_written(batch[0].wanted.target, error)
            return
        for result, held in results:
            if isinstance(result, RepositoryError):
                self.failure = result
            else:
                self._outcomes.put((result, held))

    def _place_all(
        self, share: Sequence[tuple[Complete, str | None]]
    ) -> list[tuple[Outcome | RepositoryError, int]]:
        return [(self._place(one, remote), one.part.held) for one, remote in share]

    def _place(self, complete: Complete, remote: str | None) -> Outcome | RepositoryError:
        """Makes one file durable and gives it its name; nothing is raised in the pool."""
        wanted, part = complete.wanted, complete.part
        try:
            if remote is not None and remote != self._verifier.ours(part):
                raise RemoteFileError(
                    f"{shown(wanted)} has the hash {remote} at the station, and another here."
                )
            mtime_ns = _mtime_ns(complete)
            part.make_durable(mtime_ns)
            part.place()
        except (TargetError, RemoteFileError) as error:
            part.drop()
            return Refused(wanted, error)
        except RepositoryError as error:
            part.keep()
            return error
        return Fetched(wanted, complete.size, mtime_ns, part.sha256, self._level(complete, remote))

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
