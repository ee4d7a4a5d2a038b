"""Runs the embedded server: `python -m uploaderd.catalog.embedded --data FOLDER --port N`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from uploaderd import crash_points
from uploaderd.catalog.embedded.engine import EngineError
from uploaderd.catalog.embedded.server import HOST, Server


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or SIGINT; the ready file, if any, then holds the port."""
    parser = argparse.ArgumentParser(prog="python -m uploaderd.catalog.embedded")
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--port", type=int, default=0, help="0, the default: any free one")
    parser.add_argument("--ready-file", type=Path, help="gets the port once clients may connect")
    arguments = parser.parse_args(argv)
    crash_points.install_hook()
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    try:
        with Server(arguments.data.resolve(), arguments.port) as server:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: server.stop())
            logging.info(
                "embedded ClickHouse on %s:%d: for laptops, demos and tests, without passwords",
                HOST,
                server.port,
            )
            if arguments.ready_file:
                partial = arguments.ready_file.with_suffix(".partial")
                partial.write_text(f"{server.port}\n")
                partial.rename(arguments.ready_file)
            server.serve()
    except (EngineError, OSError) as error:
        logging.error("the embedded server cannot start: %s", error)
        return 1
    sys.stdout.flush()
    sys.stderr.flush()
    # All is closed; the engine's own threads would keep the interpreter for seconds.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
