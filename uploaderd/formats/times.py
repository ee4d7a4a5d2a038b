"""Wall-clock times as int64 nanoseconds since 1970 UTC, for single values and for arrays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import ArrayLike, NDArray

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTH_DAYS = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


def to_ns(when: datetime, extra_ns: int = 0) -> int:
    """Nanoseconds since 1970 UTC; a time without a zone is taken as UTC. `extra_ns` is added."""
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1) * 1000 + extra_ns


def civil_to_ns(
    date: tuple[ArrayLike, ArrayLike, ArrayLike],
    time: tuple[ArrayLike, ArrayLike, ArrayLike],
    nanosecond: ArrayLike = 0,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Nanoseconds since 1970 of dates (year, month, day) and times (hour, minute,
    second) in numbers or arrays of equal shape.

    Returns the times, and a mask of those whose parts make a real date and time (29 February only
    in leap years; second 60 allowed, as a leap second). Where the mask is False the time is 0.
    """
    y, mo, d, h, mi, s, ns = np.broadcast_arrays(
        *(np.asarray(part, np.int64) for part in (*date, *time)),
        np.asarray(nanosecond, np.int64),
    )
    leap = (y % 4 == 0) & ((y % 100 != 0) | (y % 400 == 0))
    month_ok = (mo >= 1) & (mo <= 12)
    longest = _MONTH_DAYS[np.where(month_ok, mo, 0)] - ((mo == 2) & ~leap)
    valid = (
        (y >= 1970) & (y <= 2261) & month_ok & (d >= 1) & (d <= longest)
        & (h >= 0) & (h < 24) & (mi >= 0) & (mi < 60) & (s >= 0) & (s <= 60)
        & (ns >= 0) & (ns < 1_000_000_000)
    )  # fmt: skip
    months = np.where(valid, (y - 1970) * 12 + mo - 1, 0)
    days = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + d - 1
    seconds = ((days * 24 + h) * 60 + mi) * 60 + s
    return np.where(valid, seconds * 1_000_000_000 + ns, 0), valid


def one_civil_to_ns(
    date: tuple[int, int, int], time: tuple[int, int, int], nanosecond: int = 0
) -> int | None:
    """As `civil_to_ns` for one time, much faster; `None` if it is none."""
    leap, second = (1, 59) if time[2] == 60 else (0, time[2])
    if not 1970 <= date[0] <= 2261:
        return None
    try:
        when = datetime(*date, *time[:2], second, tzinfo=UTC)
    except ValueError:
        return None
    return to_ns(when, nanosecond + leap * 1_000_000_000)


def iso(ns: int | None, digits: int = 9) -> str | None:
    """ISO 8601 in UTC with `Z` and `digits` (0 to 9) digits after the second."""
    if ns is None:
        return None
    seconds, fraction = divmod(ns, 1_000_000_000)
    text = f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}"
    return f"{text}.{fraction:09d}"[: 20 + digits] + "Z" if digits else f"{text}Z"
