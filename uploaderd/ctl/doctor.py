"""`uploaderctl doctor ssh`: connects to a station step by step, and says what to do."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from uploaderd.errors import ConfigError
from uploaderd.secret import Secret

EXAMPLES = """\
examples:
  uploaderctl doctor ssh --host 192.0.2.7 --user station --password-file /etc/uploaderd/secrets/s7
  uploaderctl doctor ssh --host s8.example --port 2222 --key-file /etc/uploaderd/id_ed25519 --json
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    doctor = commands.add_parser("doctor", help="find out what ails a part of the system")
    parts = doctor.add_subparsers(required=True, metavar="PART")
    ssh = parts.add_parser(
        "ssh",
        help="connect to a station, step by step",
        description="Connects to a station step by step, and says what to do where it fails. "
        "No host key is pinned by it. Exit status: 0 all well, 1 a step failed.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ssh.add_argument("--host", required=True, help="address or name of the station")
    ssh.add_argument("--port", type=int, default=22, help="port of its sshd (default 22)")
    ssh.add_argument("--user", default="root", help="account (default root)")
    ssh.add_argument("--password-file", type=Path, help="file whose first line is the password")
    ssh.add_argument("--key-file", type=Path, help="private key")
    ssh.add_argument(
        "--known-hosts",
        type=Path,
        default=Path("/var/lib/uploaderd/known_hosts"),
        help="the daemon's pinned host keys (default %(default)s)",
    )
    ssh.add_argument("--legacy", action="store_true", help="by ssh, with SHA-1 algorithms")
    ssh.add_argument("--timeout", type=float, default=15.0, help="seconds a step (default 15)")
    ssh.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    ssh.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the steps; 0 if all went well."""
    # Here, for paramiko takes longer to import than other commands take to run.
    from uploaderd.station.access import Access, Timeouts  # noqa: PLC0415 # see above
    from uploaderd.station.diagnosis import examine  # noqa: PLC0415 # see above

    seconds = arguments.timeout
    access = Access(
        arguments.host,
        arguments.port,
        arguments.user,
        _password(arguments.password_file),
        arguments.key_file,
        known_hosts=arguments.known_hosts,
        legacy=arguments.legacy,
        timeouts=Timeouts(seconds, seconds, seconds, seconds),
    )
    steps = []
    for step in examine(access):
        steps.append(step)
        if not arguments.json:
            print(f"{'OK  ' if step.ok else 'FAIL'} {step.step}: {step.found}")
            if step.hint:
                print(f"     → {step.hint}")
    well = all(step.ok for step in steps)
    if arguments.json:
        report = {"address": access.address, "ok": well}
        print(json.dumps(report | {"steps": [dataclasses.asdict(step) for step in steps]}))
    return 0 if well else 1


def _password(path: Path | None) -> Secret | None:
    if path is None:
        return None
    try:
        return Secret(path.read_text(encoding="utf-8").split("\n", 1)[0])
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the password cannot be read: {error}.") from error
