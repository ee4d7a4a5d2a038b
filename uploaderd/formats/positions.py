"""Many GPS fixes into one position with its count and spread."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uploaderd.formats.model import Position

EARTH_RADIUS_M = 6_371_009.0
"""Mean radius of the Earth (IUGG, arithmetic mean of WGS 84's axes)."""


def median_position(
    lat: ArrayLike, lon: ArrayLike, alt_m: ArrayLike | None = None, *, source: str = "records"
) -> Position | None:
    """Median of the fixes (degrees, metres), or `None` without one.

    Fixes outside ±90° or ±180°, NaN, and minus one in both coordinates, which recorders write for
    "none", do not count.
    """
    lats = np.atleast_1d(np.asarray(lat, np.float64))
    lons = np.atleast_1d(np.asarray(lon, np.float64))
    good = (np.abs(lats) <= 90) & (np.abs(lons) <= 180) & ~((lats == -1) & (lons == -1))
    lats, lons = lats[good], lons[good]
    if not lats.size:
        return None
    middle_lat, middle_lon = float(np.median(lats)), float(np.median(lons))
    north = np.radians(lats - middle_lat)
    east = np.radians(lons - middle_lon) * np.cos(np.radians(middle_lat))
    altitude = None
    if alt_m is not None:
        altitude = float(np.median(np.atleast_1d(np.asarray(alt_m, np.float64))[good]))
    return Position(
        lat=round(middle_lat, 7),
        lon=round(middle_lon, 7),
        alt_m=altitude,
        count=int(lats.size),
        spread_m=float(np.hypot(north, east).max()) * EARTH_RADIUS_M,
        source=source,
    )


MAX_FIXES = 1 << 18
"""Fixes that are kept for the median; of more, every second, fourth, … is kept."""


class FixLog:
    """Gathers any number of valid fixes in bounded memory; their count stays exact."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.float64]] = []
        self._kept, self._stride, self._count = 0, 1, 0

    def add(self, lat: ArrayLike, lon: ArrayLike, alt_m: ArrayLike = np.nan) -> None:
        """Takes fixes [n] in degrees and metres; "no position" fillers are left out."""
        columns = np.broadcast_arrays(*(np.asarray(c, np.float64) for c in (lat, lon, alt_m)))
        fixes = np.column_stack(columns)
        good = (np.abs(fixes[:, :2]) <= (90, 180)).all(axis=1)
        fixes = fixes[good & (fixes[:, :2] != -1).any(axis=1)]
        begin = -self._count % self._stride
        self._count += len(fixes)
        self._parts.append(fixes[begin :: self._stride])
        self._kept += len(self._parts[-1])
        if self._kept > MAX_FIXES:
            self._parts = [np.concatenate(self._parts)[::2].copy()]
            self._stride *= 2
            self._kept = len(self._parts[0])

    def position(self) -> Position | None:
        """Median of the fixes, with their number; `None` without one."""
        if not self._count:
            return None
        lat, lon, alt = np.concatenate(self._parts).T
        found = median_position(lat, lon, None if np.isnan(alt).all() else alt)
        return dataclasses.replace(found, count=self._count) if found else None
