"""host-check: looks at a station, and tells its state; on a change, everybody is told.

The state is the last `host_check` of the station in `host_events`; its column `code` names it. A
repetition of the same message compares with the check before it, so that a crash between the row
and the notification loses neither.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from uploaderd.broker import notices
from uploaderd.broker.job import Job
from uploaderd.catalog.client import Catalog
from uploaderd.config.settings import ServiceSettings
from uploaderd.observe.logs import log_context
from uploaderd.services import reach
from uploaderd.services import station_record as record
from uploaderd.services.behaviour import expected_health
from uploaderd.services.holding import patient
from uploaderd.services.station_record import Station
from uploaderd.station.access import Timeouts
from uploaderd.station.health import Health, examine

log = logging.getLogger(__name__)

EVENT = "host_check"
SEVERITIES = {
    "online": "info",
    "degraded": "warning",
    "halted": "warning",
    "no-agent": "error",
    "auth-error": "error",
    "offline": "error",
}
"""A severity for each state."""
_PAST = """
WITH (SELECT max(at) FROM host_events WHERE host_id = %(id)s AND event = 'host_check'
      AND message_id != %(message)s AND code != %(state)s) AS other
SELECT argMax(code, at) AS state, toFloat64(minIf(at, code = %(state)s AND at > other)) AS since
FROM host_events WHERE host_id = %(id)s AND event = 'host_check' AND message_id != %(message)s
"""


@dataclass(frozen=True)
class Verdict:
    """A station's state now, and how it came to it."""

    state: str
    since: float
    """Unix seconds of the first check that found it."""
    before: str
    """The state of the check before this one; empty for the first."""

    @property
    def changed(self) -> bool:
        """Whether everybody is to be told: a first check counts if it is not well."""
        return self.state != (self.before or "online")


class HostCheckService:
    """One message is one look at one station."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings.behaviour
        self._catalog = Catalog(settings.database)

    def handle(self, job: Job) -> None:
        """Looks, records, answers who asked, and tells of a change.

        Raises:
            MessageError: the station's address or user is not known.
            ConfigError: our own key or list of host keys cannot be read.
            StationBusy: the station's own file limits its connections, and all are taken.
            CatalogError: the database cannot be reached.
        """
        station = record.identify(self._catalog, job.body)
        with log_context(host=station.host_id):
            job.beat()
            begun = time.monotonic()
            health, place = look(self._settings, station, job.body, partial(patient, job))
            verdict = self._verdict(station, job.message_id, health.state)
            self._record(job, place, health, time.monotonic() - begun)
            job.reply(answer(station, health, verdict))
            if verdict.changed:
                _notify(job, station, health, verdict)
            log.info("%s: %s", health.state, health.reason)

    def close(self) -> None:
        """Closes the database connection."""
        self._catalog.close()

    def _verdict(self, station: Station, message_id: str, state: str) -> Verdict:
        row = self._catalog.query(
            _PAST, {"id": station.host_id, "message": message_id, "state": state}
        )[0]
        since = row["since"] if row["state"] == state else time.time()
        return Verdict(state, since, row["state"])

    def _record(self, job: Job, station: Station, health: Health, seconds: float) -> None:
        if health.state in ("offline", "auth-error"):
            record.remember(self._catalog, station, error=health.reason)
        else:
            error = "" if health.state == "online" else health.reason
            record.remember_contact(self._catalog, station, error=error)
        record.note(
            self._catalog,
            station,
            EVENT,
            outcome="ok" if health.state == "online" else "error",
            code=health.state,
            text=health.reason,
            bytes=0 if math.isnan(health.free_bytes) else int(health.free_bytes),
            duration_s=seconds,
            message_id=job.message_id,
        )


def look(
    settings: Mapping[str, Any],
    station: Station,
    request: Mapping[str, Any],
    wait: Callable[[float], object],
) -> tuple[Health, Station]:
    """What is found now, and the station at the address that its own file names.

    Of the request, `passwd` and `agent_config` count; `settings` is the behaviour section.
    Raises MessageError, ConfigError and StationBusy as `HostCheckService.handle`.
    """
    settings, place = reach.of_station(settings, station)
    limit = settings["timeout_s"]
    timeouts = Timeouts(connect_s=limit, banner_s=limit, authentication_s=limit, stall_s=limit)
    access = reach.access(settings, place, request.get("passwd"), timeouts)
    expected = expected_health(settings, request.get("agent_config"))
    most = settings.get("connections_per_station")
    with reach.connected(settings.get("repository"), access.address, most):
        return examine(access, expected, wait), place


def answer(station: Station, health: Health, verdict: Verdict) -> dict[str, Any]:
    """The flat object that whoever asked gets; `"N/A"` for what is not known."""
    return {
        "id_host": station.host_id,
        "host_uid": station.host_uid,
        "state": verdict.state,
        "reason": health.reason,
        "since": verdict.since,
        "changed": int(verdict.changed),
        **found(health),
        "status": 1,
        "message": "",
    }


def found(health: Health) -> dict[str, Any]:
    """What was measured, for JSON; `"N/A"` for what is not known."""
    return {
        key: "N/A" if value == "" or (isinstance(value, float) and math.isnan(value)) else value
        for key, value in vars(health).items()
        if key not in ("state", "problems")
    }


def _notify(job: Job, station: Station, health: Health, verdict: Verdict) -> None:
    name = station.host_uid or station.host_add
    severity = SEVERITIES[verdict.state]
    event = notices.event(
        *(severity, "station_state", f"station {name} ({station.host_id})"),
        f"{verdict.before or 'unknown'} → {verdict.state}: {health.reason}",
        {
            "host_id": station.host_id,
            "host_uid": station.host_uid,
            "state": verdict.state,
            "before": verdict.before,
        },
    )
    job.publish_event(f"notify.{severity}.host-check", event)
