"""Many stations at once, fetched by few processes: memory and processor time.

One sshd has an account for every station. Each process has its share of the stations, each on a
thread of its own as the daemon's workers are, and all are connected before the first file is asked
for. Each has loaded what a worker of the backup service loads.

Memory is that of the largest process while all are there: its proportional set (PSS), in which a
page that several processes share, as of a library, counts for each in equal parts, so that the sum
over the processes is what the machine must have; and beside it the resident set (RSS), in which
such pages count for each process in full.
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
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from lab import sshd as lab_sshd
from uploaderd import memory
from uploaderd.station.access import Access, Timeouts
from uploaderd.station.connection import connect
from uploaderd.station.transfer import Fetched, Limits, Wanted, fetch

PROCESSES = 8
FILES = 20
SIZE = 100 << 10
SAMPLED_EVERY_S = 0.1


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
    for key in ("pss", "rss"):
        peak = max(one[f"{key}_mb"] for one in said)
        yield common | _result(peak, f"goal a process ({key.upper()})", 60.0, "MB")
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
            _line(process)
        begun = time.perf_counter()
        with ThreadPoolExecutor(len(running)) as pool:
            asked = [pool.submit(_ask, *pair) for pair in zip(running, orders, strict=True)]
            pss_mb = [0.0] * len(running)
            while wait(asked, SAMPLED_EVERY_S).not_done:
                pss_mb = [max(pair) for pair in zip(pss_mb, map(_pss_mb, running), strict=True)]
            said = [one.result() for one in asked]
        seconds = time.perf_counter() - begun
        return [one | {"pss_mb": pss} for one, pss in zip(said, pss_mb, strict=True)], seconds
    finally:
        for process in running:
            process.kill()
            process.wait()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _ask(process: subprocess.Popen[str], order: str) -> dict[str, float]:
    """What the process says of its order. It stays, so that it has its part of the shared pages."""
    assert process.stdin is not None
    process.stdin.write(order + "\n")
    process.stdin.flush()
    answer: dict[str, float] = json.loads(_line(process))
    return answer


def _pss_mb(process: subprocess.Popen[str]) -> float:
    """The proportional set of a process, in MB (proc_pid_smaps(5): kB are KiB)."""
    text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    return sum(
        int(line.split()[1]) * 1024 / 1e6 for line in text.splitlines() if line.startswith("Pss:")
    )


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
    memory.spare()
    for name in ("uploaderd.worker", "uploaderd.services.backup"):
        importlib.import_module(name)
    print("ready", flush=True)
    order = json.loads(sys.stdin.readline())
    before = _cpu_s()
    together = threading.Barrier(len(order["stations"]))
    with ThreadPoolExecutor(len(order["stations"])) as pool:
        for done in [pool.submit(_fetch, order, name, together) for name in order["stations"]]:
            done.result()
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({"rss_mb": rss_mb, "cpu_s": _cpu_s() - before}), flush=True)
    sys.stdin.readline()


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
