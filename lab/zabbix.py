"""A private Zabbix of the distribution's packages: PostgreSQL, server and the frontend's API.

Everything listens on free ports of 127.0.0.1 and lies in one folder. PostgreSQL and Zabbix refuse
to run as root; they run in user namespaces in which the present user has their names, so that the
machine's accounts and folders stay as they are.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.ports import free_ports

SCHEMA = Path("/usr/share/zabbix-server-pgsql")
FRONTEND = Path("/usr/share/zabbix")
SERVER = Path("/usr/sbin/zabbix_server")
START_S = 90.0
TIMEOUT_S = 10
"""`Timeout` of the server: so long may an external check take."""
_API = {"jsonrpc": "2.0", "id": 1}


def missing() -> str:
    """What a private Zabbix needs and this machine lacks; empty: nothing."""
    wanted = {
        "zabbix-server-pgsql": SERVER.exists() and SCHEMA.is_dir(),
        "zabbix-frontend-php": (FRONTEND / "api_jsonrpc.php").exists(),
        "php-cli": shutil.which("php") is not None,
        "postgresql": _postgres("initdb").exists(),
    }
    lacking = [name for name, there in wanted.items() if not there]
    if lacking:
        return f"these packages are not installed: {' '.join(lacking)}"
    probe = [*_namespace("postgres"), "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        return "user namespaces are not permitted here"
    return ""


@dataclass
class Zabbix:
    """A running Zabbix; `call` is its API, as the user Admin."""

    folder: Path
    database_port: int
    server_port: int
    api_port: int
    processes: list[tuple[subprocess.Popen[bytes], signal.Signals]] = field(default_factory=list)
    session: str = ""

    @property
    def scripts(self) -> Path:
        """The folder of external checks."""
        return self.folder / "externalscripts"

    @property
    def log(self) -> str:
        """What the server has said so far."""
        return (self.folder / "server.log").read_text(errors="replace")

    def call(self, method: str, parameters: object) -> Any:
        """One call of the API. Raises RuntimeError with the API's own words, or OSError."""
        body = {**_API, "method": method, "params": parameters}
        if self.session:
            body["auth"] = self.session
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.api_port}/api_jsonrpc.php",
            json.dumps(body).encode(),
            {"Content-Type": "application/json-rpc"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            told = json.loads(answer.read())
        if "error" in told:
            raise RuntimeError(f"{method}: {told['error']}")
        return told["result"]

    def load(self, path: Path) -> None:
        """Imports an export file in YAML, as an operator does."""
        whole = ("groups", "templates", "items", "triggers", "discoveryRules", "mediaTypes")
        rules = {name: {"createMissing": True, "updateExisting": True} for name in whole}
        source = path.read_text(encoding="utf-8")
        self.call("configuration.import", {"format": "yaml", "source": source, "rules": rules})

    def stop(self) -> None:
        """Ends frontend, server and database, in this order."""
        for process, how in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(how)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()


def start(folder: Path, environment: Mapping[str, str]) -> Zabbix:
    """Starts a new Zabbix below `folder`; takes some 15 s, most of it for its own templates.

    `environment` is what external checks see. Raises RuntimeError with a log if a part of it does
    not come up.
    """
    for name in ("externalscripts", "alertscripts", "etc"):
        (folder / name).mkdir(parents=True)
    database_port, api_port = free_ports(2)
    zabbix = Zabbix(folder, database_port, _server_port(), api_port)
    try:
        _start_database(zabbix)
        _fill_database(zabbix)
        _start_server(zabbix, environment)
        _start_frontend(zabbix)
    except BaseException:
        zabbix.stop()
        raise
    return zabbix


def _server_port() -> int:
    """A free port that the server allows: its highest is 32767, below the system's own choice."""
    for port in random.sample(range(20000, 32768), 50):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port from 20000 to 32767 was found")


def _postgres(program: str) -> Path:
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{program}")
    return max(versions, default=Path(program))


def _namespace(user: str) -> list[str]:
    """A command's beginning that lets the present user appear as another one.

    The namespace of processes makes everything end with its first one.
    """
    try:
        known = pwd.getpwnam(user)
    except KeyError:
        return ["false"]
    names = (f"--map-user={known.pw_uid}", f"--map-group={known.pw_gid}")
    return ["unshare", "--user", *names]


def _launch(
    zabbix: Zabbix,
    command: list[str],
    log: str,
    how: signal.Signals,
    environment: Mapping[str, str] | None = None,
) -> None:
    with (zabbix.folder / log).open("ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment,
            start_new_session=True,
        )
    zabbix.processes.append((process, how))


def _await(zabbix: Zabbix, ready: Callable[[], bool], log: str) -> None:
    until = time.monotonic() + START_S
    while not ready():
        if zabbix.processes[-1][0].poll() is not None or time.monotonic() > until:
            raise RuntimeError((zabbix.folder / log).read_text(errors="replace")[-3000:])
        time.sleep(0.05)


def _start_database(zabbix: Zabbix) -> None:
    data = zabbix.folder / "database"
    command = [str(_postgres("initdb")), "-D", str(data), "-U", "zabbix", "-A", "trust", "-N"]
    subprocess.run(
        [*_namespace("postgres"), *command, "-E", "UTF8", "--locale=C.UTF-8"],
        check=True,
        capture_output=True,
    )
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(zabbix.database_port),
        "unix_socket_directories": "",
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "off",
    }
    command = [str(_postgres("postgres")), "-D", str(data)]
    for key, value in settings.items():
        command += ["-c", f"{key}={value}"]
    # SIGINT is PostgreSQL's fast shutdown.
    _launch(zabbix, [*_namespace("postgres"), *command], "database.log", signal.SIGINT)
    _await(zabbix, lambda: _sql(zabbix, b"SELECT 1", "postgres").returncode == 0, "database.log")


