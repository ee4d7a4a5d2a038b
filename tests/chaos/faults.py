"""The faults: each is one thing that goes wrong, and comes right again by itself or by us.

Faults of one lane follow each other; the lanes run beside each other.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.crashing import SIGNALS
from lab.link import Link
from tests.chaos.fleet import Fleet
from uploaderd.crash_points import STEPS

Act = Callable[[Fleet, random.Random], None]
AT_POINTS = 0.55
ELSEWHERE = ("send: ", "receive: ")
"""Services that need a second installation: `tests/integration/exchange` tries their steps."""
POINTS = tuple(
    f"{step}:{when}"
    for step, meaning in STEPS.items()
    if not meaning.startswith(ELSEWHERE)
    for when in ("before", "after")
)
CLOCK_STEPS_S = (-86_400, -3_600, -90, -2, 2, 90, 3_600, 86_400)


@dataclass(frozen=True)
class Kind:
    """A kind of fault; `share` of all faults that are not at crash points."""

    act: Act
    lane: str
    share: float

    @property
    def name(self) -> str:
        """As it is counted."""
        return self.act.__name__


def kill_worker(here: Fleet, chance: random.Random) -> None:
    """SIGKILL to one service process, wherever it is in its work."""
    _signal_one(here, chance, signal.SIGKILL)


def freeze_worker(here: Fleet, chance: random.Random) -> None:
    """SIGSTOP for a while: its connections stay, and nobody answers.

    Now and then for longer than heartbeats allow: its messages go to others, then it wakes.
    """
    pid = _signal_one(here, chance, signal.SIGSTOP)
    time.sleep(chance.choice((0.1, 0.5, 1, 2, 2, 9)))
    go_on(pid)


def reset_broker_link(here: Fleet, _chance: random.Random) -> None:
    """Every connection to the broker is reset."""
    here.broker_link.reset()


def break_broker_link(here: Fleet, chance: random.Random) -> None:
    """The connections to the broker are reset at a random byte."""
    _break(here.broker_link, chance, 20_000)


def hang_broker_link(here: Fleet, chance: random.Random) -> None:
    """The connections to the broker are half open from a random byte on."""
    _hang(here.broker_link, chance, 20_000)


def break_database_link(here: Fleet, chance: random.Random) -> None:
    """The connections to the database are reset at a random byte."""
    _break(here.database_link, chance, 20_000)


def hang_database_link(here: Fleet, chance: random.Random) -> None:
    """The connections to the database are half open from a random byte on."""
    _hang(here.database_link, chance, 20_000)


def break_station_link(here: Fleet, chance: random.Random) -> None:
    """The connections to a station are reset at a random byte."""
    _break(chance.choice(here.posts).link, chance, 60_000)


def hang_station_link(here: Fleet, chance: random.Random) -> None:
    """The connections to a station are half open from a random byte on."""
    _hang(chance.choice(here.posts).link, chance, 60_000)


def kill_station(here: Fleet, chance: random.Random) -> None:
    """A station's SSH server ends with all its sessions, and comes back."""
    server = chance.choice(here.posts).server
    server.stop()
    time.sleep(chance.uniform(0, 1))
    server.restart()


def kill_supervisor(here: Fleet, chance: random.Random) -> None:
    """SIGKILL to the supervisor: its children notice and end, and it is started again."""
    with here.daemon_lock:
        daemon = here.system.daemon
        assert daemon is not None
        daemon.kill()
        daemon.wait()
        time.sleep(chance.uniform(0, 0.5))
        here.system.launch_daemon()


def kill_database(here: Fleet, chance: random.Random) -> None:
    """SIGKILL to the database, and a start on the same data."""
    with here.database_lock:
        here.system.database.kill()
        time.sleep(chance.uniform(0, 1))
        here.start_database()


def restart_database(here: Fleet, chance: random.Random) -> None:
    """The database is stopped in order, is away, and comes back."""
    with here.database_lock:
        here.system.database.stop()
        time.sleep(chance.uniform(0, 1))
        here.start_database()


