"""How to reach the broker: a configuration file, a URL and flags, the later ones winning."""

from __future__ import annotations

import dataclasses
import json
import os
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uploaderd.config.settings import BrokerSettings, TlsSettings
from uploaderd.errors import ConfigError
from uploaderd.secret import Secret

if TYPE_CHECKING:
    import argparse

DEFAULT_CONFIG = Path("/etc/uploaderd/config.json")
PORT, TLS_PORT = 5672, 5671


def settings(arguments: argparse.Namespace) -> BrokerSettings:
    """The settings that the command line asks for; ConfigError names what is wrong."""
    made = BrokerSettings()
    path = arguments.config
    if path is None and arguments.url is None and DEFAULT_CONFIG.exists():
        path = DEFAULT_CONFIG
    if path is not None:
        made = from_file(path)
    if arguments.url is not None:
        made = _from_url(made, arguments.url)
    return _from_flags(made, arguments)


def from_file(path: Path) -> BrokerSettings:
    """The settings in the section `rabbitmq` of a JSON file; ConfigError names what is wrong."""
    return _from_section(path, _section(path))


def _section(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}.") from None
    section = document.get("rabbitmq") if isinstance(document, dict) else None
    if not isinstance(section, dict):
        raise ConfigError(f"{path} has no section rabbitmq.", hint="Give a service file, or --url.")
    return section


def _from_section(path: Path, section: Mapping[str, Any]) -> BrokerSettings:
    def text(key: str, default: str) -> str:
        value = section.get(key, default)
        if not isinstance(value, str):
            raise ConfigError(f"{path}: rabbitmq.{key} should be a string.")
        return value

    tls = section.get("tls")
    port = section.get("port", TLS_PORT if tls is not None else PORT)
    if not isinstance(port, int):
        raise ConfigError(f"{path}: rabbitmq.port should be an integer.")
    hosts = section.get("hosts")
    if hosts is None:
        hosts = [f"{text('host', '127.0.0.1')}:{port}"]
    return BrokerSettings(
        hosts=tuple(_place(path, item) for item in hosts),
        virtual_host=text("vhost", "/"),
        user=text("user", "guest"),
        password=_password(path, section),
        heartbeat_s=section.get("heartbeat", 20),
        tls=None if tls is None else _tls(path.parent, tls),
        exchange=text("exchange", "uploaderd"),
    )


def _place(path: Path, item: object) -> tuple[str, int]:
    host, _, port = str(item).rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"{path}: rabbitmq.hosts has {item!r}, which is not host:port.")
    return host.strip("[]"), int(port)


def _tls(folder: Path, section: Mapping[str, str]) -> TlsSettings:
    files = {key: folder / value for key, value in section.items()}
    try:
        return TlsSettings(**files)
    except TypeError:
        raise ConfigError("rabbitmq.tls knows ca_file, certificate and key.") from None


def _password(path: Path, section: Mapping[str, Any]) -> Secret:
    if "password_file" in section:
        return read_password(path.parent / section["password_file"])
    if "password_env" in section:
        return Secret(os.environ.get(section["password_env"], ""))
    if "password_credential" in section:
        folder = os.environ.get("CREDENTIALS_DIRECTORY", "/run/credentials")
        return read_password(Path(folder) / section["password_credential"])
    return Secret(str(section.get("password", "guest")))


def read_password(path: Path) -> Secret:
    """The first line of a file; ConfigError if it cannot be read."""
    try:
        return Secret(path.read_text(encoding="utf-8").partition("\n")[0])
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The password file {path} cannot be read: {error}.") from None


def _from_url(made: BrokerSettings, url: str) -> BrokerSettings:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
        raise ConfigError("A URL is amqp://USER@HOST:PORT/VHOST, or amqps://… for TLS.")
    tls = made.tls
    if parts.scheme == "amqps":
        tls = tls or TlsSettings()
    try:
        port = parts.port or (TLS_PORT if parts.scheme == "amqps" else PORT)
    except ValueError:
        raise ConfigError("The port in the URL is not a number from 1 to 65535.") from None
    unquote = urllib.parse.unquote
    return dataclasses.replace(
        made,
        hosts=((parts.hostname, port),),
        virtual_host=unquote(parts.path[1:]) if len(parts.path) > 1 else made.virtual_host,
        user=unquote(parts.username) if parts.username else made.user,
        password=Secret(unquote(parts.password)) if parts.password else made.password,
        tls=tls,
    )


def _from_flags(made: BrokerSettings, arguments: argparse.Namespace) -> BrokerSettings:
    tls = made.tls
    if arguments.ssl or arguments.cacert or arguments.cert or arguments.key:
        base = tls or TlsSettings()
        tls = TlsSettings(
            arguments.cacert or base.ca_file,
            arguments.cert or base.certificate,
            arguments.key or base.key,
        )
    hosts = made.hosts
    if arguments.server or arguments.port:
        host, port = hosts[0]
        if arguments.server:
            port = TLS_PORT if tls else PORT
        hosts = ((arguments.server or host, arguments.port or port),)
    password = made.password
    if arguments.password is not None:
        password = Secret(arguments.password)
    if arguments.password_file:
        password = read_password(arguments.password_file)
    return dataclasses.replace(
        made,
        hosts=hosts,
        virtual_host=arguments.vhost or made.virtual_host,
        user=arguments.username or made.user,
        password=password,
        heartbeat_s=made.heartbeat_s if arguments.heartbeat is None else arguments.heartbeat,
        exchange=arguments.exchange or made.exchange,
        tls=tls,
    )
