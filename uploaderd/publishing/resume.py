"""What an interrupted publication had finished is taken over by the next one.

Each file that is durable is noted in the journal of its unfinished version, a JSON object a line.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from uploaderd.publishing.release import JOURNAL, Release
from uploaderd.repository.placement import unwritable


def note(release: Release, path: str, entry: Mapping[str, Any]) -> None:
    """Notes that a file, as the manifest will describe it, is done.

    Raises:
        RepositoryError: the folder cannot be written.
    """
    journal = release.path / JOURNAL
    try:
        with journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"path": path, "entry": entry}) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(journal, error) from error


def take_over(release: Release, digests: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The noted files that hold what the database has now, by path; all others are removed.

    `digests` gives each wanted file's. A file counts only if its SHA-256 is the noted one.

    Raises:
        RepositoryError: the folder cannot be read or written.
    """
    journal = release.path / JOURNAL
    try:
        kept = {
            path: entry
            for path, entry in _noted(journal)
            if entry["digest"] == digests.get(path) and _is_sound(release.path / path, entry)
        }
        for file in list(release.path.rglob("*")):
            if file.is_file() and str(file.relative_to(release.path)) not in kept:
                file.unlink()
    except OSError as error:
        raise unwritable(journal, error) from error
    for path, entry in kept.items():
        note(release, path, entry)
    return kept


def _noted(journal: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if not journal.exists():
        return
    for line in journal.read_text("utf-8").splitlines():
        # A kill may have cut the last line.
        with suppress(ValueError):
            noted = json.loads(line)
            yield noted["path"], noted["entry"]


def _is_sound(path: Path, entry: Mapping[str, Any]) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return sha256 == str(entry["sha256"])
