"""A process that reads measurement files under limits; `uploaderd.services.reading` is its parent.

It takes one request a frame on standard input and answers with one frame on standard output (a
frame is 8 bytes of length and a pickle); both ends are our own. Before a request the process lowers
its own limits, so that a file that hangs or eats memory costs this process and nothing else:

- data segment (`RLIMIT_DATA`, which counts what is allocated, not the mapped file),
- processor time (`RLIMIT_CPU`), and an alarm on the wall clock, which also ends a process whose
  parent has died.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import struct
import sys
import traceback
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from uploaderd import formats
from uploaderd.formats.errors import READER_CRASHED, READER_MEMORY
from uploaderd.formats.registry import formats as registered

LENGTH = struct.Struct("<Q")
GRACE_S = 2.0
"""Seconds that the alarm comes after the time limit: the parent, who can say more, goes first."""


@dataclass(frozen=True)
class Request:
    """One file to read, and within which limits (seconds, bytes beyond what is in use)."""

    path: Path
    statistics: bool
    clock_offset: timedelta
    time_limit_s: float
    memory_limit_bytes: int


@dataclass(frozen=True)
class Failure:
    """Why there is no recording: code and sentence of a FormatError."""

    code: str
    sentence: str


@dataclass(frozen=True)
class Ready:
    """The first frame of the process: formats are imported, requests are welcome."""


Answer = formats.Recording | Failure | Ready


def frame(value: Request | Answer) -> bytes:
    """A value as it travels."""
    data = pickle.dumps(value)
    return LENGTH.pack(len(data)) + data


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answers requests until there are no more, or until one has used up the memory."""
    registered()
    answers.write(frame(Ready()))
    answers.flush()
    while head := requests.read(LENGTH.size):
        request = pickle.loads(requests.read(*LENGTH.unpack(head)))
        restrict(request)
        answer = _answer(request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _set_soft(resource.RLIMIT_DATA, resource.RLIM_INFINITY)
        answers.write(frame(answer))
        answers.flush()
        if isinstance(answer, Failure) and answer.code == READER_MEMORY:
            return


def restrict(request: Request) -> None:
    """Sets the soft limits for one request, on top of what the process has used so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = used.ru_utime + used.ru_stime + request.time_limit_s + GRACE_S
    _set_soft(resource.RLIMIT_CPU, int(seconds) + 1)
    _set_soft(resource.RLIMIT_DATA, _data_size() + request.memory_limit_bytes)
    signal.setitimer(signal.ITIMER_REAL, request.time_limit_s + GRACE_S)


def _answer(request: Request) -> formats.Recording | Failure:
    try:
        return formats.read(
            request.path, statistics=request.statistics, clock_offset=request.clock_offset
        )
    except formats.FormatError as error:
        return Failure(error.code, error.sentence)
    except MemoryError:
        limit = request.memory_limit_bytes >> 20
        return Failure(READER_MEMORY, f"Reading {request.path.name} takes more than {limit} MiB.")
    except Exception as error:  # noqa: BLE001 - the boundary between a reader and the service
        traceback.print_exc()
        what = f"{type(error).__name__}: {error}"[:500]
        return Failure(READER_CRASHED, f"The reader of {request.path.name} failed: {what}.")


def _set_soft(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY and (value > hard or value == resource.RLIM_INFINITY):
        value = hard
    resource.setrlimit(which, (value, hard))


def _data_size() -> int:
    """Bytes that count towards RLIMIT_DATA now (`VmData` of proc(5))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    """Serves on standard input and output; whatever a format prints goes to standard error."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(sys.stdin.buffer, answers)
