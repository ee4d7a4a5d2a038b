"""The `behaviour` section of each service file, typed.

Keys and defaults are those of `uploaderd/config/schemas/behaviour`; the values are checked and
complete when they come here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from uploaderd.config.stations import StationSettings, values_of
from uploaderd.errors import ConfigError
from uploaderd.maintenance.garbage import Retention
from uploaderd.services import reach
from uploaderd.services.index_source import Choice
from uploaderd.services.station_record import Station
from uploaderd.station import filters, slots
from uploaderd.station.access import Access
from uploaderd.station.discovery import Rules
from uploaderd.station.halt import Patience
from uploaderd.station.health import Expected
from uploaderd.station.transfer import Limits


@dataclass(frozen=True)
class BackupBehaviour:
    """How stations are reached, and how much is taken from one at a time."""

    repository: Path
    agent_config: str
    slice_s: float
    slice_files: int
    patience: Patience
    limits: Limits
    connections: int
    stations: int | None
    rules: Rules
    choice: Choice
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> BackupBehaviour:
        """The section of a valid service file. Raises ConfigError without a repository."""
        repository = _repository(settings)
        return cls(
            repository=repository,
            agent_config=settings["agent_config"],
            slice_s=settings["slice_seconds"],
            slice_files=settings["slice_files"],
            patience=_patience(settings["halt_tries"], settings["halt_wait_s"]),
            limits=Limits(
                bytes_per_s=settings.get("bytes_per_second"),
                files_in_flight=settings["files_in_flight"],
                verification=settings["verification"],
            ),
            connections=settings["connections_per_station"],
            stations=settings.get("stations_at_once"),
            rules=Rules(
                min_size=settings["min_size"],
                min_age_s=settings["min_age_s"],
                look_again_after_s=settings.get("look_again_s"),
                limit=settings["slice_files"],
            ),
            choice=Choice(settings["order"] == "newest_first", settings["index_min_age_s"]),
            settings=settings,
        )

    def of_station(self, station: Station) -> tuple[BackupBehaviour, Station]:
        """The same as the station's own file has it, and the station at the file's address."""
        settings, place = reach.of_station(self.settings, station)
        return (self if settings is self.settings else BackupBehaviour.of(settings)), place

    @contextlib.contextmanager
    def within_limits(self, address: str) -> Iterator[None]:
        """One of the connections to the station, and of the stations at once, that are allowed.

        Raises StationBusy if there is none, RepositoryError if the repository cannot be written.
        """
        many = f"As many stations as are allowed at once ({self.stations}) are being backed up."
        with (
            reach.connected(self.repository, address, self.connections),
            slots.taken(self.repository / reach.SLOTS, "stations", self.stations, many),
        ):
            yield

    def access(self, station: Station, password: str | None) -> Access:
        """How to reach the station. Raises MessageError as `reach.access`."""
        return reach.access(self.settings, station, password)


@dataclass(frozen=True)
class ProcessBehaviour:
    """How files are read."""

    repository: Path
    statistics: bool
    time_limit_s: float
    memory_limit_bytes: int
    stations: Sequence[StationSettings]
    places: tuple[str, str | None, Path | None] = ("offline", None, None)
    """Which resolver tells states and counties, its address, and where answers are kept."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ProcessBehaviour:
        """The section of a valid service file. Raises ConfigError without a repository."""
        return cls(
            repository=_repository(settings),
            statistics=settings["statistics"],
            time_limit_s=settings["time_limit_s"],
            memory_limit_bytes=settings["memory_limit_mb"] * 1024 * 1024,
            stations=settings.get("stations", ()),
            places=(settings["places"], settings.get("places_url"), settings.get("places_cache")),
        )

    def clock_offset(self, host_id: int, host_uid: str) -> timedelta:
        """How far the station's clock is ahead of UTC; zero unless its own file says so."""
        values = values_of(self.stations, host_id, host_uid)
        return timedelta(seconds=values.get("clock_offset_s", 0))


@dataclass(frozen=True)
class GarbageBehaviour:
    """How long the trash is kept."""

    repository: Path
    retention: Retention

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> GarbageBehaviour:
        """The section of a valid service file. Raises ConfigError without a repository."""
        retention = Retention(
            trash=timedelta(days=settings["trash_days"]),
            transfers=timedelta(days=settings["transfer_days"]),
            grace=timedelta(days=settings["grace_days"]),
            most_files=settings["most_files"],
        )
        return cls(_repository(settings), retention)


@dataclass(frozen=True)
class PublishBehaviour:
    """Where the published folder is, what is kept of it, and how full its disk may get."""

    folder: Path
    keep_versions: int
    keep_for_s: float
    floor_bytes: int

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> PublishBehaviour:
        """The section of a valid service file. Raises ConfigError without a folder."""
        if not settings.get("folder"):
            raise ConfigError("The publish service has no `folder` in its behaviour section.")
        floor_bytes = settings["free_space_floor_mb"] * 1_000_000
        keep_for_s = 60.0 * settings["keep_minutes"]
        return cls(settings["folder"], settings["keep_versions"], keep_for_s, floor_bytes)


def expected_health(settings: Mapping[str, Any], agent_config: str | None) -> Expected:
    """What a sound station is like, by the host-check section as the station's file has it.

    `agent_config` is the path that a message names. A station whose file has a filter needs no
    agent. Raises MessageError if that filter makes no sense.
    """
    fields = settings.get("filter")
    return Expected(
        agent_config=agent_config or settings["agent_config"],
        folder=None if fields is None else filters.parse(fields).file_path,
        free_bytes=settings["free_space_floor_mb"] * 1_000_000,
        clock_limit_s=settings["clock_limit_s"],
        clock_ahead_s=settings.get("clock_offset_s", 0.0),
        index_age_s=settings["index_age_h"] * 3600,
        ping_s=settings["ping_s"],
        look_again_s=settings["halt_look_again_s"],
    )


def _patience(tries: int, longest_s: float) -> Patience:
    return Patience(tries=tries, shortest_s=min(1.0, longest_s), longest_s=longest_s)


def _repository(settings: Mapping[str, Any]) -> Path:
    repository: Path | None = settings.get("repository")
    if repository is None:
        raise ConfigError("No `repository` is set, in config.json or the behaviour section.")
    return repository
