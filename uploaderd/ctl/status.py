"""`uploaderctl status`: what runs, what does not and why, and what waits in the queues."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from uploaderd.broker.depths import depths
from uploaderd.config import load_daemon, load_services, select
from uploaderd.config.settings import DaemonSettings
from uploaderd.errors import BrokerError, ConfigError
from uploaderd.observe.status import DEGRADED, DOWN

_STALE = 15
"""A status that is older than so many of its intervals is not believed."""
_COLOURS = {"running": 32, "starting": 32, "failed": 31, "waiting": 33, "hung": 31, "stopping": 33}


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "status",
        help="services, instances and queues",
        description="Shows services, instances and queues. Exit status: 0 all is well, "
        "1 degraded, 2 down.",
        epilog="example: uploaderctl status -c /etc/uploaderd/config.json --watch",
    )
    etc = Path("/etc/uploaderd")
    parser.add_argument("-c", "--config", type=Path, default=etc / "config.json")
    parser.add_argument("-s", "--services", type=Path, default=etc / "services.d")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--no-queues", action="store_true", help="do not ask the broker")
    parser.add_argument("--watch", action="store_true", help="show it again and again")
    parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Shows the status once, or until Ctrl-C; gives its health."""
    while True:
        daemon = load_daemon(arguments.config)
        shown = daemon_status(daemon)
        if not arguments.no_queues:
            shown["queues"] = queues(daemon, arguments.services)
            if any("error" in each for each in shown["queues"]):
                shown["health"] = max(shown["health"], DEGRADED)
        text = json.dumps(shown) if arguments.json else as_text(shown, _colourful())
        if not arguments.watch:
            print(text)
            return int(shown["health"])
        print(text if arguments.json else f"\x1b[H\x1b[2J{text}", flush=True)
        time.sleep(arguments.interval)


def daemon_status(daemon: DaemonSettings) -> dict[str, Any]:
    """The daemon's own `status.json`, if it is to be believed: its writer lives and keeps writing.

    Raises ConfigError if the file is there and cannot be read.
    """
    path = daemon.run_dir / "status.json"
    try:
        status: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return _down(f"the daemon has not been started: there is no {path}")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if not Path(f"/proc/{status['pid']}").exists():
        return _down(f"the daemon has ended: there is no process {status['pid']}")
    age = time.time() - status["time"]
    if age > _STALE * daemon.supervision.status_interval_s:
        return _down(f"the daemon hangs: its last word is {age:.0f} s old")
    if status["stopping"]:
        reason = "the daemon is stopping"
    elif status["reload_error"]:
        reason = f"the last reload was refused: {status['reload_error']}"
    else:
        reason = ("all is well", "not every instance runs", "no instance runs")[status["health"]]
    return {**status, "reason": reason}


def queues(daemon: DaemonSettings, folder: Path) -> list[dict[str, Any]]:
    """What waits in the queue of each service that has one; an `error` where nobody can say.

    Raises ConfigError for service files that cannot be read, as without a right to a password.
    """
    found: list[dict[str, Any]] = []
    for service in select(daemon, load_services(folder, daemon.repository)):
        known = {"service": service.name, "queue": service.queue.name}
        if service.queue.bindings:
            try:
                found.append({**known, **depths(service.broker, service.queue)})
            except (BrokerError, ConfigError) as error:
                found.append({**known, "error": str(error)})
    return found


def as_text(status: dict[str, Any], colourful: bool) -> str:
    """The status for people."""
    word = ("fine", "degraded", "down")[status["health"]]
    lines = [f"uploaderd is {word}: {status['reason']}"]
    for each in status["instances"]:
        state = each["state"].ljust(9)
        if colourful and each["state"] in _COLOURS:
            state = f"\x1b[{_COLOURS[each['state']]}m{state}\x1b[0m"
        name = f"{each['service']}[{each['instance']}]"
        line = f"  {name:20} {state} since {_ago(each['since'])}  {each['handled']} handled"
        line += f", {each['failed']} failed, {each['restarts']} restarts  {each['reason']}"
        if each["next"] is not None:
            line += f"; again in {max(0.0, each['next'] - time.time()):.0f} s"
        lines.append(line)
    for each in status.get("queues", ()):
        if "error" in each:
            lines.append(f"  queue {each['queue']:14} {each['error']}")
        else:
            lines.append(
                f"  queue {each['queue']:14} {each['ready']} ready, {each['retrying']} retrying, "
                f"{each['dead']} dead, {each['consumers']} consumers"
            )
    return "\n".join(lines)


def _down(reason: str) -> dict[str, Any]:
    return {"health": DOWN, "reason": reason, "instances": []}


def _ago(since: float) -> str:
    seconds = int(max(0.0, time.time() - since))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _colourful() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
