"""A recording finds its site, and the site its mean."""

from __future__ import annotations

import pytest

from uploaderd.catalog.client import Catalog
from uploaderd.formats import Position
from uploaderd.services.locating import Location, locate


def at(lat: float, lon: float, count: int = 1) -> Position:
    return Position(lat, lon, 40.0, count, None, "records")


def test_a_recording_without_a_position_has_no_site(catalog: Catalog) -> None:
    assert locate(catalog, None) == Location("", "unknown", "unknown")


def test_near_fixes_are_one_site_whose_position_is_their_mean(catalog: Catalog) -> None:
    first = locate(catalog, at(-12.9716, -38.4815, 3))
    assert locate(catalog, at(-12.9712, -38.4815, 1)) == first
    assert locate(catalog, at(-12.9600, -38.4815)) != first
    rows = catalog.query(
        "SELECT latitude, fixes, state FROM sites_now WHERE site_id = %(id)s", {"id": first.site_id}
    )
    assert rows == [{"latitude": pytest.approx(-12.9715), "fixes": 4, "state": "unknown"}]


def test_a_site_on_the_antimeridian_is_found_from_both_sides(catalog: Catalog) -> None:
    first = locate(catalog, at(51.5, 179.9999))
    assert locate(catalog, at(51.5, -179.9999)) == first
