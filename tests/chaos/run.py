"""Runs the whole system under faults, then counts, from the stations' own truth, what became of it.

    scripts/test --chaos [--faults N] [--seed S] [--json FILE]

Files appear at the stations while faults are injected: every process ended and frozen at every
crash point, and at random times links, servers, disk and clock that fail. At the end the faults
stop, dead letters of messages that were only unlucky are replayed, and everything has to come home:
lost and duplicated must be 0. The same seed gives the same faults; where they strike is up to the
machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.system import SERVICES
from tests.chaos import account, faults
from tests.chaos.fleet import Fleet, fleet
from tests.chaos.lanes import Lanes
from uploaderd.errors import UploaderError

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240.0
"""How long no file may come home before the run gives up: the machine may be busy with others."""
TICK_S = 1.0
BACKLOG = 6
"""Files of a station on their way above which it measures no more, so that the end is not far."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0 if nothing was lost or duplicated, else 1."""
    parser = argparse.ArgumentParser(prog="scripts/test --chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where to leave the logs")
    arguments = parser.parse_args(argv)
    (ROOT / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "var", prefix="chaos-") as folder:
        try:
            result = run(Path(folder), arguments.faults, arguments.seed)
        finally:
            if arguments.keep:
                arguments.keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(Path(folder) / "system" / "uploaderd.log", arguments.keep)
    print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if sound(result) else 1


def sound(result: dict[str, Any]) -> bool:
    """Whether the run proves what it is to prove."""
    zero = ("lost", "duplicated", "foreign", "left_in_index", "left_in_tmp", "left_halted")
    return all(result[key] == 0 for key in (*zero, "secrets_shown"))


def run(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """The whole run; gives the counts. A fault that cannot be injected is an error."""
    began = time.monotonic()
    with fleet(folder) as here:
        # RabbitMQ 3.10 forgets a quorum queue if it is killed within seconds of its declaration.
        time.sleep(5)
        left_out = _left_out(here)
        names = faults.plan(random.Random(seed), count, frozenset(left_out))
        lanes = Lanes(here, names, seed)
        work = Workload(here)
        lanes.start()
        try:
            while lanes.busy and not lanes.failures:
                work.turn()
                _say(f"{lanes.injected.total()} of {count} faults, {work.text}")
        finally:
            lanes.stop()
        if lanes.failures:
            raise lanes.failures[0]
        injecting_s = time.monotonic() - began
        _settle(here, work)
        # The backup that was asked for last may be at work: told to stop, it lets its station go.
        here.system.stop_daemon()
        counts = account.count(here)
    return {
        "seed": seed,
        "faults": lanes.injected.total(),
        "injected": dict(sorted(lanes.injected.items())),
        "not_possible_here": left_out,
        **work.counts,
        **counts,
        "seconds_of_faults": round(injecting_s),
        "seconds": round(time.monotonic() - began),
    }


def _left_out(here: Fleet) -> dict[str, str]:
    """Kinds of faults that this machine does not permit, and why."""
    reasons = {}
    if here.disk is None:
        reasons["fill_disk"] = "mounting a small tmpfs is not permitted"
    return reasons


class Workload:
    """What goes on meanwhile: files are measured, requests come, dead letters are replayed."""

    def __init__(self, here: Fleet) -> None:
        self._here = here
        self.counts: Counter[str] = Counter(
            requests_attempted=0, requests_confirmed=0, publications_asked=0, dead_lettered=0
        )
        self._turns = 0

    @property
    def text(self) -> str:
        """How far it is."""
        return ", ".join(f"{count} {name}" for name, count in self.counts.items())

    def turn(self, *, measure: bool = True) -> None:
        """One turn of about a second; a server that is down is no error."""
        began = time.monotonic()
        self._here.restart_what_died()
        on_their_way = len(account.waiting(self._here)) / len(self._here.posts)
        for post in self._here.posts:
            if measure and post.backlog + on_their_way < BACKLOG:
                self._here.measure(post, 2, broken=(self._turns + post.host) % 3 == 0)
            elif self._turns % 3:
                continue
            else:
                # Its last run may have been kept off by our flag.
                post.station.run_agent()
            self.counts["requests_attempted"] += 1
            self.counts["requests_confirmed"] += self._here.ask(post)
        if self._turns % 3 == 0:
            body = {"dataset": "all", "mode": "incremental"}
            self.counts["publications_asked"] += self._here.send("publish", body)
        if self._turns % 4 == 0:
            with contextlib.suppress(UploaderError):
                self.counts["dead_lettered"] += account.replay(self._here, SERVICES)
        self._turns += 1
        time.sleep(max(0.0, began + TICK_S - time.monotonic()))


def _settle(here: Fleet, work: Workload) -> None:
    """No faults any more: until everything is home, or nothing has come home for long."""
    best, since = -1, time.monotonic()
    while time.monotonic() - since < PATIENCE_S:
        with contextlib.suppress(UploaderError):
            home = account.home(here)
            if account.settled(here, home):
                return
            if home > best:
                best, since = home, time.monotonic()
            _say(f"{home} files are home, {work.text}")
        work.turn(measure=False)


def table(result: dict[str, Any]) -> str:
    """The counts for people."""
    lines = []
    for name, value in result.items():
        if isinstance(value, dict):
            lines += [f"{name.replace('_', ' ')}:"] if value else []
            lines += [f"  {each:<44}{count!s:>8}" for each, count in value.items()]
        else:
            lines.append(f"{name.replace('_', ' '):<46}{value!s:>8}")
    return "\n".join(lines)


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
