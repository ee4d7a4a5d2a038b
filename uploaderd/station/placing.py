"""Brings a group of complete files to the disk, and then to their names.

All bytes are on the disk before the first file gets its name, and all names are before anybody
hears of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from uploaderd import crash_points
from uploaderd.durable import sync_folder
from uploaderd.errors import RemoteFileError, RepositoryError
from uploaderd.station.group_sync import GroupSync, sync_each
from uploaderd.station.part_file import PartFile, not_written
from uploaderd.station.small_file import SmallFile


@dataclass(eq=False, slots=True)
class Placing:
    """A complete file on its way to its name, or what stopped it there."""

    part: PartFile | SmallFile
    mtime_ns: int
    error: RepositoryError | RemoteFileError | None = None

    def write(self, group: GroupSync) -> None:
        """Has all of it written, its mtime too; raises as PartFile."""
        if isinstance(self.part, SmallFile):
            self.part.write(group.watch)
        self.part.set_mtime(self.mtime_ns)

    def attempt(self, step: Callable[[], None]) -> None:
        """Takes a step, unless an earlier one went wrong."""
        if self.error is None:
            try:
                step()
            except (RepositoryError, RemoteFileError) as error:
                self.error = error


def place(files: Sequence[Placing]) -> None:
    """Gives each file its name; what goes wrong with one is noted with it.

    Raises RepositoryError if the names cannot be made durable.
    """
    with GroupSync() as group:
        for one in files:
            one.attempt(partial(one.write, group))
        small = [one for one in files if one.error is None and isinstance(one.part, SmallFile)]
        large = [one for one in files if one.error is None and isinstance(one.part, PartFile)]
        _note(small, group.sync([one.part.handle for one in small]))
        # Their first bytes were written before the group was watched.
        _note(large, sync_each([one.part.handle for one in large]))
    for one in files:
        one.attempt(one.part.place)
    _sync_folders([one for one in files if one.error is None])


def _note(files: Sequence[Placing], errors: Sequence[OSError | None]) -> None:
    for one, error in zip(files, errors, strict=True):
        if error is not None:
            one.error = not_written(one.part.target, error)


def _sync_folders(placed: Sequence[Placing]) -> None:
    crash_points.reached("folder-synced:before")
    for folder in {one.part.target.parent for one in placed}:
        try:
            sync_folder(folder)
        except OSError as error:
            raise not_written(folder, error) from error
    crash_points.reached("folder-synced:after")
