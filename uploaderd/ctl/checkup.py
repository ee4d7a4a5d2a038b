"""What `uploaderctl doctor` looks at, one finding after the other."""

from __future__ import annotations

import os
import shutil
import smtplib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from uploaderd.broker.depths import depths
from uploaderd.config import load_daemon, load_services, select
from uploaderd.config.settings import MailSettings, ServiceSettings
from uploaderd.errors import UploaderError

ROOM = 0.05
"""So much of a disk should be free."""
CLOCK_S = 2.0
"""The clocks of this machine and of the database may differ by so much."""


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, whether it is well, what was found, and the way out."""

    part: str
    ok: bool
    found: str
    hint: str = ""


def examine(config: Path, folder: Path) -> Iterator[Finding]:
    """All findings, each as soon as it is known; a wrong configuration is the last one."""
    try:
        daemon = load_daemon(config)
        services = select(daemon, load_services(folder, daemon.repository))
    except UploaderError as error:
        yield Finding(
            "config", False, error.sentence, error.hint or "Mend the file, and try again."
        )
        return
    yield Finding("config", True, f"{config} and {len(services)} service files are valid")
    yield from _secrets(folder)
    yield from _brokers(services)
    yield from _databases(services)
    yield from _disk("repository", daemon.repository)
    yield from _disk("run_dir", daemon.run_dir)
    if daemon.mail is not None:
        yield _mail(daemon.mail)


def _secrets(folder: Path) -> Iterator[Finding]:
    for path in sorted(folder.glob("*.json")):
        if path.stat().st_mode & 0o007 and '"password"' in path.read_text(encoding="utf-8"):
            hint = f"chmod o= {path}, or name a password_file or password_credential."
            yield Finding("secrets", False, f"{path} holds a password that all may read", hint)


def _brokers(services: Sequence[ServiceSettings]) -> Iterator[Finding]:
    """Each queue is looked at with its service's own account."""
    for service in services:
        if not service.queue.bindings:
            continue
        part = f"queue {service.queue.name}"
        try:
            found = depths(service.broker, service.queue)
        except UploaderError as error:
            hint = error.hint or "See the broker's log; `uploaderctl topology apply` makes queues."
            yield Finding(part, False, error.sentence, hint)
            continue
        text = ", ".join(f"{count} {what}" for what, count in found.items())
        if found["dead"]:
            yield Finding(part, False, text, f"uploaderctl dead list --service {service.name}")
        elif not found["consumers"]:
            yield Finding(part, False, text, "Nobody takes its messages: start the daemon.")
        else:
            yield Finding(part, True, text)


def _databases(services: Sequence[ServiceSettings]) -> Iterator[Finding]:
    """Each database once: reachable, of this release's schema, and of about our time."""
    from uploaderd.catalog.client import Catalog
    from uploaderd.catalog.migrate import plan

    for settings in {service.database: None for service in services if service.queue.bindings}:
        part = f"database {settings.host}:{settings.port}"
        try:
            with Catalog(settings) as catalog:
                there = float(catalog.query("SELECT toFloat64(now64(3)) AS at")[0]["at"])
            pending = plan(settings)
        except UploaderError as error:
            yield Finding(part, False, error.sentence, error.hint or "Is the database running?")
            continue
        if pending:
            hint = "uploaderctl catalog migrate"
            yield Finding(part, False, f"the schema lacks {', '.join(pending)}", hint)
        else:
            yield Finding(part, True, "it answers, and its schema is this release's")
        yield _clock(part, there - time.time())


def _clock(part: str, ahead_s: float) -> Finding:
    text = f"the clock of the {part} is {abs(ahead_s):.1f} s {'ahead' if ahead_s > 0 else 'behind'}"
    well = abs(ahead_s) <= CLOCK_S
    return Finding("clock", well, text, "" if well else "Set both machines by NTP (chrony).")


def _disk(part: str, folder: Path) -> Iterator[Finding]:
    """Writable for whoever runs this, and with room left."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
        usage = shutil.disk_usage(folder)
    except OSError as error:
        hint = (
            f"It must be there and be writable for the daemon's user (you are uid {os.getuid()})."
        )
        yield Finding(part, False, f"{folder}: {error.strerror}", hint)
        return
    share = usage.free / usage.total if usage.total else 0.0
    text = f"{folder} is writable; {usage.free / 2**30:.1f} GiB free ({share:.0%})"
    well = share >= ROOM
    yield Finding(part, well, text, "" if well else "Make room before the disk is full.")


def _mail(settings: MailSettings) -> Finding:
    """The server is greeted, and no mail is sent."""
    part = f"mail {settings.host}:{settings.port}"
    kind = smtplib.SMTP_SSL if settings.security == "tls" else smtplib.SMTP
    try:
        with kind(settings.host, settings.port, timeout=settings.timeout_s) as connection:
            connection.noop()
    except (OSError, smtplib.SMTPException) as error:
        return Finding(part, False, f"it does not answer: {error}", "Check notifier.mail.")
    return Finding(part, True, "it answers")
