"""A recording finds its site, and the site its mean."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from uploaderd.catalog import reference
from uploaderd.catalog.client import Catalog
from uploaderd.catalog.ids import spectrum_id
from uploaderd.catalog.migrate import migrate
from uploaderd.catalog.rows import SpectrumRow
from uploaderd.errors import ConfigError
from uploaderd.formats import Position
from uploaderd.services.locating import Location, Whose, chain, locate

START = datetime(2026, 3, 1, 10, tzinfo=UTC)


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


def whose(number: int, minutes: float) -> Whose:
    at = START + timedelta(minutes=minutes)
    return Whose(7, "car", f"{number:032x}", at, at + timedelta(minutes=1))


def drive(catalog: Catalog, number: int, minutes: float, lat: float, **more: float) -> Location:
    """A file of the station, catalogued as process does it."""
    position = Position(lat, 20.0, 40.0, 5, more.get("spread_m", 5.0), "records")
    one = whose(number, minutes)
    location = locate(catalog, position, one)
    sha = hashlib.sha256(b"%d" % number).hexdigest()
    catalog.insert(
        "spectra",
        [
            SpectrumRow(
                spectrum_id(sha, 0), one.file_id, sha, 7, "car", 0, 1, 2, one.time_start,
                one.time_stop, 1, 1, latitude=lat, longitude=20.0, site_id=location.site_id,
            )
        ],
    )  # fmt: skip
    return location


def test_a_drive_is_a_track_and_not_a_thousand_sites(catalog: Catalog) -> None:
    home = drive(catalog, 0, 0, 10.0)
    assert home.site_id
    for number in range(1, 6):
        location = drive(catalog, number, 5 * number, 10.0 + number / 100)
        assert (location.site_id, location.moving, location.folder) == ("", True, "moving")
    assert drive(catalog, 6, 120, 10.0) == home
    assert drive(catalog, 7, 500, 11.0).site_id, "it has moved house"
    assert drive(catalog, 8, 900, 12.0, spread_m=5000.0).moving
    counts = catalog.query(
        "SELECT (SELECT count() FROM sites_now) AS sites, count() AS files, max(spread_m) AS spread"
        " FROM tracks_now"
    )
    assert counts == [{"sites": 2, "files": 6, "spread": 5000.0}]
    locate(catalog, Position(10.05, 20.0, None, 5, None, "records"), whose(5, 25))
    assert catalog.query("SELECT count() AS n FROM tracks_now") == [{"n": 6}], "a repetition"


def test_who_stops_on_the_way_gets_a_site(catalog: Catalog) -> None:
    drive(catalog, 0, 0, 10.0)
    assert drive(catalog, 1, 5, 10.5).moving
    assert drive(catalog, 2, 10, 10.5).site_id


def test_the_gazetteer_names_a_site_and_official_codes_meet_it(
    catalog: Catalog, tmp_path: Path
) -> None:
    files = {
        "g.csv": "country,state,county,latitude,longitude,radius_km\nBrazil,Bahia,Salvador,-12.97,"
        "-38.5,30\n",
        "s.csv": "ID_STATE,NA_STATE,LC_STATE\n29,BAHIA,BA\n",
        "c.csv": "ID_COUNTY,FK_STATE,NA_COUNTY\n2927408,29,Salvador\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        assert reference.load(catalog, tmp_path / name)[1] == 1
        assert reference.load(catalog, tmp_path / name)[1] == 0
    found = locate(catalog, at(-12.9716, -38.4815, 3), None, chain(catalog, "none"))
    assert (found.state, found.county) == ("Bahia", "Salvador")
    (row,) = catalog.query("SELECT state_code, county_code FROM sites_coded")
    assert row == {"state_code": 29, "county_code": 2927408}
    assert catalog.query("SELECT source FROM sites_now") == [{"source": "gazetteer"}]
    assert chain(catalog, "none").locate(0.0, 0.0)[1] == "unknown"


def test_reference_files_name_their_faulty_line(catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    for text, problem in (
        ("a,b\n1,2\n", "no reference table"),
        ("ID_STATE,NA_STATE,LC_STATE\n1,One,O\nx,Two,T\n", "line 3"),
        ("ID_STATE,NA_STATE,LC_STATE\n1,One\n", "line 2"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=problem):
            reference.load(catalog, path)
    assert catalog.query("SELECT count() AS n FROM states") == [{"n": 0}]


def test_the_source_system_s_lists_are_loaded_once(catalog: Catalog, samples: Path) -> None:
    for path in sorted((samples / "reference").glob("*.csv")):
        table, rows = reference.load(catalog, path)
        assert rows > 0, path
        assert reference.load(catalog, path) == (table, 0)
    assert catalog.query("SELECT count() AS n FROM counties FINAL")[0]["n"] > 5000
    before = catalog.query("SELECT * FROM equipment_types FINAL ORDER BY prefix")
    migrate(catalog.settings)
    assert catalog.query("SELECT * FROM equipment_types FINAL ORDER BY prefix") == before
