"""A private RabbitMQ of the distribution's package: own ports, cookie, epmd and folder.

It listens on 127.0.0.1 only. `python -m lab.rabbitmq FOLDER` runs one until it is interrupted.
Beware of RabbitMQ 3.10: a SIGKILL within some 3 s after a quorum queue was declared can lose the
queue's metadata, which was not yet on disk.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.certificates import Authority, authority
from lab.ports import free_ports
from uploaderd.config.settings import BrokerSettings
from uploaderd.secret import Secret

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
USER = "lab"
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 60.0


@dataclass
class Broker:
    """A running broker. Restart it by `stop()` or `kill()`, and then `start_again()`."""

    folder: Path
    port: int
    tls_port: int
    management_port: int
    password: str
    environment: dict[str, str]
    authority: Authority
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def settings(self) -> BrokerSettings:
        """How to reach its default virtual host, as the user who may do everything."""
        return BrokerSettings(
            hosts=(("127.0.0.1", self.port),),
            virtual_host="/",
            user=USER,
            password=Secret(self.password),
            heartbeat_s=20,
        )

    def start_again(self) -> None:
        """Starts it on the same folder and ports, and waits until it takes connections."""
        log = self.folder / "log" / "console"
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [SERVER],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                break
            try:
                self.api("GET", f"health/checks/port-listener/{self.port}")
                return
            except OSError:
                time.sleep(0.1)
        tail = (self.folder / "log" / "console").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"RabbitMQ did not start: {tail}")

    def api(self, method: str, path: str, body: object = None) -> Any:
        """One call of the management API, as `GET queues/%2F`; urllib's errors come through."""
        token = base64.b64encode(f"{USER}:{self.password}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.management_port}/api/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def block_publishers(self) -> None:
        """Raises the memory alarm: connections that publish are blocked, and told so."""
        self._evaluate("rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).")

    def unblock_publishers(self) -> None:
        """Ends the alarm."""
        self._evaluate("rabbit_alarm:clear_alarm({resource_limit, memory, node()}).")

    def _evaluate(self, expression: str) -> None:
        control = [str(SERVER.with_name("rabbitmqctl")), "--quiet", "eval", expression]
        subprocess.run(control, env=self.environment, check=True, capture_output=True, timeout=180)

    def add_user(self, name: str, settings: BrokerSettings, *, configure: str) -> BrokerSettings:
        """A user who may write and read in a virtual host, and configure what the pattern says."""
        vhost = urllib.parse.quote(settings.virtual_host, safe="")
        self.api("PUT", f"users/{name}", {"password": self.password, "tags": ""})
        rights = {"configure": configure, "write": ".*", "read": ".*"}
        self.api("PUT", f"permissions/{vhost}/{name}", rights)
        return dataclasses.replace(settings, user=name)

    def add_virtual_host(self, name: str) -> BrokerSettings:
        """A new virtual host, and the settings to reach it."""
        quoted = urllib.parse.quote(name, safe="")
        self.api("PUT", f"vhosts/{quoted}", {})
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self.api("PUT", f"permissions/{quoted}/{USER}", everything)
        return dataclasses.replace(self.settings, virtual_host=name)

    def drop_virtual_host(self, name: str) -> None:
        """Deletes a virtual host with all that is in it."""
        self.api("DELETE", f"vhosts/{urllib.parse.quote(name, safe='')}")

    def stop(self) -> None:
        """Ends it in order (some seconds), with its epmd. Does nothing if it does not run."""
        self._signal_erlang(signal.SIGTERM)
        self._reap()

    def kill(self) -> None:
        """Ends it as a power cut would: SIGKILL to every process of it."""
        if self.process is not None:
            # It may have ended by itself.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self._reap()

    def _signal_erlang(self, number: signal.Signals) -> None:
        # The pid file names the Erlang machine; the process that we started is a shell around it.
        if self.process is None:
            return
        try:
            os.kill(int((self.folder / "pid").read_text()), number)
        except (FileNotFoundError, ValueError, ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _reap(self) -> None:
        if self.process is None:
            return
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None
        (self.folder / "pid").unlink(missing_ok=True)
        subprocess.run(
            ["epmd", "-kill"], env=self.environment, capture_output=True, check=False, timeout=20
        )


def start(folder: Path) -> Broker:
    """Starts a broker whose files all lie below `folder`; takes 5 to 10 s on two cores."""
    for name in ("home", "log", "mnesia"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    port, tls_port, management_port, distribution_port, epmd_port = free_ports(5)
    cookie = folder / "home" / ".erlang.cookie"
    cookie.unlink(missing_ok=True)
    cookie.write_text(secrets.token_hex(16))
    cookie.chmod(0o400)
    (folder / "plugins").write_text("[rabbitmq_management,rabbitmq_auth_mechanism_ssl].\n")
    ca = authority(folder / "tls")
    broker = Broker(
        folder=folder,
        port=port,
        tls_port=tls_port,
        management_port=management_port,
        password=secrets.token_hex(12),
        environment=_environment(folder, distribution_port, epmd_port),
        authority=ca,
    )
    _write_configuration(broker)
    broker.start_again()
    return broker


def _environment(folder: Path, distribution_port: int, epmd_port: int) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "LANG": "C.UTF-8",
        "HOME": str(folder / "home"),
        # The same name at every start on a folder finds what it holds; the epmd is its own.
        "RABBITMQ_NODENAME": "lab@localhost",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
        ),
    }


def _write_configuration(broker: Broker) -> None:
    folder = broker.folder
    server = broker.authority.issue("server")
    definitions = {
        "users": [{"name": USER, "password": broker.password, "tags": "administrator"}],
        "vhosts": [{"name": "/"}],
        "permissions": [
            {"user": USER, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
        ],
    }
    (folder / "definitions.json").write_text(json.dumps(definitions))
    lines = [
        f"listeners.tcp.1 = 127.0.0.1:{broker.port}",
        f"listeners.ssl.1 = 127.0.0.1:{broker.tls_port}",
        f"ssl_options.cacertfile = {broker.authority.certificate}",
        f"ssl_options.certfile = {server.certificate}",
        f"ssl_options.keyfile = {server.key}",
        "ssl_options.verify = verify_peer",
        "ssl_options.fail_if_no_peer_cert = true",
        "management.tcp.ip = 127.0.0.1",
        f"management.tcp.port = {broker.management_port}",
        f"load_definitions = {folder / 'definitions.json'}",
        "disk_free_limit.absolute = 50MB",
        "vm_memory_high_watermark.relative = 0.6",
        "log.console = false",
        "log.file.level = info",
    ]
    (folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Runs a broker below the given folder until it is interrupted."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    broker = start(Path(sys.argv[1]).absolute())
    try:
        print(f"amqp://{USER}:{broker.password}@127.0.0.1:{broker.port}/", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        broker.stop()


if __name__ == "__main__":
    main()
