"""Loading of configuration files: what they become, and what is said of a wrong one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from uploaderd import config
from uploaderd.config import load_daemon, load_service, load_services, select
from uploaderd.config.settings import TlsSettings
from uploaderd.errors import ConfigError
from uploaderd.exchange.watermark import LOAD_ORDER
from uploaderd.secret import Secret

ROOT = Path(__file__).parents[3]
SCHEMAS = Path(config.__file__).parent / "schemas"
BROKER = {"queue": "backup", "bindings": ["host.backup"]}


def write(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value, indent=2))
    return path


def service(folder: Path, **changes: Any) -> Path:
    return write(folder / "backup.json", {"service": "backup", "rabbitmq": BROKER, **changes})


def test_an_empty_daemon_file_gets_every_default(tmp_path: Path) -> None:
    settings = load_daemon(write(tmp_path / "config.json", {}))
    assert settings.services is None
    assert settings.repository == Path("/var/lib/uploaderd")
    assert settings.supervision.crash_limit == 5
    assert settings.mail is None


def test_relative_paths_are_taken_from_the_file_that_names_them(tmp_path: Path) -> None:
    settings = load_daemon(write(tmp_path / "config.json", {"run_dir": "run"}))
    assert settings.run_dir == tmp_path / "run"


def test_the_examples_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for name in ("database", "rabbitmq"):
        (tmp_path / name).write_text("secret\n")
    services_d, stations_d = tmp_path / "services.d", tmp_path / "stations.d"
    services_d.mkdir()
    stations_d.mkdir()
    for example in (ROOT / "services.d").glob("*.example"):
        shutil.copy(example, services_d / example.stem)
    services = load_services(services_d)
    assert [each.name for each in services if each.enabled] == [
        *("backup", "host-check", "host-request", "process", "publish")
    ]
    assert [each.name for each in services if not each.enabled] == [
        *("garbage", "gateway", "receive", "scheduler", "send-central")
    ]
    daemon = load_daemon(ROOT / "config.json.example")
    assert select(daemon, services) == tuple(each for each in services if each.enabled)


def test_a_service_file_becomes_settings(tmp_path: Path) -> None:
    path = service(
        tmp_path,
        instances=3,
        behaviour={"password": "station", "key_file": "key"},
        database={"password": "base"},
        rabbitmq={
            **BROKER,
            "hosts": ["one:1", "[::1]:2"],
            "password": "broker",
            "prefetch": 7,
            "tls": {"ca_file": "/ca"},
        },
    )
    settings = load_service(path, tmp_path / "repository")
    assert (settings.name, settings.service, settings.instances) == ("backup", "backup", 3)
    assert settings.behaviour["password"] == Secret("station")
    assert settings.behaviour["key_file"] == tmp_path / "key"
    assert settings.behaviour["agent_config"] == "/etc/node/indexerD.cfg"
    assert settings.behaviour["repository"] == tmp_path / "repository"
    assert settings.database.password == Secret("base")
    assert settings.broker.hosts == (("one", 1), ("::1", 2))
    assert settings.broker.password == Secret("broker")
    assert settings.broker.tls == TlsSettings(ca_file=Path("/ca"))
    assert (settings.queue.name, settings.queue.bindings) == ("backup", ("host.backup",))
    assert settings.queue.prefetch == 7


def test_a_password_comes_from_file_environment_or_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("from file\n")
    monkeypatch.setenv("BASE", "from environment")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    path = service(
        tmp_path,
        behaviour={"password_file": "secret"},
        database={"password_env": "BASE"},
        rabbitmq={**BROKER, "password_credential": "secret"},
    )
    settings = load_service(path)
    assert settings.behaviour["password"] == Secret("from file")
    assert settings.database.password == Secret("from environment")
    assert settings.broker.password == Secret("from file")
    assert "from" not in repr(settings)


WRONG_SERVICES: list[tuple[str, dict[str, Any] | str, str]] = [
    ("not JSON", '{\n"service": }', ":2: not JSON"),
    ("empty", "", ":1: not JSON"),
    ("a list", "[]", ":1: expected an object"),
    ("NaN", '{"service": NaN}', "NaN is no JSON number"),
    ("a key twice", '{"service": "a",\n "service": "b"}', ":2: service: the key is given twice"),
    ("a nested key twice", '{"a": [1, {"b": 1,\n\n"b": 2}]}', ":3: a[1].b: the key is given twice"),
    ("no service", {}, ":1: the key service is missing"),
    (
        "a retry that never waits",
        {"rabbitmq": {**BROKER, "retry_delays_s": [5, 0]}},
        "rabbitmq.retry_delays_s[1]: expected more than 0",
    ),
    (
        "a retry of no kind",
        {"rabbitmq": {**BROKER, "retry_by": "hand"}},
        'rabbitmq.retry_by: expected one of "queues", "broker"',
    ),
    (
        "a pause of years",
        {"rabbitmq": {**BROKER, "retry_delays_s": [1e30]}},
        "rabbitmq.retry_delays_s[0]: expected at most 2592000",
    ),
    (
        "a queue that is no file name",
        {"rabbitmq": {**BROKER, "queue": "../backup"}},
        "rabbitmq.queue: expected name of the service's queue: at most 200 ASCII",
    ),
    (
        "an exchange of the broker's own",
        {"rabbitmq": {**BROKER, "exchange": "amq.topic"}},
        "rabbitmq.exchange: expected",
    ),
    (
        "a binding that AMQP cannot say",
        {"rabbitmq": {**BROKER, "bindings": ["x" * 256]}},
        "rabbitmq.bindings[0]: expected a routing key of at most 255 bytes",
    ),
    (
        "a broker as URL",
        {"rabbitmq": {**BROKER, "hosts": ["amqp://there:5672"]}},
        "rabbitmq.hosts[0]: expected a text host:port",
    ),
    (
        "a port that is none",
        {"rabbitmq": {**BROKER, "hosts": ["there:5672", "there:65536"]}},
        "rabbitmq.hosts[1]: expected a port from 1 to 65535",
    ),
    ("a whole number with a point", {"instances": 2.0}, "instances: expected a whole number"),
    ("no heartbeat", {"rabbitmq": {**BROKER, "heartbeat": 0}}, "heartbeat: expected at least 1"),
    ("a binding twice", {"rabbitmq": {**BROKER, "bindings": ["a", "a"]}}, "rabbitmq.bindings:"),
    ("a limit of nothing", {"limits": {"memory_mb": 1}}, "limits.memory_mb: expected at least 32"),
    ("a misspelt key", {"instancse": 2}, "instancse: unknown key; did you mean instances?"),
    ("a strange key", {"zzz": 2}, "zzz: unknown key; known here: behaviour, database,"),
    (
        "a misspelt behaviour",
        {"behaviour": {"slice_secnds": 2}},
        "behaviour.slice_secnds: unknown key; did you mean slice_seconds?",
    ),
    ("a wrong type", {"instances": "two"}, "instances: expected a whole number"),
    ("a fraction", {"instances": 1.5}, "instances: expected a whole number"),
    ("too small", {"instances": 0}, "instances: expected at least 1"),
    ("too large", {"database": {"port": 99999}}, "database.port: expected at most 65535"),
    (
        "a wrong choice",
        {"behaviour": {"host_key_policy": "no"}},
        'behaviour.host_key_policy: expected one of "accept-new", "strict", "insecure"',
    ),
    ("no queue", {"rabbitmq": {"bindings": ["a"]}}, "rabbitmq: the key queue is missing"),
    ("no bindings", {"rabbitmq": {"queue": "a", "bindings": []}}, "bindings: must not be empty"),
    (
        "a broker without port",
        {"rabbitmq": {**BROKER, "hosts": ["one"]}},
        "rabbitmq.hosts[0]: expected a text host:port",
    ),
    (
        "brokers twice",
        {"rabbitmq": {**BROKER, "hosts": ["one:1"], "port": 5}},
        "rabbitmq.hosts: give either hosts, or host and port",
    ),
    (
        "half a certificate",
        {"rabbitmq": {**BROKER, "tls": {"key": "k"}}},
        "rabbitmq.tls: certificate and key come together",
    ),
    (
        "two passwords",
        {"database": {"password": "hush", "password_env": "X"}},
        "database.password_env: give either this or password, not both",
    ),
    (
        "a missing password file",
        {"database": {"password_file": "nowhere"}},
        "cannot be read: No such file",
    ),
    (
        "an unset variable",
        {"database": {"password_env": "UPLOADERD_NOT_SET"}},
        "the environment variable UPLOADERD_NOT_SET is not set",
    ),
    ("a wrong password", {"database": {"password": 4711}}, "database.password: expected a text"),
]


@pytest.mark.parametrize(
    ("value", "sentence"), [case[1:] for case in WRONG_SERVICES], ids=[c[0] for c in WRONG_SERVICES]
)
def test_a_wrong_service_file_is_one_line_with_file_and_key(
    tmp_path: Path, value: dict[str, Any] | str, sentence: str
) -> None:
    if isinstance(value, str) or not value:
        path = write(tmp_path / "backup.json", value)
    else:
        path = service(tmp_path, **value)
    with pytest.raises(ConfigError) as caught:
        load_service(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert sentence in text
    assert "\n" not in text
    assert "hush" not in text
    assert "4711" not in text


def test_the_line_is_that_of_the_key(tmp_path: Path) -> None:
    path = service(tmp_path, database={"port": 1, "hots": "x"})
    line = 1 + [each.strip()[:6] for each in path.read_text().splitlines()].index('"hots"')
    with pytest.raises(ConfigError, match=f"backup.json:{line}: database.hots: unknown key"):
        load_service(path)


def test_a_credential_without_systemd_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError, match="systemd has passed no credentials"):
        load_service(service(tmp_path, database={"password_credential": "x"}))


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_daemon(path)


def test_a_deeply_nested_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_daemon(write(tmp_path / "config.json", "[" * 100_000 + "]" * 100_000))


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json: cannot be read: No such"):
        load_daemon(tmp_path / "config.json")
    with pytest.raises(ConfigError, match="is no folder"):
        load_services(tmp_path / "services.d")
    with pytest.raises(ConfigError, match="holds no service file"):
        load_services(tmp_path)


def test_only_named_and_enabled_services_run(tmp_path: Path) -> None:
    for name, enabled in (("one", True), ("two", True), ("three", False)):
        write(tmp_path / f"{name}.json", {"service": "a:B", "enabled": enabled})
    services = load_services(tmp_path)
    daemon = write(tmp_path / "config", {"services": ["three", "two"]})
    assert [each.name for each in select(load_daemon(daemon), services)] == ["two"]
    write(daemon, {"services": ["two", "tow"]})
    with pytest.raises(ConfigError, match=r"services\[1\]: no service file is named tow.json; did"):
        select(load_daemon(daemon), services)
    write(daemon, {"services": "some"})
    with pytest.raises(ConfigError, match="services: expected"):
        load_daemon(daemon)


def test_targets_are_whole_and_share_nothing(tmp_path: Path) -> None:
    def target(name: str, *, queue: str, **behaviour: str) -> None:
        section = {"kind": "sftp", "sender": "north", "outbox": name, **behaviour}
        broker = {"queue": queue, "bindings": ["catalog.send"]}
        value = {"service": "send", "behaviour": section, "rabbitmq": broker}
        write(tmp_path / f"{name}.json", value)

    there = {"host": "central", "user": "uploaderd", "folder": "/inbox"}
    target("a", queue="a")
    with pytest.raises(ConfigError, match=r"a\.json:\d+: behaviour: the key host is missing"):
        load_services(tmp_path)
    target("a", queue="a", **there)
    target("b", queue="a", **there)
    with pytest.raises(ConfigError, match=r"b\.json:\d+: rabbitmq\.queue: a\.json has the same"):
        load_services(tmp_path)
    target("b", queue="b", **there | {"outbox": "a"})
    with pytest.raises(ConfigError, match=r"b\.json:\d+: behaviour\.outbox: a\.json has the same"):
        load_services(tmp_path)
    schema = json.loads((SCHEMAS / "behaviour" / "send.json").read_text())
    assert schema["properties"]["tables"]["items"]["enum"] == list(LOAD_ORDER)
    target("b", queue="b", **there)
    assert [one.name for one in load_services(tmp_path)] == ["a", "b"]
