"""Settings of single stations: one file each, which a service's `stations` folder holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uploaderd.config import document
from uploaderd.config.check import schema
from uploaderd.config.completion import complete
from uploaderd.errors import ConfigError


@dataclass(frozen=True)
class StationSettings:
    """What one file says of its station; `values` holds the other keys that it names."""

    path: Path
    host_id: int | None
    host_uid: str | None
    values: Mapping[str, Any]


def load_stations(folder: Path) -> tuple[StationSettings, ...]:
    """Reads every `*.json` of the folder. Raises ConfigError, also for a station in two files."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: is no folder of station files")
    loaded: list[StationSettings] = []
    for path in sorted(folder.glob("*.json")):
        one = _load(path)
        for other in loaded:
            if _same(one, other.host_id, other.host_uid):
                raise ConfigError(f"{path}: names the same station as {other.path}")
        loaded.append(one)
    return tuple(loaded)


def values_of(
    stations: Iterable[StationSettings], host_id: int, host_uid: str
) -> Mapping[str, Any]:
    """What is set for the station; nothing for one without a file."""
    for one in stations:
        if _same(one, host_id, host_uid):
            return one.values
    return {}


def _load(path: Path) -> StationSettings:
    file = document.read(path)
    wanted = schema("station")
    if wanted is None:
        raise ConfigError("the installation lacks its schema station.json")
    values = complete(file, wanted, file.value, ())
    host_id, host_uid = values.pop("host_id", None), values.pop("host_uid", None)
    if host_id is None and host_uid is None:
        raise file.error((), "expected host_id or host_uid, to name the station")
    return StationSettings(path, host_id, host_uid, values)


def _same(one: StationSettings, host_id: int | None, host_uid: str | None) -> bool:
    by_id = one.host_id is not None and one.host_id == host_id
    return by_id or (one.host_uid is not None and one.host_uid == host_uid)
