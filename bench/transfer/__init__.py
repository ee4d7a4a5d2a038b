"""Transfers over SSH: our engine against `sftp`, `rsync`, `tar`, `rclone`, `lftp` and paramiko.

All fetch the same files from the same private sshd, connection included, in turns. Ours hashes and
fsyncs every file, which the others do not; it is told names, sizes and times, as an agent's index
tells them. A link with a round trip is a delay line in a process of its own. Processor seconds are
those of the client and its children. A client that needs longer than `--patience` is ended then,
and its rate is what it had brought until then (`cut_short`).

    scripts/bench transfer --set small --link 20ms --client ours --client rsync --runs 3 --json
    scripts/bench transfer --fleet 200
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.transfer import clients, fleet
from bench.transfer.clients import Client, Place, Run
from lab import sshd as lab_sshd


@dataclass(frozen=True)
class FileSet:
    """Equal files of random bytes."""

    text: str
    count: int
    size: int


SETS = {
    "large": FileSet("1 x 1 GiB", 1, 1 << 30),
    "middle": FileSet("60 x 2 MiB", 60, 2 << 20),
    "many": FileSet("2,000 x 100 KiB", 2000, 100 << 10),
    "small": FileSet("10,000 x 4 KiB", 10_000, 4 << 10),
}
MANY = 1000
"""So many files stay until the end; fewer are deleted at once, for they may be large."""
LINKS = {"loopback": 0.0, "20ms": 0.02, "200ms": 0.2}


def add_options(parser: argparse.ArgumentParser) -> None:
    """What may be chosen, so that a run takes minutes."""
    known: Iterable[str]
    for name, known in (("set", SETS), ("link", LINKS), ("client", clients.CLIENTS)):
        parser.add_argument(
            f"--{name}", action="append", choices=known, help="may be repeated (default: all)"
        )
    parser.add_argument("--runs", type=int, default=3, help="rates are medians (default: 3)")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds a client may take")
    parser.add_argument("--fleet", type=int, metavar="N", help="only: N stations at once")
    parser.add_argument("--folder", type=Path, help="where the files lie (default: var/)")


def run(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """One result a set, link and peer; or those of the fleet."""
    var = options.folder or Path(__file__).parent.parent.parent / "var"
    var.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=var, prefix="bench-") as name:
        _spread(Path(name))
        if options.fleet:
            yield from fleet.run(Path(name), options.fleet)
            return
        server = lab_sshd.start(Path(name) / "sshd")
        try:
            for key in options.set or SETS:
                yield from _measure_set(server, Path(name), SETS[key], options)
        finally:
            server.stop()


def _measure_set(
    server: lab_sshd.Sshd, root: Path, files: FileSet, options: argparse.Namespace
) -> Iterator[dict[str, object]]:
    there = Path(tempfile.mkdtemp(dir=root, prefix="there-"))
    for number in range(files.count):
        with (there / f"file-{number:05d}").open("wb") as file:
            for _ in range(max(1, files.size >> 20)):
                file.write(os.urandom(min(files.size, 1 << 20)))
    chosen = {
        name: client
        for name, client in clients.CLIENTS.items()
        if name == "ours" or not options.client or name in options.client
    }
    for key in options.link or LINKS:
        with clients.delay_line(server.port, LINKS[key]) as port:
            place = Place(server, port, there, root, options.patience)
            case = f"{key}, {files.text}"
            yield from _compare(case, files, _runs(place, files, chosen, options.runs))
    shutil.rmtree(there)


def _spread(folder: Path) -> None:
    """Asks ext4 for a block group of its own for each folder in this one (chattr(1), `T`).

    For a minute and more after files were deleted, ext4 looks at each of their inodes in vain
    before it makes a new file in the same group: half a millisecond a file here, which every client
    would pay for what the run before it has left. So many files are also deleted only at the end.
    Another file system has no such attribute, and no need of it.
    """
    if chattr := shutil.which("chattr"):
        subprocess.run([chattr, "+T", str(folder)], stderr=subprocess.DEVNULL, check=False)


def _runs(
    place: Place, files: FileSet, chosen: dict[str, Client], count: int
) -> dict[str, list[Run]]:
    """The clients take turns; one that is not installed, or needs too long, has its say once."""
    runs: dict[str, list[Run]] = {name: [] for name in chosen}
    for _ in range(count):
        for name, client in chosen.items():
            if runs[name] and (runs[name][0].missing or runs[name][0].cut_short):
                continue
            here = Path(tempfile.mkdtemp(dir=place.here, prefix="here-"))
            # The last one's dirty pages are not to be this one's burden.
            os.sync()
            runs[name].append(client(dataclasses.replace(place, here=here)))
            arrived = sum(1 for path in here.rglob("*") if path.is_file())
            if not (runs[name][-1].missing or runs[name][-1].cut_short):
                assert arrived == files.count, f"{name}: {arrived} of {files.count} files"
            if files.count < MANY:
                shutil.rmtree(here)
    return runs


def _compare(case: str, files: FileSet, runs: dict[str, list[Run]]) -> Iterator[dict[str, object]]:
    unit, scale = ("MB/s", 1e6) if files.size > 4096 else ("files/s", float(files.size))
    rates = {
        name: statistics.median(one.bytes / one.seconds / scale for one in taken)
        for name, taken in runs.items()
        if not taken[0].missing
    }
    cpu = {name: statistics.median(one.cpu_s for one in taken) for name, taken in runs.items()}
    for name, taken in runs.items():
        if name == "ours" and len(runs) > 1:
            continue
        if taken[0].missing:
            yield {"case": case, "reference_name": name, "missing": "not installed"}
            continue
        yield {
            "case": case,
            "ours": round(rates["ours"], 1),
            "reference": round(rates[name], 1),
            "reference_name": name,
            "ratio": round(rates["ours"] / max(rates[name], 1e-9), 2),
            "unit": unit,
            "runs": len(taken),
            "ours_cpu_s": round(cpu["ours"], 2),
            "reference_cpu_s": round(cpu[name], 2),
            "cut_short": taken[0].cut_short,
        }