def _sql(zabbix: Zabbix, text: bytes, database: str) -> subprocess.CompletedProcess[bytes]:
    where = ["-h", "127.0.0.1", "-p", str(zabbix.database_port), "-U", "zabbix", database]
    command = ["psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", *where]
    return subprocess.run(command, input=text, capture_output=True, check=False)


def _fill_database(zabbix: Zabbix) -> None:
    _sql(zabbix, b"SELECT 1", "postgres").check_returncode()
    where = ["-h", "127.0.0.1", "-p", str(zabbix.database_port), "-U", "zabbix", "zabbix"]
    subprocess.run(["createdb", *where], check=True, capture_output=True)
    for name in ("schema", "images", "data"):
        text = gzip.decompress((SCHEMA / f"{name}.sql.gz").read_bytes())
        done = _sql(zabbix, text, "zabbix")
        if done.returncode:
            raise RuntimeError(f"{name}.sql: {done.stderr.decode(errors='replace')[-2000:]}")


def _start_server(zabbix: Zabbix, environment: Mapping[str, str]) -> None:
    settings = {
        "ListenIP": "127.0.0.1",
        "ListenPort": zabbix.server_port,
        "LogFile": zabbix.folder / "server.log",
        "PidFile": zabbix.folder / "server.pid",
        "SocketDir": zabbix.folder,
        "DBHost": "127.0.0.1",
        "DBPort": zabbix.database_port,
        "DBName": "zabbix",
        "DBUser": "zabbix",
        "ExternalScripts": zabbix.scripts,
        "AlertScriptsPath": zabbix.folder / "alertscripts",
        "Timeout": TIMEOUT_S,
        "CacheUpdateFrequency": 1,
        "StartPollers": 3,
        "StartPollersUnreachable": 1,
        "StartPingers": 0,
        "StartDiscoverers": 0,
    }
    path = zabbix.folder / "server.conf"
    path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    (zabbix.folder / "server.log").touch()
    command = [*_namespace("zabbix"), str(SERVER), "--foreground", "--config", str(path)]
    _launch(zabbix, command, "server.out", signal.SIGTERM, environment)
    _await(zabbix, lambda: "server #0 started" in zabbix.log, "server.out")


_FRONTEND_SETTINGS = """<?php
$DB = ['TYPE' => 'POSTGRESQL', 'SERVER' => '127.0.0.1', 'PORT' => '%d', 'DATABASE' => 'zabbix',
    'USER' => 'zabbix', 'PASSWORD' => '', 'SCHEMA' => '', 'ENCRYPTION' => false, 'KEY_FILE' => '',
    'CERT_FILE' => '', 'CA_FILE' => '', 'VERIFY_HOST' => false, 'CIPHER_LIST' => '',
    'VAULT_URL' => '', 'VAULT_DB_PATH' => '', 'VAULT_TOKEN' => '', 'DOUBLE_IEEE754' => true];
$ZBX_SERVER = '127.0.0.1';
$ZBX_SERVER_PORT = '%d';
$ZBX_SERVER_NAME = 'lab';
$IMAGE_FORMAT_DEFAULT = IMAGE_FORMAT_PNG;
"""


def _start_frontend(zabbix: Zabbix) -> None:
    text = _FRONTEND_SETTINGS % (zabbix.database_port, zabbix.server_port)
    (zabbix.folder / "etc" / "zabbix.conf.php").write_text(text)
    php = ["php", "-d", "memory_limit=512M", "-d", "post_max_size=32M", "-d", "date.timezone=UTC"]
    php += ["-S", f"127.0.0.1:{zabbix.api_port}", "-t", str(FRONTEND)]
    # Debian's frontend reads /etc/zabbix/zabbix.conf.php and nothing else.
    script = 'mount -n --bind "$1" /etc/zabbix && shift && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    _launch(zabbix, [*command, str(zabbix.folder / "etc"), *php], "frontend.log", signal.SIGTERM)
    _await(zabbix, lambda: _logged_in(zabbix), "frontend.log")


def _logged_in(zabbix: Zabbix) -> bool:
    with contextlib.suppress(OSError):
        # "user" became "username" in 6.4, where the old name is no longer known.
        version = zabbix.call("apiinfo.version", [])
        name = "user" if version < "6.4" else "username"
        zabbix.session = zabbix.call("user.login", {name: "Admin", "password": "zabbix"})
    return bool(zabbix.session)
