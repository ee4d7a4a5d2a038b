"""A filter's fields are checked, each mode keeping only its own."""

import pytest

from uploaderd.errors import MessageError
from uploaderd.station.filters import FIELDS, Mode, parse

SENSIBLE = {
    "extension": ".bin",
    "file_name": "*.bin",
    "start_date": "2024-01-01",
    "end_date": "2024-01-31",
    "last_n_files": "5",
    "max_total_gb": 1.5,
    "sort_order": "newest_first",
}


@pytest.mark.parametrize("mode", list(Mode))
def test_each_mode_takes_its_own_fields_and_names_the_others(mode: Mode) -> None:
    own = {name: value for name, value in SENSIBLE.items() if name in FIELDS[mode]}
    required = {"mode": mode.value, "file_path": "/d", **own}
    assert parse(required).mode is mode
    for name in SENSIBLE.keys() - own.keys():
        with pytest.raises(MessageError, match=name):
            parse({**required, name: SENSIBLE[name]})


def test_dates_are_inclusive_days_of_utc() -> None:
    wanted = parse(
        {"mode": "RANGE", "file_path": "/d", "start_date": "2024-01-01", "end_date": "2024-01-01"}
    )
    assert wanted.start_s == 1704067200
    assert wanted.end_s is not None
    assert 86399 < wanted.end_s - wanted.start_s < 86400


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("C:\\CelPlan\\data\\", b"/C:/CelPlan/data"),
        ("D:/x", b"/D:/x"),
        ("/C:/x", b"/C:/x"),
        ("/mnt/a b", b"/mnt/a b"),
        ("/", b"/"),
    ],
)
def test_windows_folders_are_named_as_sftp_names_them(given: str, path: bytes) -> None:
    assert parse({"file_path": given}).file_path == path


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "file_path"),
        ({"file_path": "data"}, "absolute"),
        ({"file_path": "/a/../b"}, "absolute"),
        ({"mode": "SOME", "file_path": "/d"}, "RANGE"),
        ({"mode": "FILE", "file_path": "/d"}, "file_name"),
        ({"mode": "LAST", "file_path": "/d"}, "last_n_files"),
        ({"mode": "LAST", "file_path": "/d", "last_n_files": "-1"}, "last_n_files"),
        ({"mode": "RANGE", "file_path": "/d"}, "start_date"),
        ({"mode": "RANGE", "file_path": "/d", "start_date": "soon"}, "ISO 8601"),
        ({"file_path": "/d", "max_total_gb": "nan"}, "max_total_gb"),
        ({"file_path": "/d", "sort_order": "up"}, "sort_order"),
        ({"file_path": "/d", "colour": "red"}, "colour"),
        (
            {
                "mode": "RANGE",
                "file_path": "/d",
                "start_date": "2024-02-01",
                "end_date": "2024-01-01",
            },
            "before",
        ),
    ],
)
def test_senseless_filters_are_refused_by_name(fields: dict[str, str], told: str) -> None:
    with pytest.raises(MessageError, match=told):
        parse(fields)
