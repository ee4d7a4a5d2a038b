"""The whole fleet for the console: stations by state, errors of the last day, growth."""

from __future__ import annotations

from typing import Any

from uploaderd.catalog.client import Catalog
from uploaderd.catalog.rows import TIME_BITS

NEXT = {
    "fine": "its next request",
    "waiting": "it is tried again by itself",
    "running": "the backup goes on",
    "asked": "the backup begins when its turn comes",
    "failed": "nothing, until its next request",
    "silent": "nothing, until its next request",
    "stopped": "nothing, until its next request",
    "new": "nothing, until its first backup is requested",
}
"""States of a station, and what comes after each."""

_STATES = {
    "backup_done": "fine",
    "backup_waiting": "waiting",
    "backup_started": "running",
    "backup_failed": "failed",
    "request": "asked",
    "stopped": "stopped",
}

_STATIONS = """
SELECT host_id, host_uid, toFloat64(last_contact) AS contact, toFloat64(updated_at) AS known_since,
       newest.1 AS event, newest.2 AS code, newest.3 AS text, toFloat64(newest.4) AS at,
       toFloat64(begun) AS begun, now64(3) - greatest(last_contact, first) > %(silent_s)s AS silent
FROM hosts_now LEFT JOIN (
    SELECT host_id, argMax((event, code, text, at), at) AS newest, min(at) AS first,
           maxIf(at, event IN ('request', 'backup_done')) AS begun
    FROM host_events WHERE event IN %(told)s AND at > now() - INTERVAL 400 DAY GROUP BY host_id
) AS events USING host_id
ORDER BY host_id
"""
_ERRORS = """
SELECT code, sum(n) AS times, uniqExact(host_id) AS stations, toFloat64(max(newest)) AS last,
       argMax(said, newest) AS example
FROM (
    SELECT code, host_id, count() AS n, max(at) AS newest, argMax(text, at) AS said
    FROM host_events_now WHERE outcome = 'error' AND at > now() - INTERVAL 1 DAY
    GROUP BY code, host_id
    UNION ALL
    SELECT error_code AS code, host_id, count() AS n,
           max(fromUnixTimestamp64Nano(toInt64(bitAnd(version, %(time_bits)s)), 'UTC')) AS newest,
           argMax(error_text, version) AS said
    FROM files_now WHERE stage IN ('failed', 'trashed')
        AND bitAnd(version, %(time_bits)s) > toUnixTimestamp64Nano(now64(9) - INTERVAL 1 DAY)
    GROUP BY code, host_id
) GROUP BY code ORDER BY times DESC, code
"""

_GROWTH = """
SELECT sum(size) AS bytes, toFloat64(min(fetched_at)) AS since, toFloat64(now64(3)) AS until
FROM files_now WHERE fetched_at > now() - INTERVAL 7 DAY
"""


def stations(catalog: Catalog, silent_h: float) -> list[dict[str, Any]]:
    """Each station with its state (`NEXT` has them), reason, since when (Unix time) and what next.

    `silent` is one that was not reached for `silent_h` hours. Raises CatalogError.
    """
    rows = catalog.query(_STATIONS, {"silent_s": silent_h * 3600, "told": tuple(_STATES)})
    return [_station(row) for row in rows]


def _station(row: dict[str, Any]) -> dict[str, Any]:
    state = _STATES.get(row["event"], "new")
    since, reason = row["at"] or row["known_since"], row["text"]
    if state == "waiting":
        # Each attempt is an event; it waits since it was well or asked for.
        since = row["begun"] or since
    if row["silent"] and row["event"] and state not in ("running", "stopped"):
        last = f"; the last word: {row['text']}" if row["text"] else ""
        if row["contact"]:
            since, reason = row["contact"], f"it has not been reached since then{last}"
        else:
            reason = f"it has never been reached{last}"
        state = "silent"
    return {
        "host_id": row["host_id"],
        "host_uid": row["host_uid"],
        "state": state,
        "reason": reason,
        "code": row["code"],
        "since": since,
        "next": NEXT["waiting" if row["event"] == "backup_waiting" else state],
        "last_contact": row["contact"] or None,
    }


def errors_of_last_day(catalog: Catalog) -> list[dict[str, Any]]:
    """By error code: how often, at how many stations, when last, and an example, often ones first.

    Failures of backups and of single files. Raises CatalogError.
    """
    return catalog.query(_ERRORS, {"time_bits": TIME_BITS})


def growth(catalog: Catalog) -> float:
    """Bytes a day that came in, over the last week or since the first file. Raises CatalogError."""
    row = catalog.query(_GROWTH)[0]
    if not row["bytes"]:
        return 0.0
    # What came in the first hour says little of a day.
    days = max(1 / 24, (float(row["until"]) - float(row["since"])) / 86400)
    return float(row["bytes"]) / days
