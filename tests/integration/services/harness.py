"""Services built as the daemon builds them, a station with sshd, and a look at what they left."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import sshd as lab_sshd
from lab.station import Station, lay_out
from uploaderd.broker.job import Job, Outgoing
from uploaderd.catalog.client import Catalog
from uploaderd.catalog.status import host_status
from uploaderd.config import load
from uploaderd.config.settings import DatabaseSettings, ServiceSettings
from uploaderd.services.backup import BackupService
from uploaderd.services.process import ProcessService

HOST = 7


def settings_of(
    folder: Path, service: str, database: DatabaseSettings, /, **behaviour: Any
) -> ServiceSettings:
    """A service file through the real loader, so that every default is the real one."""
    file = folder / f"{service}.json"
    file.write_text(
        json.dumps(
            {
                "service": service,
                "behaviour": behaviour,
                "database": {
                    "host": database.host,
                    "port": database.port,
                    "database": database.database,
                },
                "rabbitmq": {"queue": service, "bindings": [f"test.{service}"]},
            }
        )
    )
    return load.load_service(file, folder / "repository")


@dataclass
class Post:
    """What a job sent: messages in order, and the answers to who asked."""

    messages: list[Outgoing] = field(default_factory=list)
    replies: list[dict[str, Any]] = field(default_factory=list)
    beats: int = 0

    def bodies(self, routing_key: str) -> list[dict[str, Any]]:
        """The bodies of the messages of this routing key."""
        return [json.loads(one.body) for one in self.messages if one.routing_key == routing_key]

    def beat(self) -> None:
        """Counts a sign of life."""
        self.beats += 1


def run(
    service: Any, body: dict[str, Any], post: Post | None = None, job: Job | None = None
) -> Post:
    """Lets a service handle a body as the broker runtime would, and gives what it sent."""
    post = post or Post()
    job = job or Job(body, message_id=f"m{len(post.messages)}", reply_to="asker")
    job.send_reply = lambda reply: post.replies.append(json.loads(reply))
    job.send_now = post.messages.extend
    job.on_beat = post.beat
    service.handle(job)
    post.messages.extend(job.outgoing)
    return post


@dataclass
class Site:
    """One station and the two services that bring its files home."""

    folder: Path
    station: Station
    server: lab_sshd.Sshd
    catalog: Catalog
    database: DatabaseSettings

    @property
    def repository(self) -> Path:
        """Where the files land."""
        return self.folder / "repository"

    def body(self, **changes: Any) -> dict[str, Any]:
        """A backup message of the station."""
        return {
            "host_id": HOST,
            "host_uid": "rfeye000007",
            "host_add": self.server.host,
            "host_port": self.server.port,
            "user": self.server.user,
            **changes,
        }

    def backup(self, post: Post | None = None, job: Job | None = None, **behaviour: Any) -> Post:
        """One slice, with another behaviour if that is given."""
        settings = settings_of(
            self.folder,
            "backup",
            self.database,
            **{
                "agent_config": str(self.station.config_path),
                "key_file": str(self.server.key_file),
                "halt_wait_s": 0.01,
                "halt_tries": 2,
                **behaviour,
            },
        )
        service = BackupService(settings)
        try:
            return run(service, self.body(), post, job)
        finally:
            service.close()

    def processing(self) -> ProcessService:
        """A process service; close it."""
        return ProcessService(settings_of(self.folder, "process", self.database))

    def process(self, post: Post) -> None:
        """Handles the process messages that a backup has sent."""
        service = self.processing()
        try:
            for body in post.bodies("file.process"):
                run(service, body)
        finally:
            service.close()

    def rows(self) -> dict[str, dict[str, Any]]:
        """The newest row of each file by its path on the station (versions: the last one)."""
        rows = self.catalog.query("SELECT * FROM files_now ORDER BY version")
        return {row["remote_path"]: row for row in rows}

    def events(self) -> list[tuple[str, str]]:
        """What happened with the station: event and code."""
        rows = self.catalog.query("SELECT event, code FROM host_events_now ORDER BY at")
        return [(row["event"], row["code"]) for row in rows]

    def left(self) -> bytes:
        """What the station's index holds now, without the agent's NUL bytes."""
        index = self.station.index
        return index.read_bytes().replace(b"\0", b"") if index.exists() else b""

    def waiting(self) -> list[Path]:
        """What lies in the repository's `tmp/`."""
        return [path for path in (self.repository / "tmp").rglob("*") if path.is_file()]

    def kept(self) -> list[str]:
        """SHA-256 of each measurement file in the repository, wherever it lies; sorted."""
        files = [path for path in self.repository.rglob("*") if path.is_file()]
        return sorted(sha256(path) for path in files if is_measurement(path))


def is_measurement(path: Path) -> bool:
    """Whether a file of the repository came from a station, and is no note of ours beside it."""
    ours = path.name.startswith(".known_hosts") or path.parent.name == ".slots"
    return not ours and not path.name.endswith(".reason.txt")


def sha256(path: Path) -> str:
    """The file's hash."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def site(folder: Path, server: lab_sshd.Sshd, catalog: Catalog) -> Site:
    """A new station on the server's disk."""
    return Site(folder, lay_out(folder / "station"), server, catalog, catalog.settings)


def status_of(site: Site) -> dict[str, Any]:
    """The station's status as the monitoring system gets it."""
    return host_status(site.catalog, host_id=HOST)
