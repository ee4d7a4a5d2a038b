"""Limits that hold across threads, processes and machines: a lock on one of so many files.

The files lie in a folder that all share (below the repository). A process that dies loses its locks
at once, so no limit outlives who counted against it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from uploaderd.errors import RepositoryError, StationBusy


@contextlib.contextmanager
def taken(folder: Path, name: str, most: int | None, sentence: str) -> Iterator[None]:
    """Holds one of `most` slots of that name; None: there is no limit.

    Raises StationBusy with the sentence if all are taken, RepositoryError if the folder cannot be
    written.
    """
    if most is None:
        yield
        return
    try:
        slot = _free(folder, quote(name, safe=""), most)
    except OSError as error:
        raise RepositoryError(
            f"{folder} cannot be written: {error.strerror}.",
            hint="The daemon's user must be able to write there.",
        ) from error
    if slot is None:
        raise StationBusy(sentence, hint="It is tried again when others have ended.")
    try:
        yield
    finally:
        os.close(slot)


def _free(folder: Path, name: str, most: int) -> int | None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(most):
        path = folder / f"{name}.{number}"
        slot = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(slot)
        except OSError:
            os.close(slot)
            raise
        else:
            return slot
    return None
