"""send: keeps another server's copy of the catalog up to date; one service file is one target."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from uploaderd.broker import notices
from uploaderd.broker.job import Job
from uploaderd.catalog.client import Catalog
from uploaderd.config.settings import DatabaseSettings, ServiceSettings
from uploaderd.errors import ConfigError, UploaderError
from uploaderd.exchange import checks, media
from uploaderd.exchange.clickhouse_target import ClickHouseTarget
from uploaderd.exchange.export import Manifest
from uploaderd.exchange.rest_target import RestTarget
from uploaderd.exchange.sending import Plan, Sent, free_bytes, send
from uploaderd.exchange.sftp_target import SftpTarget
from uploaderd.exchange.target import Finding, Target, room_step
from uploaderd.exchange.watermark import LOAD_ORDER
from uploaderd.station import slots
from uploaderd.station.access import Access, Timeouts

log = logging.getLogger(__name__)


class SendService:
    """One message is one export, or one check of the target."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._name = settings.name
        self._settings = settings.behaviour
        self._catalog = Catalog(settings.database)

    def handle(self, job: Job) -> None:
        """Sends or checks; a message for another target is none of ours.

        Raises what `sending.send` raises.
        """
        if job.body.get("target", self._name) != self._name:
            return
        if job.body.get("mode") == "check":
            self._check(job)
            return
        done = run(
            self._catalog, self._settings, complete=job.body.get("mode") == "complete", job=job
        )
        log.info("%s: %s", self._name, done.text)
        job.reply(answer(self._name, done))

    def close(self) -> None:
        """Closes the database connection."""
        self._catalog.close()

    def _check(self, job: Job) -> None:
        findings = examine(self._settings)
        wrong = [one for one in findings if not one.ok]
        state = "bad" if wrong else "good"
        text = f"{self._name}: {'; '.join(one.text for one in wrong or findings)}"
        before = checks.record(self._settings["outbox"], self._name, state, text, findings)
        log.info("%s: %s", state, text)
        if before != state and (wrong or before):
            severity = "error" if wrong else "info"
            event = notices.event(
                *(severity, "target_state", f"target {self._name}"),
                f"{before or 'unknown'} → {state}: {text}",
                {"target": self._name, "state": state, "before": before},
            )
            job.publish_event(f"notify.{severity}.send", event)
        job.reply({"status": int(not wrong), "message": text, "target": self._name, "state": state})


def examine(settings: Mapping[str, Any]) -> list[Finding]:
    """The steps of a check of the target, and of the room for our own exports.

    Raises RepositoryError if the outbox cannot be written.
    """
    floor_bytes, outbox = settings["free_space_floor_mb"] * 1_000_000, settings["outbox"]
    try:
        with target_of(settings) as target:
            found = list(target.check(floor_bytes))
    except UploaderError as error:
        found = [Finding("connect", False, str(error))]
    own = room_step(free_bytes(outbox), floor_bytes)
    return [*found, Finding("own room", own.ok, f"{outbox}: {own.text}")]


def target_of(settings: Mapping[str, Any]) -> SftpTarget | ClickHouseTarget | RestTarget:
    """The target of a behaviour section."""
    sender, timeout_s = settings["sender"], settings["timeout_s"]
    if settings["kind"] == "clickhouse":
        place = DatabaseSettings(
            host=settings["host"],
            port=settings.get("port", 9000),
            database=settings["database"],
            user=settings.get("user", "default"),
            secure=settings["secure"],
            timeout_s=timeout_s,
            **({"password": settings["password"]} if "password" in settings else {}),
        )
        return ClickHouseTarget(place, sender)
    if settings["kind"] == "rest":
        return RestTarget(
            settings["url"], sender, settings.get("password"), settings.get("ca_file"), timeout_s
        )
    access = Access(
        settings["host"],
        settings.get("port", 22),
        settings["user"],
        password=settings.get("password"),
        key_file=settings.get("key_file"),
        host_key_policy=settings["host_key_policy"],
        known_hosts=settings.get("known_hosts") or settings["outbox"] / ".known_hosts",
        passphrase=settings.get("passphrase"),
        timeouts=Timeouts(stall_s=timeout_s),
    )
    return SftpTarget(access, settings["folder"], sender)


def run(catalog: Catalog, settings: Mapping[str, Any], *, complete: bool, job: Job) -> Sent:
    """Sends to the target of a section. Raises what `sending.send` raises."""
    tables = settings["tables"] or LOAD_ORDER
    plan = Plan(
        settings["sender"], settings["outbox"], tables, settings["free_space_floor_mb"] * 1_000_000
    )
    said = f"Another run sends out of {plan.outbox}."
    with slots.taken(plan.outbox / ".slots", "send", 1, said), target_of(settings) as target:
        bring = partial(_media, settings, target, job)
        return send(catalog, target, plan, complete=complete, beat=job.beat, media=bring)


def _media(
    settings: Mapping[str, Any], target: Target, job: Job, path: Path, _manifest: Manifest
) -> None:
    """Brings the measurement files of an export, where they are asked for."""
    wanted = settings.get("media")
    if wanted is None:
        return
    if not isinstance(target, SftpTarget) or not settings.get("repository"):
        raise ConfigError("Measurement files travel by SFTP only, and out of a `repository`.")
    limit = wanted.get("largest_mb")
    chosen = media.Filter(
        wanted.get("stations", ()), wanted.get("formats", ()), limit and limit * 1_000_000
    )
    count = media.bring(target, settings["repository"], chosen, path, job.beat)
    log.info("%d measurement files are at the target", count)


def answer(name: str, done: Sent) -> dict[str, Any]:
    """What is told of a run."""
    return {
        "status": 1,
        "message": done.text,
        "target": name,
        "sequence": done.sequence,
        "kind": done.kind,
        "rows": done.rows,
        "confirmed": done.receipt.sequence,
        "confirmed_at": done.receipt.at.isoformat() if done.receipt.sequence else "N/A",
    }
