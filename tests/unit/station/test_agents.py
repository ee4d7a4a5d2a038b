"""The agents' scripts, run for real in the shells that stations have."""

import os
import shutil
import time
from pathlib import Path

import paramiko
import pytest

from lab.station import DEPLOYED_AGENT, IMPROVED_AGENT, Station
from uploaderd.station import index
from uploaderd.station.index import IndexEntry

SHELLS = [("dash",), ("bash", "--posix"), ("busybox", "sh")]


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    found: tuple[str, ...] = request.param
    if shutil.which(found[0]) is None:
        pytest.skip(f"{found[0]} is not installed here")
    return found


def listed(sftp: paramiko.SFTPClient, station: Station) -> dict[bytes, IndexEntry]:
    found = list(index.entries(sftp, station.config))
    assert all(isinstance(entry, IndexEntry) for entry in found), found
    return {entry.path: entry for entry in found if isinstance(entry, IndexEntry)}


@pytest.mark.parametrize("agent", [DEPLOYED_AGENT, IMPROVED_AGENT], ids=lambda path: path.stem)
def test_new_files_are_listed_and_done_ones_are_not_listed_again(
    sftp: paramiko.SFTPClient, station: Station, agent: Path, shell: tuple[str, ...]
) -> None:
    files = [station.write(name, b"12345") for name in ("a.bin", "x y/ tab\t  b.bin", "ü.bin")]
    run = station.run_agent(agent, shell=shell)
    assert (run.returncode, run.stderr) == (0, "")
    found = listed(sftp, station)
    assert found.keys() == {os.fsencode(file) for file in files}
    index.remove(sftp, station.config, set(found))
    station.run_agent(agent, shell=shell)
    assert listed(sftp, station) == {}
    later = station.write("later.bin", b"1")
    os.utime(later, (time.time() + 5, time.time() + 5))
    station.run_agent(agent, shell=shell)
    assert listed(sftp, station).keys() == {os.fsencode(later)}
    assert not station.flag.exists()


def test_the_improved_agent_tells_sizes_and_times(
    sftp: paramiko.SFTPClient, station: Station, shell: tuple[str, ...]
) -> None:
    file = station.write("a b.bin", b"12345")
    os.utime(file, (1_600_000_000, 1_600_000_000))
    station.run_agent(IMPROVED_AGENT, shell=shell)
    path = os.fsencode(file)
    assert listed(sftp, station)[path] == IndexEntry(path, 5, 1_600_000_000 * 10**9)
    first = station.index.read_bytes()
    assert first == os.fsencode(station.data) + b"\0/a b.bin\0\n", "as its predecessor writes it"


@pytest.mark.parametrize("agent", [DEPLOYED_AGENT, IMPROVED_AGENT], ids=lambda path: path.stem)
def test_a_fresh_flag_is_respected_and_a_stale_one_removed(
    station: Station, agent: Path, shell: tuple[str, ...]
) -> None:
    station.write("a.bin", b"1")
    station.flag.write_bytes(b"somebody\n")
    assert "halted" in station.run_agent(agent, shell=shell).stderr
    assert station.flag.read_bytes() == b"somebody\n"
    os.utime(station.flag, (1, 1))
    station.run_agent(agent, shell=shell)
    assert not station.flag.exists()
    assert b"a.bin" in station.index.read_bytes()


def test_the_improved_agent_takes_over_from_its_killed_run_at_once(
    station: Station, shell: tuple[str, ...]
) -> None:
    station.write("a.bin", b"1")
    station.flag.write_text("indexerd here pid=4194305 since=2024-01-01T00:00:00\n")
    station.run_agent(IMPROVED_AGENT, shell=shell)
    assert b"a.bin" in station.index.read_bytes()
    assert not station.flag.exists()


def test_the_improved_agent_looks_at_everything_when_the_clock_was_set_back(
    station: Station, sftp: paramiko.SFTPClient, shell: tuple[str, ...]
) -> None:
    station.run_agent(IMPROVED_AGENT, shell=shell)
    cookie = station.index.parent / ".last.file.search.cookie"
    os.utime(cookie, (time.time() + 1e6, time.time() + 1e6))
    file = station.write("a.bin", b"1")
    station.run_agent(IMPROVED_AGENT, shell=shell)
    assert listed(sftp, station).keys() == {os.fsencode(file)}


def test_the_improved_agent_leaves_nothing_behind_when_it_fails(
    station: Station, shell: tuple[str, ...]
) -> None:
    station.write_index([b"/d/kept"])
    before = station.index.read_bytes()
    station.index.with_name(station.index.name + ".v2").mkdir()
    assert station.run_agent(IMPROVED_AGENT, shell=shell).returncode == 1
    assert not station.flag.exists()
    assert before == station.index.read_bytes()
    assert not list(station.index.parent.glob("*.agent.*"))


def test_the_improved_agent_works_with_busybox_tools_only(
    station: Station, sftp: paramiko.SFTPClient, tmp_path: Path
) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed here")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in [
        "sh",
        "find",
        "sort",
        "cut",
        "sed",
        "awk",
        "stat",
        "mv",
        "rm",
        "cat",
        "date",
        "hostname",
        "touch",
        "tr",
        "sync",
    ]:
        (tools / name).symlink_to(busybox)
    files = {os.fsencode(station.write(name, b"123")) for name in ("a.bin", "b  c/d e.bin")}
    run = station.run_agent(IMPROVED_AGENT, shell=(busybox, "sh"), environment={"PATH": str(tools)})
    assert (run.returncode, run.stderr) == (0, "")
    assert listed(sftp, station).keys() == files
