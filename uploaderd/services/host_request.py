"""host-request: answers a station's status at once, and enqueues a backup of it.

The answer's keys are those of the deployed Zabbix templates (docs/messages.md). It is sent before
anything else is done, because Zabbix waits for it; what it tells is the state before this request.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from uploaderd import clock
from uploaderd.broker.job import Job
from uploaderd.catalog.client import Catalog
from uploaderd.catalog.status import host_status
from uploaderd.config.settings import ServiceSettings
from uploaderd.errors import MessageError
from uploaderd.observe.logs import log_context
from uploaderd.services import station_record as record
from uploaderd.services.station_record import Station

log = logging.getLogger(__name__)

PASSED_ON = ("passwd", "filter")
"""What a backup needs of a request, beside the station's address."""


class HostRequestService:
    """Status answers and backup requests."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._catalog = Catalog(settings.database)
        self._lost_after = timedelta(hours=float(settings.behaviour["pending_hours"]))

    def handle(self, job: Job) -> None:
        """Answers, remembers the station, and enqueues a backup if none is on its way.

        Raises:
            CatalogError: the database cannot be reached; the runtime tells the asker.
            MessageError: the station or its address is not known; the runtime tells the asker.
        """
        tag = job.body.get("query_tag", "backup")
        try:
            station = record.identify(self._catalog, job.body)
        except MessageError:
            if tag == "backup":
                raise
            # Who only asks about a station that nobody named yet gets that for an answer.
            job.reply(host_status(self._catalog, host_uid=job.body["host_uid"]))
            return
        with log_context(host=station.host_id):
            job.reply(host_status(self._catalog, host_id=station.host_id))
            self._act(job, station, tag)

    def close(self) -> None:
        """Closes the database connection."""
        self._catalog.close()

    def _act(self, job: Job, station: Station, tag: str) -> None:
        if tag == "check":
            body = {
                **vars(station),
                **({"passwd": job.body["passwd"]} if "passwd" in job.body else {}),
            }
            job.publish("host-check", {key: value for key, value in body.items() if value != ""})
            return
        if tag != "backup":
            event = "stopped" if tag == "stop" else "check"
            record.note(self._catalog, station, event, text=tag, message_id=job.message_id)
            return
        if not station.host_add:
            raise MessageError(
                f"The station {station.host_id} has no known address.",
                hint="Name it with host_add once; it is remembered.",
            )
        record.remember(self._catalog, station)
        if record.backup_is_on_its_way(self._catalog, station, self._lost_after):
            log.info("a backup of this station is on its way already")
            return
        record.note(self._catalog, station, "request", text=tag, message_id=job.message_id)
        body = {**vars(station), **{key: job.body[key] for key in PASSED_ON if key in job.body}}
        body["asked_at"] = clock.seconds()
        job.publish("backup", {key: value for key, value in body.items() if value != ""})
        log.info("a backup is enqueued")
