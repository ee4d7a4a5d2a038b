"""Runs the whole system under faults, then counts, from the station's own truth, what became of it.

    scripts/test --chaos [--faults N] [--seed S] [--json FILE]

Files appear at the station while faults are injected. At the end the faults stop, dead letters of
messages that were only unlucky are replayed, and everything has to come home: lost and duplicated
must be 0. The same seed gives the same faults; where they strike is up to the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lab.faults import FaultProxy
from tests.chaos import faults
from tests.chaos.faults import Scene
from tests.end_to_end.truth import FLOWS, HOST, UID, Site, site

ROOT = Path(__file__).parents[2]
SETTLE_S = 240.0
FAULTS_A_ROUND = 10
FILES_A_ROUND = 8


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0 if nothing was lost or duplicated, else 1."""
    parser = argparse.ArgumentParser(prog="scripts/test --chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args(argv)
    (ROOT / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "var", prefix="chaos-") as folder:
        result = run(Path(folder), arguments.faults, arguments.seed)
    print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if result["lost"] == result["duplicated"] == 0 else 1


def run(folder: Path, count: int, seed: int) -> dict[str, object]:
    """The whole run; gives the counts."""
    began = time.monotonic()
    injected: Counter[str] = Counter()
    with contextlib.ExitStack() as ending:
        here = ending.enter_context(site(folder))
        station_link = ending.enter_context(FaultProxy(("127.0.0.1", here.server.port)))
        broker_link = ending.enter_context(FaultProxy(here.system.broker.settings.hosts[0]))
        _through(here, broker_link)
        here.system.start_daemon()
        # RabbitMQ 3.10 forgets a quorum queue if it is killed within seconds of its declaration.
        time.sleep(5)
        scene = Scene(here, broker_link, station_link, random.Random(seed))
        files = 0
        for number in range(count):
            if number % FAULTS_A_ROUND == 0:
                here.measure(FILES_A_ROUND, begin=files)
                files += FILES_A_ROUND
                _ask(here, station_link.port)
            fault = faults.pick(scene)
            injected[fault.__name__] += 1
            fault(scene)
            time.sleep(scene.random.uniform(0, 0.5))
            _say(f"{number + 1} of {count} faults: {fault.__name__}")
        _settle(here, station_link.port, files)
        counts = _count(here, files)
    return {
        "seed": seed,
        "faults": count,
        "injected": dict(sorted(injected.items())),
        **counts,
        "seconds": round(time.monotonic() - began),
    }


def _through(here: Site, broker_link: FaultProxy) -> None:
    """The daemon reaches its broker through the link, and restarts whatever dies at once."""
    system = here.system
    system.daemon_settings = {
        "supervision": {"restart_delay_s": 0.2, "restart_delay_max_s": 1, "crash_limit": 100_000}
    }
    system.broker_hosts = [f"127.0.0.1:{broker_link.port}"]
    system.behaviour["backup"] |= {"slice_files": 8, "halt_wait_s": 1}
    system.behaviour["host-request"] = {"pending_hours": 0.002}
    system.configure()


def _ask(here: Site, port: int) -> None:
    """A host request; whether it is answered is not asked for here, for much may be down."""
    moved = replace(here.server, port=port)
    try:
        replace(here, server=moved).ask()
    except (AssertionError, RuntimeError, subprocess.TimeoutExpired, ValueError) as error:
        _say(f"a request was not answered: {str(error)[:80]}")


def _settle(here: Site, port: int, files: int) -> None:
    """No faults any more: requests go on until everything is home, or the patience is over."""
    until = time.monotonic() + SETTLE_S
    asked = 0.0
    while time.monotonic() < until:
        stages = here.stages()
        empty = here.station.index.read_bytes() == b"" and not here.waiting()
        if stages["processed"] >= files and empty and not here.station.flag.exists():
            return
        if time.monotonic() - asked > 10:
            _replay(here)
            here.station.run_agent()
            _ask(here, port)
            asked = time.monotonic()
        time.sleep(0.5)


def _replay(here: Site) -> None:
    command = ["-m", "uploaderd.ctl.main", "dead", "replay", "-s", str(here.system.services)]
    subprocess.run(
        [sys.executable, *command, "--all"], capture_output=True, check=False, timeout=60, cwd=ROOT
    )


def _count(here: Site, files: int) -> dict[str, object]:
    """What became of every file that the station measured, by content."""
    originals, filed = here.originals(), here.filed()
    with here.system.catalog() as catalog:
        rows = catalog.query(
            "SELECT sha256, count() AS n FROM files_now WHERE host_id = %(host)s"
            " AND stage = 'processed' GROUP BY sha256",
            {"host": HOST},
        )
        spectra = catalog.query(
            "SELECT file_id, count() AS n FROM spectra_now WHERE station = %(uid)s"
            " GROUP BY file_id",
            {"uid": UID},
        )
    catalogued = Counter({row["sha256"]: row["n"] for row in rows})
    home = {sha for sha in originals if filed[sha] and catalogued[sha]}
    twice = [sha for sha in originals if filed[sha] > 1 or catalogued[sha] > 1]
    return {
        "attempted": files,
        "filed": sum(filed.values()),
        "catalogued": sum(catalogued.values()),
        "spectra": sum(row["n"] for row in spectra),
        "lost": len(originals) - len(home),
        "duplicated": len(twice) + sum(1 for row in spectra if row["n"] != FLOWS),
        "left_in_index": here.station.index.read_bytes().count(b"\n"),
        "left_in_tmp": len(here.waiting()),
        "left_halted": here.station.flag.exists(),
    }


def table(result: dict[str, object]) -> str:
    """The counts for people."""
    lines = []
    for name, value in result.items():
        if isinstance(value, dict):
            lines += [f"  {each:<28}{count:>8}" for each, count in value.items()]
        else:
            lines.append(f"{name.replace('_', ' '):<30}{value!s:>8}")
    return "\n".join(lines)


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
