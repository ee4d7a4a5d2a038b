"""A station without an agent, and backup services that are built as the daemon builds them."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.sshd import Sshd
from uploaderd.broker.job import Job, Outgoing
from uploaderd.catalog import Catalog
from uploaderd.config import load_service
from uploaderd.services.backup import BackupService

HOST = 11


@dataclass
class Agentless:
    """Files in a folder behind a server, and what the backups of it have sent."""

    folder: Path
    server: Sshd
    catalog: Catalog
    sent: list[Outgoing] = field(default_factory=list)

    @property
    def data(self) -> Path:
        """The folder that the filters name."""
        return self.folder / "data"

    def write(self, name: str, size: int, age_s: float = 86_400) -> Path:
        """A file of the station that was last written so long ago."""
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * size)
        os.truncate(path, size)
        written = time.time() - age_s
        os.utime(path, (written, written))
        return path

    def message(self, **filter_fields: Any) -> dict[str, Any]:
        """A backup message with a filter of the data folder."""
        return {
            "host_id": HOST,
            "host_add": self.server.host,
            "host_port": self.server.port,
            "user": self.server.user,
            "filter": {"file_path": str(self.data), **filter_fields},
        }

    def backup(self, body: dict[str, Any], **behaviour: Any) -> list[str]:
        """Handles the message; the names of the files that came, in the order of their messages."""
        file = self.folder / "backup.json"
        file.write_text(json.dumps(self._service_file(behaviour)))
        service = BackupService(load_service(file, self.folder / "repository"))
        before = len(self.sent)
        job = Job(body, message_id=f"m{before}", send_now=self.sent.extend)
        try:
            service.handle(job)
        finally:
            service.close()
        self.sent.extend(job.outgoing)
        return [Path(each["remote_path"]).name for each in self._bodies("file.process", before)]

    def continuations(self) -> list[dict[str, Any]]:
        """The backup messages that were sent for what was left."""
        return self._bodies("host.backup", 0)

    def settle(self) -> None:
        """Has the catalog say that what came is processed."""
        self.catalog.execute(
            "INSERT INTO files SELECT * REPLACE ('processed' AS stage, version + 1 AS version)"
            " FROM (SELECT * FROM files_now WHERE stage = 'fetched')"
        )

    def _bodies(self, routing_key: str, after: int) -> list[dict[str, Any]]:
        return [json.loads(one.body) for one in self.sent[after:] if one.routing_key == routing_key]

    def _service_file(self, behaviour: dict[str, Any]) -> dict[str, Any]:
        database = self.catalog.settings
        return {
            "service": "backup",
            "behaviour": {"key_file": str(self.server.key_file), **behaviour},
            "database": {
                "host": database.host,
                "port": database.port,
                "database": database.database,
            },
            "rabbitmq": {"queue": "backup", "bindings": ["host.backup"]},
        }
