"""`/stations.json`: stations as the catalog knows them, and targets, asked when somebody looks."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from uploaderd.errors import CatalogError
from uploaderd.exchange import checks
from uploaderd.supervisor.plan import Plan

FRESH_S = 10.0
"""Who looks again so soon gets the same page: many watchers are no burden to the database."""
_PATIENCE_S = 5.0


class FleetPage:
    """The page of a plan that may be exchanged by a reload; thread-safe."""

    def __init__(self, plan: Callable[[], Plan]) -> None:
        self._plan = plan
        self._lock = threading.Lock()
        self._page: dict[str, Any] = {"time": 0.0}

    def __call__(self) -> dict[str, Any]:
        """`time`, `catalog_error` (empty: none), `stations`, `errors`, `growth_bytes_a_day`, and
        `targets`."""
        with self._lock:
            if time.time() - self._page["time"] > FRESH_S:
                plan = self._plan()
                targets = list(_targets(plan))
                self._page = {"time": time.time(), **_asked(plan), "targets": targets}
            return self._page


def _targets(plan: Plan) -> Iterator[dict[str, Any]]:
    """What the last check of each server that is sent to found: those services have an outbox."""
    for name, job in sorted(plan.jobs.items()):
        if outbox := job.settings.behaviour.get("outbox"):
            found = checks.last(outbox, name)
            yield {
                "target": name,
                "state": found.get("state", "unknown"),
                "text": found.get("text", "not checked yet"),
                "since": found.get("since"),
                "at": found.get("at"),
            }


def _asked(plan: Plan) -> dict[str, Any]:
    # The supervisor needs no database but for this page, and loads nothing of it until then.
    from uploaderd.catalog import fleet
    from uploaderd.catalog.client import Catalog

    services = [job.settings for job in plan.jobs.values() if job.settings.queue.bindings]
    nothing: dict[str, Any] = {"stations": [], "errors": [], "growth_bytes_a_day": None}
    if not services:
        return {"catalog_error": "no service has a database", **nothing}
    database = services[0].database
    settings = dataclasses.replace(database, timeout_s=min(_PATIENCE_S, database.timeout_s))
    try:
        with Catalog(settings) as catalog:
            return {
                "catalog_error": "",
                "stations": fleet.stations(catalog, plan.daemon.status.station_silent_h),
                "errors": fleet.errors_of_last_day(catalog),
                "growth_bytes_a_day": round(fleet.growth(catalog)),
            }
    except CatalogError as error:
        return {"catalog_error": str(error), **nothing}
