"""Brings a group of complete files to the disk, and then to their names.

All bytes are on the disk before the first file gets its name, and all names are before anybody
hears of them; the names of one group may get there along with the bytes of the next. What goes
wrong with a file is noted with it, and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec

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

    def sync(self, named: Group | None = None) -> None:
        """Brings all bytes to the disk; takes long, and nothing of the interpreter.

        Along with them the names of another group. Raises RepositoryError if those cannot be made
        durable.
        """
        sound = [one for one in self._files if one.error is None]
        small = [one for one in sound if isinstance(one.part, SmallFile)]
        large = [one for one in sound if isinstance(one.part, PartFile)]
        names = named._folders if named is not None else None
        errors, with_names = self._folders.sync([one.part.handle for one in small], names)
        _note(small, errors)
        # Their first bytes were written before their folders were opened.
        _note(large, sync_each([one.part.handle for one in large]))
        if named is not None and not with_names:
            named.sync_names()

    def name(self) -> None:
        """Gives each file its name, which is still to be brought to the disk."""
        for one in self._files:
            one.attempt(one.part.place)

    def sync_names(self) -> None:
        """Brings the names to the disk; raises RepositoryError if they cannot be made durable."""
        try:
            self._folders.sync_names()
        except OSError as error:
            raise not_written(self._files[0].part.target.parent, error) from error

    def close(self) -> None:
        """Lets go of the folders; to be called on every path."""
        self._folders.close()


def _note(files: Sequence[Placing], errors: Sequence[OSError | None]) -> None:
    for one, error in zip(files, errors, strict=True):
        if error is not None:
            one.error = not_written(one.part.target, error)
