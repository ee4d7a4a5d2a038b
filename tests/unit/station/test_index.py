"""The index: read as a stream, rewritten to what is left."""

import os
import resource
from pathlib import Path

import paramiko
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.station import Station
from uploaderd.station import index
from uploaderd.station.index import DamagedLine, IndexEntry


def paths_of(sftp: paramiko.SFTPClient, station: Station) -> list[bytes]:
    return [e.path for e in index.entries(sftp, station.config) if isinstance(e, IndexEntry)]


def test_no_index_is_an_empty_one(sftp: paramiko.SFTPClient, station: Station) -> None:
    assert list(index.entries(sftp, station.config)) == []
    assert index.remove(sftp, station.config, {b"/x"}) == (0, 0)


def test_the_nuls_of_the_agents_lines_are_dropped(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    files = [station.write(name, b"x") for name in ("2024/a b.bin", "2024/ñandú.bin", "c.bin")]
    station.run_agent()
    assert b"\0/" in station.index.read_bytes()
    assert sorted(paths_of(sftp, station)) == sorted(os.fsencode(file) for file in files)


def test_damaged_lines_are_told_one_by_one_and_the_rest_is_read(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    station.index.write_bytes(
        b"/d\0/good\0\n\nme\0\n/d\0/cut by a newline\n/d/without nuls\n"
        + b"/"
        + b"x" * 200_000
        + b"\n/d\0/last\0\n/d\0/brok"
    )
    found = list(index.entries(sftp, station.config))
    assert [e.path for e in found if isinstance(e, IndexEntry)] == [
        b"/d/good",
        b"/d/without nuls",
        b"/d/last",
    ]
    reasons = {e.number: e.reason for e in found if isinstance(e, DamagedLine)}
    assert {2, 3, 4} <= reasons.keys()
    assert "cut off" in reasons[max(reasons)]


def test_only_what_is_done_leaves_the_index(sftp: paramiko.SFTPClient, station: Station) -> None:
    station.write_index([b"/d/a", b"/d/b", b"/d/c"])
    station.index.chmod(0o664)
    with station.index.open("ab") as file:
        file.write(b"damaged\n")
    assert index.remove(sftp, station.config, {b"/d/a", b"/d/c"}) == (2, 2)
    assert station.index.read_bytes() == b"/d\0/b\0\ndamaged\n"
    assert station.index.stat().st_mode & 0o777 == 0o664
    assert index.remove(sftp, station.config, {b"/d/b", b"damaged"}) == (2, 0)
    assert station.index.read_bytes() == b""
    assert [p.name for p in station.index.parent.iterdir() if "uploaderd" in p.name] == []


class ActsBeforeRename:
    """A client whose station does something just before a rename."""

    def __init__(self, sftp: paramiko.SFTPClient, station: Station, text: bytes) -> None:
        self._sftp = sftp
        self._rename = sftp.posix_rename
        self._add = (station.index, text)

    def __call__(self, old: bytes, new: bytes) -> None:
        path, text = self._add
        with path.open("ab") as file:
            file.write(text)
        self._add = (path, b"")
        self._rename(old, new)


def test_what_the_agent_adds_while_the_index_is_rewritten_stays(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    station.write_index([b"/d/a", b"/d/b"])
    sftp.posix_rename = ActsBeforeRename(sftp, station, b"/d\0/new\0\n")  # type: ignore[method-assign] # the agent's part
    assert index.remove(sftp, station.config, {b"/d/a"}) == (1, 2)
    assert paths_of(sftp, station) == [b"/d/b", b"/d/new"]


def test_done_files_are_appended_and_a_broken_append_is_closed(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    index.append_done(sftp, station.config, [b"/d/a"])
    with station.done.open("ab") as file:
        file.write(b"/d/brok")
    index.append_done(sftp, station.config, [b"/d/b", b"/d/\xff"])
    assert station.done.read_bytes() == b"/d/a\n/d/brok\n/d/b\n/d/\xff\n"


def test_the_second_index_is_preferred_while_it_is_not_older(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    station.write_index([b"/d/a", b"/d/b"])
    second = Path(os.fsdecode(station.config.second_index))
    second.write_bytes(b"12 1700000000.5 /d/a\n0 1700000001 /d/with  spaces\nnonsense\n")
    found = list(index.entries(sftp, station.config))
    assert found[:2] == [
        IndexEntry(b"/d/a", 12, 1_700_000_000_500_000_000),
        IndexEntry(b"/d/with  spaces", 0, 1_700_000_001_000_000_000),
    ]
    assert isinstance(found[2], DamagedLine)
    assert index.remove(sftp, station.config, {b"/d/a"}) == (1, 2)
    assert b"/d\0/a" not in station.index.read_bytes()
    os.utime(second, (1, 1))
    assert paths_of(sftp, station) == [b"/d/b"]


names = st.binary(min_size=1, max_size=30).filter(
    lambda name: not set(name) & {0, 10, 47} and name not in (b".", b"..")
)


@given(st.sets(names, max_size=30), st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_survives_the_index(
    sftp: paramiko.SFTPClient, station: Station, chosen: set[bytes], data: st.DataObject
) -> None:
    paths = [b"/d/" + name for name in sorted(chosen)]
    station.write_index(paths)
    assert sorted(paths_of(sftp, station)) == sorted(paths)
    done = data.draw(st.sets(st.sampled_from(paths))) if paths else set()
    index.remove(sftp, station.config, done)
    assert set(paths_of(sftp, station)) == set(paths) - done


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_five_million_lines_are_read_in_bounded_memory(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    with station.index.open("wb") as file:
        for number in range(5_000_000):
            file.write(b"/mnt/internal/data/2024\0/rfeye%08d.bin\0\n" % number)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in index.entries(sftp, station.config)) == 5_000_000
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mib < 32
