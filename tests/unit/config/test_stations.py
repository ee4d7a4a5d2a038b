"""Files of single stations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from uploaderd.config.stations import load_stations, values_of
from uploaderd.errors import ConfigError
from uploaderd.secret import Secret


def write(folder: Path, name: str, content: dict[str, Any]) -> None:
    (folder / name).write_text(json.dumps(content))


def test_a_station_is_found_by_id_or_by_name(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hidden\n")
    write(tmp_path, "a.json", {"host_id": 7, "legacy": True, "password_file": "secret"})
    write(tmp_path, "b.json", {"host_uid": "rfeye1", "port": 2222})
    stations = load_stations(tmp_path)
    assert values_of(stations, 7, "") == {"legacy": True, "password": Secret("hidden")}
    assert values_of(stations, 9, "rfeye1") == {"port": 2222}
    assert values_of(stations, 9, "") == {}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"port": 22}, "host_id or host_uid"),
        ({"host_id": 1, "prot": 22}, "did you mean port"),
        ({"host_id": 1, "host_add": "192.0.2.7"}, "did you mean address"),
        ({"host_id": 1, "filter": {"mode": "SOME"}}, "filter.mode: expected one of"),
        ({"host_id": 7}, "names the same station as"),
    ],
)
def test_a_wrong_file_is_one_line_with_its_name(
    tmp_path: Path, content: dict[str, Any], expected: str
) -> None:
    write(tmp_path, "a.json", {"host_id": 7})
    write(tmp_path, "b.json", content)
    with pytest.raises(ConfigError, match=expected) as caught:
        load_stations(tmp_path)
    assert "b.json" in str(caught.value)


def test_the_example_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = Path(__file__).parents[3] / "stations.d" / "station.json.example"
    (tmp_path / "example.json").write_text(example.read_text())
    (tmp_path / "rfeye002080").write_text("hidden")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (station,) = load_stations(tmp_path)
    assert station.values["password"] == Secret("hidden")
