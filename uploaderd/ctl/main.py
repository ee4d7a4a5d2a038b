"""`uploaderctl`: one module of this package a command, named in `COMMANDS`."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from uploaderd import __version__
from uploaderd.errors import ConfigError, UploaderError

COMMANDS: tuple[str, ...] = (
    "catalog",
    "check",
    "dead",
    "doctor",
    "exchange",
    "explain",
    "inspect",
    "load",
    "publish",
    "query",
    "refresh",
    "status",
    "topology",
)
"""Modules of `uploaderd.ctl`; each has `register(commands)`, which adds a parser whose default
`run` takes the parsed arguments and gives the exit status."""


def build_parser(commands: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The whole command line; heavy imports are left to the commands' `run`."""
    parser = argparse.ArgumentParser(
        prog="uploaderctl", description="Looks at, and mends, uploaderd."
    )
    parser.add_argument("--version", action="version", version=f"uploaderctl {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in commands:
        importlib.import_module(f"uploaderd.ctl.{name}").register(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; an expected error is one line on standard error.

    The status is then 1, or 2 where the settings or the command line are wrong.
    """
    arguments = build_parser().parse_args(argv)
    # The driver logs each failure to connect with its traceback; the errors below say it all.
    logging.getLogger("clickhouse_driver").setLevel(logging.CRITICAL)
    try:
        return int(arguments.run(arguments))
    except UploaderError as error:
        print(f"uploaderctl: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except BrokenPipeError:
        # The reader of our output has left, as `head` does; nothing is to be said any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
