"""The `behaviour` section of each service file, typed.

Keys and defaults are those of `uploaderd/config/schemas/behaviour`; the values are checked and
complete when they come here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from uploaderd.config.stations import values_of
from uploaderd.errors import ConfigError, MessageError
from uploaderd.secret import Secret
from uploaderd.services.station_record import Station
from uploaderd.station.access import Access
from uploaderd.station.discovery import Rules
from uploaderd.station.halt import Patience
from uploaderd.station.transfer import Limits


@dataclass(frozen=True)
class BackupBehaviour:
    """How stations are reached, and how much is taken from one at a time."""

    repository: Path
    known_hosts: Path
    agent_config: str
    slice_s: float
    slice_files: int
    patience: Patience
    limits: Limits
    rules: Rules
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> BackupBehaviour:
        """The section of a valid service file. Raises ConfigError without a repository."""
        repository = _repository(settings)
        return cls(
            repository=repository,
            known_hosts=settings.get("known_hosts") or repository / ".known_hosts",
            agent_config=settings["agent_config"],
            slice_s=settings["slice_seconds"],
            slice_files=settings["slice_files"],
            patience=_patience(settings["halt_tries"], settings["halt_wait_s"]),
            limits=Limits(
                bytes_per_s=settings.get("bytes_per_second"),
                files_in_flight=settings["files_in_flight"],
                verification=settings["verification"],
            ),
            rules=Rules(
                min_size=settings["min_size"],
                min_age_s=settings["min_age_s"],
                look_again_after_s=settings.get("look_again_s"),
                limit=settings["slice_files"],
            ),
            settings=settings,
        )

    def of_station(self, station: Station) -> tuple[BackupBehaviour, Station]:
        """The same as the station's own file has it, and the station at the file's address."""
        values = values_of(self.settings.get("stations", ()), station.host_id, station.host_uid)
        if not values:
            return self, station
        place = replace(
            station,
            host_add=values.get("address", station.host_add),
            host_port=values.get("port", station.host_port),
            user=values.get("user", station.user),
        )
        own = {"own_password": values["password"]} if "password" in values else {}
        return BackupBehaviour.of({**self.settings, **values, **own}), place

    def access(self, station: Station, password: str | None) -> Access:
        """How to reach the station: the station's own file, the message, the settings.

        Raises MessageError if neither names a user or the station's address is not known.
        """
        user = station.user or self.settings.get("user")
        if not user or not station.host_add:
            raise MessageError(
                f"No {'address' if user else 'user'} is known for the station {station.host_id}.",
                hint="Name it in a request once (host_add, user); it is remembered.",
            )
        # Who names a password wants that one tried, and not the configured key instead.
        given = self.settings.get("own_password") or (Secret(password) if password else None)
        return Access(
            host=station.host_add,
            port=station.host_port,
            user=user,
            password=given or self.settings.get("password"),
            key_file=None if password else self.settings.get("key_file"),
            host_key_policy=self.settings["host_key_policy"],
            known_hosts=self.known_hosts,
            legacy=self.settings["legacy"],
        )


@dataclass(frozen=True)
class ProcessBehaviour:
    """How files are read."""

    repository: Path
    statistics: bool
    time_limit_s: float
    memory_limit_bytes: int
    clock_offsets_s: Mapping[str, float]

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ProcessBehaviour:
        """The section of a valid service file. Raises ConfigError without a repository."""
        return cls(
            repository=_repository(settings),
            statistics=settings["statistics"],
            time_limit_s=settings["time_limit_s"],
            memory_limit_bytes=settings["memory_limit_mb"] * 1024 * 1024,
            clock_offsets_s=settings["clock_offset"],
        )

    def clock_offset(self, host_uid: str) -> timedelta:
        """How far the station's clock is ahead of UTC; zero unless the settings name it."""
        return timedelta(seconds=self.clock_offsets_s.get(host_uid, 0))


@dataclass(frozen=True)
class PublishBehaviour:
    """Where the published folder is, how many versions are kept, and how full its disk may get."""

    folder: Path
    keep_versions: int
    floor_bytes: int

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> PublishBehaviour:
        """The section of a valid service file. Raises ConfigError without a folder."""
        if not settings.get("folder"):
            raise ConfigError("The publish service has no `folder` in its behaviour section.")
        floor_bytes = settings["free_space_floor_mb"] * 1_000_000
        return cls(settings["folder"], settings["keep_versions"], floor_bytes)


def _patience(tries: int, longest_s: float) -> Patience:
    return Patience(tries=tries, shortest_s=min(1.0, longest_s), longest_s=longest_s)


def _repository(settings: Mapping[str, Any]) -> Path:
    repository: Path | None = settings.get("repository")
    if repository is None:
        raise ConfigError("No `repository` is set, in config.json or the behaviour section.")
    return repository
