"""garbage: keeps the trash's retention; tells what it is going to delete, and deletes it later."""

from __future__ import annotations

import logging
from typing import Any

from uploaderd.broker import notices
from uploaderd.broker.job import Job
from uploaderd.catalog.client import Catalog
from uploaderd.config.settings import ServiceSettings
from uploaderd.maintenance import garbage
from uploaderd.maintenance.garbage import Collected
from uploaderd.services.behaviour import GarbageBehaviour

log = logging.getLogger(__name__)

EXAMPLES = 20
"""Paths that an event names."""


class GarbageService:
    """One message is one look through the trash."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._behaviour = GarbageBehaviour.of(settings.behaviour)
        self._catalog = Catalog(settings.database)

    def handle(self, job: Job) -> None:
        """Announces what is old, deletes what was announced long enough ago, and says so.

        Raises:
            RepositoryError: the repository is not there, or its disk cannot be written.
            CatalogError: the database cannot be reached.
        """
        done = garbage.collect(
            self._catalog,
            self._behaviour.repository,
            self._behaviour.retention,
            delete=job.body.get("mode", "collect") == "collect",
            beat=job.beat,
        )
        text = _text(done)
        log.info("%s", text)
        if job.body.get("mode") != "list" and (done.announced or done.deleted):
            job.publish_event("notify.warning.garbage", _event(done, text))
        job.reply({"status": 1, "message": text, **_numbers(done)})

    def close(self) -> None:
        """Closes the database connection."""
        self._catalog.close()


def _numbers(done: Collected) -> dict[str, Any]:
    announced, deleted = done.bytes
    return {
        "announced": len(done.announced),
        "announced_bytes": announced,
        "announced_paths": [one.path for one in done.announced[:EXAMPLES]],
        "waiting": done.waiting,
        "deleted": len(done.deleted),
        "deleted_bytes": deleted,
    }


def _text(done: Collected) -> str:
    announced, deleted = done.bytes
    if not (done.announced or done.deleted or done.waiting):
        return "nothing in the trash is older than its retention"
    return (
        f"{len(done.announced)} files ({announced / 1e6:.1f} MB) may be deleted from"
        f" {done.delete_from:%Y-%m-%d %H:%M} UTC, {done.waiting} announced before are waiting,"
        f" {len(done.deleted)} ({deleted / 1e6:.1f} MB) were deleted"
    )


def _event(done: Collected, text: str) -> dict[str, Any]:
    return notices.event("warning", "garbage", "trash", text, _numbers(done))
