"""A station's state: what the monitoring system asks for, and what a request must know of it."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from uploaderd import clock
from uploaderd.catalog import events
from uploaderd.catalog.client import Catalog
from uploaderd.catalog.rows import HostRow
from uploaderd.catalog.tally import Tally, tally
from uploaderd.errors import MessageError

UNKNOWN = "N/A"
_NAMED = """
SELECT argMax(host_id, updated_at) AS host_id FROM hosts WHERE host_uid = %(host_uid)s
"""
_QUERY = f"""
SELECT 'host' AS part, [host_uid, host_add, user, equipment_type, last_error] AS texts,
       [toFloat64(host_port), toFloat64(last_contact)] AS numbers
FROM hosts FINAL WHERE host_id = %(host_id)s
UNION ALL
{events.RECENT}
SETTINGS max_threads = 1
"""
# A union and no join: each part reads by its table's key, and nothing else costs time. No column
# may be named as one that is filtered by, for the engine would take the name for the new column.
_ANSWERS = (
    *("host_files", "pending_host_task"),
    *("last_host_check", "host_check_error", "host_check_message"),
    *("pending_backup", "last_backup", "backup_error", "backup_message"),
    *("pending_processing", "processing_error", "last_processing"),
)


@dataclass(frozen=True)
class Standing:
    """All that a request must know of a station."""

    host: HostRow | None
    """What is remembered of it; None: no request named it before."""
    answer: dict[str, Any]
    """The answer to a status request."""
    waiting_s: float | None
    """Seconds since the last sign of a backup that is asked for, runs, or waits to be tried again;
    None: no backup is on its way."""


def host_status(
    catalog: Catalog, host_id: int | None = None, host_uid: str | None = None
) -> dict[str, Any]:
    """The answer to a status request: a flat object, `"N/A"` for what is unknown.

    Times are Unix seconds as floats. A station that the catalog does not know has a valid answer,
    too. `host_files` counts the files brought here; `pending_backup` those that the
    last look at the station saw and did not bring; `pending_host_task` is 1 while a request waits
    or a backup runs. `host_check_error` counts the contacts that failed and `backup_error` the
    attempts at a backup, of the last 400 days; `host_check_message` and `backup_message` say why
    the last one did, if it did. Raises `MessageError` if
    neither id nor uid is given.
    """
    return standing(catalog, host_id, host_uid).answer


def standing(catalog: Catalog, host_id: int | None = None, host_uid: str | None = None) -> Standing:
    """Identity, status and pending backup of a station, as of two moments that are nearly one.

    The id goes before the uid; a uid that several stations bear is the one's that was named last.

    Raises:
        MessageError: neither id nor uid is given.
        CatalogError: the database cannot be reached.
    """
    if host_id is None and host_uid is None:
        raise MessageError("A status request names neither host_id nor host_uid.")
    number = _named(catalog, host_uid) if host_id is None else host_id
    if not number:
        message = f"Host {host_uid} is not known yet."
        unknown = dict.fromkeys(("id_host", *_ANSWERS), UNKNOWN)
        return Standing(None, {**unknown, "status": 1, "message": message}, None)
    begin = events.since()
    # Planning takes the server longer than reading: two queries at once are sooner done than one.
    with ThreadPoolExecutor(1) as beside:
        counting = beside.submit(tally, catalog.beside, number)
        rows = catalog.query(_QUERY, {"host_id": number, "since": begin})
        recent = events.recent(row for row in rows if row["part"] == "event")
        happened = events.with_earlier(catalog, number, begin, recent)
        files = counting.result()
    host = next((_host(number, row) for row in rows if row["part"] == "host"), None)
    now = clock.now().timestamp()
    return Standing(
        host=host,
        answer=_answer(number, host, files, happened),
        waiting_s=now - happened.waiting if happened.waiting > happened.ended else None,
    )


def _named(catalog: Catalog, host_uid: str | None) -> int:
    """The number of the station that bears the uid; 0: none does."""
    number: int = catalog.query(_NAMED, {"host_uid": host_uid})[0]["host_id"]
    return number


def _host(number: int, row: Mapping[str, Any]) -> HostRow:
    uid, address, user, equipment_type, last_error = row["texts"]
    port, contact = row["numbers"]
    return HostRow(
        host_id=number,
        host_uid=uid,
        host_add=address,
        host_port=int(port),
        user=user,
        equipment_type=equipment_type,
        last_contact=datetime.fromtimestamp(contact, UTC),
        last_error=last_error,
    )


def _answer(
    number: int, host: HostRow | None, files: Tally, happened: events.Events
) -> dict[str, Any]:
    return {
        "id_host": number,
        "host_files": files.files - files.discovered,
        "pending_host_task": int(happened.waiting > happened.ended),
        "last_host_check": (host.last_contact.timestamp() if host else 0) or UNKNOWN,
        "host_check_error": happened.away,
        "host_check_message": (host.last_error if host else "") or UNKNOWN,
        "pending_backup": files.discovered + happened.pending,
        "last_backup": happened.last_backup or UNKNOWN,
        "backup_error": happened.failed,
        "backup_message": happened.text if happened.outcome == "error" else UNKNOWN,
        "pending_processing": files.fetched,
        "processing_error": files.refused,
        "last_processing": files.last_processed or UNKNOWN,
        "status": 1,
        "message": "" if host else "The host is not known yet.",
    }
