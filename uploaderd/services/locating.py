"""Which site a recording was made at, and in which state and county that lies.

What a site is, and how its position becomes a mean, is said in `uploaderd.geo.sites`; here the
known sites come from the catalog, and what is learnt goes back to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from uploaderd import clock, crash_points, geo
from uploaderd.catalog.client import Catalog
from uploaderd.catalog.rows import SiteRow
from uploaderd.formats import Position
from uploaderd.geo import sites

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Location:
    """Where a file goes, and what its spectra say of the place."""

    site_id: str = ""
    state: str = UNKNOWN
    county: str = UNKNOWN

    @property
    def folder(self) -> str:
        """The site as a folder's name."""
        return self.site_id or UNKNOWN


def locate(catalog: Catalog, position: Position | None) -> Location:
    """The known site at a position, or a new one; its mean takes the position's fixes in.

    Raises:
        CatalogError: the database cannot be reached.
    """
    if position is None:
        return Location()
    rows = {row.site_id: row for row in _near(catalog, position)}
    known = sites.nearest(map(_site, rows.values()), position.lat, position.lon)
    if known is None:
        row = _new(position)
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


def _new(position: Position) -> SiteRow:
    place = geo.resolve(position.lat, position.lon)
    return SiteRow(
        site_id=sites.name_of(position.lat, position.lon),
        latitude=position.lat,
        longitude=position.lon,
        altitude=math.nan if position.alt_m is None else position.alt_m,
        fixes=min(max(position.count, 1), sites.MOST_FIXES),
        state=place.state,
        county=place.county,
    )


def _site(row: SiteRow) -> sites.Site:
    return sites.Site(row.site_id, row.latitude, row.longitude, row.fixes)


def _location(row: SiteRow) -> Location:
    return Location(row.site_id, row.state or UNKNOWN, row.county or UNKNOWN)
