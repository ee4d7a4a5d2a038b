"""Since when a message waits in the queue that it came from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def queued_at(properties: Any) -> float | None:
    """Unix seconds; None if nobody wrote it down.

    A message that came out of a waiting queue (a retry, a delay) waits since then: the broker notes
    that in `x-death`. Any other one waits since it was published, if its publisher set `timestamp`.
    """
    deaths = (properties.headers or {}).get("x-death")
    if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict):
        at = _seconds(deaths[0].get("time"))
        if at is not None:
            return at
    return _seconds(properties.timestamp)


def _seconds(value: object) -> float | None:
    # pika gives an AMQP timestamp in a table as a datetime in UTC without a zone.
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return float(value) if isinstance(value, int) else None
