"""Files to settings: `load_daemon` and `load_services`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uploaderd.config import document
from uploaderd.config.check import closest, schema
from uploaderd.config.completion import complete
from uploaderd.config.document import Document
from uploaderd.config.settings import (
    BrokerSettings,
    DaemonSettings,
    DatabaseSettings,
    HttpSettings,
    Limits,
    LoggingSettings,
    MailSettings,
    QueueSettings,
    ServiceSettings,
    StatusSettings,
    SupervisionSettings,
    TlsSettings,
)
from uploaderd.config.stations import load_stations
from uploaderd.errors import ConfigError


def load_daemon(path: Path, text: str | None = None) -> DaemonSettings:
    """Reads `config.json`, or its `text`; relative paths are taken from the file's folder.

    Raises ConfigError.
    """
    file = document.read(path, text)
    values = complete(file, _packaged("daemon"), file.value, ())
    mail = values["notifier"].get("mail")
    return DaemonSettings(
        path=path,
        services=None if values["services"] == "all" else tuple(values["services"]),
        run_dir=values["run_dir"],
        repository=values["repository"],
        logging=LoggingSettings(**values["logging"]),
        supervision=SupervisionSettings(**values["supervision"]),
        http=HttpSettings(**values["http"]),
        mail=None if mail is None else MailSettings(**_lists_to_tuples(mail)),
        status=StatusSettings(**values["status"]),
    )


def load_services(folder: Path, repository: Path | None = None) -> tuple[ServiceSettings, ...]:
    """Reads every `*.json` of a folder, in the order of their names.

    `repository` is for services whose behaviour could name one and does not. Raises ConfigError.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: is no folder of service files")
    files = sorted(folder.glob("*.json"))
    if not files:
        raise ConfigError(f"{folder}: holds no service file (*.json)")
    services = tuple(load_service(file, repository) for file in files)
    _require_targets_apart(folder, [one for one in services if one.service == "send"])
    return services


def _require_targets_apart(folder: Path, targets: Sequence[ServiceSettings]) -> None:
    """Raises ConfigError if two targets share a queue or an outbox: one would take the other's."""
    for one, other in itertools.combinations(targets, 2):
        file = document.read(folder / f"{other.name}.json")
        if one.queue.name == other.queue.name:
            raise file.error(("rabbitmq", "queue"), f"{one.name}.json has the same; one a target")
        if one.behaviour["outbox"] == other.behaviour["outbox"]:
            raise file.error(("behaviour", "outbox"), f"{one.name}.json has the same; one a target")


def load_service(
    path: Path, repository: Path | None = None, text: str | None = None
) -> ServiceSettings:
    """Reads one service file, or its `text`; its name without `.json` is the service's name.

    Raises ConfigError.
    """
    file = document.read(path, text)
    values = complete(file, _packaged("service"), file.value, ())
    wanted = schema(f"behaviour/{values['service']}")
    behaviour = values["behaviour"]
    if wanted is not None:
        behaviour = complete(file, wanted, behaviour, ("behaviour",))
        if "repository" in wanted["properties"] and repository is not None:
            behaviour.setdefault("repository", repository)
        if "stations" in behaviour:
            behaviour["stations"] = load_stations(behaviour["stations"])
        if "rabbitmq" not in values:
            raise file.error((), "the key rabbitmq is missing")
        # A service with a loop of its own takes no messages.
        if not values["rabbitmq"]["bindings"] and not wanted.get("x-own-loop"):
            raise file.error(("rabbitmq", "bindings"), "must not be empty")
    broker = values.get("rabbitmq", {"queue": path.stem, "bindings": []})
    return ServiceSettings(
        name=path.stem,
        service=values["service"],
        enabled=values["enabled"],
        instances=values["instances"],
        behaviour=behaviour,
        database=DatabaseSettings(**values["database"]),
        broker=_broker(file, broker),
        queue=_queue(broker),
        workers=values["workers"],
        limits=Limits(**values["limits"]),
    )


def select(
    daemon: DaemonSettings, services: tuple[ServiceSettings, ...]
) -> tuple[ServiceSettings, ...]:
    """The services to run: enabled in their own file, and named by the daemon's.

    Raises ConfigError for a name without a file.
    """
    if daemon.services is None:
        return tuple(service for service in services if service.enabled)
    names = {service.name for service in services}
    for index, name in enumerate(daemon.services):
        if name not in names:
            file = document.read(daemon.path)
            raise file.error(
                ("services", index), f"no service file is named {name}.json{closest(name, names)}"
            )
    return tuple(
        service for service in services if service.enabled and service.name in daemon.services
    )


def _packaged(name: str) -> dict[str, Any]:
    wanted = schema(name)
    if wanted is None:
        raise ConfigError(f"the installation lacks its schema {name}.json")
    return wanted


def _broker(file: Document, values: dict[str, Any]) -> BrokerSettings:
    if "hosts" in values and ("host" in values or "port" in values):
        raise file.error(("rabbitmq", "hosts"), "give either hosts, or host and port, not both")
    hosts = values.get("hosts", [f"{values.get('host', '127.0.0.1')}:{values.get('port', 5672)}"])
    pairs = tuple(
        (host.strip("[]"), int(port)) for host, _, port in (h.rpartition(":") for h in hosts)
    )
    for index, (_, port) in enumerate(pairs):
        if not 1 <= port <= 65535:
            raise file.error(("rabbitmq", "hosts", index), "expected a port from 1 to 65535")
    known = BrokerSettings()
    tls = values.get("tls")
    if tls is not None and ("certificate" in tls) != ("key" in tls):
        raise file.error(("rabbitmq", "tls"), "certificate and key come together")
    return BrokerSettings(
        hosts=pairs,
        virtual_host=values.get("vhost", known.virtual_host),
        user=values.get("user", known.user),
        password=values.get("password", known.password),
        heartbeat_s=values.get("heartbeat", known.heartbeat_s),
        tls=None if tls is None else TlsSettings(**tls),
        exchange=values.get("exchange", known.exchange),
    )


def _queue(values: dict[str, Any]) -> QueueSettings:
    given = _lists_to_tuples(
        {
            key: values[key]
            for key in ("prefetch", "retry_limit", "retry_delays_s", "retry_by", "declare")
            if key in values
        }
    )
    return QueueSettings(name=values["queue"], bindings=tuple(values["bindings"]), **given)


def _lists_to_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
