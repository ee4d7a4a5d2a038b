"""A daemon in a folder, for the tests: started, looked at, ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[3]
CANARY = "canary-4711"
T = TypeVar("T")


def until(look: Callable[[], T], what: str, seconds: float = 40.0) -> T:
    """What `look` gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited in vain for: {what}")


def alive(pid: int) -> bool:
    """True for a process that is there, and no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


class Daemon:
    """The files of a daemon below `folder`, and its process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.services = folder / "services.d"
        self.services.mkdir()
        self.process: subprocess.Popen[bytes] | None = None
        self.seen: set[int] = set()
        self.configure()

    def configure(self, **changes: Any) -> None:
        supervision = {"restart_delay_s": 0.1, "restart_delay_max_s": 0.4, "status_interval_s": 0.1}
        values = {"run_dir": "run", "supervision": supervision, **changes}
        (self.folder / "config.json").write_text(json.dumps(values))

    def service(self, name: str, **changes: Any) -> Path:
        """Writes a service file; gives the service's own folder."""
        own = self.folder / name
        own.mkdir(exist_ok=True)
        behaviour = {"folder": str(own), **changes.pop("behaviour", {})}
        values = {
            "service": "tests.integration.supervisor.dummy:Dummy",
            "behaviour": behaviour,
            "database": {"password": CANARY},
            "rabbitmq": {"queue": name, "bindings": [], "password": CANARY},
            **changes,
        }
        (self.services / f"{name}.json").write_text(json.dumps(values))
        return own

    def command(self, *more: str) -> list[str]:
        return [
            *(sys.executable, "-m", "uploaderd", "-c", str(self.folder / "config.json")),
            *("-s", str(self.services), *more),
        ]

    def start(self, **environment: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=ROOT, stderr=log, env={**os.environ, **environment}
            )

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def status(self) -> dict[str, Any]:
        try:
            status: dict[str, Any] = json.loads((self.folder / "run/status.json").read_text())
        except FileNotFoundError:
            return {"instances": []}
        self.seen |= {each["pid"] for each in status["instances"] if each["pid"]}
        return status

    def instance(self, name: str, number: int = 1) -> dict[str, Any]:
        for each in self.status()["instances"]:
            if (each["service"], each["instance"]) == (name, number):
                return dict(each)
        return {"state": "absent", "pid": None, "restarts": 0}

    def wait_for(self, name: str, state: str, number: int = 1, other_than: int = 0) -> int:
        """Waits for the state, of another process if asked; gives the pid."""

        def there() -> dict[str, Any] | None:
            each = self.instance(name, number)
            return each if each["state"] == state and each["pid"] != other_than else None

        return int(until(there, f"{name} {state}\n{self.log()}")["pid"] or 0)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        assert self.process is not None
        self.signal(signal.SIGTERM)
        return self.process.wait(40)

    def end(self) -> None:
        """Ends whatever is left."""
        if self.process is not None:
            self.status()
            self.process.kill()
            self.process.wait()
            for pid in self.seen:
                with contextlib.suppress(ProcessLookupError):
                    if b"uploaderd" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def daemon_in(folder: Path) -> Iterator[Daemon]:
    daemon = Daemon(folder)
    try:
        yield daemon
    finally:
        with contextlib.suppress(FileNotFoundError):
            daemon.end()
