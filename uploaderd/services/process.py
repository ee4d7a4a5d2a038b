"""process: reads what was measured, records it, and files the payload into its final place.

Link, record, unlink: the file gets its final name beside its name in `tmp/`, then the rows are
recorded, and only then does the name in `tmp/` go. After a crash anywhere between, the repeated
message finds the file in `tmp/` and does the same again, to the same names and ids; when the name
in `tmp/` is gone, everything is done.
"""

from __future__ import annotations

import logging

from uploaderd.broker.job import Job
from uploaderd.catalog import files
from uploaderd.catalog.client import Catalog
from uploaderd.catalog.rows import FileRow
from uploaderd.config.settings import ServiceSettings
from uploaderd.errors import RepositoryError
from uploaderd.observe.logs import log_context
from uploaderd.repository.layout import Repository
from uploaderd.services.behaviour import ProcessBehaviour
from uploaderd.services.filing import Arrived, Filing
from uploaderd.services.reading import close_readers

log = logging.getLogger(__name__)


class ProcessService:
    """One message is one fetched file."""

    def __init__(self, settings: ServiceSettings) -> None:
        behaviour = ProcessBehaviour.of(settings.behaviour)
        self._repository = Repository(behaviour.repository)
        self._catalog = Catalog(settings.database)
        self._filing = Filing(self._catalog, self._repository, behaviour)

    def handle(self, job: Job) -> None:
        """Catalogues the file, or puts it into the trash with a row that says why.

        Raises:
            RepositoryError: the repository's disk cannot be written, or the file is not there.
            CatalogError: the database cannot be reached.
            MessageError: the message's path does not lie in the repository's `tmp/`.
        """
        file = Arrived.of(job, self._repository)
        with log_context(host=file.row.host_id, file=file.row.remote_path):
            known = self._known(file)
            if known is not None and known.stage in files.SETTLED:
                log.info("settled before: the copy is dropped")
            else:
                self._filing.settle(file if known is None else file.with_times_of(known))
            self._repository.release(file.path)

    def close(self) -> None:
        """Ends the reading processes and closes the database connection."""
        close_readers()
        self._catalog.close()

    def _known(self, file: Arrived) -> FileRow | None:
        """The file's row so far. Raises RepositoryError if there is nothing left to settle."""
        identity = file.row.file_id
        known = files.recorded(self._catalog, file.row.host_id, [identity]).get(identity)
        if (known is None or known.stage not in files.SETTLED) and not file.path.exists():
            raise RepositoryError(
                f"The fetched file {file.path} is not there, and was not processed before.",
                hint="Is the repository mounted? If the file was removed, request a new backup.",
            )
        return known
