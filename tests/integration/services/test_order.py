"""Which files of an index come first, and which are left for next time."""

import os
import time
from pathlib import Path

import pytest

from lab.station import DEPLOYED_AGENT, IMPROVED_AGENT
from tests.integration.services.harness import HOST, Site
from uploaderd.catalog.status import host_status

AGES_H = {"a.bin": 3, "b.bin": 5, "c.bin": 1, "d.bin": 4, "e.bin": 2}


def written(site: Site, agent: Path) -> None:
    now = time.time()
    for name, hours in AGES_H.items():
        path = site.station.write(name, name.encode() * 100)
        os.utime(path, (now - hours * 3600, now - hours * 3600))
    assert site.station.run_agent(agent).returncode == 0


def slices(site: Site, count: int, **behaviour: object) -> list[list[str]]:
    """The names that each slice brought, in the order of their messages."""
    came = []
    for _ in range(count):
        bodies = site.backup(slice_files=2, **behaviour).bodies("file.process")
        came.append([Path(body["remote_path"]).name for body in bodies])
    return came


@pytest.mark.parametrize("agent", [DEPLOYED_AGENT, IMPROVED_AGENT], ids=lambda path: path.stem)
def test_the_oldest_files_come_first_slice_by_slice(site: Site, agent: Path) -> None:
    written(site, agent)
    came, pending = [], []
    for _ in range(3):
        came += slices(site, 1)
        pending.append(host_status(site.catalog, HOST)["pending_backup"])
    assert [sorted(each) for each in came] == [["b.bin", "d.bin"], ["a.bin", "e.bin"], ["c.bin"]]
    assert pending == [3, 1, 0]
    assert site.left() == b""


def test_the_newest_come_first_if_that_is_asked_for(site: Site) -> None:
    written(site, DEPLOYED_AGENT)
    assert sorted(slices(site, 1, order="newest_first")[0]) == ["c.bin", "e.bin"]


@pytest.mark.parametrize("agent", [DEPLOYED_AGENT, IMPROVED_AGENT], ids=lambda path: path.stem)
def test_a_file_that_may_still_be_written_stays_in_the_index(site: Site, agent: Path) -> None:
    written(site, agent)
    came = slices(site, 3, index_min_age_s=2.5 * 3600)
    assert sorted(name for each in came for name in each) == ["a.bin", "b.bin", "d.bin"]
    assert b"c.bin" in site.left()
    assert b"e.bin" in site.left()
    assert slices(site, 1, index_min_age_s=0) == [["e.bin", "c.bin"]]


def test_a_file_in_both_indexes_comes_once_and_one_in_either_comes_too(site: Site) -> None:
    site.station.write("first.bin", b"1")
    site.station.run_agent(DEPLOYED_AGENT)
    site.station.write("both.bin", b"2")
    site.station.run_agent(IMPROVED_AGENT)
    only = site.station.write("second.bin", b"3")
    second = Path(os.fsdecode(site.station.config.second_index))
    with second.open("ab") as file:
        file.write(b"1 %d %s\n" % (int(only.stat().st_mtime), os.fsencode(only)))
    bodies = site.backup().bodies("file.process")
    names = sorted(Path(body["remote_path"]).name for body in bodies)
    assert names == ["both.bin", "first.bin", "second.bin"]
    assert (site.left(), second.read_bytes()) == (b"", b"")
