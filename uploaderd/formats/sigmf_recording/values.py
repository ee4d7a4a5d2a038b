"""Values of a SigMF document's objects, each of its type or taken as absent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from uploaderd.formats.times import to_ns

MAX_SAMPLE = 2**62
DATATYPE = re.compile(r"([cr])([fiu])(8|16|32|64)(?:_[lb]e)?")

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z", re.ASCII)


def natural(about: Mapping[str, Any], key: str, default: int) -> int:
    """A whole number from 0 to `MAX_SAMPLE`."""
    value = about.get(key, default)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return int(value) if whole and 0 <= value < MAX_SAMPLE else default


def number(about: Mapping[str, Any], key: str) -> float | None:
    """A number of a size that a frequency or a rate in Hz can have."""
    value = about.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < 1e15 else None


def text(about: Mapping[str, Any], key: str) -> str | None:
    """A text that is not empty."""
    value = about.get(key)
    return value if isinstance(value, str) and value else None


def sample_start(capture: Mapping[str, Any]) -> int:
    """Number of a capture's first sample; -1 if it has none."""
    return natural(capture, "core:sample_start", -1)


def fraction(capture: Mapping[str, Any]) -> str:
    """The digits behind the second of a capture's time, at most nine."""
    match = _TIME.fullmatch(str(capture.get("core:datetime")))
    return (match[2] or "")[:9] if match else ""


def time(capture: Mapping[str, Any]) -> int | None:
    """A capture's time, ns since 1970 UTC."""
    match = _TIME.fullmatch(str(capture.get("core:datetime")))
    if not match:
        return None
    try:
        when = datetime.fromisoformat(match[1])
    except ValueError:
        return None
    ns = to_ns(when, int(fraction(capture).ljust(9, "0")))
    return ns if abs(ns) < MAX_SAMPLE else None


def fix(place: Mapping[str, Any]) -> tuple[float, float, float | None] | None:
    """Longitude, latitude and altitude of a GeoJSON point, in that order."""
    point = place.get("core:geolocation")
    numbers = point.get("coordinates") if isinstance(point, dict) else None
    if not isinstance(numbers, list) or len(numbers) < 2:
        return None
    if not all(type(n) in (int, float) and abs(n) < 1e6 for n in numbers):
        return None
    return numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else None
