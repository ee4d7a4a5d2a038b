"""Typed settings: what the JSON files become once they are valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uploaderd.secret import Secret


@dataclass(frozen=True)
class TlsSettings:
    """TLS towards the broker: paths of PEM files."""

    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class BrokerSettings:
    """How to reach the broker."""

    hosts: tuple[tuple[str, int], ...] = (("127.0.0.1", 5672),)
    virtual_host: str = "/"
    user: str = "guest"
    password: Secret = field(default_factory=lambda: Secret("guest"))
    heartbeat_s: int = 20
    tls: TlsSettings | None = None
    exchange: str = "uploaderd"


@dataclass(frozen=True)
class QueueSettings:
    """One service's queue: bound to `exchange` by each of `bindings` (routing keys)."""

    name: str
    bindings: tuple[str, ...]
    prefetch: int = 1
    retry_limit: int = 5
    """Attempts of a message that failed (`Disposition.FAILED`) before it is a dead letter."""
    retry_delays_s: tuple[float, ...] = (5.0, 30.0, 120.0, 600.0)
    """Steps of the delay before a retry; the last one repeats."""
    retry_by: str = "queues"
    """`queues`: our own retry queues, on every broker. `broker`: delayed retry by the quorum queue
    itself, where the broker has it (RabbitMQ 4.3), else our own queues."""
    declare: bool = True
    """False: the queue is only checked, for a user without configure permission."""


@dataclass(frozen=True)
class DatabaseSettings:
    """How to reach ClickHouse over its native protocol."""

    host: str = "127.0.0.1"
    port: int = 9000
    database: str = "uploaderd"
    user: str = "default"
    password: Secret = field(default_factory=lambda: Secret(""))
    secure: bool = False
    timeout_s: float = 30.0


@dataclass(frozen=True)
class Limits:
    """What an instance may use before it is drained and replaced."""

    memory_mb: int | None = None
    age_s: float | None = None
    watchdog_s: float = 300.0
    """Longest time that the work loop may show no progress before the instance is killed."""


@dataclass(frozen=True)
class ServiceSettings:
    """One file of `services.d`: a service, its instances and its three sections."""

    name: str
    """Name of the service file, unique: `backup`, `backup-north`, …"""
    service: str
    """Which service it runs, as registered: `backup`."""
    enabled: bool
    instances: int
    behaviour: Mapping[str, Any]
    database: DatabaseSettings
    broker: BrokerSettings
    queue: QueueSettings
    workers: int = 1
    """Messages that one instance handles at a time, each in a thread."""
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class LoggingSettings:
    """Where the log goes, and in which form."""

    format: str = "text"
    level: str = "info"
    levels: Mapping[str, str] = field(default_factory=dict)
    console: bool = True
    file: Path | None = None
    syslog: str | None = None


@dataclass(frozen=True)
class SupervisionSettings:
    """How instances are kept alive."""

    restart_delay_s: float = 1.0
    restart_delay_max_s: float = 60.0
    crash_limit: int = 5
    crash_window_s: float = 300.0
    stop_timeout_s: float = 60.0
    status_interval_s: float = 2.0


@dataclass(frozen=True)
class StatusSettings:
    """When a service, a queue, a disk or a station is in which state."""

    idle_s: float = 300.0
    lag_s: float = 3600.0
    slow_s: float = 900.0
    dead_letters: int = 0
    disk_days: float = 14.0
    disk_free: float = 0.03
    trouble_s: float = 30.0
    station_silent_h: float = 26.0
    look_interval_s: float = 10.0


@dataclass(frozen=True)
class HttpSettings:
    """The pages for monitoring."""

    enabled: bool = False
    host: str = "127.0.0.1"
    port: int = 9464


@dataclass(frozen=True)
class MailSettings:
    """How events are mailed."""

    host: str
    sender: str
    recipients: tuple[str, ...]
    port: int = 25
    security: str = "plain"
    ca_file: Path | None = None
    user: str | None = None
    password: Secret = field(default_factory=lambda: Secret(""))
    severities: tuple[str, ...] = ("error", "critical")
    digest_s: float = 60.0
    mails_per_hour: int = 20
    timeout_s: float = 30.0


@dataclass(frozen=True)
class DaemonSettings:
    """`config.json`."""

    path: Path
    services: tuple[str, ...] | None
    """Names of the service files to run; None: all."""
    run_dir: Path
    repository: Path
    logging: LoggingSettings
    supervision: SupervisionSettings
    http: HttpSettings
    mail: MailSettings | None
    status: StatusSettings = field(default_factory=StatusSettings)
