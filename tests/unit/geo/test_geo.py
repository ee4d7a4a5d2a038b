"""Sites and places."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploaderd.geo.places import Gazetteer, Place, Seat
from uploaderd.geo.sites import MOST_FIXES, Site, name_of, nearest, with_fixes

PLACES = Gazetteer(
    (
        Seat(Place("BR", "BA", "Salvador"), -12.9711, -38.5108, 20),
        Seat(Place("BR", "BA", "Camaçari"), -12.6975, -38.3241, 20),
        Seat(Place("BR", "RO", "Ariquemes"), -9.9133, -63.0408, 50),
    )
)


def test_a_position_is_in_the_nearest_county_that_holds_it() -> None:
    assert PLACES.resolve(-12.97, -38.51) == Place("BR", "BA", "Salvador")
    assert PLACES.resolve(-9.9, -63.0) == Place("BR", "RO", "Ariquemes")


def test_what_is_not_known_is_said_to_be_unknown() -> None:
    assert PLACES.resolve(0.0, 0.0) == Place()
    assert Gazetteer().resolve(-12.97, -38.51) == Place()
    assert PLACES.resolve(float("nan"), 0.0) == Place()
    between = PLACES.resolve(-12.834, -38.417)
    assert between == Place("BR", "BA"), "half-way between two seats the county is not guessed"


def test_a_fix_belongs_to_the_nearest_site_within_reach_on_both_axes() -> None:
    near, nearer = Site("near", 10.0004, 20.0, 5), Site("nearer", 10.0001, 20.0001, 5)
    assert nearest([near, nearer], 10.0, 20.0) is nearer
    assert nearest([Site("far", 10.0, 20.0006, 5)], 10.0, 20.0) is None
    assert nearest([Site("line", 10.0, 179.9999, 5)], 10.0, -179.9999) is not None


@given(st.lists(st.floats(-0.0005, 0.0005), min_size=1, max_size=50))
def test_a_sites_position_is_the_mean_of_its_fixes(offsets: list[float]) -> None:
    site = Site("s", 10.0 + offsets[0], 20.0, 1)
    for offset in offsets[1:]:
        site = with_fixes(site, 10.0 + offset, 20.0)
    assert site.fixes == len(offsets)
    assert site.latitude == pytest.approx(10.0 + sum(offsets) / len(offsets))


def test_a_site_of_a_thousand_fixes_stays_where_it_is() -> None:
    site = with_fixes(Site("s", 10.0, 20.0, MOST_FIXES - 1), 11.0, 20.0, fixes=500)
    assert site.fixes == MOST_FIXES
    assert site.latitude == pytest.approx(10.001)
    assert with_fixes(site, 50.0, 20.0) is site


def test_a_new_site_is_named_by_its_position() -> None:
    assert name_of(-12.9711, -38.5108) == "S12.9711W038.5108"
