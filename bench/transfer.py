"""Transfers over loopback SSH: our engine against OpenSSH's `sftp`, and `rsync` if it is there.

All fetch the same files from the same private sshd, connection included. Ours hashes and fsyncs
every file, which the others do not.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lab import sshd as lab_sshd
from uploaderd.station.access import Access
from uploaderd.station.connection import connect
from uploaderd.station.transfer import Fetched, Limits, Wanted, fetch

RUNS = 3
CASES = (
    ("1 x 256 MiB", 1, 256 << 20),
    ("60 x 2 MiB", 60, 2 << 20),
    ("2,000 x 100 KiB", 2000, 100 << 10),
    ("5,000 x 4 KiB", 5000, 4 << 10),
)

Client = Callable[[lab_sshd.Sshd, Path, Path], None]


def run() -> Iterator[dict[str, object]]:
    """One result a case and a peer: rates are medians, the clients take turns."""
    var = Path(__file__).parent.parent / "var"
    var.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=var, prefix="bench-") as name:
        server = lab_sshd.start(Path(name) / "sshd")
        try:
            for case, count, size in CASES:
                yield from _measure(server, Path(name), case, count, size)
        finally:
            server.stop()


def _measure(
    server: lab_sshd.Sshd, root: Path, case: str, count: int, size: int
) -> Iterator[dict[str, object]]:
    there, here = root / "there", root / "here"
    there.mkdir()
    for number in range(count):
        (there / f"file-{number:05d}").write_bytes(os.urandom(size))
    clients: dict[str, Client] = {"ours": _ours, "OpenSSH sftp": _sftp}
    if shutil.which("rsync"):
        clients["rsync"] = _rsync
    seconds: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(RUNS):
        for name, client in clients.items():
            here.mkdir()
            # The last one's dirty pages are not to be this one's burden.
            os.sync()
            begun = time.perf_counter()
            client(server, there, here)
            seconds[name].append(time.perf_counter() - begun)
            assert len(list(here.iterdir())) == count
            shutil.rmtree(here)
    shutil.rmtree(there)
    unit, amount = ("MB/s", count * size / 1e6) if size > 4096 else ("files/s", float(count))
    rates = {name: amount / statistics.median(taken) for name, taken in seconds.items()}
    for name in list(clients)[1:]:
        yield {
            "case": case,
            "ours": round(rates["ours"], 1),
            "reference": round(rates[name], 1),
            "reference_name": name,
            "ratio": round(rates["ours"] / rates[name], 2),
            "unit": unit,
            "runs": RUNS,
        }


def _ours(server: lab_sshd.Sshd, there: Path, here: Path) -> None:
    access = Access(
        server.host,
        server.port,
        server.user,
        key_file=server.key_file,
        known_hosts=server.folder / "known_hosts",
    )
    wanted = [Wanted(os.fsencode(path), here / path.name) for path in sorted(there.iterdir())]
    with connect(access) as connection:
        for outcome in fetch(connection, wanted, Limits(verification="size")):
            assert isinstance(outcome, Fetched), outcome


def _ssh_options(server: lab_sshd.Sshd) -> list[str]:
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
    return ["-F", "none", "-i", str(server.key_file), *(f"-o{option}" for option in options)]


def _sftp(server: lab_sshd.Sshd, there: Path, here: Path) -> None:
    subprocess.run(
        [
            *("sftp", "-q", "-b", "-", "-P", str(server.port)),
            *_ssh_options(server),
            f"{server.user}@{server.host}",
        ],
        input=f"lcd {here}\nget {there}/*\n".encode(),
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _rsync(server: lab_sshd.Sshd, there: Path, here: Path) -> None:
    ssh = " ".join(["ssh", "-p", str(server.port), *_ssh_options(server)])
    source = f"{server.user}@{server.host}:{there}/"
    subprocess.run(["rsync", "-rt", "-e", ssh, source, str(here)], check=True)
