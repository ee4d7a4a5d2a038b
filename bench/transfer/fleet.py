"""Many stations at once, fetched by few processes: memory and processor time.

One sshd has an account for every station. Each process has its share of the stations, each on a
thread of its own as the daemon's workers are, and all are connected before the first file is asked
for. Each has loaded what a worker of the backup service loads. Memory is the largest resident set
that a process had.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import sshd as lab_sshd
from uploaderd.station.access import Access, Timeouts
from uploaderd.station.connection import connect
from uploaderd.station.transfer import Fetched, Limits, Wanted, fetch

PROCESSES = 8
FILES = 20
SIZE = 100 << 10


def run(root: Path, stations: int) -> Iterator[dict[str, object]]:
    """Memory of the largest process, and the rate of all."""
    names = [f"station{number:03d}" for number in range(stations)]
    accounts = [lab_sshd.Account(name) for name in names]
    server = lab_sshd.start(root / "sshd", *accounts)
    try:
        for account in accounts:
            folder = root / "there" / account.name
            folder.mkdir(parents=True)
            for number in range(FILES):
                (folder / f"file-{number:03d}").write_bytes(os.urandom(SIZE))
        alone = FILES * SIZE / 1e6 / _processes(server, root / "alone", root, ["station000"])[1]
        said, seconds = _processes(server, root / "here", root, names)
    finally:
        server.stop()
    arrived = sum(1 for path in (root / "here").rglob("file-*") if path.is_file())
    assert arrived == stations * FILES, f"{arrived} files"
    common = {
        "case": f"{stations} stations at once, {FILES} x 100 KiB each, {PROCESSES} processes",
        "runs": 1,
        "ours_cpu_s": round(sum(one["cpu_s"] for one in said), 2),
    }
    peak = max(one["peak_mb"] for one in said)
    yield common | _result(peak, "goal a process", 60.0, "MB")
    rate = stations * FILES * SIZE / 1e6 / seconds
    yield common | _result(rate, "one station after the other", alone, "MB/s")


def _processes(
    server: lab_sshd.Sshd, here: Path, root: Path, names: list[str]
) -> tuple[list[dict[str, float]], float]:
    """What each process says, and the seconds from the first word to the last file."""
    shares = [share for number in range(PROCESSES) if (share := names[number::PROCESSES])]
    command = [sys.executable, "-m", "bench.transfer.fleet"]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in shares]
    orders = [
        json.dumps(
            {
                "port": server.port,
                "key_file": str(server.key_file),
                "there": str(root / "there"),
                "here": str(here),
                "stations": share,
            }
        )
        for share in shares
    ]
    try:
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        begun = time.perf_counter()
        with ThreadPoolExecutor(len(running)) as pool:
            said = list(
                pool.map(
                    lambda pair: pair[0].communicate(pair[1])[0], zip(running, orders, strict=True)
                )
            )
        return [json.loads(one) for one in said], time.perf_counter() - begun
    finally:
        for process in running:
            process.kill()
            process.wait()


def _result(ours: float, name: str, reference: float, unit: str) -> dict[str, object]:
    return {
        "ours": round(ours, 1),
        "reference": round(reference, 1),
        "reference_name": name,
        "ratio": round(ours / reference, 2),
        "unit": unit,
    }


def main() -> None:
    """One process: its order on standard input, its use of the machine on standard output."""
    for name in ("uploaderd.worker", "uploaderd.services.backup"):
        importlib.import_module(name)
    print("ready", flush=True)
    order = json.load(sys.stdin)
    before = _cpu_s()
    together = threading.Barrier(len(order["stations"]))
    with ThreadPoolExecutor(len(order["stations"])) as pool:
        for done in [pool.submit(_fetch, order, name, together) for name in order["stations"]]:
            done.result()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({"peak_mb": peak_mb, "cpu_s": _cpu_s() - before}))


def _fetch(order: dict[str, str], name: str, together: threading.Barrier) -> None:
    access = Access(
        "127.0.0.1",
        int(order["port"]),
        name,
        key_file=Path(order["key_file"]),
        host_key_policy="insecure",
        timeouts=Timeouts(60, 120, 120),
    )
    there, here = Path(order["there"], name), Path(order["here"], name)
    wanted = [
        Wanted(os.fsencode(path), here / path.name, SIZE, path.stat().st_mtime_ns)
        for path in there.iterdir()
    ]
    with connect(access) as connection:
        together.wait()
        for outcome in fetch(connection, wanted, Limits(verification="size")):
            assert isinstance(outcome, Fetched), outcome


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
