"""Where access to a station comes from: its own file, the message, the section, and who wins."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from uploaderd.config import load_service
from uploaderd.errors import ConfigError, MessageError
from uploaderd.secret import Secret
from uploaderd.services import reach
from uploaderd.services.behaviour import ProcessBehaviour
from uploaderd.services.station_record import Station

STATION = Station(7, "rfeye7", "192.0.2.7", 22, "requested")


def section(folder: Path, service: str = "backup", **behaviour: Any) -> dict[str, Any]:
    """The behaviour section as the daemon loads it."""
    path = folder / f"{service}.json"
    broker = {"queue": service, "bindings": ["x"]}
    path.write_text(
        json.dumps({"service": service, "behaviour": behaviour, "rabbitmq": broker, "database": {}})
    )
    return dict(load_service(path, folder / "repository").behaviour)


def own_file(folder: Path, **values: Any) -> str:
    """A folder with the file of the station."""
    stations = folder / "stations.d"
    stations.mkdir()
    (stations / "one.json").write_text(json.dumps({"host_id": 7, **values}))
    return str(stations)


@pytest.mark.parametrize("source", ["file", "env", "credential"])
def test_secrets_come_from_files_credentials_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    for name in ("word", "phrase"):
        (tmp_path / name).write_text(f"hidden-{name}\n")
        monkeypatch.setenv(name, f"hidden-{name}")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    names = {f"password_{source}": "word", f"passphrase_{source}": "phrase"}
    settings = section(tmp_path, **names)
    access = reach.access(settings, STATION, None)
    assert (access.password, access.passphrase) == (Secret("hidden-word"), Secret("hidden-phrase"))
    assert "hidden" not in repr(settings) + repr(access)


def test_a_secret_that_is_not_there_is_an_error_with_file_and_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"behaviour\.passphrase_file: .* cannot be read"):
        section(tmp_path, passphrase_file="nowhere")


def test_a_password_in_a_message_is_tried_instead_of_the_key_unless_it_is_forbidden(
    tmp_path: Path,
) -> None:
    access = reach.access(section(tmp_path, key_file="key"), STATION, "told")
    assert (access.password, access.key_file) == (Secret("told"), None)
    forbidding = section(tmp_path, key_file="key", message_passwords=False)
    with pytest.raises(MessageError, match="not allowed") as raised:
        reach.access(forbidding, STATION, "told")
    assert "told" not in str(raised.value)
    assert reach.access(forbidding, STATION, None).key_file == tmp_path / "key"


def test_a_stations_own_file_wins_over_message_and_section(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("own\n")
    own = {"address": "198.51.100.1", "port": 2222, "legacy": True, "host_key_policy": "strict"}
    stations = own_file(tmp_path, user="own", password_file="../word", **own)
    settings, place = reach.of_station(section(tmp_path, stations=stations), STATION)
    access = reach.access(settings, place, "told")
    assert (access.address, access.user) == ("198.51.100.1:2222", "own")
    assert (access.password, access.legacy) == (Secret("own"), True)
    assert access.host_key_policy == "strict"


def test_process_takes_a_stations_clock_from_its_own_file(tmp_path: Path) -> None:
    stations = own_file(tmp_path, clock_offset_s=-3600)
    behaviour = ProcessBehaviour.of(section(tmp_path, "process", stations=stations))
    assert behaviour.clock_offset(7, "") == timedelta(hours=-1)
    assert behaviour.clock_offset(8, "other") == timedelta(0)
