"""What `uploaderctl doctor` looks at, one finding after the other."""

from __future__ import annotations

import errno
import os
import shutil
import smtplib
import ssl
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from uploaderd.broker.depths import depths
from uploaderd.broker.rights import missing_rights
from uploaderd.config import load_daemon, load_services, select
from uploaderd.config.settings import DatabaseSettings, MailSettings, ServiceSettings
from uploaderd.errors import UploaderError
from uploaderd.observe.mail import connect
from uploaderd.observe.states import duration

ROOM = 0.05
"""So much of a disk should be free."""
_PROBE = 1 << 18
_AT_ONCE = 16
_KNOWN = "SELECT host_id FROM hosts_now ORDER BY host_id"
CLOCK_S = 2.0
"""The clocks of this machine and of the database may differ by so much."""


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, whether it is well, what was found, and the way out."""

    part: str
    ok: bool
    found: str
    hint: str = ""


def examine(config: Path, folder: Path, *, stations: bool = False) -> Iterator[Finding]:
    """All findings, each as soon as it is known; a wrong configuration is the last one.

    With `stations`, each station of the catalog is looked at, too.
    """
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
    if stations:
        yield from _stations(config, folder)


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
            hint = error.hint or "Mend the section rabbitmq, or see the broker's log."
            yield Finding(part, False, error.sentence, hint)
            continue
        text = ", ".join(f"{count} {what}" for what, count in found.items())
        missing = missing_rights(service.broker, service.queue)
        if missing:
            hint = "rabbitmqctl set_permissions; docs/operators/secure.md has the patterns."
            yield Finding(part, False, missing, hint)
        elif found["dead"]:
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
                row = catalog.query("SELECT toFloat64(now64(3)) AS at")[0]
                here, there = time.time(), float(row["at"])
            pending = plan(settings)
        except UploaderError as error:
            yield Finding(part, False, error.sentence, error.hint or "Is the database running?")
            continue
        if pending:
            hint = "uploaderctl catalog migrate"
            yield Finding(part, False, f"the schema lacks {', '.join(pending)}", hint)
        else:
            yield Finding(part, True, "it answers, and its schema is this release's")
        yield _clock(part, there - here)
        if not pending:
            yield from _future(settings, here)


def _clock(part: str, ahead_s: float) -> Finding:
    text = f"the clock of the {part} is {abs(ahead_s):.1f} s {'ahead' if ahead_s > 0 else 'behind'}"
    well = abs(ahead_s) <= CLOCK_S
    return Finding("clock", well, text, "" if well else "Set both machines by NTP (chrony).")


def _future(settings: DatabaseSettings, now: float) -> Iterator[Finding]:
    """Events that were recorded later than now tell of a clock that was, or is, wrong."""
    from uploaderd.catalog.client import Catalog

    with Catalog(settings) as catalog:
        newest = catalog.query("SELECT toFloat64(max(at)) AS at FROM host_events")[0]["at"]
    if newest > now + 60:
        found = f"the catalog's newest event is {duration(newest - now)} in the future"
        hint = "This clock is behind, or was ahead when that was recorded: set it by NTP (chrony)."
        yield Finding("clock", False, found, hint)


def _disk(part: str, folder: Path) -> Iterator[Finding]:
    """Writable for whoever runs this, and with room left."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE))
            probe.flush()
            os.fsync(probe.fileno())
        usage = shutil.disk_usage(folder)
    except OSError as error:
        hint = (
            f"It must be there and be writable for the daemon's user (you are uid {os.getuid()})."
        )
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "Make room: until then everything that is fetched waits for its next attempt."
        yield Finding(part, False, f"{folder}: {error.strerror}", hint)
        return
    share = usage.free / usage.total if usage.total else 0.0
    text = f"{folder} is writable; {usage.free / 2**30:.1f} GiB free ({share:.0%})"
    well = share >= ROOM
    yield Finding(part, well, text, "" if well else "Make room before the disk is full.")


def _mail(settings: MailSettings) -> Finding:
    """All but a mail: the connection is encrypted and logged in, as for a mail."""
    part = f"mail {settings.host}:{settings.port}"
    hint = "Check notifier.mail: host, port and security."
    try:
        with connect(settings) as connection:
            connection.noop()
    except ssl.SSLCertVerificationError as error:
        hint = "Renew the server's certificate, or name its authority as notifier.mail.ca_file."
        return Finding(part, False, f"its certificate is refused: {error.verify_message}", hint)
    except smtplib.SMTPAuthenticationError as error:
        hint = "Check user and password of notifier.mail."
        return Finding(part, False, f"it refuses the user: {error.smtp_code}", hint)
    except smtplib.SMTPNotSupportedError as error:
        return Finding(part, False, str(error), hint)
    except (OSError, smtplib.SMTPException) as error:
        return Finding(part, False, f"it does not answer: {error}", hint)
    done = "it answers" if settings.user is None else f"it lets the user {settings.user} in"
    return Finding(part, True, f"{done} ({settings.security})")


def _stations(config: Path, folder: Path) -> Iterator[Finding]:
    """Each station that the catalog knows, as the host-check service sees it; none is touched."""
    from uploaderd.catalog.client import Catalog
    from uploaderd.ctl.naming import service_of
    from uploaderd.services import station_record
    from uploaderd.services.host_check import look

    def seen(host_id: int) -> Finding:
        part = f"station {host_id}"
        try:
            station = station_record.identify(catalog, {"host_id": host_id})
            health, place = look(settings.behaviour, station, {}, time.sleep)
        except UploaderError as error:
            return Finding(part, False, error.sentence, error.hint or "Mend that, and look again.")
        address = f"{place.host_uid} at {place.host_add}:{place.host_port}"
        if health.state == "online":
            return Finding(part, True, f"{address}: {health.reason}")
        hint = f"uploaderctl doctor ssh --host {place.host_add} --port {place.host_port}"
        return Finding(part, False, f"{address} is {health.state}: {health.reason}", hint)

    try:
        settings = service_of(config, folder, "host-check")
        with Catalog(settings.database) as catalog:
            known = [row["host_id"] for row in catalog.query(_KNOWN)]
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                yield from pool.map(seen, known)
    except UploaderError as error:
        yield Finding("stations", False, error.sentence, error.hint or "See the lines above.")
