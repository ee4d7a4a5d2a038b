"""`uploaderctl check`: the state of stations, as the host-check service sees it, at once."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from uploaderd.config.settings import ServiceSettings
from uploaderd.errors import UploaderError

EXAMPLES = """\
examples:
  uploaderctl check 7
  uploaderctl check rfeye002080 rfeye002081 --json
  uploaderctl check -s etc/services.d station.example

exit status: 0 all online, 1 some are not, 2 some could not be looked at
"""
_AT_ONCE = 16
_COLOURS = {"online": 32, "degraded": 33, "halted": 33}


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "check",
        help="look at stations: online, degraded, halted, no-agent, auth-error or offline",
        description="Looks at stations with the settings of the host-check service, and touches "
        "nothing there. Nothing is recorded, and no daemon is needed.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    etc = Path("/etc/uploaderd")
    parser.add_argument("station", nargs="+", help="host_id, host_uid or address")
    parser.add_argument("-c", "--config", type=Path, default=etc / "config.json")
    parser.add_argument("-s", "--services", type=Path, default=etc / "services.d")
    parser.add_argument("--json", action="store_true", help="one JSON object a line and a station")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Looks at each; the answers come in the order of the names."""
    from uploaderd.ctl.naming import service_of  # with what it imports, slower than other commands

    settings = service_of(arguments.config, arguments.services, "host-check")
    worst = 0
    with ThreadPoolExecutor(min(_AT_ONCE, len(arguments.station))) as pool:
        for told in pool.map(lambda name: _looked_at(settings, name), arguments.station):
            print(json.dumps(told) if arguments.json else _line(told), flush=True)
            worst = max(worst, {"online": 0, "unknown": 2}.get(told["state"], 1))
    return worst


def _looked_at(settings: ServiceSettings, name: str) -> dict[str, Any]:
    from uploaderd.ctl.naming import station_named  # see run
    from uploaderd.services.host_check import found, look  # see run

    station = station_named(settings, name)
    told = {"station": name, "id_host": station.host_id, "host_uid": station.host_uid}
    try:
        health, place = look(settings.behaviour, station, {}, time.sleep)
    except UploaderError as error:
        return {**told, "state": "unknown", "reason": str(error)}
    address = f"{place.host_add}:{place.host_port}"
    return {
        **told,
        "address": address,
        "state": health.state,
        "reason": health.reason,
        **found(health),
    }


def _line(told: dict[str, Any]) -> str:
    state = told["state"]
    shown = f"{state:10}"
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        shown = f"\x1b[{_COLOURS.get(state, 31)}m{shown}\x1b[0m"
    where = f" ({told['address']})" if "address" in told else ""
    return f"{shown} {told['station']}{where}: {told['reason']}"
