"""What the catalog remembers of a station: its address, and what happened with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from uploaderd import clock, crash_points
from uploaderd.catalog.client import Catalog
from uploaderd.catalog.rows import HostEventRow, HostRow
from uploaderd.errors import MessageError


@dataclass(frozen=True)
class Station:
    """A station as the request and the catalog together know it."""

    host_id: int
    host_uid: str
    host_add: str
    host_port: int
    user: str


def identify(catalog: Catalog, request: Mapping[str, Any]) -> Station:
    """Completes what a request says of its station by what earlier ones said.

    Raises:
        MessageError: the station is named by its uid alone, and no request named it before.
        CatalogError: the database cannot be reached.
    """
    return completed(request, _known(catalog, request) or {})


def completed(request: Mapping[str, Any], before: Mapping[str, Any]) -> Station:
    """The station that a request names, completed by what was known `before`; empty: nothing was.

    Raises:
        MessageError: the station is named by its uid alone, and no request named it before.
    """
    host_id = request.get("host_id") or before.get("host_id")
    if not host_id:
        raise MessageError(
            f"No station of the uid {request['host_uid']!r} is known.",
            hint="Name it with host_id once; it is remembered.",
        )
    return Station(
        host_id=int(host_id),
        host_uid=request.get("host_uid") or before.get("host_uid", ""),
        host_add=request.get("host_add") or before.get("host_add", ""),
        host_port=int(request.get("host_port") or before.get("host_port") or 22),
        user=request.get("user") or before.get("user", ""),
    )


def _known(catalog: Catalog, request: Mapping[str, Any]) -> dict[str, Any] | None:
    key = "host_id" if request.get("host_id") else "host_uid"
    rows = catalog.query(
        "SELECT host_id, host_uid, host_add, host_port, user FROM hosts_now"
        f" WHERE {key} = %(value)s ORDER BY updated_at DESC LIMIT 1",
        {"value": int(request[key]) if key == "host_id" else request[key]},
    )
    return rows[0] if rows else None


def remember(catalog: Catalog, station: Station, *, error: str = "") -> None:
    """Records the station's address, and why the last contact failed if `error` says so.

    Raises:
        CatalogError: the database cannot be reached.
    """
    before = catalog.query(
        "SELECT last_contact, last_error FROM hosts_now WHERE host_id = %(id)s",
        {"id": station.host_id},
    )
    past = before[0] if before else {}
    _insert(catalog, HostRow(**{**vars(station), **past, **_given(last_error=error)}))


def remember_contact(catalog: Catalog, station: Station, *, error: str = "") -> None:
    """Records that the station answered just now, at this address, and what ails it if `error`.

    Raises:
        CatalogError: the database cannot be reached.
    """
    _insert(catalog, HostRow(**vars(station), last_contact=clock.now(), last_error=error))


def _insert(catalog: Catalog, row: HostRow) -> None:
    crash_points.reached("host-row:before")
    catalog.insert("hosts", [row])
    crash_points.reached("host-row:after")


def _given(**values: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}


def note(catalog: Catalog, station: Station, event: str, **details: Any) -> None:
    """Records an event; `details` are further columns of `host_events`.

    Raises:
        CatalogError: the database cannot be reached.
    """
    write_event(partial(catalog.insert, "host_events"), event_of(station, event, **details))


def event_of(station: Station, event: str, **details: Any) -> HostEventRow:
    """An event as of now, which `write_event` records."""
    return HostEventRow(station.host_id, event, host_uid=station.host_uid, **details)


def write_event(insert: Callable[[Sequence[HostEventRow]], None], row: HostEventRow) -> None:
    """Records an event by `insert`, which returns when the database has the rows."""
    crash_points.reached("event-row:before")
    insert([row])
    crash_points.reached("event-row:after")


def was_stopped(catalog: Catalog, station: Station, asked_at: float) -> bool:
    """Whether a stop of the station came after the time (Unix seconds)."""
    row = catalog.query(
        "SELECT toFloat64(maxIf(at, event = 'stopped')) AS stopped FROM host_events"
        " WHERE host_id = %(id)s",
        {"id": station.host_id},
    )[0]
    return bool(row["stopped"] > asked_at)
