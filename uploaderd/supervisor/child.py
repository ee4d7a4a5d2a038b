"""One worker process: started, listened to, ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any

from uploaderd.supervisor.plan import Job
from uploaderd.supervisor.reports import LineBuffer

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


class Child:
    """A worker, a session of its own: a Ctrl-C is for the supervisor, and it ends whole."""

    def __init__(self, job: Job, instance: int) -> None:
        """Starts it. Raises OSError."""
        self.connection, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "uploaderd.worker",
                    f"--config={job.config}",
                    f"--service-file={job.file}",
                    f"--instance={instance}",
                    f"--supervisor-fd={theirs.fileno()}",
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                # systemd's notifications and watchdog are the supervisor's.
                env={
                    k: v
                    for k, v in os.environ.items()
                    if k not in ("NOTIFY_SOCKET", "WATCHDOG_USEC")
                },
            )
        self.pid = self._process.pid
        self.death = os.pidfd_open(self.pid)
        self._lines = LineBuffer()
        config, service = job.texts
        with contextlib.suppress(OSError):  # A worker that died at once is seen by its death.
            self.connection.sendall(
                json.dumps({"config": config, "service": service}).encode() + b"\n"
            )
        self.connection.setblocking(False)

    def reports(self) -> list[dict[str, Any]] | None:
        """What it told since the last look; None when it will tell no more."""
        try:
            data = self.connection.recv(1 << 16)
        except BlockingIOError:
            return []
        except ConnectionError:
            return None
        return list(self._lines.feed(data)) if data else None

    def ask_to_stop(self) -> None:
        """SIGTERM: finish the work in hand."""
        self._process.send_signal(signal.SIGTERM)

    def dump_stacks(self) -> None:
        """Has it write where each of its threads stands to standard error."""
        self._process.send_signal(signal.SIGUSR2)

    def kill(self) -> None:
        """SIGKILL to it and to all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def bury(self) -> int:
        """Waits for its end, ends what it left behind, and gives the status as Popen has it."""
        status = self._process.wait()
        self.kill()
        os.close(self.death)
        self.connection.close()
        return status

    def memory_mb(self) -> float:
        """Resident memory, in MiB; 0 when it is gone."""
        try:
            with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:  # noqa: PTH123 - proc
                return int(file.read().split()[1]) * _PAGE_MB
        except (OSError, IndexError):
            return 0.0
