"""`uploaderctl topology`: what is, or should be, declared at the broker."""

from __future__ import annotations

import argparse
import json
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uploaderd.config.settings import BrokerSettings, ServiceSettings

EXAMPLES = """\
examples:
  uploaderctl topology show
  uploaderctl topology diff        exit status 1 if something is missing or different
  uploaderctl topology apply
  uploaderctl topology export > definitions.json
  rabbitmqctl import_definitions definitions.json
"""


def register(commands: Any) -> None:
    """Adds the command with its four actions."""
    parser = commands.add_parser(
        "topology",
        help="exchanges, queues and policies: show, diff, apply, export",
        description="What the services need at the broker, out of their files.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=["show", "diff", "apply", "export"])
    add = parser.add_argument
    add("-s", "--services", type=Path, default=Path("/etc/uploaderd/services.d"), metavar="DIR")
    add("--json", action="store_true", help="show and diff: a JSON object a line")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Does the action; status 1 if `diff` found a difference."""
    from uploaderd.broker import inventory
    from uploaderd.config.load import load_services

    services = sorted(load_services(arguments.services), key=_place)
    if arguments.action == "export":
        print(json.dumps(inventory.definitions((s.broker, s.queue) for s in services), indent=2))
        return 0
    status = 0
    for _, group in groupby(services, key=_place):
        members = list(group)
        wanted = inventory.parts((each.broker, each.queue) for each in members)
        if arguments.action == "show":
            for part in wanted:
                _print(arguments, inventory.name(part))
        elif arguments.action == "apply":
            _apply(members[0].broker, wanted)
            print(f"{len(wanted)} parts are declared.")
        else:
            status = max(status, _diff(arguments, members[0].broker, wanted))
    return status


def _place(service: ServiceSettings) -> tuple[Any, ...]:
    return (service.broker.hosts, service.broker.virtual_host)


def _print(arguments: argparse.Namespace, part: str, state: str | None = None) -> None:
    if arguments.json:
        print(json.dumps({"part": part} if state is None else {"part": part, "state": state}))
    else:
        print(part if state is None else f"{state:10}  {part}")


def _apply(broker: BrokerSettings, wanted: tuple[Any, ...]) -> None:
    from uploaderd.broker import desk, inventory

    with desk.channel(broker) as channel:
        for part in wanted:
            inventory.declare(channel, part)


def _diff(arguments: argparse.Namespace, broker: BrokerSettings, wanted: tuple[Any, ...]) -> int:
    from uploaderd.broker import desk, inventory

    status = 0
    with desk.channel(broker) as channel:
        for part, state in inventory.differences(channel.connection, wanted):
            _print(arguments, inventory.name(part), state)
            if state == "missing" or state.startswith("different"):
                status = 1
    return status
