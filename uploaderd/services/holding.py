"""Holding a station while work runs there: the flag stays fresh, and errors get their names."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import paramiko

from uploaderd.broker.job import Job
from uploaderd.errors import StationError, StationUnreachable
from uploaderd.station.halt import HaltFlag
from uploaderd.station.link import is_broken

LOOK_EVERY_S = 30.0
BEAT_EVERY_S = 5.0


def patient(job: Job, seconds: float) -> None:
    """Waits with signs of life; not much longer once the job is to stop."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not job.stopping:
        job.beat()
        job.stop.wait(min(left, BEAT_EVERY_S))


@contextlib.contextmanager
def kept_fresh(flag: HaltFlag) -> Iterator[threading.Event]:
    """Renews the flag from a thread of its own, however long one file takes.

    The event is set when the flag could not be renewed: stop soon, and `flag.confirm` says why.
    """
    done, lost = threading.Event(), threading.Event()

    def renew() -> None:
        while not done.wait(LOOK_EVERY_S):
            try:
                flag.renew()
            except (StationError, OSError, EOFError, paramiko.SSHException):
                lost.set()
                return

    thread = threading.Thread(target=renew, name="halt flag")
    thread.start()
    try:
        yield lost
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def named_errors(address: str) -> Iterator[None]:
    """Gives what the SSH library raises its place in the family of errors.

    Raises StationUnreachable for a connection that broke, StationError for what is refused.
    """
    try:
        yield
    except (EOFError, OSError, paramiko.SSHException) as error:
        if isinstance(error, OSError) and not is_broken(error):
            raise StationError(
                f"The station at {address} refuses: {error.strerror or error}.",
                hint="Look at the rights and the free space of the agent's working folder.",
            ) from error
        raise StationUnreachable(
            f"The connection to {address} broke: {str(error) or type(error).__name__}.",
            hint="It is tried again; what came in stays.",
        ) from error
