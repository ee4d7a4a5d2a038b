"""Dates as the Windows regional setting of the measuring computer wrote them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from uploaderd.formats.times import one_civil_to_ns

_STAMP = re.compile(
    r"\s*(\d{1,4})[/\-.,](\d{1,2})[/\-.,](\d{1,4})\s+"
    r"(\d{1,2})[:.](\d\d)[:.](\d\d)(?:[.,](\d{1,9}))?\s*([AP]M)?\s*",
    re.ASCII,
)


def is_month_first(stamps: Iterable[str], hint: bool) -> bool:
    """Whether dates are month first: a number above 12 decides, else the hint."""
    for stamp in stamps:
        match = _STAMP.fullmatch(stamp)
        if not match or int(match[1]) > 31:
            continue
        if int(match[1]) > 12:
            return False
        if int(match[2]) > 12:
            return True
    return hint


def to_ns(stamp: str, month_first: bool) -> int | None:
    """Nanoseconds since 1970 on the computer's clock; None if the text is no date and time."""
    match = _STAMP.fullmatch(stamp)
    if not match:
        return None
    a, b, c, hour, minute, second = (int(part) for part in match.groups()[:6])
    if a > 31:
        year, month, day = a, b, c
    elif month_first:
        month, day, year = a, b, c
    else:
        day, month, year = a, b, c
    if year < 100:
        year += 2000
    if match[8]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match[8] == "PM" else 0)
    fraction = int((match[7] or "").ljust(9, "0"))
    return one_civil_to_ns((year, month, day), (hour, minute, second), fraction)
