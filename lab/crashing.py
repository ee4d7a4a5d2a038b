"""Ends or freezes a process at a crash point that a test has armed, and steps its clock.

A process started with `Points(folder).environment` looks, at each of its crash points, whether a
file of that name lies in `folder/armed`. Whoever reaches one takes it (a rename, so only one
process does) and sends itself the signal. `Points` is the test's side.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from uploaderd import clock, crash_points

FOLDER = "UPLOADERD_CRASH_FOLDER"
SIGNALS = ("SIGKILL", "SIGSTOP")


@dataclass(frozen=True)
class Hit:
    """A process that reached an armed point."""

    point: str
    signal: str
    pid: int


@dataclass(frozen=True)
class Points:
    """What is armed, and what was hit, in a folder."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to look for armed points."""
        return {crash_points.HOOK: "lab.crashing:hook", FOLDER: str(self.folder)}

    def make(self) -> None:
        """Makes the folders; before any process that looks into them starts."""
        for name in ("armed", "hit"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.step_clock(0)

    def arm(self, point: str, name: str) -> None:
        """The next process that reaches the point gets the signal."""
        assert point in crash_points.POINTS
        assert name in SIGNALS
        (self.folder / "armed" / f"{point}.{name}").touch()

    def step_clock(self, seconds: int) -> None:
        """From now on the clock of those processes is so far ahead; below 0: behind."""
        new = self.folder / "clock.new"
        new.write_text(str(seconds))
        new.replace(self.folder / "clock")

    def disarm(self) -> list[str]:
        """Takes back what nobody has reached; gives it."""
        left = []
        for path in (self.folder / "armed").iterdir():
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                left.append(path.name)
        return sorted(left)

    def take_hits(self) -> list[Hit]:
        """The hits since the last look."""
        hits = []
        for path in (self.folder / "hit").iterdir():
            point, name, pid = path.name.split(".")
            hits.append(Hit(point, name, int(pid)))
            path.unlink()
        return hits


def hook() -> Callable[[str], None]:
    """What is called at each crash point of this process; its clock becomes the test's."""
    folder = Path(os.environ[FOLDER])
    armed, hit = folder / "armed", folder / "hit"

    clock.source = _stepped(folder / "clock")

    def reached(point: str) -> None:
        for name in SIGNALS:
            with contextlib.suppress(FileNotFoundError):
                (armed / f"{point}.{name}").rename(hit / f"{point}.{name}.{os.getpid()}")
                os.kill(os.getpid(), signal.Signals[name])

    return reached


def _stepped(offset: Path) -> Callable[[], int]:
    """A clock that is ahead by the seconds that the file names."""
    return lambda: time.time_ns() + int(offset.read_text()) * 10**9
