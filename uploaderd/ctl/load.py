"""`uploaderctl load`: brings files that are here already into the repository and the catalog."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uploaderd.ctl import services

if TYPE_CHECKING:
    from uploaderd.services.loading import Loaded

EPILOG = """examples:
  uploaderctl load /mnt/archive/2024
  uploaderctl load --host-id 2292 --host-uid rfeye002292 --workers 4 old/*.bin
  uploaderctl load --link --json /mnt/archive > loaded.jsonl

Interrupted, or run again, it goes on where it was: what is loaded is not loaded twice.
exit status: 0: all files are loaded; 1: some were put into the trash or could not be read.
"""
TELL_EVERY_S = 1.0


def register(commands: Any) -> None:
    """Adds `load`."""
    parser = commands.add_parser(
        "load",
        help="load files that are here already",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="file or folder")
    parser.add_argument("--host-id", type=int, help="the station's number; default: by receiver")
    parser.add_argument("--host-uid", default="", help="the station's name")
    parser.add_argument("--link", action="store_true", help="hard links where possible, no copies")
    parser.add_argument("--workers", type=int, default=2, help="files read at a time (default 2)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line and a file")
    services.add_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from uploaderd.catalog import Catalog
    from uploaderd.errors import ConfigError
    from uploaderd.repository.layout import Repository
    from uploaderd.services import loading
    from uploaderd.services.behaviour import ProcessBehaviour
    from uploaderd.services.filing import Filing

    missing = [path for path in arguments.paths if not path.exists()]
    if missing:
        raise ConfigError(f"{missing[0]} does not exist.")
    settings = services.find(arguments, "process")
    behaviour = ProcessBehaviour.of(settings.behaviour)
    host = loading.Host(arguments.host_id, arguments.host_uid)
    total = sum(1 for _ in loading.found(arguments.paths)) if sys.stderr.isatty() else None
    tally: Counter[str] = Counter()
    began = time.monotonic()
    try:
        with Catalog(settings.database) as catalog:
            filing = Filing(catalog, Repository(behaviour.repository), behaviour)
            last = began
            for one in loading.load(
                loading.found(arguments.paths),
                filing,
                host,
                link=arguments.link,
                workers=max(1, arguments.workers),
            ):
                tally[one.outcome] += 1
                tally["bytes"] += one.size
                _tell(one, as_json=arguments.json)
                if total is not None and time.monotonic() - last > TELL_EVERY_S:
                    last = time.monotonic()
                    print(f"\r{_summary(tally, began)} of {total}", end="", file=sys.stderr)
    finally:
        print(_summary(tally, began), file=sys.stderr)
    return 1 if tally["trashed"] or tally["refused"] else 0


def _tell(one: Loaded, *, as_json: bool) -> None:
    if as_json:
        facts = {"file": str(one.path), "outcome": one.outcome, "size": one.size}
        print(json.dumps({**facts, "path": one.place, "text": one.text}, ensure_ascii=False))
    elif one.outcome in ("trashed", "refused"):
        print(f"{one.path}: {one.outcome}: {one.text}")


def _summary(tally: Counter[str], began: float) -> str:
    names = ("processed", "known", "trashed", "refused")
    counts = ", ".join(f"{tally[name]} {name}" for name in names)
    size, seconds = tally["bytes"] / 1e6, time.monotonic() - began
    return f"{counts}: {size:.1f} MB in {seconds:.1f} s"
