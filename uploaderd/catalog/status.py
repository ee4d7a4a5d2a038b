"""A station's state as the monitoring system asks for it."""

from __future__ import annotations

from typing import Any

from uploaderd.catalog.client import Catalog
from uploaderd.errors import MessageError

UNKNOWN = "N/A"

_HOST = """
SELECT host_id, toFloat64(last_contact) AS last_contact, last_error FROM hosts FINAL
WHERE {condition} ORDER BY updated_at DESC LIMIT 1
"""
_FILES = """
SELECT countIf(stage IN ('fetched', 'processed', 'failed', 'trashed')) AS host_files,
       countIf(stage = 'discovered') AS pending_backup,
       countIf(stage = 'fetched') AS pending_processing,
       countIf(stage IN ('failed', 'trashed')) AS processing_error,
       toFloat64(max(processed_at)) AS last_processing
FROM files FINAL WHERE host_id = %(host_id)s
"""
_EVENTS = """
SELECT toFloat64(maxIf(at, event = 'backup_done')) AS last_backup,
       countIf(event = 'backup_started') AS begun,
       toFloat64(maxIf(at, event = 'backup_started')) AS last_begun,
       toFloat64(maxIf(at, event = 'request')) AS last_request,
       toFloat64(max(at)) AS last_event,
       argMaxIf(text, at, event IN ('backup_done', 'backup_failed', 'backup_waiting')) AS error,
       argMaxIf(outcome, at, event IN ('backup_done', 'backup_failed', 'backup_waiting'))
           AS outcome,
       toFloat64(maxIf(at, event IN ('backup_done', 'backup_failed', 'stopped'))) AS ended
FROM host_events FINAL WHERE host_id = %(host_id)s AND at > now() - INTERVAL 400 DAY
"""


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
    condition = "host_id = %(host_id)s" if host_id is not None else "host_uid = %(host_uid)s"
    params = {"host_id": host_id, "host_uid": host_uid}
    hosts = catalog.query(_HOST.format(condition=condition), params)
    number = host_id if host_id is not None else (hosts[0]["host_id"] if hosts else None)
    answer: dict[str, Any] = {"id_host": UNKNOWN if number is None else number}
    if number is None:
        message = f"Host {host_uid} is not known yet."
        return answer | _unknown() | {"status": 1, "message": message}
    files = catalog.query(_FILES, {"host_id": number})[0]
    events = catalog.query(_EVENTS, {"host_id": number})[0]
    host = hosts[0] if hosts else {"last_contact": 0.0, "last_error": ""}
    failed = events["outcome"] == "error"
    waiting = max(events["last_begun"], events["last_request"]) > events["ended"]
    return answer | {
        "host_files": files["host_files"],
        "pending_host_task": int(waiting),
        "last_host_check": host["last_contact"] or UNKNOWN,
        "host_check_error": host["last_error"] or UNKNOWN,
        "pending_backup": files["pending_backup"],
        "last_backup": events["last_backup"] or UNKNOWN,
        "backup_error": events["error"] if failed else UNKNOWN,
        "pending_processing": files["pending_processing"],
        "processing_error": files["processing_error"],
        "last_processing": files["last_processing"] or UNKNOWN,
        "status": 1,
        "message": "" if hosts else "The host is not known yet.",
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
