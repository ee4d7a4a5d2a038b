"""publish: writes the catalog as a Parquet dataset that others read without the database."""

from __future__ import annotations

import logging

from uploaderd.broker.job import Job
from uploaderd.catalog.client import Catalog
from uploaderd.config.settings import ServiceSettings
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
            MessageError: there is no dataset of that name.
            CatalogError: the database cannot be reached.
            RepositoryError: the published folder cannot be written.
        """
        published = parquet.publish(
            self._catalog,
            self._behaviour.folder,
            complete=job.body.get("mode") == "complete",
            dataset=job.body.get("dataset", "all"),
            keep=self._behaviour.keep_versions,
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
