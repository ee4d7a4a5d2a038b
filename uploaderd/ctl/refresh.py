"""`uploaderctl refresh`: what is really there against the catalog, and mending the difference."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uploaderd.ctl import services

if TYPE_CHECKING:
    from uploaderd.maintenance.server import Comparison, Finding

EPILOG = """examples:
  uploaderctl refresh server
  uploaderctl refresh server --content --json > findings.jsonl
  uploaderctl refresh server --repair --only missing --limit 20
  uploaderctl refresh station 2292 rfeye002239
  uploaderctl refresh station --file stations.csv --json

The CSV file has the columns node id, uid, address, user, password file; a header may go first.
exit status: 0: nothing differs, or all of it is repaired; 1: something differs.
"""


def register(commands: Any) -> None:
    """Adds `refresh server` and `refresh station`."""
    parser = commands.add_parser(
        "refresh",
        help="compare repository and stations with the catalog",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    server = actions.add_parser("server", help="the repository against the catalog")
    server.add_argument("--content", action="store_true", help="read every file, compare hashes")
    server.add_argument(
        "--min-age", type=float, default=600.0, metavar="SECONDS", help="younger is not dark"
    )
    server.add_argument("--only", action="append", metavar="KIND", help="missing, changed, dark …")
    server.add_argument("--repair", action="store_true", help="mend what is found")
    server.add_argument("--limit", type=int, default=100, help="most repairs (default 100)")
    server.add_argument("--yes", action="store_true", help="do not ask")
    station = actions.add_parser("station", help="stations against the catalog")
    station.add_argument("hosts", nargs="*", metavar="HOST", help="number or name of a station")
    station.add_argument("--file", type=Path, metavar="LIST.csv", help="stations to look at")
    for action, run in ((server, _server), (station, _station)):
        action.add_argument("--json", action="store_true", help="one JSON object a line")
        services.add_options(action)
        action.set_defaults(run=run)


def _server(arguments: argparse.Namespace) -> int:
    from uploaderd.catalog import Catalog
    from uploaderd.errors import ConfigError
    from uploaderd.maintenance import repair, server
    from uploaderd.repository.layout import Repository
    from uploaderd.services.behaviour import ProcessBehaviour
    from uploaderd.services.filing import Filing

    kinds = arguments.only or server.KINDS
    if unknown := set(kinds) - set(server.KINDS):
        raise ConfigError(
            f"There are no {sorted(unknown)[0]} findings.", hint=f"There are {server.KINDS}."
        )
    settings = services.find(arguments, "process")
    behaviour = ProcessBehaviour.of(settings.behaviour)
    with Catalog(settings.database) as catalog:
        compared = server.compare(
            catalog, behaviour.repository, content=arguments.content, min_age_s=arguments.min_age
        )
        findings = [one for one in compared.findings if one.kind in kinds]
        for one in findings:
            _tell(one, as_json=arguments.json)
        print(_summary(compared, findings), file=sys.stderr)
        if not findings:
            return 0
        question = f"Repair these {len(findings)} findings?"
        if not arguments.repair or not services.confirmed(question, yes=arguments.yes):
            return 1
        filing = Filing(catalog, Repository(behaviour.repository), behaviour)
        for done in repair.repair(filing, findings, limit=arguments.limit):
            answer = {"repaired": done.finding.path, "kind": done.finding.kind, "done": done.done}
            text = f"{done.finding.path}: {done.done}"
            print(json.dumps(answer, ensure_ascii=False) if arguments.json else text)
    return 0


def _tell(one: Finding, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(dataclasses.asdict(one), ensure_ascii=False))
    else:
        print(f"{one.kind:<10}  {one.path}: {one.text}")


def _summary(compared: Comparison, findings: list[Finding]) -> str:
    counts = Counter(one.kind for one in findings)
    told = ", ".join(f"{counts[kind]} {kind}" for kind in counts) or "nothing differs"
    return f"{compared.files} files, {compared.rows} rows: {told}"


def _station(arguments: argparse.Namespace) -> int:
    from uploaderd.catalog import Catalog
    from uploaderd.errors import ConfigError
    from uploaderd.maintenance import station
    from uploaderd.services.behaviour import BackupBehaviour

    if not arguments.hosts and not arguments.file:
        raise ConfigError("No station is named.", hint="Name HOST… or --file LIST.csv.")
    settings = services.find(arguments, "backup")
    behaviour = BackupBehaviour.of(settings.behaviour)
    differs = False
    with Catalog(settings.database) as catalog:
        wanted = [station.named(catalog, host) for host in arguments.hosts]
        wanted += station.listed(arguments.file) if arguments.file else []
        for one in wanted:
            compared = station.compare(catalog, behaviour, one)
            differs = differs or not compared.agrees
            text = compared.text
            print(json.dumps(dataclasses.asdict(compared)) if arguments.json else text)
    return 1 if differs else 0
