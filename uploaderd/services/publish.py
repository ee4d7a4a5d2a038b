"""publish: writes the catalog as a Parquet dataset that others read without the database."""

from __future__ import annotations

import logging
from datetime import date

from uploaderd.broker.job import Job
from uploaderd.catalog.client import Catalog
from uploaderd.config.settings import ServiceSettings
from uploaderd.errors import MessageError
from uploaderd.publishing import parquet
from uploaderd.services.behaviour import PublishBehaviour

log = logging.getLogger(__name__)


class PublishService:
    """One message is one publication; what did not change is not written again."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._behaviour = PublishBehaviour.of(settings.behaviour)
        self._catalog = Catalog(settings.database)

    def handle(self, job: Job) -> None:
        """Publishes, and answers with what was written.

        Raises:
            MessageError: there is no dataset of that name, or no such day.
            CatalogError: the database cannot be reached.
            RepositoryError: the published folder cannot be written.
        """
        published = parquet.publish(
            self._catalog,
            self._behaviour.folder,
            complete=job.body.get("mode") == "complete",
            dataset=job.body.get("dataset", "all"),
            since=_day(job.body.get("since")),
            keep=self._behaviour.keep_versions,
            keep_for_s=self._behaviour.keep_for_s,
            floor_bytes=self._behaviour.floor_bytes,
            progress=job.beat,
        )
        log.info(
            "published %s: %d rows, %d files written, %d kept",
            published.version,
            published.rows,
            published.written,
            published.kept,
        )
        job.reply(
            {
                "status": 1,
                "message": "published" if published.written else "nothing new",
                "version": published.version,
                "rows": published.rows,
                "files_written": published.written,
                "files_kept": published.kept,
            }
        )

    def close(self) -> None:
        """Closes the database connection."""
        self._catalog.close()


def _day(text: str | None) -> date | None:
    """A message's `since`. Raises MessageError if there is no such day."""
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise MessageError(f"since: {text} is no day.", hint="Write it as 2026-11-30.") from error
