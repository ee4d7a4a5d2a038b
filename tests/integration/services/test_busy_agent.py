"""Backups of a station whose agent, the original or ours, runs again and again meanwhile."""

import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from lab.station import DEPLOYED_AGENT, IMPROVED_AGENT
from tests.integration.services.harness import Post, Site, sha256
from uploaderd.errors import StationHalted

DEADLINE_S = 90.0
FILES = 300


class Measuring:
    """A station at work: files are written while its agent runs without a pause."""

    def __init__(self, site: Site, agent: Path) -> None:
        self._site = site
        self._agent = agent
        self._over = threading.Event()
        self.written = 0
        self.runs = 0
        self._threads = [threading.Thread(target=work) for work in (self._measure, self._index)]

    def __enter__(self) -> "Measuring":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _measure(self) -> None:
        while self.written < FILES and not self._over.is_set():
            self._site.station.write(
                f"{self.written % 7}/f{self.written}.bin", os.urandom(1 + self.written * 10)
            )
            self.written += 1
            self._over.wait(0.005)

    def _index(self) -> None:
        while not self._over.is_set():
            self._site.station.run_agent(self._agent)
            self.runs += 1


def backup(site: Site, post: Post) -> bool:
    """One slice; whether the station was free for it."""
    try:
        site.backup(post, halt_tries=30, halt_wait_s=0.2, slice_files=60)
    except StationHalted:
        return False
    return True


@pytest.mark.parametrize(
    "agent",
    [DEPLOYED_AGENT, pytest.param(IMPROVED_AGENT, marks=pytest.mark.slow)],
    ids=lambda path: path.stem,
)
def test_every_file_comes_home_while_the_agent_runs_without_a_pause(
    site: Site, agent: Path
) -> None:
    post = Post()
    deadline = time.monotonic() + DEADLINE_S
    with Measuring(site, agent) as station:
        done = 0
        while (station.written < FILES or done < 4) and time.monotonic() < deadline:
            done += backup(site, post)
    assert station.written == FILES
    assert station.runs > 3
    # At the end the agent looks at everything: a file of the very tick in which a search began is
    # not newer than that search, and the original never lists it.
    (site.station.index.parent / ".last.file.search.cookie").unlink()
    for _ in range(12):
        site.station.run_agent(agent)
        assert backup(site, post)
        if not site.left():
            break
    assert site.left() == b""
    assert not site.station.flag.exists()
    written = list(site.station.data.rglob("*.bin"))
    ours = {body["remote_path"]: body for body in post.bodies("file.process")}
    assert ours.keys() == {str(path) for path in written}
    for path in written:
        body = ours[str(path)]
        home = site.repository / body["path"]
        expected = hashlib.sha256(path.read_bytes()).hexdigest()
        assert (sha256(home), body["sha256"]) == (expected, expected)