def kill_broker(here: Fleet, chance: random.Random) -> None:
    """SIGKILL to the broker, and a start on the same data."""
    with here.broker_lock:
        here.system.broker.kill()
        time.sleep(chance.uniform(0, 1))
        here.system.broker.start_again()


def restart_broker(here: Fleet, chance: random.Random) -> None:
    """The broker is stopped in order, is away, and comes back."""
    with here.broker_lock:
        here.system.broker.stop()
        time.sleep(chance.uniform(0, 1))
        here.system.broker.start_again()


def fill_disk(here: Fleet, chance: random.Random) -> None:
    """The repository's disk has no byte left, for a moment."""
    assert here.disk is not None
    filler = here.disk / ".filler"
    try:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))
        time.sleep(chance.uniform(0.5, 2))
    finally:
        filler.unlink()


def step_clock(here: Fleet, chance: random.Random) -> None:
    """The daemon's clock is set forward or back, by seconds to a day, and later set right."""
    here.points.step_clock(chance.choice(CLOCK_STEPS_S))
    time.sleep(chance.uniform(2, 5))
    here.points.step_clock(0)


KINDS = (
    Kind(kill_worker, "workers", 0.26),
    Kind(freeze_worker, "workers", 0.1),
    Kind(reset_broker_link, "broker link", 0.1),
    Kind(break_broker_link, "broker link", 0.08),
    Kind(hang_broker_link, "broker link", 0.05),
    Kind(break_database_link, "database link", 0.08),
    Kind(hang_database_link, "database link", 0.05),
    Kind(break_station_link, "stations", 0.08),
    Kind(hang_station_link, "stations", 0.04),
    Kind(kill_station, "stations", 0.05),
    Kind(kill_supervisor, "servers", 0.02),
    Kind(kill_database, "servers", 0.02),
    Kind(restart_database, "servers", 0.01),
    Kind(kill_broker, "servers", 0.01),
    Kind(restart_broker, "servers", 0.01),
    Kind(fill_disk, "machine", 0.02),
    Kind(step_clock, "machine", 0.02),
)


def plan(chance: random.Random, count: int, left_out: frozenset[str]) -> list[str]:
    """Names of `count` faults: a good half at crash points, the rest by their shares.

    From 200 faults on, every crash point comes with every signal, with more faults again and
    again. `left_out` are kinds that this machine does not permit.
    """
    everywhere = [f"{name} at {point}" for point in POINTS for name in SIGNALS]
    wanted = round(AT_POINTS * count)
    at_points: list[str] = []
    while len(at_points) < wanted:
        at_points += chance.sample(everywhere, len(everywhere))
    del at_points[wanted:]
    kinds = [kind for kind in KINDS if kind.name not in left_out]
    whole = sum(kind.share for kind in kinds)
    rest: list[str] = []
    for kind in kinds:
        # Even the rarest happens once; the most common one takes what is left.
        rest += [kind.name] * max(1, int((count - len(at_points)) * kind.share / whole))
    free = count - len(at_points)
    rest = rest[:free] if len(rest) > free else rest + [kinds[0].name] * (free - len(rest))
    chance.shuffle(rest)
    return at_points + rest


def go_on(pid: int | None) -> None:
    """SIGCONT, if the process is still there."""
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _signal_one(here: Fleet, chance: random.Random, number: signal.Signals) -> int | None:
    workers = sorted(here.workers())
    if not workers:
        return None
    pid = chance.choice(workers)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    return pid


def _break(link: Link, chance: random.Random, most: int) -> None:
    link.break_after(chance.randrange(1, most))


def _hang(link: Link, chance: random.Random, most: int) -> None:
    link.hang_after(chance.randrange(1, most))
    time.sleep(chance.choice((0.5, 1, 2, 4, 12)))
    link.reset_hung()
