"""Makes complete files durable beside the reading of further ones: verify, fsync, rename."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from uploaderd import crash_points
from uploaderd.errors import RemoteFileError, RepositoryError, UploaderError
from uploaderd.station.outcome import Fetched, Limits, Outcome, Refused, Verification
from uploaderd.station.part_file import TargetError, sync_folder
from uploaderd.station.reading import Complete
from uploaderd.station.verification import Verifier

LOG = logging.getLogger(__name__)
LARGEST_BATCH = 256
MOST_PENDING = 512
SYNCS_AT_ONCE = 8
PROGRESS_S = 1.0


class Finisher:
    """One thread that takes complete part files, a batch at a time, to their places."""

    def __init__(self, verifier: Verifier, limits: Limits) -> None:
        self._verifier = verifier
        self._limits = limits
        self._tasks: queue.SimpleQueue[Complete | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._told = False
        self.failure: UploaderError | None = None
        """Why no more files can be finished: the disk, or the connection."""
        self.pending = 0
        """Files that were taken and not given out; counted by the caller's thread alone."""
        self._pool = ThreadPoolExecutor(SYNCS_AT_ONCE, thread_name_prefix="fsync")
        self._thread = threading.Thread(target=self._work, name="finisher", daemon=True)
        self._thread.start()

    def take(self, complete: Complete) -> None:
        """Hands over a complete file."""
        self.pending += 1
        self._tasks.put(complete)

    def has_room(self) -> bool:
        """Whether more may be received: each file holds a descriptor until it is finished."""
        return self.pending < MOST_PENDING

    def done(self) -> Iterator[Outcome]:
        """The outcomes that are known by now."""
        while not self._outcomes.empty():
            self.pending -= 1
            yield self._outcomes.get()

    def stop(self, progress: Callable[[], None]) -> None:
        """Waits until all that was taken is finished, or kept; `done` then gives the rest.

        `progress` is called every second of it.
        """
        self._tasks.put(None)
        while self._thread.is_alive():
            progress()
            self._thread.join(PROGRESS_S)
        self._pool.shutdown()

    def _work(self) -> None:
        last = False
        while not last:
            batch = [self._tasks.get()]
            while len(batch) < LARGEST_BATCH and not self._tasks.empty():
                batch.append(self._tasks.get())
            last = batch[-1] is None
            self._finish([task for task in batch if task is not None])

    def _finish(self, batch: list[Complete]) -> None:
        left = list(batch)
        try:
            if self.failure is None and batch:
                self._finish_all(left)
        except UploaderError as error:
            self.failure = error
        finally:
            for complete in left:
                complete.part.keep()

    def _finish_all(self, left: list[Complete]) -> None:
        """Finishes the files, taking each off the list when it needs no more care."""
        hashes: list[str | None] = [None] * len(left)
        if self._limits.verification == "remote_hash":
            hashes = self._verifier.remote_hashes([one.wanted.remote_path for one in left])
        placed: list[Fetched] = []
        tasks = list(left)
        try:
            # Several at once, for the file system's journal takes them all in one commit.
            durable = list(self._pool.map(_make_durable, tasks))
            for complete, remote, state in zip(tasks, hashes, durable, strict=True):
                result = self._place(complete, remote, state)
                left.remove(complete)
                if isinstance(result, Fetched):
                    placed.append(result)
                else:
                    self._outcomes.put(result)
        finally:
            crash_points.reached("folder-synced:before")
            for folder in {one.wanted.target.parent for one in placed}:
                sync_folder(folder)
            crash_points.reached("folder-synced:after")
            for fetched in placed:
                self._outcomes.put(fetched)

    def _place(
        self, complete: Complete, remote: str | None, state: int | RepositoryError
    ) -> Outcome:
        wanted, part = complete.wanted, complete.part
        ours = part.digest.hexdigest()
        if remote not in (None, ours):
            part.drop()
            name = wanted.remote_path.decode("utf-8", "backslashreplace")
            return Refused(
                wanted,
                RemoteFileError(f"{name} has SHA-256 {remote} at the station, and {ours} here."),
            )
        try:
            if isinstance(state, RepositoryError):
                raise state
            part.place()
        except TargetError as error:
            part.drop()
            return Refused(wanted, error)
        level = self._level(complete, remote)
        return Fetched(wanted, complete.size, state, ours, level)

    def _level(self, complete: Complete, remote: str | None) -> Verification:
        if remote is not None:
            return "remote_hash"
        if complete.read_twice:
            return "double_read"
        if self._limits.verification == "remote_hash" and not self._told:
            self._told = True
            LOG.warning(
                "The station gives no SHA-256 (no commands, or no sha256sum): files are verified "
                "by size only. Set the verification to double_read to have them read twice."
            )
        return "size"


def _make_durable(complete: Complete) -> int | RepositoryError:
    """Brings the bytes to the disk; gives the mtime that the file has now, or why it is not.

    Nothing is raised, so that every call of a batch has ended before a part file is closed.
    """
    mtime_ns = complete.mtime * 10**9
    told = complete.wanted.mtime_ns
    if told is not None and told // 10**9 == complete.mtime:
        mtime_ns = told
    try:
        complete.part.make_durable(mtime_ns)
    except RepositoryError as error:
        return error
    return mtime_ns
