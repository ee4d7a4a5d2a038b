"""A whole system in one folder: broker, database, configuration and daemon, for demo and tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pika

from lab import database, rabbitmq
from lab.ports import free_ports
from uploaderd.broker import access
from uploaderd.catalog.client import Catalog
from uploaderd.catalog.migrate import migrate
from uploaderd.messages import routing_key

SERVICES = ("host-request", "backup", "process", "publish")
ROOT = Path(__file__).parent.parent
READY_S = 60.0


@dataclass
class System:
    """A running system; `stop` ends all of it, in the order that loses nothing."""

    folder: Path
    broker: rabbitmq.Broker
    database: database.Database
    daemon: subprocess.Popen[bytes] | None = None
    instances: dict[str, int] = field(default_factory=dict)
    workers: dict[str, int] = field(default_factory=lambda: {"host-request": 16})
    behaviour: dict[str, dict[str, Any]] = field(default_factory=dict)
    daemon_settings: dict[str, Any] = field(default_factory=dict)
    """Further keys of `config.json`."""
    service_settings: dict[str, Any] = field(default_factory=dict)
    """Further keys of every service file."""
    broker_settings: dict[str, Any] = field(default_factory=dict)
    """Further keys of every `rabbitmq` section."""
    broker_hosts: list[str] = field(default_factory=list)
    """Addresses at which the daemon finds its broker, if not the broker's own."""
    database_settings: dict[str, Any] = field(default_factory=dict)
    """Further keys of every `database` section."""
    environment: dict[str, str] = field(default_factory=dict)
    """Further variables of the daemon's environment."""

    @property
    def config(self) -> Path:
        """The daemon's configuration."""
        return self.folder / "etc" / "config.json"

    @property
    def services(self) -> Path:
        """The folder of service files."""
        return self.folder / "etc" / "services.d"

    @property
    def repository(self) -> Path:
        """Where the files land."""
        return self.folder / "repository"

    @property
    def published(self) -> Path:
        """Where publish writes."""
        return self.folder / "published"

    @property
    def log(self) -> Path:
        """What the daemon and its services say."""
        return self.folder / "uploaderd.log"

    def catalog(self) -> Catalog:
        """A connection of its own to the catalog."""
        return Catalog(self.database.settings)

    def configure(self) -> None:
        """Writes `config.json` and one file a service."""
        self.services.mkdir(parents=True, exist_ok=True)
        main = {
            "services": "all",
            "run_dir": str(self.folder / "run"),
            "repository": str(self.repository),
            **self.daemon_settings,
        }
        self.config.write_text(json.dumps(main, indent=2))
        for service in SERVICES:
            path = self.services / f"{service}.json"
            path.write_text(json.dumps(self._service(service), indent=2))
            path.chmod(0o600)

    def _service(self, service: str) -> dict[str, Any]:
        broker, base = self.broker.settings, self.database.settings
        behaviours: dict[str, dict[str, Any]] = {
            "host-request": {},
            "backup": {"halt_wait_s": 0.5, "user": "station"},
            "process": {},
            "publish": {"folder": str(self.published)},
        }
        behaviour = behaviours[service]
        return {
            "service": service,
            "enabled": True,
            "instances": self.instances.get(service, 1),
            "workers": self.workers.get(service, 1),
            "behaviour": {**behaviour, **self.behaviour.get(service, {})},
            "database": {
                "host": base.host,
                "port": base.port,
                "database": base.database,
                **self.database_settings,
            },
            "rabbitmq": {
                "hosts": self.broker_hosts or [f"{host}:{port}" for host, port in broker.hosts],
                "vhost": broker.virtual_host,
                "user": broker.user,
                "password": broker.password.reveal(),
                "exchange": broker.exchange,
                "queue": service,
                "bindings": [routing_key(service)],
                "retry_delays_s": [0.5, 1, 2],
                **self.broker_settings,
            },
            **self.service_settings,
        }

    def start_daemon(self) -> None:
        """Starts uploaderd as an operator would, and waits until every service takes messages."""
        self.launch_daemon()
        self._await_consumers()

    def launch_daemon(self) -> None:
        """Starts uploaderd, and does not wait; its output goes to `log`."""
        command = [sys.executable, "-m", "uploaderd", "-c", str(self.config)]
        with self.log.open("ab") as log:
            self.daemon = subprocess.Popen(
                [*command, "-s", str(self.services)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                start_new_session=True,
                env={**os.environ, **self.environment},
            )

    def _await_consumers(self) -> None:
        """Waits until every service takes messages, so that nothing is asked of a deaf one."""
        until = time.monotonic() + READY_S
        host, port = self.broker.settings.hosts[0]
        parameters = access.parameters(self.broker.settings, host, port, name="lab")
        with contextlib.closing(pika.BlockingConnection(parameters)) as asking:
            for service in SERVICES:
                while not _consumers(asking, service):
                    ended = self.daemon is None or self.daemon.poll() is not None
                    if ended or time.monotonic() > until:
                        raise RuntimeError(f"the daemon is not ready: {self.log.read_text()}")
                    time.sleep(0.1)

    def stop_daemon(self) -> int:
        """Ends the daemon as systemd would, and waits for it."""
        if self.daemon is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.daemon.pid, signal.SIGTERM)
        status = self.daemon.wait(timeout=90)
        self.daemon = None
        return status

    def ask(self, service: str, *, wait: float = 30, **parameters: object) -> dict[str, Any]:
        """Sends a message with amqpfire, and gives the answer that it prints."""
        answer = self.fire(service, "--wait", str(wait), "--json", **parameters)
        if not answer.stdout.strip():
            raise RuntimeError(f"amqpfire said nothing but: {answer.stderr}")
        reply: dict[str, Any] = json.loads(answer.stdout)
        return reply

    def fire(
        self, service: str, *options: str, **parameters: object
    ) -> subprocess.CompletedProcess[str]:
        """Runs amqpfire with the daemon's own settings."""
        pairs = [f"{key}={value}" for key, value in parameters.items()]
        file = self.services / f"{service}.json"
        return subprocess.run(
            [
                *(sys.executable, "-m", "amqpfire", "-c", str(file), "-s", service),
                *("-p", *pairs),
                *options,
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            cwd=ROOT,
        )

    def stop(self) -> None:
        """Ends daemon, broker and database."""
        try:
            self.stop_daemon()
        finally:
            self.broker.stop()
            self.database.stop()


def _consumers(asking: pika.BlockingConnection, queue: str) -> int:
    channel = asking.channel()
    try:
        count: int = channel.queue_declare(queue, passive=True).method.consumer_count
    except pika.exceptions.ChannelClosedByBroker:
        return 0
    channel.close()
    return count


@contextlib.contextmanager
def running(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[System]:
    """A system whose catalog is made and whose configuration is written; no daemon yet.

    At the end the broker is killed, for an orderly end takes seconds: its files are of no use then.
    """
    system = start(folder, environment)
    try:
        yield system
    finally:
        try:
            system.stop_daemon()
        finally:
            system.broker.kill()
            system.database.stop()


def start(folder: Path, environment: Mapping[str, str] | None = None) -> System:
    """As `running`, for those who stop it themselves.

    `environment` holds further variables for the database and the daemon.
    """
    folder.mkdir(parents=True, exist_ok=True)
    broker = rabbitmq.start(folder / "broker")
    try:
        (port,) = free_ports(1)
        base = database.start(folder / "database", port, environment=environment)
    except BaseException:
        broker.stop()
        raise
    system = System(folder, broker, base, environment=dict(environment or {}))
    try:
        migrate(base.settings)
        system.configure()
    except BaseException:
        system.stop()
        raise
    return system
