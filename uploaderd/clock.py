"""The time of day, for all that is recorded; intervals are measured by `time.monotonic`.

A clock can be set forward or back at any moment. One place to read it lets a test do that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_EPOCH = datetime.fromtimestamp(0, UTC)

source: Callable[[], int] = time.time_ns
"""Nanoseconds since 1970 in UTC, without leap seconds; a test may put its own here."""


def nanoseconds() -> int:
    """Unix time in nanoseconds."""
    return source()


def seconds() -> float:
    """Unix time in seconds."""
    return source() / 1e9


def now() -> datetime:
    """The present time in UTC, to the microsecond."""
    return _EPOCH + timedelta(microseconds=source() // 1000)
