"""receive: takes exports of other servers into this catalog as they come into its inbox."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta

from uploaderd.broker import notices
from uploaderd.broker.job import Job
from uploaderd.catalog.client import Catalog
from uploaderd.config.settings import ServiceSettings
from uploaderd.exchange import inbox
from uploaderd.exchange.export import Manifest
from uploaderd.exchange.inbox import Keeping
from uploaderd.exchange.receipts import Receipt
from uploaderd.station import slots

log = logging.getLogger(__name__)

LOOK_S = 0.5
LONGEST_WORD = 500
"""Characters of what a failed hook said."""


class ReceiveService:
    """One message is a watch of the inbox: what comes while it lasts is loaded at once."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings.behaviour
        self._inbox = self._settings["inbox"]
        self._catalog = Catalog(settings.database)
        self._removal_limit = self._settings["remove_at_most_percent"] / 100
        self._keeping = Keeping(
            timedelta(days=self._settings["keep_complete_days"]),
            timedelta(days=self._settings["keep_partial_days"]),
            self._settings["free_space_floor_mb"] * 1_000_000,
        )

    def handle(self, job: Job) -> None:
        """Loads, confirms, keeps and cleans; tells of what is not as it should be.

        Raises:
            CatalogError: the database cannot be reached; nothing is confirmed that is not loaded.
            RepositoryError: the inbox cannot be written, or its disk is nearly full.
        """
        said = f"Another receiver looks into {self._inbox}."
        with slots.taken(self._inbox / ".slots", "receive", 1, said):
            self._watch(job)

    def _watch(self, job: Job) -> None:
        found: list[Receipt] = []
        removed: list[str] = []
        until = time.monotonic() + job.body.get("watch_s", 0)
        inbox.tell_all(self._catalog, self._inbox)
        while True:
            if inbox.waiting(self._inbox):
                removed += inbox.clean(self._inbox, self._keeping)
                inbox.require_room(self._inbox, self._keeping.floor_bytes)
            for receipt in inbox.take_in(
                self._catalog, self._inbox, job.beat, self._hooks, self._removal_limit
            ):
                log.info("%s %d: %s", receipt.sender, receipt.sequence, receipt.outcome)
                _notify(job, receipt)
                found.append(receipt)
            if time.monotonic() >= until or job.stop.wait(LOOK_S):
                break
            job.beat()
        removed += inbox.clean(self._inbox, self._keeping)
        job.reply(
            {
                "status": 1,
                "message": f"{len(found)} exports, {sum(one.rows for one in found)} rows",
                "exports": [
                    {"sender": one.sender, "sequence": one.sequence, "outcome": one.outcome}
                    for one in found
                ],
                "removed": removed,
            }
        )

    def close(self) -> None:
        """Closes the database connection."""
        self._catalog.close()

    def _hooks(self, manifest: Manifest) -> str:
        """Runs what is to be run after a load; gives a sentence on what failed."""
        return " ".join(
            said
            for command in self._settings["hooks"]
            if (said := run_hook(command, manifest, self._settings["hook_timeout_s"]))
        )


def run_hook(command: Sequence[str], manifest: Manifest, timeout_s: float) -> str:
    """Runs a command that learns of the export by its environment; empty text if it went well."""
    about: Mapping[str, str] = {
        "EXCHANGE_SENDER": manifest.sender,
        "EXCHANGE_SEQUENCE": str(manifest.sequence),
        "EXCHANGE_KIND": manifest.kind,
        "EXCHANGE_ROWS": str(manifest.rows),
    }
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, **about},
        )
    except subprocess.TimeoutExpired:
        return f"The hook {command[0]} did not end within {timeout_s:g} s."
    except OSError as error:
        return f"The hook {command[0]} cannot be run: {error.strerror}."
    if done.returncode == 0:
        return ""
    said = done.stderr.decode("utf-8", "replace").strip()[-LONGEST_WORD:]
    return f"The hook {command[0]} ended with status {done.returncode}: {said}"


def _notify(job: Job, receipt: Receipt) -> None:
    """Tells of an export that was refused, left a gap, or was not loaded without a hitch."""
    if receipt.outcome == "loaded" and not receipt.text:
        return
    severity = "error" if receipt.outcome == "refused" else "warning"
    event = notices.event(
        *(severity, f"export_{receipt.outcome}", f"exports of {receipt.sender}", receipt.text),
        {"sender": receipt.sender, "sequence": receipt.sequence},
    )
    job.publish_event(f"notify.{severity}.receive", event)
