"""What the catalog remembers of one station, one file or one message."""

from __future__ import annotations

from typing import Any

from uploaderd.catalog.client import Catalog
from uploaderd.catalog.rows import TIME_BITS

EVENTS = 200
"""Events told of a station at most, the newest."""
NAMESAKES = 20
"""Files told of one name at most, the newest."""

_FILE = f"""
SELECT host_id, host_uid, file_id, remote_path, size, mtime_ns, stage, sha256, verified, format,
       path, error_code, error_text, spectra, toFloat64(discovered_at) AS discovered,
       toFloat64(fetched_at) AS fetched, toFloat64(processed_at) AS processed, fetch_s, process_s,
       message_id, bitAnd(version, {TIME_BITS}) / 1e9 AS recorded
FROM files_now
"""
_EVENT = """
SELECT host_id, host_uid, event, outcome, code, text, files, bytes, duration_s, message_id,
       toFloat64(at) AS at
FROM host_events_now
"""


def hosts(catalog: Catalog, name: str) -> list[dict[str, Any]]:
    """The stations of this id, uid or address. Raises CatalogError."""
    return catalog.query(
        "SELECT host_id, host_uid, host_add, host_port, user, last_error,"
        " toFloat64(last_contact) AS last_contact FROM hosts_now"
        " WHERE toString(host_id) = %(name)s OR host_uid = %(name)s OR host_add = %(name)s"
        " ORDER BY host_id",
        {"name": name},
    )


def files(catalog: Catalog, name: str) -> list[dict[str, Any]]:
    """The files of this id, remote path or file name, the newest first. Raises CatalogError."""
    return catalog.query(
        f"{_FILE} WHERE file_id = %(name)s OR remote_path = %(name)s"
        " OR endsWith(remote_path, concat('/', %(name)s))"
        " OR (path != '' AND (path = %(name)s OR endsWith(path, concat('/', %(name)s))))"
        f" ORDER BY recorded DESC LIMIT {NAMESAKES}",
        {"name": name},
    )


def files_of_message(catalog: Catalog, message_id: str) -> list[dict[str, Any]]:
    """The files whose newest row a message brought. Raises CatalogError."""
    return catalog.query(
        f"{_FILE} WHERE message_id = %(id)s ORDER BY recorded LIMIT {NAMESAKES}", {"id": message_id}
    )


def events_of_host(catalog: Catalog, host_id: int) -> list[dict[str, Any]]:
    """The newest events of a station, oldest first. Raises CatalogError."""
    rows = catalog.query(
        f"{_EVENT} WHERE host_id = %(id)s ORDER BY at DESC LIMIT {EVENTS}", {"id": host_id}
    )
    return rows[::-1]


def events_of_message(catalog: Catalog, message_id: str) -> list[dict[str, Any]]:
    """The events that a message caused, oldest first. Raises CatalogError."""
    return catalog.query(
        f"{_EVENT} WHERE message_id = %(id)s ORDER BY at LIMIT {EVENTS}", {"id": message_id}
    )


def backups_around(catalog: Catalog, host_id: int, at: float) -> list[dict[str, Any]]:
    """The events from the request that led to a moment to the end of its backup, oldest first.

    Raises CatalogError.
    """
    return catalog.query(
        f"""{_EVENT} WHERE host_id = %(id)s AND event != 'check' AND toFloat64(at) >= (
            SELECT maxIf(toFloat64(at), event = 'request' AND toFloat64(at) <= %(at)s)
            FROM host_events WHERE host_id = %(id)s
        ) AND toFloat64(at) <= (
            SELECT if(ended = 0, 1e12, ended) FROM (
                SELECT minIf(toFloat64(at), event IN ('backup_done', 'backup_failed')
                             AND toFloat64(at) >= %(at)s) AS ended
                FROM host_events WHERE host_id = %(id)s
            )
        ) ORDER BY at LIMIT {EVENTS}""",
        {"id": host_id, "at": at},
    )


def counts_of_host(catalog: Catalog, host_id: int) -> dict[str, Any]:
    """Files by stage, and spectra, of a station. Raises CatalogError."""
    stages = catalog.query(
        "SELECT stage, count() AS n FROM files_now WHERE host_id = %(id)s GROUP BY stage"
        " ORDER BY stage",
        {"id": host_id},
    )
    spectra = catalog.query(
        "SELECT count() AS n FROM spectra_now WHERE host_id = %(id)s", {"id": host_id}
    )
    return {"files": {row["stage"]: row["n"] for row in stages}, "spectra": spectra[0]["n"]}


def spectra_of_file(catalog: Catalog, file_id: str) -> list[dict[str, Any]]:
    """What was measured, a row a spectrum. Raises CatalogError."""
    return catalog.query(
        "SELECT spectrum_id, freq_start, freq_stop, toFloat64(time_start) AS start,"
        " toFloat64(time_stop) AS stop, traces, points, toFloat64(ingested_at) AS ingested"
        " FROM spectra_now WHERE file_id = %(id)s ORDER BY flow",
        {"id": file_id},
    )
