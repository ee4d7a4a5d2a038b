"""Brings the bytes of many small files to the disk: by one `syncfs` for all, or `fsync` for each.

One `syncfs` costs the journal one commit, but waits for whatever else is unwritten on that file
system: beside somebody who writes gigabytes it is the dearer way. What each way has cost lately
decides. It brings the names along that other files were given just before. It counts for nothing if
it fails, or where it is not to be trusted: each file is then asked for its own bytes, and answers
for them.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from uploaderd import crash_points, durable

LOG = logging.getLogger(__name__)
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
SYNCS_AT_ONCE = 8
ASSUMED_EACH_S = 0.001
"""What `fsync` costs a file, until it was tried, and when that was long ago."""
FORGOTTEN = 1 / 64
"""How much of what a way cost is forgotten with every group that goes the other way."""
_POOL = ThreadPoolExecutor(SYNCS_AT_ONCE, thread_name_prefix="fsync")
"""One for all transfers of the process: threads cost memory, and the disk is one as well."""


class Costs:
    """What a file has cost lately, either way, in seconds.

    A way that is not gone is slowly taken for as cheap again as it is supposed to be, and so tried
    again. Two threads may lose each other's update, which is no harm.
    """

    def __init__(self) -> None:
        self._together_s = 0.0
        self._each_s = ASSUMED_EACH_S

    def together_pays(self) -> bool:
        """Whether the next group had better go by one `syncfs`."""
        return self._together_s <= self._each_s

    def went_together(self, seconds: float) -> None:
        """Notes what one `syncfs` has cost a file."""
        self._together_s = (self._together_s + seconds) / 2
        self._each_s += (ASSUMED_EACH_S - self._each_s) * FORGOTTEN

    def went_each(self, seconds: float) -> None:
        """Notes what a group file by file has cost a file."""
        self._each_s = (self._each_s + seconds) / 2
        self._together_s -= self._together_s * FORGOTTEN


COSTS = Costs()
"""Of the process: its files go to one repository."""


class Folders:
    """The open folders of files that are made durable together."""

    def __init__(self) -> None:
        self._folders: dict[str, int] = {}

    def close(self) -> None:
        """Closes them."""
        for handle in self._folders.values():
            os.close(handle)
        self._folders.clear()

    def opened(self, path: str) -> int:
        """The open folder, which is made if need be; raises OSError.

        To be asked for before a file in it is written: `syncfs` tells of what went wrong since what
        it is given was opened.
        """
        handle = self._folders.get(path)
        if handle is None:
            Path(path).mkdir(parents=True, exist_ok=True)
            handle = self._folders[path] = os.open(path, FOLDER)
        return handle

    def sync_names(self) -> None:
        """Makes the names in all its folders durable; raises OSError."""
        crash_points.reached("folder-synced:before")
        for handle in self._folders.values():
            os.fsync(handle)
        crash_points.reached("folder-synced:after")

    def sync(
        self, files: Sequence[int], named: Folders | None = None
    ) -> tuple[list[OSError | None], bool]:
        """Brings to the disk files that were written since their folders were asked for.

        Gives for each what went wrong with it, and whether all names that were given in the folders
        of `named` are on the disk, too.
        """
        if len(files) > SYNCS_AT_ONCE and COSTS.together_pays():
            begun = time.monotonic()
            done = self._sync_file_systems(named)
            COSTS.went_together((time.monotonic() - begun) / len(files))
            if done:
                return [None] * len(files), named is not None
        return sync_each(files), False

    def _sync_file_systems(self, named: Folders | None) -> bool:
        """Whether all that was written on them, and on those of the names, is on the disk."""
        names = named._folders.values() if named is not None else ()
        try:
            # The last one counts: our first folder was open before any of our files was written.
            handles = (*names, *reversed(self._folders.values()))
            one_each = {os.fstat(handle).st_dev: handle for handle in handles}
            if not all(map(durable.syncs_file_systems, one_each.values())):
                return False
            crash_points.reached("bytes-synced:before")
            if named is not None:
                crash_points.reached("folder-synced:before")
            for handle in one_each.values():
                durable.sync_file_system(handle)
            crash_points.reached("bytes-synced:after")
            if named is not None:
                crash_points.reached("folder-synced:after")
        except OSError as error:
            LOG.warning("A file system could not be synced as a whole: %s.", error)
            return False
        return True


def sync_each(files: Sequence[int]) -> list[OSError | None]:
    """Brings files to the disk one by one, several at once; for each what went wrong with it."""
    begun = time.monotonic()
    # The file system's journal takes those that come together in one commit.
    errors = list(_POOL.map(_sync_one, files))
    if len(files) > SYNCS_AT_ONCE:
        COSTS.went_each((time.monotonic() - begun) / len(files))
    return errors


def _sync_one(file: int) -> OSError | None:
    try:
        crash_points.reached("bytes-synced:before")
        os.fsync(file)
        crash_points.reached("bytes-synced:after")
    except OSError as error:
        return error
    return None
