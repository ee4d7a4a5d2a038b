"""A station's state as the monitoring system asks for it."""

from __future__ import annotations

from typing import Any

from uploaderd.catalog.client import Catalog
from uploaderd.errors import MessageError

UNKNOWN = "N/A"

_QUERY = """
WITH %(host_id)s AS asked, (
    SELECT argMax(host_id, updated_at) FROM hosts WHERE asked = 0 AND host_uid = %(host_uid)s
) AS named, if(asked = 0, named, asked) AS number
SELECT * FROM (
    SELECT number AS id_host, count() AS known, toFloat64(max(last_contact)) AS last_contact,
           max(last_error) AS last_error
    FROM hosts FINAL WHERE host_id = number
) AS host CROSS JOIN (
    SELECT countIf(stage IN ('fetched', 'processed', 'failed', 'trashed')) AS host_files,
           countIf(stage = 'discovered') AS pending_backup,
           countIf(stage = 'fetched') AS pending_processing,
           countIf(stage IN ('failed', 'trashed')) AS processing_error,
           toFloat64(max(processed_at)) AS last_processing
    FROM files FINAL WHERE host_id = number
) AS ledger CROSS JOIN (
    SELECT toFloat64(maxIf(at, event = 'backup_done')) AS last_backup,
           toFloat64(maxIf(at, event = 'backup_started')) AS last_begun,
           toFloat64(maxIf(at, event = 'request')) AS last_request,
           argMaxIf(text, at, event IN ('backup_done', 'backup_failed', 'backup_waiting')) AS error,
           argMaxIf(outcome, at, event IN ('backup_done', 'backup_failed', 'backup_waiting'))
               AS outcome,
           toFloat64(maxIf(at, event IN ('backup_done', 'backup_failed', 'stopped'))) AS ended
    FROM host_events WHERE host_id = number AND at > now() - INTERVAL 400 DAY
) AS events
"""
# Events are read as they lie: a repeated one changes neither a maximum nor the newest.


def host_status(
    catalog: Catalog, host_id: int | None = None, host_uid: str | None = None
) -> dict[str, Any]:
    """The answer to a status request: a flat object, `"N/A"` for what is unknown.

    Times are Unix seconds as floats. A station that the catalog does not know has a valid answer,
    too. `host_files` counts the files brought here; `pending_backup` those seen but not brought;
    `pending_host_task` is 1 while a request waits or a backup runs. Raises `MessageError` if
    neither id nor uid is given.
    """
    if host_id is None and host_uid is None:
        raise MessageError("A status request names neither host_id nor host_uid.")
    params = {"host_id": host_id or 0, "host_uid": host_uid or ""}
    row = catalog.query(_QUERY, params)[0]
    if not row["id_host"]:
        message = f"Host {host_uid} is not known yet."
        return {"id_host": UNKNOWN} | _unknown() | {"status": 1, "message": message}
    failed = row["outcome"] == "error"
    waiting = max(row["last_begun"], row["last_request"]) > row["ended"]
    return {
        "id_host": row["id_host"],
        "host_files": row["host_files"],
        "pending_host_task": int(waiting),
        "last_host_check": row["last_contact"] or UNKNOWN,
        "host_check_error": row["last_error"] or UNKNOWN,
        "pending_backup": row["pending_backup"],
        "last_backup": row["last_backup"] or UNKNOWN,
        "backup_error": row["error"] if failed else UNKNOWN,
        "pending_processing": row["pending_processing"],
        "processing_error": row["processing_error"],
        "last_processing": row["last_processing"] or UNKNOWN,
        "status": 1,
        "message": "" if row["known"] else "The host is not known yet.",
    }


def _unknown() -> dict[str, Any]:
    keys: tuple[str, ...] = (
        "host_files",
        "pending_host_task",
        "last_host_check",
        "host_check_error",
    )
    keys += ("pending_backup", "last_backup", "backup_error")
    keys += ("pending_processing", "processing_error", "last_processing")
    return dict.fromkeys(keys, UNKNOWN)
