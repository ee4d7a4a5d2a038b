"""Exports between two servers against the same bytes by `rsync` and a bare insert of the same rows.

Five minutes of 400 stations are 800 spectra with six profiles of 1024 bins, and the rows of their
files. Two embedded databases, SFTP on loopback. Ours also reads the rows, hashes on both sides,
fsyncs, checks, and confirms.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import _generated
from lab import database as lab_database
from lab import sshd as lab_sshd
from uploaderd.catalog import Catalog
from uploaderd.catalog.migrate import migrate
from uploaderd.exchange import export, inbox, load
from uploaderd.exchange.sending import Plan, send
from uploaderd.exchange.sftp_target import SftpTarget
from uploaderd.station.access import Access

SPECTRA = 800
FILES = 134
RUNS = 3
BOUND_S = 5.0
_PROFILES = (
    "ALTER TABLE spectra UPDATE {changes} WHERE length(profile_mean) = 0"
    " SETTINGS mutations_sync = 1"
)
_NAMES = ("mean", "max", "min", "p10", "p50", "p90")


@dataclass(frozen=True)
class Servers:
    """Two catalogs, and the way between them."""

    here: Catalog
    there: Catalog
    sshd: lab_sshd.Sshd
    root: Path


def run() -> Iterator[dict[str, Any]]:
    """Seconds from the beginning of the sender's run until the rows are there and confirmed."""
    var = Path(__file__).parent.parent / "var"
    var.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=var, prefix="bench-") as name:
        root = Path(name)
        ours, theirs = (lab_database.start(root / side) for side in ("ours", "theirs"))
        sshd = lab_sshd.start(root / "sshd")
        try:
            migrate(ours.settings)
            migrate(theirs.settings)
            with Catalog(ours.settings) as here, Catalog(theirs.settings) as there:
                yield from _measured(Servers(here, there, sshd, root))
        finally:
            sshd.stop()
            ours.stop()
            theirs.stop()


def _measured(servers: Servers) -> Iterator[dict[str, Any]]:
    _fill(servers.here, 0, 6 * SPECTRA, 6 * FILES)
    ours, bare = _once(servers)
    yield _result("half an hour of 400 stations", ours, bare, "rsync and bare insert")
    pairs = []
    for number in range(6, 6 + RUNS):
        _fill(servers.here, SPECTRA * number, SPECTRA, FILES)
        pairs.append(_once(servers))
    ours, bare = sorted(pairs)[RUNS // 2]
    yield _result("five minutes of 400 stations", ours, bare, "rsync and bare insert", RUNS)
    yield _result("five minutes of 400 stations", ours, BOUND_S, "bound", RUNS)


def _fill(catalog: Catalog, first: int, spectra: int, files: int) -> None:
    """Rows that are new to both; their profiles have 1024 bins."""
    _generated.spectra(catalog, spectra, first=first)
    _generated.files(catalog, files, host=10000, hosts=400, first=first // 6)
    level = "arrayMap(i -> toInt16(-1000 + cityHash64(i, spectrum_id) % 200), range(1024))"
    changes = ", ".join(f"profile_{name} = {level}" for name in _NAMES)
    catalog.execute(_PROFILES.format(changes=changes))


def _once(servers: Servers) -> tuple[float, float]:
    """Seconds of ours, and of `rsync` and a bare insert with the same export."""
    box, sshd = servers.root / "inbox", servers.sshd
    access = Access(
        sshd.host,
        sshd.port,
        sshd.user,
        key_file=sshd.key_file,
        known_hosts=servers.root / "known_hosts",
    )
    begin = time.perf_counter()
    with SftpTarget(access, str(box), "north") as target:
        send(servers.here, target, Plan("north", servers.root / "outbox"))
    (receipt,) = inbox.take_in(servers.there, box)
    ours = time.perf_counter() - begin
    assert receipt.outcome == "loaded"
    path = max((box / "kept").glob("*.zip"))
    return ours, _bare(servers.there, path, box / "bare.zip", sshd)


def _bare(catalog: Catalog, path: Path, place: Path, sshd: lab_sshd.Sshd) -> float:
    ssh = f"ssh -p {sshd.port} -i {shlex.quote(str(sshd.key_file))} -o StrictHostKeyChecking=no"
    ssh += " -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    values = [
        (table, [name for name, _ in part.columns], batch)
        for table, part in export.read(path).parts.items()
        for batch in _columns(path, table, part.columns)
    ]
    begin = time.perf_counter()
    remote = f"{sshd.user}@{sshd.host}:{place}"
    subprocess.run(["rsync", "-t", "-e", ssh, str(path), remote], check=True, capture_output=True)
    with Catalog(catalog.settings, load.BYTES) as filling:
        for table, names, columns in values:
            filling.insert_columns(f"`{table}`", names, columns)
    return time.perf_counter() - begin


def _columns(path: Path, table: str, columns: list[tuple[str, str]]) -> Iterator[list[list[Any]]]:
    """The rows as the driver takes them, in memory."""
    for batch in export.batches(path, table):
        yield [load.values(batch.column(n), kind) for n, (_, kind) in enumerate(columns)]


def _result(case: str, ours: float, reference: float, name: str, runs: int = 1) -> dict[str, Any]:
    return {
        "case": case,
        "ours": round(ours, 3),
        "reference": round(reference, 3),
        "reference_name": name,
        "ratio": round(ours / reference, 3),
        "unit": "s",
        "runs": runs,
    }
