"""Brings a group of complete files to the disk, and then to their names.

All bytes are on the disk before the first file gets its name, and all names are before anybody
hears of them. What goes wrong with a file is noted with it, and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec

from uploaderd import crash_points
from uploaderd.errors import RemoteFileError, RepositoryError
from uploaderd.station.group_sync import Folders, sync_each
from uploaderd.station.part_file import PartFile, not_written
from uploaderd.station.small_file import SmallFile

P = ParamSpec("P")


@dataclass(eq=False, slots=True)
class Placing:
    """A complete file on its way to its name, or what stopped it there."""

    part: PartFile | SmallFile
    mtime_ns: int
    error: RepositoryError | RemoteFileError | None = None

    def attempt(self, step: Callable[P, None], *args: P.args, **named: P.kwargs) -> None:
        """Takes a step, unless an earlier one went wrong."""
        if self.error is None:
            try:
                step(*args, **named)
            except (RepositoryError, RemoteFileError) as error:
                self.error = error


class Group:
    """Files on their way from their bytes to their names, a step after the other."""

    def __init__(self, files: Sequence[Placing]) -> None:
        self._files = files
        self._folders = Folders()

    def write(self) -> None:
        """Writes what is not written yet; it has no name, or not its own."""
        for one in self._files:
            one.attempt(one.part.write_out, self._folders.opened, one.mtime_ns)

    def sync(self) -> None:
        """Brings all bytes to the disk; takes long, and nothing of the interpreter."""
        sound = [one for one in self._files if one.error is None]
        small = [one for one in sound if isinstance(one.part, SmallFile)]
        large = [one for one in sound if isinstance(one.part, PartFile)]
        _note(small, self._folders.sync([one.part.handle for one in small]))
        # Their first bytes were written before their folders were opened.
        _note(large, sync_each([one.part.handle for one in large]))

    def name(self) -> None:
        """Gives each file its name.

        Raises RepositoryError if the names cannot be made durable.
        """
        for one in self._files:
            one.attempt(one.part.place)
        crash_points.reached("folder-synced:before")
        try:
            self._folders.sync_names()
        except OSError as error:
            raise not_written(self._files[0].part.target.parent, error) from error
        crash_points.reached("folder-synced:after")

    def close(self) -> None:
        """Lets go of the folders; to be called on every path."""
        self._folders.close()


def _note(files: Sequence[Placing], errors: Sequence[OSError | None]) -> None:
    for one, error in zip(files, errors, strict=True):
        if error is not None:
            one.error = not_written(one.part.target, error)
