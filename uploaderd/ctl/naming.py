"""Which station an operator means: by its number, its own name, or an address."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from uploaderd.config import load_daemon, load_services
from uploaderd.config.settings import DatabaseSettings, ServiceSettings
from uploaderd.errors import ConfigError, UploaderError
from uploaderd.secret import Secret
from uploaderd.services import reach
from uploaderd.services.station_record import Station
from uploaderd.station.access import Access, Timeouts

PLAIN: Mapping[str, Any] = {
    "host_key_policy": "accept-new",
    "known_hosts": Path("/var/lib/uploaderd/known_hosts"),
    "legacy": False,
    "message_passwords": False,
    "ssh_agent": False,
}
"""The settings of a machine without services."""


def service_of(config: Path, folder: Path, *kinds: str) -> ServiceSettings:
    """The settings of the first service file of one of these kinds, in the order of the kinds.

    Raises ConfigError if there is none, or a file is wrong.
    """
    services = load_services(folder, load_daemon(config).repository)
    for kind in kinds:
        for each in services:
            if each.service == kind:
                return each
    raise ConfigError(f"{folder}: holds no service file of {' or '.join(kinds)}")


def station_named(settings: ServiceSettings, name: str) -> Station:
    """The station of this number or name, as its own file and the catalog know it.

    Neither knows it, or the catalog is not reached: the name is taken for an address.
    """
    number = int(name) if name.isdecimal() else None
    known: dict[str, Any] = {}
    for one in settings.behaviour.get("stations", ()):
        if name in (one.host_uid, str(one.host_id)) or name == one.values.get("address"):
            known = {"host_id": one.host_id or 0, "host_uid": one.host_uid or ""}
            known["host_add"] = one.values.get("address", "")
    # A station must be looked at while the database is away, too.
    with contextlib.suppress(UploaderError):
        known = {**known, **_recorded(settings.database, name, number)}
    unknown = {"host_id": number or 0, "host_uid": "", "host_add": "" if number else name}
    return Station(**{"host_port": 22, "user": "", **unknown, **known})


def _recorded(database: DatabaseSettings, name: str, number: int | None) -> dict[str, Any]:
    from uploaderd.catalog.client import Catalog  # its import takes longer than other commands run

    with Catalog(database) as catalog:
        rows = catalog.query(
            "SELECT host_id, host_uid, host_add, host_port, user FROM hosts_now"
            " WHERE host_id = %(number)s OR host_uid = %(name)s OR host_add = %(name)s"
            " ORDER BY updated_at DESC LIMIT 1",
            {"number": number or 0, "name": name},
        )
    return rows[0] if rows else {}


def access_of(arguments: argparse.Namespace, password: Secret | None) -> tuple[Access, str | None]:
    """How the station of `doctor ssh` is reached, and where its agent's configuration should be.

    The command's options win over the settings of the services, if there are any. Raises
    ConfigError and MessageError.
    """
    name = arguments.station or arguments.host
    limit = arguments.timeout
    timeouts = Timeouts(connect_s=limit, banner_s=limit, authentication_s=limit, stall_s=limit)
    settings: Mapping[str, Any] = PLAIN
    place = Station(0, "", name, 22, "")
    agent_config = None
    if arguments.services.is_dir():
        service = service_of(arguments.config, arguments.services, "host-check", "backup")
        settings, place = reach.of_station(service.behaviour, station_named(service, name))
        agent_config = None if "filter" in settings else settings["agent_config"]
    user = arguments.user or place.user or settings.get("user") or "root"
    place = replace(place, user=user, host_port=arguments.port or place.host_port)
    access = reach.access(settings, place, None, timeouts)
    given = {
        "password": password,
        "key_file": arguments.key_file,
        "known_hosts": arguments.known_hosts,
        "legacy": arguments.legacy,
    }
    access = replace(access, **{key: value for key, value in given.items() if value})
    return access, arguments.agent_config or agent_config
