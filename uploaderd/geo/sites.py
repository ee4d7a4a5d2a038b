"""A site is where a station measures: near fixes are one site, and its position is their mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

SAME_SITE_DEGREES = 0.0005
"""On both axes; about 55 m of latitude."""
MOST_FIXES = 1000
"""A site's position moves no more once it is the mean of so many."""


@dataclass(frozen=True)
class Site:
    """A known site: degrees of WGS 84, and how many fixes its position is the mean of."""

    name: str
    latitude: float
    longitude: float
    fixes: int


def nearest(sites: Iterable[Site], latitude: float, longitude: float) -> Site | None:
    """The site that a fix belongs to: the nearest within `SAME_SITE_DEGREES` on both axes."""
    near = [
        (_apart(site, latitude, longitude), site.name, site)
        for site in sites
        if abs(site.latitude - latitude) <= SAME_SITE_DEGREES
        and abs(_turn(site.longitude - longitude)) <= SAME_SITE_DEGREES
    ]
    return min(near)[2] if near else None


def with_fixes(site: Site, latitude: float, longitude: float, fixes: int = 1) -> Site:
    """The site after `fixes` more, of which the position is the mean; never beyond `MOST_FIXES`."""
    taken = min(fixes, MOST_FIXES - site.fixes)
    if taken <= 0:
        return site
    total = site.fixes + taken
    return replace(
        site,
        latitude=site.latitude + (latitude - site.latitude) * taken / total,
        longitude=_turn(site.longitude + _turn(longitude - site.longitude) * taken / total),
        fixes=total,
    )


def name_of(latitude: float, longitude: float) -> str:
    """A name for a site that has none: its first position, as in `S12.9711W038.5108`."""
    north, east = ("N" if latitude >= 0 else "S"), ("E" if longitude >= 0 else "W")
    return f"{north}{abs(latitude):07.4f}{east}{abs(longitude):08.4f}"


def _apart(site: Site, latitude: float, longitude: float) -> float:
    return (site.latitude - latitude) ** 2 + _turn(site.longitude - longitude) ** 2


def _turn(degrees: float) -> float:
    """An angle between -180° and 180°: sites near the antimeridian are near each other."""
    return degrees if -180 <= degrees <= 180 else (degrees + 180) % 360 - 180
