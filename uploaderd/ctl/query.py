"""`uploaderctl query`: runs a query of the cookbook."""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from datetime import date
from pathlib import Path
from typing import Any

from uploaderd.ctl.catalog import add_database_options, database_settings

EPILOG = """examples:
  uploaderctl query --list
  uploaderctl query gaps --param hours=6 --param since=2026-01-01
  uploaderctl query occupancy --param threshold=-95 --csv
  uploaderctl query waterfall --param station=rfeye002292 --param since=2026-01-01 --plot out.png
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
    form.add_argument("--plot", type=Path, metavar="OUT.png", help="draw the answer")
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
    if arguments.plot:
        from uploaderd.catalog import charts

        charts.draw(cookbook.named(arguments.name), rows, arguments.plot)
        return 0
    _show(rows, arguments)
    return 0


def _show(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    if arguments.json:
        for row in rows:
            print(json.dumps(_plain(row), ensure_ascii=False, allow_nan=False, default=str))
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


def _plain(value: Any) -> Any:
    """A value as JSON has it: times in ISO 8601, what is not a number as null."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat() if isinstance(value, date) else value
