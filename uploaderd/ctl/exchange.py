"""`uploaderctl exchange`: what is sent to other servers, and what has come from them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uploaderd.config.settings import ServiceSettings

EPILOG = """examples:
  uploaderctl exchange status
  uploaderctl exchange check --target send-central && echo good
  uploaderctl exchange send --target send-central --complete --json
  uploaderctl exchange received
"""


def register(commands: Any) -> None:
    """Adds `exchange send`, `status`, `check` and `received`."""
    parser = commands.add_parser(
        "exchange",
        help="send the catalog to other servers, and look at what was confirmed",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = partial(
        actions.add_parser, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    now = add("send", help="send what a target lacks, in this process; status 1 if one fails")
    now.add_argument("--complete", action="store_true", help="everything, from scratch")
    now.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        default=Path("/etc/uploaderd/config.json"),
        help="the daemon's settings, which say where measurement files are (default %(default)s)",
    )
    status = add("status", help="what each target has confirmed; status 1 if unknown")
    check = add("check", help="connect, write, read back; status 1 if anything fails")
    received = add("received", help="the last export of each sender")
    for action, run in ((now, _send), (status, _status), (check, _check), (received, _received)):
        action.add_argument("--json", action="store_true", help="one JSON object")
        action.add_argument(
            "-s",
            "--services",
            type=Path,
            metavar="DIR",
            default=Path("/etc/uploaderd/services.d"),
            help="folder of the service files (default %(default)s)",
        )
        if action is not received:
            action.add_argument("--target", help="one service file's name; every target if absent")
        action.set_defaults(run=run)


def _send(arguments: argparse.Namespace) -> int:
    from uploaderd.broker.job import Job
    from uploaderd.catalog import Catalog
    from uploaderd.errors import UploaderError
    from uploaderd.services import send

    answers: list[dict[str, Any]] = []
    for service in _targets(arguments):
        settings = _with_repository(service.behaviour, arguments.config)
        try:
            with Catalog(service.database) as catalog:
                done = send.run(
                    catalog, settings, complete=arguments.complete, job=Job({}, "by-hand")
                )
            answers.append(send.answer(service.name, done))
        except UploaderError as error:
            answers.append({"target": service.name, "status": 0, "message": str(error)})
    _say(arguments, {"targets": answers}, [f"{a['target']}: {a['message']}" for a in answers])
    return 0 if all(answer["status"] for answer in answers) else 1


def _with_repository(settings: Mapping[str, Any], config: Path) -> Mapping[str, Any]:
    """The daemon's repository is where the files are that travel along, if nothing else is said."""
    from uploaderd.config import load_daemon

    if "media" not in settings or "repository" in settings:
        return settings
    return {**settings, "repository": load_daemon(config).repository}


def _status(arguments: argparse.Namespace) -> int:
    from uploaderd.errors import UploaderError
    from uploaderd.exchange import checks
    from uploaderd.services import send

    answers: list[dict[str, Any]] = []
    for service in _targets(arguments):
        told: dict[str, Any] = {"target": service.name, "enabled": service.enabled}
        try:
            with send.target_of(service.behaviour) as target:
                receipt = target.receipt()
            told |= {
                "ok": receipt.outcome in ("loaded", ""),
                "sequence": receipt.sequence,
                "outcome": receipt.outcome or "nothing confirmed yet",
                "at": receipt.at.isoformat() if receipt.sequence else "N/A",
                "text": receipt.text,
            }
        except UploaderError as error:
            told |= {"ok": False, "sequence": -1, "outcome": "unknown", "text": str(error)}
        told["check"] = checks.last(service.behaviour["outbox"], service.name)
        answers.append(told)
    lines = [f"{a['target']}: {_told(a['sequence'])}{a['outcome']} {a['text']}" for a in answers]
    _say(arguments, {"targets": answers}, lines)
    return 0 if all(answer["ok"] for answer in answers) else 1


def _told(sequence: int) -> str:
    return f"export {sequence}, " if sequence > 0 else ""


def _check(arguments: argparse.Namespace) -> int:
    from uploaderd.services import send

    answers, lines = [], []
    for service in _targets(arguments):
        findings = send.examine(service.behaviour)
        ok = all(one.ok for one in findings)
        answers.append({"target": service.name, "ok": ok, "steps": [vars(one) for one in findings]})
        lines += [
            f"{service.name}: {one.step} {'good' if one.ok else 'BAD'}: {one.text}"
            for one in findings
        ]
    _say(arguments, {"targets": answers}, lines)
    return 0 if all(answer["ok"] for answer in answers) else 1


def _received(arguments: argparse.Namespace) -> int:
    from uploaderd.catalog import Catalog
    from uploaderd.exchange import receipts

    found = []
    for service in _services(arguments, "receive"):
        with Catalog(service.database) as catalog:
            found += receipts.senders(catalog)
    answers = [{**vars(one), "at": one.at.isoformat()} for one in found]
    lines = [f"{one.sender}: export {one.sequence}, {one.outcome} {one.text}" for one in found]
    _say(arguments, {"senders": answers}, lines)
    return 0


def _targets(arguments: argparse.Namespace) -> list[ServiceSettings]:
    from uploaderd.errors import ConfigError

    found = [
        service
        for service in _services(arguments, "send")
        if arguments.target in (None, service.name)
    ]
    if arguments.target and not found:
        raise ConfigError(f"{arguments.services} holds no target {arguments.target}.")
    return found


def _services(arguments: argparse.Namespace, kind: str) -> list[ServiceSettings]:
    from uploaderd.config import load_services

    found = [each for each in load_services(arguments.services) if each.service == kind]
    return [each for each in found if each.enabled or getattr(arguments, "target", None)]


def _say(arguments: argparse.Namespace, answer: dict[str, Any], lines: list[str]) -> None:
    nothing = f"{arguments.services}: no such service is on, or nothing came yet"
    print(json.dumps(answer) if arguments.json else "\n".join(lines) or nothing)
