"""A station against the catalog: every file on its disk, and what the ledger says of it."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import paramiko

from uploaderd.catalog import files
from uploaderd.catalog.client import Catalog
from uploaderd.catalog.ids import file_id
from uploaderd.errors import AgentMissing, ConfigError, UploaderError
from uploaderd.secret import Secret
from uploaderd.services import station_record
from uploaderd.services.behaviour import BackupBehaviour
from uploaderd.services.holding import named_errors
from uploaderd.services.station_record import Station
from uploaderd.station import agent, discovery, filters
from uploaderd.station.connection import connect
from uploaderd.station.paths import Sound

BATCH = 5000
EXAMPLES = 20
"""Paths that are told of the files that the catalog does not know."""
COLUMNS = ("node id", "uid", "address", "user", "password file")


@dataclass(frozen=True)
class Target:
    """A station to look at, and the password if the list names one."""

    station: Station
    password: Secret | None = None


@dataclass
class Compared:
    """What a station has, and what the catalog says of it."""

    host_id: int
    host_uid: str
    files: int = 0
    bytes: int = 0
    stages: dict[str, int] = field(default_factory=dict)
    """How many of the station's files are at each stage in the catalog."""
    unknown: int = 0
    """Files of the station that the catalog has never heard of, in this version."""
    examples: list[str] = field(default_factory=list)
    gone: int = 0
    """Files of the catalog that the station has no more; they are safe if processed."""
    unreadable: int = 0
    """Folders and names of the station that cannot be had."""
    error: str = ""
    """Why the station could not be looked at."""

    @property
    def agrees(self) -> bool:
        """Whether every file of the station is settled."""
        left = sum(count for stage, count in self.stages.items() if stage not in files.SETTLED)
        return not (self.error or self.unknown or self.unreadable or left)

    @property
    def text(self) -> str:
        """For an operator."""
        name = f"{self.host_id} {self.host_uid}".strip()
        if self.error:
            return f"{name}: {self.error}"
        stages = [f"{count} {stage}" for stage, count in sorted(self.stages.items())]
        counts = [*stages, f"{self.unknown} unknown", f"{self.gone} no more at the station"]
        if self.unreadable:
            counts.append(f"{self.unreadable} unreadable")
        lines = [f"{name}: {self.files} files, {self.bytes / 1e6:.1f} MB: {', '.join(counts)}"]
        return "\n".join([*lines, *(f"  unknown: {path}" for path in self.examples)])


def named(catalog: Catalog, host: str) -> Target:
    """A station by its number or name, as the catalog remembers it.

    Raises:
        MessageError: no station of that name is known.
        CatalogError: the database cannot be reached.
    """
    request = {"host_id": int(host)} if host.isdigit() else {"host_uid": host}
    return Target(station_record.identify(catalog, request))


def listed(path: Path) -> list[Target]:
    """The stations of a CSV file with the columns node id, uid, address, user, password file.

    The address may be followed by a colon and the port. A header line is passed over, an empty
    password file means the configured key. Raises ConfigError naming file and line.
    """
    targets = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, cells in enumerate(csv.reader(file, skipinitialspace=True), 1):
                if not cells or cells[0].startswith("#") or (number == 1 and not _is_id(cells[0])):
                    continue
                targets.append(_target(path, number, [cell.strip() for cell in cells]))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"The list of stations {path} cannot be read: {error}.") from error
    return targets


def compare(catalog: Catalog, behaviour: BackupBehaviour, target: Target) -> Compared:
    """Looks at a station without touching anything there; what fails is told in `error`.

    Raises CatalogError if the database cannot be reached.
    """
    own, place = behaviour.of_station(target.station)
    result = Compared(target.station.host_id, target.station.host_uid)
    password = target.password.reveal() if target.password else None
    try:
        access = own.access(place, password)
        with connect(access) as connection, named_errors(access.address):
            folder = _folder(connection.sftp, own)
            _look(catalog, connection.sftp, folder, result)
    except UploaderError as error:
        if error.code.startswith("catalog"):
            raise
        result.error = str(error)
    return result


def _look(catalog: Catalog, sftp: paramiko.SFTPClient, folder: bytes, result: Compared) -> None:
    stages: Counter[str] = Counter()
    for batch in _batches(sftp, folder, result):
        ids = {file_id(result.host_id, one.path, one.size, one.mtime_ns): one for one in batch}
        known = files.known(catalog, result.host_id, ids)
        stages.update(known.values())
        for identity, one in ids.items():
            if identity not in known:
                result.unknown += 1
                if len(result.examples) < EXAMPLES:
                    result.examples.append(one.path.decode("utf-8", "backslashreplace"))
    result.stages = dict(stages)
    rows = catalog.query(
        "SELECT count() AS n FROM files_now WHERE host_id = %(id)s AND mtime_ns > 0",
        {"id": result.host_id},
    )
    result.gone = rows[0]["n"] - sum(stages.values())


def _batches(sftp: paramiko.SFTPClient, folder: bytes, result: Compared) -> Iterator[list[Sound]]:
    def sound() -> Iterator[Sound]:
        for one in discovery.walk(sftp, folder):
            if isinstance(one, Sound):
                result.files += 1
                result.bytes += one.size
                yield one
            else:
                result.unreadable += 1

    source = sound()
    while batch := list(islice(source, BATCH)):
        yield batch


def _folder(sftp: paramiko.SFTPClient, behaviour: BackupBehaviour) -> bytes:
    """Where the station keeps its measurements: its agent says, or the configured filter."""
    fields = behaviour.settings.get("filter")
    if fields is not None:
        return filters.parse(fields).file_path
    try:
        return agent.read_config(sftp, behaviour.agent_config).local_repo
    except AgentMissing as error:
        raise ConfigError(
            f"The station has no agent, and no filter is configured for it: {error.sentence}",
            hint="Give it a station file with a filter.",
        ) from error


def _is_id(cell: str) -> bool:
    return cell.strip().isdigit()


def _target(path: Path, number: int, cells: list[str]) -> Target:
    if not 3 <= len(cells) <= len(COLUMNS) or not _is_id(cells[0]):
        raise ConfigError(f"{path}, line {number}: expected {', '.join(COLUMNS)}.")
    host_id, uid, address, user, secret = (*cells, "", "")[:5]
    name, colon, port = address.rpartition(":")
    if not (colon and port.isdigit() and ":" not in name):
        name, port = address, "22"
    password = None
    if secret:
        try:
            text = (path.parent / secret).read_text("utf-8")
        except OSError as error:
            raise ConfigError(
                f"{path}, line {number}: the password file {secret}: {error.strerror}."
            ) from error
        password = Secret(text.rstrip("\n"))
    return Target(Station(int(host_id), uid, name, int(port), user), password)
