"""Names of files made durable: a link or a text that is there, is there after a power cut too."""

from __future__ import annotations

import filecmp
import os
from pathlib import Path

from uploaderd import crash_points
from uploaderd.durable import sync_folder
from uploaderd.errors import RepositoryError


def link(source: Path, place: Path, otherwise: Path) -> Path:
    """Gives a file the name `place` too, or `otherwise` if another file has that name.

    A link that is there already, or a file of the same content, counts as made.

    Returns:
        The name that the file has.

    Raises:
        RepositoryError: the disk cannot be written, or both names belong to other files.
    """
    try:
        make_folder(place.parent)
        for name in dict.fromkeys((place, otherwise)):
            if _link_or_same(source, name):
                sync_folder(name.parent)
                crash_points.reached("final-name:after")
                return name
    except OSError as error:
        raise unwritable(place, error) from error
    raise RepositoryError(f"{otherwise} is another file already.", hint="Move it away.")


def write_text(path: Path, text: str) -> None:
    """Writes a small text whole: aside, fsynced, renamed. What a crash leaves, a repetition takes.

    Raises:
        RepositoryError: the disk cannot be written.
    """
    aside = path.with_name(f".{path.name}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        crash_points.reached("trash-reason:before")
        aside.replace(path)
        sync_folder(path.parent)
        crash_points.reached("trash-reason:after")
    except OSError as error:
        raise unwritable(path, error) from error


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, each durable in the one above. Raises OSError."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        sync_folder(each.parent)


def unwritable(path: Path, error: OSError) -> RepositoryError:
    """What an operator is told when the disk refuses."""
    return RepositoryError(
        f"{path} cannot be written: {error.strerror}.",
        hint="Make room on that disk, or mend its mount or rights.",
    )


def _link_or_same(source: Path, name: Path) -> bool:
    crash_points.reached("final-name:before")
    try:
        os.link(source, name)
    except FileExistsError:
        return name.samefile(source) or filecmp.cmp(source, name, shallow=False)
    return True
