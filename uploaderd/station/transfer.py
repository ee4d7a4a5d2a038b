"""Fetches files of a station: many at once, verified, resumable, each whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Generator, Iterable, Iterator

from uploaderd.errors import UploaderError
from uploaderd.station.archives import Archives
from uploaderd.station.budget import COMPLETE, IN_FLIGHT, OPEN_FILES
from uploaderd.station.connection import Connection
from uploaderd.station.finisher import Finisher
from uploaderd.station.outcome import Fetched, Limits, Outcome, Refused, Verification, Wanted
from uploaderd.station.piece_writer import BLOCKS
from uploaderd.station.reading import Complete
from uploaderd.station.sftp_engine import Engine
from uploaderd.station.verification import Verifier

__all__ = ["Fetched", "Limits", "Outcome", "Refused", "Verification", "Wanted", "fetch"]

LOG = logging.getLogger(__name__)


def _unheeded() -> None:
    """Nobody wants to know of progress."""


def fetch(
    connection: Connection,
    wanted: Iterable[Wanted],
    limits: Limits | None = None,
    progress: Callable[[], None] = _unheeded,
) -> Generator[Outcome, None, None]:
    """Fetches files into their targets, and gives each one's outcome as soon as it is known.

    A file is read into `TARGET.part`, verified, fsynced, renamed, and its folder fsynced, before it
    is given out as `Fetched`; outcomes come in the order in which files get ready. `wanted` may be
    endless: it is drawn upon as there is room. A file that cannot be had is `Refused`, with a
    RemoteFileError (or a RepositoryError if it is its target that cannot be made), and the others
    go on. `progress` is called in the caller's thread whenever bytes arrive, and every second while
    the last files are verified and made durable: one large file may take long without an outcome.

    Raises StationUnreachable if the connection breaks or the station is silent for the stall time,
    and RepositoryError if the disk takes no more, both after giving out what is complete. Part
    files are kept then, and the next call with the same remote file and target goes on with them.
    """
    limits = limits or Limits()
    verifier = Verifier(connection)
    limits = _possible(limits, verifier, connection)
    stall_s = limits.stall_s or connection.access.timeouts.stall_s
    finisher = Finisher(verifier, limits)
    failure: UploaderError | None = None
    with contextlib.ExitStack() as stack:
        for budget in (IN_FLIGHT, COMPLETE, OPEN_FILES, BLOCKS):
            stack.enter_context(budget.shared())
        archives = Archives(connection, verifier, limits, stall_s)
        engine = Engine(connection.open_sftp, limits, stall_s, verifier.prefix_matches, progress)
        results = engine.run(archives.sift(wanted, finisher.has_room), finisher.has_room)
        try:
            with archives, contextlib.closing(results):
                yield from _outcomes(results, archives, finisher)
        except UploaderError as error:
            failure = error
        finally:
            for complete in archives.complete():
                finisher.take(complete)
            finisher.stop(progress)
        yield from finisher.done()
        failure = failure or finisher.failure
        if failure is not None:
            raise failure


def _possible(limits: Limits, verifier: Verifier, connection: Connection) -> Limits:
    """With what the station cannot do replaced by what comes nearest, and that told."""
    if limits.verification != "remote_hash" or verifier.tool is not None:
        return limits
    LOG.warning(
        "%s runs no sha256sum and no md5sum: its files are read twice instead, and their rows say "
        "so. Set the verification to size to spare the link.",
        connection.access.address,
    )
    return dataclasses.replace(limits, verification="double_read")


def _outcomes(
    results: Iterable[Complete | Refused | None], archives: Archives, finisher: Finisher
) -> Iterator[Outcome]:
    for result in results:
        if isinstance(result, Complete):
            finisher.take(result)
        elif isinstance(result, Refused):
            yield result
        else:
            for complete in archives.complete():
                finisher.take(complete)
            yield from finisher.done()
            if finisher.failure is not None:
                return
