"""What is to run, as the checked configuration says, and what a reload changes of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from uploaderd.config import document, load_daemon, load_service, load_services, select
from uploaderd.config.check import closest
from uploaderd.config.document import Document, text_of
from uploaderd.config.settings import DaemonSettings, ServiceSettings


@dataclass(frozen=True)
class Job:
    """One service to run: its settings, and the texts that its workers are given."""

    settings: ServiceSettings
    file: Path
    config: Path
    texts: tuple[str, str]
    """`config.json` and the service file, as they were when they were checked."""
    shared: tuple[object, ...]
    """What else of `config.json` a worker depends on."""

    def same_work(self, other: Job) -> bool:
        """True if a worker of one need not be replaced by a worker of the other."""
        mine = dataclasses.replace(self.settings, instances=1)
        theirs = dataclasses.replace(other.settings, instances=1)
        return mine == theirs and self.shared == other.shared


@dataclass(frozen=True)
class Plan:
    """A valid configuration."""

    daemon: DaemonSettings
    jobs: dict[str, Job]


def read_plan(config: Path, folder: Path) -> Plan:
    """Reads and checks everything. Raises ConfigError."""
    config_text = text_of(config)
    daemon = load_daemon(config, config_text)
    jobs = {}
    for service in select(daemon, load_services(folder, daemon.repository)):
        file = folder / f"{service.name}.json"
        text = text_of(file)
        _require_registered(service.service, document.read(file, text))
        jobs[service.name] = Job(
            settings=load_service(file, daemon.repository, text),
            file=file,
            config=config,
            texts=(config_text, text),
            shared=(daemon.logging, daemon.run_dir, daemon.supervision.stop_timeout_s),
        )
    return Plan(daemon, jobs)


def _require_registered(name: str, file: Document) -> None:
    """A service is registered by a package, or named by its module and class."""
    names = {entry.name for entry in entry_points(group="uploaderd.services")}
    if ":" not in name and name not in names:
        raise file.error(("service",), f"no service is registered as {name}{closest(name, names)}")
