"""What a station's events say: the newest of each kind, and how many attempts failed.

Reading a year of them takes longer than all else of a status, for it lies in as many parts as
months. So what happened before yesterday is read once an hour and remembered; what has happened
since is read anew for each answer (decision 0166).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from uploaderd import clock
from uploaderd.catalog.client import Catalog

WAITING = ("request", "backup_started", "backup_waiting")
"""Events after which a backup of the host is on its way."""
ENDED = ("backup_done", "backup_failed", "stopped")
"""Events after which none is."""
RECENT = """
SELECT 'event' AS part, [event, outcome, code, text] AS texts,
       [toFloat64(at), toFloat64(pending)] AS numbers
FROM host_events WHERE host_id = %(host_id)s AND at >= toDateTime64(%(since)s, 3, 'UTC')
"""
"""A row for each event since a moment. A hundred rows cost less than the planning of their sums."""
_EARLIER = """
SELECT argMaxIf([text, outcome], at, event IN %(told)s) AS texts,
       [toFloat64(maxIf(at, event IN %(told)s)), toFloat64(maxIf(at, event = 'backup_done')),
        toFloat64(maxIf(at, event IN %(waiting)s)), toFloat64(maxIf(at, event IN %(ended)s)),
        toFloat64(maxIf(at, pending >= 0)), toFloat64(argMaxIf(pending, at, pending >= 0)),
        toFloat64(uniqExactIf(at, outcome = 'error' AND event IN %(told)s)),
        toFloat64(uniqExactIf(at, outcome = 'error'
                                  AND (event = 'host_check' OR code IN %(away)s)))] AS numbers
FROM host_events
WHERE host_id = %(host_id)s AND event IN %(events)s
  AND at < toDateTime64(%(since)s, 3, 'UTC') AND at > now() - INTERVAL 400 DAY
SETTINGS max_threads = 1
"""
"""The same of all events before. Events are read as they lie: a repeated one changes neither a
maximum nor the newest nor a number of times."""
_TOLD = ("backup_done", "backup_failed", "backup_waiting")
"""Events that tell how an attempt at a backup went."""
_AWAY = ("unreachable", "authentication", "host_key_changed", "no_agent")
"""Codes of a backup that found no station to work with."""
_NAMES: Mapping[str, tuple[str, ...]] = {
    "told": _TOLD,
    "waiting": WAITING,
    "ended": ENDED,
    "events": (*WAITING, *ENDED, "host_check"),
    "away": _AWAY,
}
_HOUR_S = 3600
_DAY_S = 86_400
_STATIONS = 10_000
"""Remembered at most, all databases together: some megabytes."""


@dataclass(frozen=True, slots=True)
class Events:
    """Of one period. Times are Unix seconds; 0: never."""

    text: str
    outcome: str
    """Of the last attempt at a backup, as its text; empty: none."""
    told: float
    """When that was."""
    last_backup: float
    waiting: float
    """The last sign that a backup is on its way."""
    ended: float
    """The last sign that none is."""
    counted: float
    pending: int
    """Files that the look at the station at the time `counted` saw and did not bring."""
    failed: int
    """Attempts at a backup."""
    away: int
    """Contacts that failed."""


def since() -> int:
    """The moment, in Unix seconds, from which on events are read for each answer."""
    return int(clock.now().timestamp()) // _HOUR_S * _HOUR_S - _DAY_S


def recent(rows: Iterable[Mapping[str, Any]]) -> Events:
    """What rows of the query `RECENT` say together."""
    every = [(*row["texts"], *row["numbers"]) for row in rows]
    found = [one for one in every if one[0] in _NAMES["events"]]
    told = [(at, text, outcome) for event, outcome, _, text, at, _ in found if event in _TOLD]
    errors = [(event, code, at) for event, outcome, code, _, at, _ in found if outcome == "error"]
    counts = [(at, int(pending)) for *_, at, pending in found if pending >= 0]
    newest, text, outcome = max(told, default=(0.0, "", ""))
    counted, pending = max(counts, default=(0.0, 0))

    def last(*names: str) -> float:
        return max((at for event, *_, at, _ in found if event in names), default=0.0)

    return Events(
        text=text,
        outcome=outcome,
        told=newest,
        last_backup=last("backup_done"),
        waiting=last(*WAITING),
        ended=last(*ENDED),
        counted=counted,
        pending=pending,
        failed=len({at for event, _, at in errors if event in _TOLD}),
        away=len({at for event, code, at in errors if event == "host_check" or code in _AWAY}),
    )


def _summed(row: Mapping[str, Any]) -> Events:
    text, outcome = row["texts"] or ("", "")
    told, last_backup, waiting, ended, counted, *counts = row["numbers"]
    pending, failed, away = map(int, counts)
    return Events(text, outcome, told, last_backup, waiting, ended, counted, pending, failed, away)


_earlier: dict[tuple[str, int, str, int], tuple[int, Events]] = {}
"""By address and name of the database and number of the station: since when not, and what."""
_lock = threading.Lock()


def with_earlier(catalog: Catalog, host_id: int, begin: int, later: Events) -> Events:
    """The `later` events, from `begin` on, and those of the 400 days before.

    Raises `CatalogError`.
    """
    settings = catalog.settings
    key = (settings.host, settings.port, settings.database, host_id)
    with _lock:
        known = _earlier.get(key)
    if known is None or known[0] != begin:
        rows = catalog.query(_EARLIER, {"host_id": host_id, "since": begin, **_NAMES})
        known = (begin, _summed(rows[0]))
        with _lock:
            _earlier.pop(key, None)
            _earlier[key] = known
            while len(_earlier) > _STATIONS:
                del _earlier[next(iter(_earlier))]
    return _together(known[1], later)


def _together(earlier: Events, later: Events) -> Events:
    last = max(earlier, later, key=lambda one: one.told)
    counted = max(earlier, later, key=lambda one: one.counted)
    return replace(
        last,
        last_backup=max(earlier.last_backup, later.last_backup),
        waiting=max(earlier.waiting, later.waiting),
        ended=max(earlier.ended, later.ended),
        counted=counted.counted,
        pending=counted.pending,
        failed=earlier.failed + later.failed,
        away=earlier.away + later.away,
    )
