"""Both sides stopped at will: an agent before each step, a server at each of its requests."""

import itertools
import os
import select
import subprocess
from pathlib import Path

import paramiko

from lab.station import DEPLOYED_AGENT, Station

HOOK = '#!/bin/sh\necho "$1" >"$INDEXERD_FIFOS/at"\nread -r _ <"$INDEXERD_FIFOS/go"\n'


class SteppedAgent:
    """A run of an agent, for real in a shell, that stops before each step."""

    def __init__(self, station: Station, folder: Path, agent: Path = DEPLOYED_AGENT) -> None:
        folder.mkdir(exist_ok=True)
        hook = folder / "hook"
        if not hook.exists():
            hook.write_text(HOOK)
            hook.chmod(0o755)
            for name in ("at", "go"):
                os.mkfifo(folder / name)
        self._fifos = {name: os.open(folder / name, os.O_RDWR) for name in ("at", "go")}
        environment = {"INDEXERD_STEP": str(hook), "INDEXERD_FIFOS": str(folder)}
        self._process = subprocess.Popen(
            ["sh", str(agent), str(station.config_path)],
            env={**os.environ, **environment},
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.at = self._next()

    def _next(self) -> str:
        """The step that it stands before; empty once it has ended."""
        while True:
            ended = self._process.poll() is not None
            if select.select([self._fifos["at"]], [], [], 0 if ended else 0.02)[0]:
                return os.read(self._fifos["at"], 100).decode().strip()
            if ended:
                return ""

    def step(self) -> None:
        """Let it take the step that it stands before."""
        os.write(self._fifos["go"], b"\n")
        self.at = self._next()

    def run_to(self, step: str) -> None:
        """Let it run until it stands before this step, or has ended."""
        while self.at not in ("", step):
            self.step()

    def end(self, *, kill: bool = False) -> None:
        """Let it run to its end, or kill it and its hook where it stands."""
        if kill and self.at:
            os.killpg(self._process.pid, 9)
            self._process.wait(30)
            self.at = ""
        self.run_to("")
        self._process.wait(30)
        for fifo in self._fifos.values():
            os.close(fifo)


class Breaking:
    """Breaks a client's connection at its n-th request from now on."""

    def __init__(self, sftp: paramiko.SFTPClient, after: int) -> None:
        self._requests = itertools.count()
        self._after = after
        self._send = sftp._async_request  # type: ignore[attr-defined] # not in the stubs
        sftp._async_request = self  # type: ignore[attr-defined] # not in the stubs

    def __call__(self, *request: object) -> object:
        if next(self._requests) >= self._after:
            raise EOFError("the connection is cut")
        return self._send(*request)
