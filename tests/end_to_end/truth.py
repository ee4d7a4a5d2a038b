"""A whole system with one station, and the comparison of what landed with what was there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import sshd, system
from lab.recordings import write_crfs
from lab.station import Station, lay_out
from lab.system import System

HOST = 7
UID = "rfeye000007"
FLOWS = 2
"""Spectra in each of the station's files."""
WAIT_S = 90.0


@dataclass(frozen=True)
class Site:
    """A system without a daemon yet, and a station that it can reach."""

    system: System
    station: Station
    server: sshd.Sshd

    def measure(self, count: int, *, begin: int = 0) -> None:
        """The station measures so many files, and its agent indexes them."""
        for number in range(begin, begin + count):
            path = self.station.data / f"{UID}_{number:03d}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_crfs(path, number, traces=4, hostname=UID)
        self.station.run_agent().check_returncode()

    def ask(self) -> None:
        """A host request, as Zabbix sends it."""
        answer = self.system.ask(
            "host-request",
            host_id=HOST,
            host_uid=UID,
            host_add=self.server.host,
            host_port=self.server.port,
            user=self.server.user,
        )
        assert answer["status"] == 1, answer

    def stages(self) -> Counter[str]:
        """How many files the catalog has at each stage."""
        with self.system.catalog() as catalog:
            rows = catalog.query("SELECT stage, count() AS files FROM files_now GROUP BY stage")
        return Counter({row["stage"]: row["files"] for row in rows})

    def originals(self) -> Counter[str]:
        """SHA-256 of every file on the station's disk."""
        return hashes(self.station.data)

    def filed(self) -> Counter[str]:
        """SHA-256 of every file in the repository's final tree."""
        tree = [path for path in self.system.repository.glob("[0-9u]*") if path.is_dir()]
        return sum((hashes(path) for path in tree), Counter())

    def waiting(self) -> list[Path]:
        """Files in the repository's `tmp`."""
        return [path for path in (self.system.repository / "tmp").rglob("*") if path.is_file()]


def assert_everything_is_home_once(site: Site, files: int) -> None:
    """Every file is in repository, ledger and spectra exactly once, and nowhere else."""
    assert site.filed() == site.originals()
    assert site.stages() == {"processed": files}
    with site.system.catalog() as catalog:
        spectra = catalog.query("SELECT count() AS n, uniqExact(file_id) AS f FROM spectra_now")
    assert (spectra[0]["n"], spectra[0]["f"]) == (files * FLOWS, files)
    assert site.waiting() == []
    assert site.station.index.read_bytes() == b""
    assert not site.station.flag.exists()
    done = set(site.station.done.read_bytes().split(b"\n")) - {b""}
    assert done == {os.fsencode(path) for path in site.station.data.rglob("*.bin")}


def hashes(folder: Path) -> Counter[str]:
    """SHA-256 of every file below a folder."""
    return Counter(
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    )


def wait_until(what: Callable[[], bool], seconds: float = WAIT_S) -> None:
    """Looks again and again; fails when the time is over."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.1)


def signal_service(system: System, service: str, number: signal.Signals) -> bool:
    """Sends a signal to a service's first instance; False if there is none just now.

    Only children of this system's daemon are looked at: others may run on the machine.
    """
    title = f"uploaderd: {service}[1]".encode()
    if system.daemon is None:
        return False
    for pid in _children(system.daemon.pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().strip(b"\0 ") == title:
                os.kill(pid, number)
                return True
    return False


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = entry.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(entry.parent.name))
    return found


@contextlib.contextmanager
def site(folder: Path) -> Iterator[Site]:
    """Everything but the daemon runs; the agent's configuration is found by a relative path."""
    station = lay_out(folder / "station")
    server = sshd.start(folder / "sshd", home=folder / "station")
    try:
        with system.running(folder / "system") as running:
            running.behaviour["backup"] = {
                "agent_config": "etc/node/indexerD.cfg",
                "key_file": str(server.key_file),
            }
            running.configure()
            yield Site(running, station, server)
    finally:
        server.stop()
