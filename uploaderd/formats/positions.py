"""Many GPS fixes into one position with its count and spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

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
