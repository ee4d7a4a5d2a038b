"""`uploaderctl status`: what runs, what does not and why, and what waits where."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EXAMPLES = """\
examples:
  uploaderctl status
  uploaderctl status -c etc/config.json -s etc/services.d --json
  uploaderctl status --watch              live, until Ctrl-C
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "status",
        help="services, instances, queues, stations, errors and disks",
        description="Shows services, instances, queues, stations, the errors of the last day and "
        "the disks. Exit status: 0 all is well, 1 degraded, 2 down.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    etc = Path("/etc/uploaderd")
    parser.add_argument("-c", "--config", type=Path, default=etc / "config.json")
    parser.add_argument("-s", "--services", type=Path, default=etc / "services.d")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument(
        "--no-queues", "--local", action="store_true", help="ask neither broker nor database"
    )
    parser.add_argument("--watch", action="store_true", help="show it again and again")
    parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Shows the status once, or until Ctrl-C; gives its health."""
    from uploaderd.ctl import status_view

    def show(width: int | None, height: int | None) -> tuple[int, str]:
        shown = _gathered(arguments)
        if arguments.json:
            return shown["health"], json.dumps(shown, default=str)
        lines = status_view.lines(shown)
        fitted = status_view.fit(lines, width, height, colourful=_colourful())
        return shown["health"], "\n".join(fitted)

    if not arguments.watch:
        health, text = show(_width(), None)
        print(text)
        return health
    health = 0
    with contextlib.suppress(KeyboardInterrupt), _screen(arguments) as live:
        while True:
            size = shutil.get_terminal_size()
            health, text = show(size.columns, size.lines) if live else show(None, None)
            # Each line wipes what was behind it: clearing the whole screen first would flicker.
            print("\x1b[H" + text.replace("\n", "\x1b[K\n") + "\x1b[J" if live else text, end="")
            print(end="" if live else "\n", flush=True)
            time.sleep(arguments.interval)
    return health


def _gathered(arguments: argparse.Namespace) -> dict[str, Any]:
    from uploaderd.config import load_daemon, load_services, select
    from uploaderd.ctl.standing import gather

    daemon = load_daemon(arguments.config)
    local = arguments.no_queues
    services = () if local else select(daemon, load_services(arguments.services, daemon.repository))
    return gather(daemon, services, local=local)


@contextlib.contextmanager
def _screen(arguments: argparse.Namespace) -> Iterator[bool]:
    """The terminal's other screen, without a cursor, while it lasts; False if there is none."""
    if arguments.json or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        yield False
        return
    print("\x1b[?1049h\x1b[?25l", end="", flush=True)
    try:
        yield True
    finally:
        print("\x1b[?25h\x1b[?1049l", end="", flush=True)


def _width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _colourful() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
