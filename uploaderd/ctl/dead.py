"""`uploaderctl dead`: looks at dead letters, replays, mends and drops them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uploaderd.errors import ConfigError, MessageError
from uploaderd.observe.states import counted, duration

if TYPE_CHECKING:
    from uploaderd.broker.desk import Desk, Filter, Letter
    from uploaderd.config.settings import ServiceSettings

EXAMPLES = """\
examples:
  uploaderctl dead list
  uploaderctl dead list --service backup --code unreachable --json
  uploaderctl dead show --id 8c1f…
  uploaderctl dead replay --service backup --older-than 3600 --rate 10
  uploaderctl dead edit --id 8c1f… --set host_add=10.0.0.8
  uploaderctl dead drop --id 8c1f…
"""


def register(commands: Any) -> None:
    """Adds the command with its five actions."""
    parser = commands.add_parser(
        "dead",
        help="dead letters: list, show, replay, edit, drop",
        description="Messages that could not be handled, kept until somebody decides.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=["list", "show", "replay", "edit", "drop"])
    add = parser.add_argument
    add("-s", "--services", type=Path, default=Path("/etc/uploaderd/services.d"), metavar="DIR")
    add("--service", help="only this service's")
    add("--id", dest="message_id", help="only the message with this id")
    add("--code", help="only those that died of this error code")
    add("--host", help="only those about this host: id, uid or address")
    add("--older-than", type=float, metavar="SECONDS")
    add("--newer-than", type=float, metavar="SECONDS")
    add("--all", action="store_true", help="replay or drop without any filter")
    add("--rate", type=float, metavar="N", help="replay at most N messages a second")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="edit: what to change")
    add("--json", action="store_true")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Does the action for all letters that are meant; status 1 if there was none to act on."""
    from uploaderd.broker.desk import Filter

    wanted = Filter(
        message_id=arguments.message_id,
        code=arguments.code,
        host=arguments.host,
        older_than_s=arguments.older_than,
        newer_than_s=arguments.newer_than,
    )
    filtered = wanted != Filter() or arguments.service
    if arguments.action in ("replay", "drop") and not (filtered or arguments.all):
        raise ConfigError(f"dead {arguments.action} needs a filter, or --all.")
    if arguments.action == "edit" and not (arguments.message_id and arguments.set):
        raise ConfigError("dead edit needs --id and --set KEY=VALUE.")
    count = 0
    for service, desk, letter in _letters(arguments, wanted):
        _act(arguments, service, desk, letter)
        count += 1
    if not arguments.json and arguments.action != "show":
        words = {"list": "found", "replay": "replayed", "edit": "replayed", "drop": "dropped"}
        print(f"{counted(count, 'dead letter')} {words[arguments.action]}.")
    return 0 if count or arguments.action == "list" else 1


def _letters(
    arguments: argparse.Namespace, wanted: Filter
) -> Iterator[tuple[ServiceSettings, Desk, Letter]]:
    from uploaderd.broker import desk
    from uploaderd.config.load import load_services

    services = load_services(arguments.services)
    names = sorted({service.name for service in services})
    if arguments.service and arguments.service not in names:
        raise ConfigError(f"There is no service {arguments.service!r}: {', '.join(names)}.")
    for service in services:
        if arguments.service in (None, service.name):
            with desk.channel(service.broker) as channel:
                opened = desk.Desk(channel, service.queue)
                for letter in opened.letters(wanted):
                    yield service, opened, letter


def _act(
    arguments: argparse.Namespace, service: ServiceSettings, desk: Desk, letter: Letter
) -> None:
    match arguments.action:
        case "replay":
            desk.replay(letter)
            if arguments.rate:
                desk.pause(1 / arguments.rate)
        case "drop":
            desk.drop(letter)
        case "edit":
            desk.replay(letter, _edited(service.service, letter, arguments.set))
    shown = letter.shown()
    if arguments.json:
        print(json.dumps(shown, ensure_ascii=False))
    elif arguments.action == "show":
        print(json.dumps(shown, ensure_ascii=False, indent=2))
    else:
        age = "?" if shown["age_s"] is None else duration(shown["age_s"])
        print(f"{letter.service}  {letter.message_id}  {letter.code}  {age}  {shown['error']}")


def _edited(kind: str, letter: Letter, changes: list[str]) -> bytes:
    """The mended body, which must be valid; a value is JSON if it reads as such, else text."""
    from uploaderd import messages

    body = letter.decoded()
    if not isinstance(body, dict):
        raise MessageError("The body is not a JSON object, and cannot be edited by keys.")
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise MessageError("A change is KEY=VALUE; KEY= alone removes the key.")
        if not value:
            body.pop(key, None)
            continue
        try:
            body[key] = messages.decode(value.encode())
        except MessageError:
            body[key] = value
    messages.validate(kind, body)
    return messages.encode(body)
