"""`uploaderctl doctor`: looks at the installation, or at the way to a station."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from uploaderd.errors import ConfigError
from uploaderd.secret import Secret

EXAMPLES = """\
examples:
  uploaderctl doctor
  uploaderctl doctor --stations
  uploaderctl doctor -c etc/config.json -s etc/services.d --json
  uploaderctl doctor ssh rfeye002080
  uploaderctl doctor ssh 192.0.2.7 --user station --password-file /etc/uploaderd/secrets/s7
  uploaderctl doctor ssh s8.example --port 2222 --key-file /etc/uploaderd/id_ed25519 --json
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    doctor = commands.add_parser(
        "doctor",
        help="find out what ails the installation or the way to a station",
        description="Checks configuration, broker, database, disks, clock and mail; with the part "
        "ssh, the way to a station. Each line is OK, or says what to do. Exit status: 0 all well, "
        "1 something is not.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    etc = Path("/etc/uploaderd")
    doctor.add_argument("-c", "--config", type=Path, default=etc / "config.json")
    doctor.add_argument("-s", "--services", type=Path, default=etc / "services.d")
    doctor.add_argument("--stations", action="store_true", help="look at every known station, too")
    doctor.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    doctor.set_defaults(run=run_checkup)
    parts = doctor.add_subparsers(metavar="PART")
    ssh = parts.add_parser(
        "ssh",
        help="connect to a station, step by step",
        description="Connects to a station step by step, and says what to do where it fails. "
        "No host key is pinned by it. Exit status: 0 all well, 1 a step failed.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = ssh.add_mutually_exclusive_group(required=True)
    where.add_argument("station", nargs="?", help="its host_id, host_uid, address or name")
    where.add_argument("--host", help="the same")
    ssh.add_argument("-c", "--config", type=Path, default=argparse.SUPPRESS)
    ssh.add_argument(
        "-s",
        "--services",
        type=Path,
        default=argparse.SUPPRESS,
        help="folder of service files, whose settings and stations count if it is there",
    )
    ssh.add_argument("--port", type=int, help="port of its sshd (default 22)")
    ssh.add_argument("--user", help="account (default root)")
    ssh.add_argument("--password-file", type=Path, help="file whose first line is the password")
    ssh.add_argument("--key-file", type=Path, help="private key")
    ssh.add_argument("--known-hosts", type=Path, help="the daemon's pinned host keys")
    ssh.add_argument("--agent-config", metavar="PATH", help="look for the agent's configuration")
    ssh.add_argument("--legacy", action="store_true", help="by ssh, with SHA-1 algorithms")
    ssh.add_argument("--timeout", type=float, default=15.0, help="seconds a step (default 15)")
    ssh.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    ssh.set_defaults(run=run)


def run_checkup(arguments: argparse.Namespace) -> int:
    """Looks at the installation; 0 if all is well."""
    from uploaderd.ctl.checkup import examine

    findings = []
    for finding in examine(arguments.config, arguments.services, stations=arguments.stations):
        findings.append(finding)
        if not arguments.json:
            print(f"{'OK  ' if finding.ok else 'FAIL'} {finding.part}: {finding.found}", flush=True)
            if finding.hint:
                print(f"     → {finding.hint}", flush=True)
    well = all(finding.ok for finding in findings)
    if arguments.json:
        shown = [dataclasses.asdict(finding) for finding in findings]
        print(json.dumps({"ok": well, "findings": shown}))
    return 0 if well else 1


def run(arguments: argparse.Namespace) -> int:
    """Runs the steps; 0 if all went well."""
    # Here, for paramiko takes longer to import than other commands take to run.
    from uploaderd.ctl import naming  # see above
    from uploaderd.station.diagnosis import examine  # see above

    access, agent_config = naming.access_of(arguments, _password(arguments.password_file))
    steps = []
    for step in examine(access, agent_config):
        steps.append(step)
        if not arguments.json:
            print(f"{'OK  ' if step.ok else 'FAIL'} {step.step}: {step.found}", flush=True)
            if step.hint:
                print(f"     → {step.hint}", flush=True)
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
