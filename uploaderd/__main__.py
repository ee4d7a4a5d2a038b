"""The daemon: `uploaderd -c CONFIG -s SERVICES_DIR`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import setproctitle

from uploaderd import __version__, crash_points
from uploaderd.errors import UploaderError
from uploaderd.observe.logs import configure
from uploaderd.supervisor.daemon import Supervisor
from uploaderd.supervisor.plan import read_plan

log = logging.getLogger(__name__)


EPILOG = """\
exit status:
  0 ended as it was told, or the configuration is valid; 1 the configuration is wrong, or the daemon
  could not start: one line on standard error says why.

signals:
  SIGTERM, SIGINT finish the work in hand, and end; SIGHUP reads the configuration anew; SIGUSR1
  writes the state of every instance to the log.
"""


def build_parser() -> argparse.ArgumentParser:
    """The options of the daemon."""
    parser = argparse.ArgumentParser(
        prog="uploaderd",
        description="Brings measurement files of monitoring stations home and catalogues them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"uploaderd {__version__}")
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        default=Path("/etc/uploaderd/config.json"),
        metavar="CONFIG",
        help="the daemon's file; default: %(default)s",
    )
    parser.add_argument(
        "-s",
        "--services",
        type=Path,
        default=Path("/etc/uploaderd/services.d"),
        metavar="FOLDER",
        help="folder of the services' files; default: %(default)s",
    )
    parser.add_argument("-D", "--daemon", action="store_true", help="go to the background")
    parser.add_argument("--check", action="store_true", help="check the configuration and leave")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT; a wrong configuration is one line and status 1."""
    arguments = build_parser().parse_args(argv)
    config, folder = arguments.config.absolute(), arguments.services.absolute()
    try:
        plan = read_plan(config, folder)
        if arguments.check:
            return 0
        plan.daemon.run_dir.mkdir(parents=True, exist_ok=True)
        if arguments.daemon:
            _go_to_background()
        setproctitle.setproctitle("uploaderd: supervisor")
        configure(plan.daemon.logging, "uploaderd")
        crash_points.install_hook()
        Supervisor(plan, config, folder).run()
    except (UploaderError, OSError) as error:
        print(f"uploaderd: {error}", file=sys.stderr)
        return 1
    return 0


def _go_to_background() -> None:
    """Forks twice, before any thread exists, so that no terminal is ours."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)


if __name__ == "__main__":
    sys.exit(main())
