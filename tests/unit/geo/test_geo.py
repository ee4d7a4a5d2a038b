"""Sites and places."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploaderd.errors import ConfigError
from uploaderd.geo import Place, load, resolve
from uploaderd.geo.sites import MOST_FIXES, Site, name_of, nearest, with_fixes

TABLE = """country,state,county,latitude,longitude,radius_km
BR,BA,Salvador,-12.9711,-38.5108,20
BR,BA,Camaçari,-12.6975,-38.3241,20
BR,RO,Ariquemes,-9.9133,-63.0408,50
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "places.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def test_a_position_is_in_the_nearest_county_that_holds_it(table: Path) -> None:
    places = load(table)
    assert resolve(-12.97, -38.51, places) == Place("BR", "BA", "Salvador")
    assert resolve(-9.9, -63.0, places) == Place("BR", "RO", "Ariquemes")


def test_what_is_not_known_is_said_to_be_unknown(table: Path) -> None:
    places = load(table)
    assert resolve(0.0, 0.0, places) == Place()
    assert resolve(-12.97, -38.51) == Place()
    assert resolve(float("nan"), 0.0, places) == Place()
    between = resolve(-12.834, -38.417, places)
    assert between == Place("BR", "BA"), "half-way between two seats the county is not guessed"


def test_a_bad_table_names_its_line(table: Path) -> None:
    table.write_text(TABLE + "BR,BA,Nowhere,north,0,5\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 5"):
        load(table)
    table.write_text("state,county\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="latitude"):
        load(table)


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
