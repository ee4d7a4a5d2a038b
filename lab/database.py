"""A private embedded ClickHouse in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from uploaderd.config.settings import DatabaseSettings

START_S = 60.0


@dataclass
class Database:
    """A running server; `settings` says how to reach it."""

    settings: DatabaseSettings
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Ends it with SIGTERM, and waits."""
        self.process.terminate()
        try:
            self.process.wait(START_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Ends it with SIGKILL, as a crash would."""
        self.process.kill()
        self.process.wait()


def start(folder: Path, port: int = 0, *, environment: Mapping[str, str] | None = None) -> Database:
    """Starts a server on `folder`, which keeps its data; waits until clients may connect."""
    folder.mkdir(parents=True, exist_ok=True)
    ready = folder / "ready"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "uploaderd.catalog.embedded", "--data", str(folder / "data")]
    command += ["--port", str(port), "--ready-file", str(ready)]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **(environment or {})},
        )
    deadline = time.monotonic() + START_S
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise RuntimeError(f"the embedded server did not start: {(folder / 'log').read_text()}")
        time.sleep(0.02)
    return Database(DatabaseSettings(port=int(ready.read_text()), database="default"), process)
