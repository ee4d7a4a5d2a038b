"""The index: read as a stream, rewritten to what is left."""

import os
import subprocess
import sys
from pathlib import Path

import paramiko
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paramiko.sftp import CMD_READ

from lab.station import Station
from uploaderd.station import index
from uploaderd.station.index import DamagedLine, IndexEntry
from uploaderd.station.index_lines import merged


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


def test_the_two_indexes_are_merged_and_the_second_is_preferred(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    station.write_index([b"/d/a", b"/d/b", b"/e/z"])
    second = Path(os.fsdecode(station.config.second_index))
    second.write_bytes(b"12 1700000000.5 /d/a\n0 1700000001 /d/with  spaces\nnonsense\n9 8 /f/x\n")
    found = list(index.entries(sftp, station.config))
    assert found == [
        IndexEntry(b"/d/a", 12, 1_700_000_000_500_000_000),
        IndexEntry(b"/d/b"),
        IndexEntry(b"/d/with  spaces", 0, 1_700_000_001_000_000_000),
        DamagedLine(3, b"nonsense", "not of the form 'size mtime path'"),
        IndexEntry(b"/e/z"),
        IndexEntry(b"/f/x", 9, 8_000_000_000),
    ]
    assert index.remove(sftp, station.config, {b"/d/a", b"/e/z"}) == (3, 3)
    assert paths_of(sftp, station) == [b"/d/b", b"/d/with  spaces", b"/f/x"]


paths_in_two_folders = st.lists(
    st.tuples(
        st.sampled_from([b"/a", b"/a-b", b"/a/c"]), st.sampled_from([b"x", b"xy", b"-", b"z"])
    )
)


@given(paths_in_two_folders, paths_in_two_folders)
def test_no_line_is_lost_by_the_merge_whatever_the_order_of_the_indexes(
    first: list[tuple[bytes, bytes]], second: list[tuple[bytes, bytes]]
) -> None:
    ours = [IndexEntry(folder + b"/" + name, 1, 1) for folder, name in second]
    theirs = [IndexEntry(folder + b"/" + name) for folder, name in first]
    found = list(merged(ours, theirs))
    assert {e.path for e in found if isinstance(e, IndexEntry)} == {e.path for e in ours + theirs}
    assert [e for e in found if e in ours] == ours
    in_order = [sorted(set(some), key=lambda e: e.path.rpartition(b"/")) for some in (ours, theirs)]
    sound = [entry.path for entry in merged(*in_order) if isinstance(entry, IndexEntry)]
    assert len(sound) == len(set(sound)), "in the agents' order, no file comes twice"


def test_a_server_that_gives_little_at_a_time_gives_the_whole_index(
    sftp: paramiko.SFTPClient, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read longer than the server's limit comes back short: here, what was asked is cut."""
    paths = [b"/d/%06d" % number for number in range(20_000)]
    station.write_index(paths)
    ask = sftp._async_request  # type: ignore[attr-defined] # not in the stubs

    def limited(slot: object, kind: int, *request: object) -> object:
        if kind == CMD_READ:
            request = (*request[:2], min(int(str(request[2])), 1000))
        return ask(slot, kind, *request)

    monkeypatch.setattr(sftp, "_async_request", limited)
    assert paths_of(sftp, station) == paths


def test_what_a_broken_rewriting_left_behind_is_swept(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    station.write_index([b"/d/a"])
    leftovers = [
        Path(os.fsdecode(path) + ".uploaderd.0a1b2c3d")
        for path in (station.config.index, station.config.second_index)
    ]
    for path in leftovers:
        path.write_bytes(b"half")
    index.sweep(sftp, station.config)
    assert not any(path.exists() for path in leftovers)
    assert paths_of(sftp, station) == [b"/d/a"]


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


READING = """
import resource, sys
from pathlib import Path
from lab import plain_sftp
from lab.station import Station
from uploaderd.station import index
station = Station(Path(sys.argv[1]))
with plain_sftp.session() as sftp:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = sum(1 for _ in index.entries(sftp, station.config))
    left = index.remove(sftp, station.config, {b"/d/00000007/rfeye.bin"})
    print(found, *left, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def read_in_a_process_of_its_own(station: Station, lines: int) -> tuple[float, float]:
    """Both agents' indexes of so many files; MiB before and at the most, and nothing is lost."""
    second = Path(os.fsdecode(station.config.second_index))
    with station.index.open("wb") as first_file, second.open("wb") as second_file:
        for number in range(lines):
            first_file.write(b"/d/%08d\0/rfeye.bin\0\n" % number)
            if number % 2:
                second_file.write(b"1000 1700000000 /d/%08d/rfeye.bin\n" % number)
    told = subprocess.run(
        [sys.executable, "-c", READING, str(station.folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    ).stdout.split()
    found, removed, left, before, most = map(int, told)
    assert (found, removed, left) == (lines, 2, lines - 1)
    return before / 1024, most / 1024


def test_sixty_thousand_lines_are_read_and_rewritten_in_bounded_memory(
    station: Station,
) -> None:
    before, most = read_in_a_process_of_its_own(station, 60_000)
    assert most - before < 16


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_five_million_lines_are_read_and_rewritten_within_64_mib(station: Station) -> None:
    before, most = read_in_a_process_of_its_own(station, 5_000_000)
    assert most - before < 16
    assert most < 64 + before
