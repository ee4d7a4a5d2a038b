"""Which site a recording was made at, and in which state and county that lies.

A site is the same site while its position lies within 0.0005° of the known one on both axes; its
position is the running mean of the fixes, until 1,000 are in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from uploaderd.catalog.client import Catalog
from uploaderd.catalog.rows import SiteRow
from uploaderd.formats import Position

SAME_SITE_DEG = 0.0005
MOST_FIXES = 1_000
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
    """The known site at a position, or a new one; its running mean takes the position's fixes in.

    Raises:
        CatalogError: the database cannot be reached.
    """
    if position is None:
        return Location()
    near = catalog.query(
        "SELECT site_id, latitude, longitude, altitude, fixes, name, state, county, district,"
        " source FROM sites_now WHERE abs(latitude - %(lat)s) <= %(same)s"
        " AND abs(longitude - %(lon)s) <= %(same)s"
        " ORDER BY greatest(abs(latitude - %(lat)s), abs(longitude - %(lon)s)) LIMIT 1",
        {"lat": position.lat, "lon": position.lon, "same": SAME_SITE_DEG},
    )
    site = SiteRow(**near[0]) if near else _new(position)
    if not near or site.fixes < MOST_FIXES:
        catalog.insert("sites", [_merged(site, position) if near else site])
    return Location(site.site_id, site.state or UNKNOWN, site.county or UNKNOWN)


def _new(position: Position) -> SiteRow:
    return SiteRow(
        site_id=name_of(position.lat, position.lon),
        latitude=position.lat,
        longitude=position.lon,
        altitude=position.alt_m if position.alt_m is not None else float("nan"),
        fixes=min(max(position.count, 1), MOST_FIXES),
    )


def _merged(site: SiteRow, position: Position) -> SiteRow:
    """The site with the position's fixes in its mean, each fix weighing the same."""
    new = min(max(position.count, 1), MOST_FIXES - site.fixes)
    share = new / (site.fixes + new)
    values = {
        **vars(site),
        "latitude": site.latitude + share * (position.lat - site.latitude),
        "longitude": site.longitude + share * (position.lon - site.longitude),
        "fixes": site.fixes + new,
        "updated_at": datetime.now(UTC),
    }
    return SiteRow(**values)


def name_of(lat: float, lon: float) -> str:
    """A new site's identity, from its first position: `12.9716S_38.4815W`."""
    north, east = ("N" if lat >= 0 else "S"), ("E" if lon >= 0 else "W")
    return f"{abs(lat):.4f}{north}_{abs(lon):.4f}{east}"
