"""What became of every file that the stations measured, from the stations' own truth."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import Any

from tests.chaos.fleet import CANARY, Fleet, Post
from tests.end_to_end.truth import FLOWS, hashes
from uploaderd.broker import desk, topology
from uploaderd.catalog.client import Catalog
from uploaderd.config.settings import QueueSettings

ROWS = "SELECT stage, sha256, count() AS n FROM files_now WHERE sha256 != '' GROUP BY stage, sha256"
TEXT_COLUMNS = (
    "SELECT table, name FROM system.columns WHERE database = currentDatabase()"
    " AND type LIKE '%String%'"
)


def count(here: Fleet) -> dict[str, Any]:
    """Files and rows. Lost: neither home, nor in the trash with its row. Duplicated: twice."""
    repository = here.system.repository
    originals: Counter[str] = sum((hashes(post.station.data) for post in here.posts), Counter())
    tree = [path for path in repository.glob("[0-9u]*") if path.is_dir()]
    filed: Counter[str] = sum((hashes(path) for path in tree), Counter())
    trashed: Counter[str] = Counter()
    for path in (repository / "trash").rglob("*"):
        if path.is_file() and not path.name.endswith(".reason.txt"):
            trashed[hashlib.sha256(path.read_bytes()).hexdigest()] += 1
    with here.system.catalog() as catalog:
        rows = catalog.query(ROWS)
        spectra = catalog.query("SELECT file_id, count() AS n FROM spectra_now GROUP BY file_id")
        leaks = _leaks(here, catalog)
    processed = Counter({row["sha256"]: row["n"] for row in rows if row["stage"] == "processed"})
    refused = Counter({row["sha256"]: row["n"] for row in rows if row["stage"] == "trashed"})
    home = {sha for sha in originals if filed[sha] and processed[sha]}
    binned = {sha for sha in originals if trashed[sha] and refused[sha]}
    twice = [
        sha
        for sha in originals
        if filed[sha] + trashed[sha] > 1 or processed[sha] + refused[sha] > 1
    ]
    return {
        "attempted": sum(originals.values()),
        "acknowledged": sum(len(_acknowledged(post)) for post in here.posts),
        "filed": sum(filed.values()),
        "catalogued": sum(processed.values()),
        "in_trash": sum(trashed.values()),
        "spectra": sum(row["n"] for row in spectra),
        "lost": len(originals) - len(home | binned),
        "duplicated": len(twice) + sum(1 for row in spectra if row["n"] != FLOWS),
        "foreign": sum((filed + trashed - originals).values()),
        "left_in_index": sum(post.station.index.read_bytes().count(b"\n") for post in here.posts),
        "left_in_tmp": len(waiting(here)),
        "left_halted": sum(post.station.flag.exists() for post in here.posts),
        "secrets_shown": leaks,
    }


def home(here: Fleet) -> int:
    """How many files are processed or in the trash."""
    with here.system.catalog() as catalog:
        rows = catalog.query(
            "SELECT countIf(stage IN ('processed', 'trashed')) AS done FROM files_now"
            " WHERE sha256 != ''"
        )
    return int(rows[0]["done"])


def settled(here: Fleet, home: int) -> bool:
    """Whether so many are all, and nothing is left on the way."""
    return (
        home >= sum(post.measured for post in here.posts)
        and not waiting(here)
        and all(post.station.index.read_bytes() == b"" for post in here.posts)
        and not any(post.station.flag.exists() for post in here.posts)
    )


def waiting(here: Fleet) -> list[Path]:
    """Files in the repository's `tmp`."""
    # Folders vanish while it is looked at, which `os.walk` takes as it comes.
    walk = os.walk(here.system.repository / "tmp")
    return [Path(folder, name) for folder, _, names in walk for name in names]


def replay(here: Fleet, services: tuple[str, ...]) -> int:
    """An operator replays every dead letter; gives their number."""
    count = 0
    with desk.channel(here.system.broker.settings) as channel:
        for service in services:
            queue = QueueSettings(name=service, bindings=())
            if channel.queue_declare(topology.dead_queue(queue), passive=True):
                there = desk.Desk(channel, queue)
                for letter in there.letters(desk.Filter()):
                    there.replay(letter)
                    count += 1
    return count


def _acknowledged(post: Post) -> set[bytes]:
    return set(post.station.done.read_bytes().split(b"\n")) - {b""}


def _leaks(here: Fleet, catalog: Catalog) -> int:
    """In how many logs, states and columns the stations' password shows."""
    files = [here.system.log, *(here.system.folder / "run").glob("*.json")]
    shown = sum(CANARY.encode() in path.read_bytes() for path in files)
    for column in catalog.query(TEXT_COLUMNS):
        found = catalog.query(
            f"SELECT count() AS n FROM {column['table']}"
            f" WHERE position(toString({column['name']}), %(canary)s) > 0",
            {"canary": CANARY},
        )
        shown += found[0]["n"] > 0
    return shown
