"""A demo that goes on running: a process of its own holds everything until it is told to end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

END_S = 120.0


def leave_running(folder: Path, play: Callable[[Callable[[], None]], int]) -> int:
    """Runs `play` in a process of its own; back when it calls what it is given, or ends.

    Whoever calls it waits there until SIGTERM: everything that `play` started stays its own, and
    is ended by it as after any demo.
    """
    told, telling = os.pipe()
    sys.stdout.flush()
    keeper = os.fork()
    if keeper:
        os.close(telling)
        with os.fdopen(told, "rb") as answer:
            complete = answer.read(1) == b"1"
        if complete:
            return 0
        return os.waitstatus_to_exitcode(os.waitpid(keeper, 0)[1])
    os.close(told)
    os._exit(_hold(folder, play, telling))


def _hold(folder: Path, play: Callable[[Callable[[], None]], int], telling: int) -> int:
    os.setsid()
    note = folder / "kept.json"

    def wait() -> None:
        note.write_text(json.dumps({"pid": os.getpid(), "started": _started(os.getpid())}))
        sys.stdout.flush()
        quiet = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(quiet, number)
        os.write(telling, b"1")
        os.close(telling)
        signal.pause()

    try:
        return play(wait)
    except KeyboardInterrupt:
        return 130
    finally:
        note.unlink(missing_ok=True)
        sys.stdout.flush()


def stop(folder: Path, *, quiet: bool = False) -> int:
    """Ends a demo that was left running, and waits for it; always status 0."""
    note = folder / "kept.json"
    entry = json.loads(note.read_text()) if note.exists() else None
    if entry is None or _started(entry["pid"]) != entry["started"]:
        note.unlink(missing_ok=True)
        if not quiet:
            print("demo: nothing is running")
        return 0
    print("demo: ending what was left running", flush=True)
    with contextlib.suppress(ProcessLookupError):
        os.kill(entry["pid"], signal.SIGTERM)
    until = time.monotonic() + END_S
    while _started(entry["pid"]) == entry["started"] and time.monotonic() < until:
        time.sleep(0.05)
    return 0


def _started(pid: int) -> str:
    """When the process started, in clock ticks since boot; empty if there is none, or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
