"""`uploaderctl explain`: the whole life of one message, file or station."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uploaderd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uploaderd.ctl.tracing import Trace

EXAMPLES = """\
examples:
  uploaderctl explain 2292                           a station, by id, uid or address
  uploaderctl explain rfeye002292_190402.bin         a file, by name, path or id
  uploaderctl explain 8c1f0b…                        a message, by its id
"""


def register(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "explain",
        help="the whole life of one message, file or station",
        description="Tells from catalog, queues and repository what became of an item, where it is "
        "now and what happens next. No message is taken from its queue. Exit status: 0 found, 1 "
        "nothing goes by that name.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    etc = Path("/etc/uploaderd")
    parser.add_argument("name", help="id of a message; id, path or name of a file; or a station")
    parser.add_argument("-c", "--config", type=Path, default=etc / "config.json")
    parser.add_argument("-s", "--services", type=Path, default=etc / "services.d")
    parser.add_argument("--json", action="store_true", help="one JSON object a line and an item")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Tells of every item that goes by the name; 1 if there is none."""
    from uploaderd.catalog.client import Catalog
    from uploaderd.config import load_daemon, load_services, select
    from uploaderd.ctl.tracing import Tracer
    from uploaderd.ctl.whereabouts import Broker

    daemon = load_daemon(arguments.config)
    services = select(daemon, load_services(arguments.services, daemon.repository))
    database = next((each.database for each in services if each.queue.bindings), None)
    if database is None:
        raise ConfigError(f"{arguments.services} holds no service that takes messages.")
    broker = Broker(daemon, services)
    if broker.error():
        print(f"uploaderctl: {broker.error()}", file=sys.stderr)
    with Catalog(database) as catalog:
        traces = Tracer(daemon, catalog, broker, daemon.status.station_silent_h).traces(
            arguments.name
        )
    if not traces:
        print(
            f"uploaderctl: neither catalog nor dead letters nor instances know {arguments.name}."
            " A message that waits in its queue leaves no trace before it is handled.",
            file=sys.stderr,
        )
        return 1
    for trace in traces:
        text = json.dumps(trace.as_json(), ensure_ascii=False) if arguments.json else None
        print(text if text is not None else "\n".join(_lines(trace)))
    return 0


_HIDDEN = ("stage", "recorded", "mtime_ns", "discovered", "fetched", "processed", "last_contact")
"""Facts that the timeline tells."""


def _lines(trace: Trace) -> Iterator[str]:
    yield f"{trace.kind} {trace.id}"
    for key, value in trace.facts.items():
        if key not in _HIDDEN and value not in ("", None, 0, [], {}):
            shown = value
            if isinstance(value, dict):
                shown = ", ".join(f"{count} {name}" for name, count in value.items())
            elif isinstance(value, list):
                shown = ", ".join(map(str, value))
            yield f"  {key.replace('_', ' '):20} {shown}"
    times = Counter((step.what, step.text) for step in trace.timeline)
    seen: Counter[tuple[str, str]] = Counter()
    for step in trace.timeline:
        same = (step.what, step.text)
        seen[same] += 1
        # Of attempts that were all alike the first and the last are told.
        if 1 < seen[same] < times[same]:
            continue
        more = f" (attempt {seen[same]} of this kind)" if seen[same] > 1 else ""
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(step.at)) if step.at else "?" * 19
        yield f"  {at}  {step.what:16}  {step.text}".rstrip() + more
    yield f"  now:  {trace.now}"
    yield f"  next: {trace.next}"
