"""`uploaderctl query`: runs a query of the cookbook."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from typing import Any

from uploaderd.ctl.catalog import add_database_options, database_settings

EPILOG = """examples:
  uploaderctl query --list
  uploaderctl query gaps --param hours=6 --param since=2026-01-01
  uploaderctl query occupancy --param threshold=-95 --csv
"""


def register(commands: Any) -> None:
    """Adds `query`."""
    parser = commands.add_parser(
        "query",
        help="run a query of the analysts' cookbook",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", help="which query")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--param", action="append", default=[], metavar="K=V")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line and a row")
    form.add_argument("--csv", action="store_true", help="comma-separated, with a header")
    add_database_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from uploaderd.catalog import Catalog, cookbook
    from uploaderd.errors import ConfigError

    if arguments.list or not arguments.name:
        for query in cookbook.queries().values():
            print(f"{query.name}: {query.answers}")
            for p in query.parameters:
                print(f"    {p.name} ({p.type}, {p.default}): {p.meaning}")
        return 0
    given = {}
    for pair in arguments.param:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"A parameter is given as KEY=VALUE, not {pair!r}.")
        given[key] = value
    with Catalog(database_settings(arguments)) as catalog:
        rows = cookbook.run(catalog, arguments.name, given)
    _show(rows, arguments)
    return 0


def _show(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    if arguments.json:
        for row in rows:
            print(json.dumps(row, default=str))
        return
    if not rows:
        print("no rows", file=sys.stderr)
        return
    if arguments.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows(row.values() for row in rows)
        return
    lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())
