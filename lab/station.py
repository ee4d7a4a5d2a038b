"""A station on disk: data folder, agent configuration, index and flag, and runs of its agent."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from uploaderd.station.agent import AgentConfig, config_of, parse

DEPLOYED_AGENT = Path(__file__).parent / "agent" / "indexerd-deployed.sh"
IMPROVED_AGENT = Path(__file__).parent.parent / "station-agent" / "indexerd"


@dataclass(frozen=True)
class Station:
    """The folders and files of a station below `folder`."""

    folder: Path

    @property
    def data(self) -> Path:
        """The folder that measurement files are written to."""
        return self.folder / "data"

    @property
    def config_path(self) -> Path:
        """The agent's configuration."""
        return self.folder / "etc" / "node" / "indexerD.cfg"

    @property
    def config(self) -> AgentConfig:
        """The same as the server reads it."""
        return config_of(parse(self.config_path.read_bytes()))

    @property
    def index(self) -> Path:
        """The agent's index, `DUE_BACKUP`."""
        return self.folder / ".indexerD" / "files.changed.list"

    @property
    def done(self) -> Path:
        """The list of copied files, `BACKUP_DONE`."""
        return self.folder / ".indexerD" / "backup.done.list"

    @property
    def flag(self) -> Path:
        """The halt flag."""
        return self.folder / ".indexerD" / ".halt.cookie"

    def write(self, name: str, content: bytes) -> Path:
        """A measurement file, below the data folder."""
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def write_index(self, paths: Iterable[Path | bytes]) -> None:
        """The index as the deployed agent writes it: `directory NUL /name NUL newline`, sorted."""
        lines = []
        for path in sorted(os.fsencode(path) for path in paths):
            folder, _, name = path.rpartition(b"/")
            lines.append(folder + b"\0/" + name + b"\0\n")
        self.index.write_bytes(b"".join(lines))

    def run_agent(
        self,
        agent: Path = DEPLOYED_AGENT,
        *,
        shell: Iterable[str] = ("sh",),
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """One run of an agent, to its end."""
        return subprocess.run(
            [*shell, str(agent), str(self.config_path)],
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def lay_out(folder: Path, *, halt_timeout_min: int = 300) -> Station:
    """A station without files, its agent never having run."""
    station = Station(folder.resolve())
    work = station.index.parent
    for each in (station.data, work, station.config_path.parent):
        each.mkdir(parents=True, exist_ok=True)
    station.config_path.write_text(
        "# Configuration of the indexer agent\n"
        f"LOCAL_REPO={station.data}\n"
        f"INDEXERD_FOLDER={work}\n"
        "TEMP_CHANGED=$INDEXERD_FOLDER/tmp.changed.list\n"
        "DUE_BACKUP=$INDEXERD_FOLDER/files.changed.list\n"
        "BACKUP_DONE=$INDEXERD_FOLDER/backup.done.list\n"
        "HALT_FLAG=$INDEXERD_FOLDER/.halt.cookie\n"
        f"HALT_TIMEOUT={halt_timeout_min}\n"
        "LAST_FILE_SEARCH_FLAG=$INDEXERD_FOLDER/.last.file.search.cookie\n"
    )
    return station
