"""Reading a measurement file in a process of its own, under limits.

A file that hangs its reader, eats memory or crashes the interpreter costs that process, and gives
a FormatError like any other bad file. Processes live on from file to file, for starting one takes
longer than reading most files; after a failure the next file gets a new one.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import IO

from uploaderd.formats import FormatError, Recording
from uploaderd.formats.errors import READER_CRASHED, READER_TIMEOUT
from uploaderd.formats.limits import LENGTH, Answer, Failure, Ready, Request, frame

TIME_LIMIT_S = 300.0
MEMORY_LIMIT_BYTES = 512 << 20
START_LIMIT_S = 120.0
"""Seconds that a new process may take to import its formats, on a very busy machine."""
MAX_ANSWER = 256 << 20
"""Bytes of an answer beyond which the process is taken to have lost its mind."""


class _Late(Exception):
    """The answer is not there in time."""


class _Gone(Exception):
    """The process has closed its end, or talks nonsense."""


class ReaderProcess:
    """One reader process. Not for several threads at the same time; `close` ends it."""

    def __init__(self) -> None:
        # Not `-m`: the frames' classes must not be those of a module called `__main__`.
        program = "from uploaderd.formats.limits import main; main()"
        command = [sys.executable, "-P", "-c", program]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests: IO[bytes] = self._process.stdin
        self._answers: IO[bytes] = self._process.stdout
        self._ready = False

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Whether the process can take a request."""
        return self._process.poll() is None

    def read(self, request: Request) -> Recording:
        """The recording; raises FormatError. After any code that begins `reader_`, close it."""
        name = request.path.name
        try:
            if not self._ready:
                self._ready = isinstance(self._receive(START_LIMIT_S), Ready)
            self._requests.write(frame(request))
            self._requests.flush()
            answer = self._receive(request.time_limit_s)
        except _Late as error:
            self.close()
            raise _timeout(name, request) from error
        except (_Gone, OSError) as error:
            status = self.close()
            if status in (-signal.SIGXCPU, -signal.SIGALRM):
                raise _timeout(name, request) from error
            raise FormatError(
                READER_CRASHED, f"The reader of {name} ended with status {status}."
            ) from error
        if isinstance(answer, Failure):
            raise FormatError(answer.code, answer.sentence)
        if not isinstance(answer, Recording):
            raise FormatError(READER_CRASHED, f"The reader of {name} gave no recording.")
        return answer

    def close(self) -> int:
        """Ends the process, whatever it is doing, and gives its exit status."""
        with contextlib.suppress(OSError):
            # An unsent rest of a request: the process is to end anyway.
            self._requests.close()
        self._answers.close()
        self._process.kill()
        return self._process.wait()

    def _receive(self, seconds: float) -> Answer:
        deadline = time.monotonic() + seconds
        (size,) = LENGTH.unpack(self._exactly(LENGTH.size, deadline))
        if size > MAX_ANSWER:
            raise _Gone
        data = self._exactly(size, deadline)
        try:
            answer: Answer = pickle.loads(data)
        except (pickle.UnpicklingError, AttributeError, ImportError, EOFError) as error:
            raise _Gone from error
        return answer

    def _exactly(self, size: int, deadline: float) -> bytes:
        data = bytearray()
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        while len(data) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise _Late
            piece = os.read(self._answers.fileno(), min(size - len(data), 1 << 20))
            if not piece:
                raise _Gone
            data += piece
        return bytes(data)


def _timeout(name: str, request: Request) -> FormatError:
    return FormatError(
        READER_TIMEOUT, f"Reading {name} takes longer than {request.time_limit_s:g} s."
    )


_idle: list[ReaderProcess] = []
_idle_lock = threading.Lock()


def read_guarded(
    path: Path,
    *,
    statistics: bool = False,
    time_limit_s: float = TIME_LIMIT_S,
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
    clock_offset: timedelta = timedelta(0),
) -> Recording:
    """As `formats.read`, but in a process of its own; safe to call from several threads.

    Args:
        path: the file.
        statistics: decode every level, too.
        time_limit_s: wall-clock and processor seconds that the file may take.
        memory_limit_bytes: memory that the file may take beyond what the process has anyway; the
            mapped file itself does not count.
        clock_offset: how far the station's clock is ahead of UTC.

    Raises FormatError as `formats.read` does, and with the codes `reader_timeout`, `reader_memory`
    and `reader_crashed`.
    """
    request = Request(path.absolute(), statistics, clock_offset, time_limit_s, memory_limit_bytes)
    with _idle_lock:
        reader = _idle.pop() if _idle else None
    if reader is not None and not reader.usable:
        reader.close()
        reader = None
    reader = reader or ReaderProcess()
    keep = False
    try:
        recording = reader.read(request)
        keep = True
    except FormatError as error:
        keep = not error.code.startswith("reader_")
        raise
    finally:
        if keep:
            with _idle_lock:
                _idle.append(reader)
        else:
            reader.close()
    return recording


def close_readers() -> None:
    """Ends all idle reader processes; the next file starts a new one."""
    with _idle_lock:
        readers, _idle[:] = list(_idle), []
    for reader in readers:
        reader.close()


atexit.register(close_readers)
