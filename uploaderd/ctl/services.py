"""What several commands ask of the daemon's configuration: its folder of services, one of them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uploaderd.config.settings import ServiceSettings

ETC = Path("/etc/uploaderd")


def add_options(parser: argparse.ArgumentParser) -> None:
    """`-c` and `-s`, as the daemon takes them."""
    parser.add_argument(
        "-c", "--config", type=Path, default=ETC / "config.json", help="default %(default)s"
    )
    parser.add_argument(
        "-s", "--services", type=Path, default=ETC / "services.d", help="default %(default)s"
    )


def find(arguments: argparse.Namespace, service: str) -> ServiceSettings:
    """The settings of the first service of that kind. Raises ConfigError if there is none."""
    from uploaderd.config import load_daemon, load_services
    from uploaderd.errors import ConfigError

    daemon = load_daemon(arguments.config)
    for each in load_services(arguments.services, daemon.repository):
        if each.service == service:
            return each
    raise ConfigError(f"{arguments.services} holds no {service} service.")


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether the operator agrees; nobody there to be asked means no."""
    if yes:
        return True
    if not sys.stdin.isatty():
        print("Nothing is changed without --yes.", file=sys.stderr)
        return False
    print(f"{question} [yes/no] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() == "yes"
