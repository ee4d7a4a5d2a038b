"""How a service reaches a station: its own file, the message, the service's section."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from uploaderd.config.stations import values_of
from uploaderd.errors import MessageError
from uploaderd.secret import Secret
from uploaderd.services.station_record import Station
from uploaderd.station import slots
from uploaderd.station.access import Access, Timeouts

SLOTS = ".slots"
"""Folder of the repository in which limits are counted."""


def of_station(settings: Mapping[str, Any], station: Station) -> tuple[Mapping[str, Any], Station]:
    """The section as the station's own file has it, and the station at the file's address."""
    values = values_of(settings.get("stations", ()), station.host_id, station.host_uid)
    if not values:
        return settings, station
    place = replace(
        station,
        host_add=values.get("address", station.host_add),
        host_port=values.get("port", station.host_port),
        user=values.get("user", station.user),
    )
    own = {"own_password": values["password"]} if "password" in values else {}
    return {**settings, **values, **own}, place


def connected(
    repository: Path | None, address: str, most: int | None
) -> AbstractContextManager[None]:
    """Holds one of the connections that all services together may have to a station.

    Raises StationBusy if there is none, RepositoryError if the repository cannot be written.
    """
    if repository is None or most is None:
        return nullcontext()
    sentence = f"We have as many connections to {address} as are allowed ({most})."
    return slots.taken(repository / SLOTS, address, most, sentence)


def known_hosts(settings: Mapping[str, Any]) -> Path:
    """The file of the stations' host keys, which all services share."""
    path: Path = settings.get("known_hosts") or settings["repository"] / ".known_hosts"
    return path


def access(
    settings: Mapping[str, Any],
    station: Station,
    password: str | None,
    timeouts: Timeouts | None = None,
) -> Access:
    """How to reach the station, with the settings that `of_station` gave.

    Raises MessageError if neither names a user, if the station's address is not known, or for a
    password in the message where the settings forbid it.
    """
    user = station.user or settings.get("user")
    if not user or not station.host_add:
        raise MessageError(
            f"No {'address' if user else 'user'} is known for the station {station.host_id}.",
            hint="Name it in a request once (host_add, user); it is remembered.",
        )
    if password and not settings["message_passwords"]:
        raise MessageError(
            "The message holds a password, and passwords in messages are not allowed.",
            hint="Leave passwd out, or set message_passwords in the service's behaviour section.",
        )
    # Who names a password wants that one tried, and not the configured key instead.
    given = settings.get("own_password") or (Secret(password) if password else None)
    return Access(
        host=station.host_add,
        port=station.host_port,
        user=user,
        password=given or settings.get("password"),
        key_file=None if password else settings.get("key_file"),
        host_key_policy=settings["host_key_policy"],
        known_hosts=known_hosts(settings),
        legacy=settings["legacy"],
        passphrase=settings.get("passphrase"),
        use_agent=settings["ssh_agent"],
        timeouts=timeouts or Timeouts(),
    )
