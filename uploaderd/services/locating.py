"""Which site a recording was made at, and in which state and county that lies.

What a site is, and how its position becomes a mean, is said in `uploaderd.geo.sites`; here the
known sites come from the catalog, and what is learnt goes back to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from uploaderd import clock, crash_points
from uploaderd.catalog.client import Catalog
from uploaderd.catalog.rows import SiteRow, TrackRow
from uploaderd.errors import ConfigError
from uploaderd.formats import Position
from uploaderd.geo import sites
from uploaderd.geo.places import Gazetteer, Place, Seat
from uploaderd.geo.resolvers import Chain, Nominatim, Resolver, packaged

UNKNOWN = "unknown"


MOVING_SPREAD_M = 200.0
"""A receiver that stands has no fix farther than this from the median of its fixes."""
MOVING_WITHIN = timedelta(hours=1)
"""Who was elsewhere so shortly before or after is on the way, and has not moved house."""


@dataclass(frozen=True)
class Location:
    """Where a file goes, and what its spectra say of the place."""

    site_id: str = ""
    state: str = UNKNOWN
    county: str = UNKNOWN
    moving: bool = False

    @property
    def folder(self) -> str:
        """The site as a folder's name."""
        return "moving" if self.moving else self.site_id or UNKNOWN


@dataclass(frozen=True)
class Whose:
    """The file that a position was read from."""

    host_id: int
    station: str
    file_id: str
    time_start: datetime
    time_stop: datetime


def chain(catalog: Catalog, kind: str, url: str | None = None, cache: Path | None = None) -> Chain:
    """The resolvers of a setting: `offline`, `nominatim` or `none`; the gazetteer goes first.

    Raises:
        CatalogError: the database cannot be reached.
        ConfigError: a resolver lacks what it needs.
    """
    rows = catalog.query("SELECT * FROM gazetteer FINAL")
    seats = [
        Seat(
            Place(row["country"], row["state"], row["county"]),
            row["latitude"],
            row["longitude"],
            row["radius_km"],
        )
        for row in rows
    ]
    resolvers: list[Resolver] = [Gazetteer(tuple(seats))]
    if kind == "nominatim":
        if not url:
            raise ConfigError("The resolver nominatim needs `places_url`.")
        resolvers.append(Nominatim(url, cache))
    if kind != "none" and (cities := packaged()) is not None:
        resolvers.append(cities)
    return Chain(resolvers)


def locate(
    catalog: Catalog,
    position: Position | None,
    whose: Whose | None = None,
    places: Chain | None = None,
) -> Location:
    """The known site at a position, or a new one; its mean takes the position's fixes in.

    A station on the way gets no site, but a row in `tracks`.

    Raises:
        CatalogError: the database cannot be reached.
    """
    if position is None:
        return Location()
    if whose is not None and (position.spread_m or 0.0) > MOVING_SPREAD_M:
        return _track(catalog, position, whose, places)
    rows = {row.site_id: row for row in _near(catalog, position)}
    known = sites.nearest(map(_site, rows.values()), position.lat, position.lon)
    if known is None and whose is not None and _was_elsewhere(catalog, position, whose):
        return _track(catalog, position, whose, places)
    if known is None:
        row = _new(position, places)
        _insert(catalog, row)
        return _location(row)
    row = rows[known.name]
    site = sites.with_fixes(known, position.lat, position.lon, max(position.count, 1))
    if site != known:
        moved = replace(
            row,
            latitude=site.latitude,
            longitude=site.longitude,
            fixes=site.fixes,
            updated_at=clock.now(),
        )
        _insert(catalog, moved)
    return _location(row)


def _was_elsewhere(catalog: Catalog, position: Position, whose: Whose) -> bool:
    """Whether the station's file that is nearest in time was made at another place, shortly ago."""
    rows = catalog.query(
        "SELECT latitude, longitude FROM spectra WHERE station = %(station)s"
        " AND host_id = %(host_id)s AND file_id != %(file_id)s AND isFinite(latitude)"
        " AND time_start > fromUnixTimestamp64Milli(toInt64(%(from)s), 'UTC')"
        " AND time_start < fromUnixTimestamp64Milli(toInt64(%(to)s), 'UTC')"
        " ORDER BY abs(toUnixTimestamp64Milli(time_start) - %(at)s) LIMIT 1",
        {
            "station": whose.station,
            "host_id": whose.host_id,
            "file_id": whose.file_id,
            "from": _milliseconds(whose.time_start - MOVING_WITHIN),
            "to": _milliseconds(whose.time_stop + MOVING_WITHIN),
            "at": _milliseconds(whose.time_start),
        },
    )
    before = [sites.Site("", row["latitude"], row["longitude"], 1) for row in rows]
    return bool(before) and sites.nearest(before, position.lat, position.lon) is None


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _track(catalog: Catalog, position: Position, whose: Whose, places: Chain | None) -> Location:
    row = TrackRow(
        **vars(whose),
        latitude=position.lat,
        longitude=position.lon,
        altitude=math.nan if position.alt_m is None else position.alt_m,
        spread_m=math.nan if position.spread_m is None else position.spread_m,
        fixes=max(position.count, 1),
    )
    catalog.insert("tracks", [row])
    place, _ = _place(position, places)
    return Location("", place.state, place.county, moving=True)


def _place(position: Position, places: Chain | None) -> tuple[Place, str]:
    return (places or Chain(())).locate(position.lat, position.lon)


def _insert(catalog: Catalog, row: SiteRow) -> None:
    crash_points.reached("site-row:before")
    catalog.insert("sites", [row])
    crash_points.reached("site-row:after")


def _near(catalog: Catalog, position: Position) -> list[SiteRow]:
    found = catalog.query(
        "SELECT site_id, latitude, longitude, altitude, fixes, name, state, county, district,"
        " source FROM sites_now WHERE abs(latitude - %(lat)s) <= %(same)s"
        " AND (abs(longitude - %(lon)s) <= %(same)s"
        " OR abs(abs(longitude - %(lon)s) - 360) <= %(same)s)",
        {"lat": position.lat, "lon": position.lon, "same": sites.SAME_SITE_DEGREES},
    )
    return [SiteRow(**row) for row in found]


def _new(position: Position, places: Chain | None) -> SiteRow:
    place, source = _place(position, places)
    return SiteRow(
        site_id=sites.name_of(position.lat, position.lon),
        latitude=position.lat,
        longitude=position.lon,
        altitude=math.nan if position.alt_m is None else position.alt_m,
        fixes=min(max(position.count, 1), sites.MOST_FIXES),
        state=place.state,
        county=place.county,
        source=source,
    )


def _site(row: SiteRow) -> sites.Site:
    return sites.Site(row.site_id, row.latitude, row.longitude, row.fixes)


def _location(row: SiteRow) -> Location:
    return Location(row.site_id, row.state or UNKNOWN, row.county or UNKNOWN)
