"""Brings a group of complete files to the disk, and then to their names.

All bytes are on the disk before the first file gets its name, and all names are before anybody
hears of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec

from uploaderd import crash_points
from uploaderd.errors import RemoteFileError, RepositoryError
from uploaderd.station.group_sync import Group, sync_each
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


def place(files: Sequence[Placing]) -> None:
    """Gives each file its name; what goes wrong with one is noted with it.

    Raises RepositoryError if the names cannot be made durable.
    """
    with Group() as group:
        for one in files:
            one.attempt(one.part.write_out, group.folder, one.mtime_ns)
        small = [one for one in files if one.error is None and isinstance(one.part, SmallFile)]
        large = [one for one in files if one.error is None and isinstance(one.part, PartFile)]
        _note(small, group.sync([one.part.handle for one in small]))
        # Their first bytes were written before there was a group.
        _note(large, sync_each([one.part.handle for one in large]))
        for one in files:
            one.attempt(one.part.place)
        crash_points.reached("folder-synced:before")
        try:
            group.sync_names()
        except OSError as error:
            raise not_written(files[0].part.target.parent, error) from error
        crash_points.reached("folder-synced:after")


def _note(files: Sequence[Placing], errors: Sequence[OSError | None]) -> None:
    for one, error in zip(files, errors, strict=True):
        if error is not None:
            one.error = not_written(one.part.target, error)
