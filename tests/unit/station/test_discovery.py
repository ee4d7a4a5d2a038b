"""Finding files on a station without an agent."""

import os
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest

from lab.station import Station
from uploaderd.errors import RemoteFileError
from uploaderd.station.discovery import Discovery, Rules, find
from uploaderd.station.filters import parse
from uploaderd.station.paths import Sound

NOW = 1_700_000_000


def old(station: Station, name: str, age_s: int, size: int = 10) -> bytes:
    path = station.write(name, b"x" * size)
    os.utime(path, (NOW - age_s, NOW - age_s))
    return os.fsencode(path)


def search(
    sftp: paramiko.SFTPClient, station: Station, options: dict[str, Any], **more: Any
) -> Discovery:
    wanted = parse({"file_path": str(station.data), **options})
    return find(sftp, wanted, now_s=lambda: NOW, **more)


def names(result: Discovery) -> list[str]:
    return [file.path.rpartition(b"/")[2].decode() for file in result.found]


@pytest.fixture
def filled(station: Station) -> Station:
    for number in range(1, 6):
        old(station, f"2023/{number % 2}/f{number}.BIN", number * 86_400)
    old(station, "notes.txt", 90_000)
    return station


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"extension": ".bin"}, ["f5.BIN", "f4.BIN", "f3.BIN", "f2.BIN", "f1.BIN"]),
        ({"mode": "ALL", "sort_order": "newest_first", "extension": "bin"}, None),
        ({"mode": "LAST", "last_n_files": 2, "extension": "bin"}, ["f2.BIN", "f1.BIN"]),
        ({"mode": "FILE", "file_name": "F[34]*"}, ["f4.BIN", "f3.BIN"]),
        ({"mode": "FILE", "file_name": "notes.txt"}, ["notes.txt"]),
        (
            {"mode": "RANGE", "start_date": "2023-11-10", "end_date": "2023-11-11"},
            ["f4.BIN", "f3.BIN"],
        ),
    ],
)
def test_each_mode_chooses_its_files(
    sftp: paramiko.SFTPClient, filled: Station, options: dict[str, Any], expected: list[str] | None
) -> None:
    assert names(search(sftp, filled, options)) == (
        expected or ["f1.BIN", "f2.BIN", "f3.BIN", "f4.BIN", "f5.BIN"]
    )


def test_known_versions_are_left_out_but_for_a_rediscovery(
    sftp: paramiko.SFTPClient, filled: Station
) -> None:
    first = search(sftp, filled, {"extension": "bin"})
    have = {(file.path, file.size, file.mtime_ns) for file in first.found}

    def known(files: Sequence[Sound]) -> Collection[bytes]:
        return {file.path for file in files if (file.path, file.size, file.mtime_ns) in have}

    assert names(search(sftp, filled, {}, known=known)) == ["notes.txt"]
    assert len(names(search(sftp, filled, {"mode": "REDISCOVERY"}, known=known))) == 6
    assert names(search(sftp, filled, {"mode": "LAST", "last_n_files": 2}, known=known)) == [
        "notes.txt"
    ]
    # A file with an old time, copied into place, and a known path that was written again.
    old(filled, "copied.bin", 10_000_000)
    old(filled, "2023/1/f1.BIN", 86_400, size=11)
    assert names(search(sftp, filled, {"extension": "bin"}, known=known)) == [
        "copied.bin",
        "f1.BIN",
    ]


def test_files_that_are_still_written_are_left_unless_they_stay_the_same(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    old(station, "done.bin", 3600)
    old(station, "still.bin", 60)
    old(station, "future.bin", -1_000_000)
    growing = old(station, "growing.bin", 1)
    old(station, "empty.bin", 3600, size=0)
    result = search(sftp, station, {})
    assert names(result) == ["done.bin"]
    assert result.unfinished == 3

    def grow(_seconds: float) -> None:
        with Path(os.fsdecode(growing)).open("ab") as file:
            file.write(b"y")

    result = search(sftp, station, {}, rules=Rules(look_again_after_s=1), wait=grow)
    assert names(result) == ["done.bin", "still.bin", "future.bin"]
    assert result.unfinished == 1


def test_a_budget_is_spent_in_the_order_asked_for(
    sftp: paramiko.SFTPClient, filled: Station
) -> None:
    options = {"extension": "bin", "max_total_gb": "0.000000025"}
    result = search(sftp, filled, options)
    assert names(result) == ["f5.BIN", "f4.BIN"]
    assert result.more
    result = search(sftp, filled, {**options, "sort_order": "newest_first"})
    assert names(result) == ["f1.BIN", "f2.BIN"]


def test_more_files_than_the_limit_come_oldest_first_and_the_rest_next_time(
    sftp: paramiko.SFTPClient, filled: Station
) -> None:
    result = search(sftp, filled, {"extension": "bin"}, rules=Rules(limit=3))
    assert names(result) == ["f5.BIN", "f4.BIN", "f3.BIN"]
    assert result.more


def test_a_folder_of_thousands_links_and_strange_names(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    for number in range(2500):
        old(station, f"many/{number}.bin", 3600, size=1)
    (station.data / "loop").symlink_to(station.data)
    (station.data / "link.bin").symlink_to(station.data / "many" / "1.bin")
    (station.data / os.fsdecode(b"\xff.bin")).write_bytes(b"x")
    result = search(sftp, station, {})
    assert len(result.found) == 2500
    assert [each.code for each in result.refused] == ["name"]


def test_a_folder_that_is_not_there_is_an_error(
    sftp: paramiko.SFTPClient, station: Station
) -> None:
    with pytest.raises(RemoteFileError, match="nowhere"):
        find(sftp, parse({"file_path": str(station.data / "nowhere")}), now_s=time.time)


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
def test_what_is_beyond_the_last_is_found_next_and_nothing_twice(
    filled: Station, sftp: paramiko.SFTPClient, order: str
) -> None:
    for number in range(4):
        old(filled, f"same/{number}.bin", 86_400)
    came: list[bytes] = []
    beyond = None
    for _ in range(10):
        result = search(sftp, filled, {"sort_order": order}, rules=Rules(limit=3), beyond=beyond)
        came += [file.path for file in result.found]
        beyond = result.last
        if not result.more:
            break
    assert len(came) == len(set(came)) == 10


LISTING = """
import resource, sys
from lab import plain_sftp
from uploaderd.station.discovery import Rules, find
from uploaderd.station.filters import parse
with plain_sftp.session() as sftp:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = find(sftp, parse({"file_path": sys.argv[1]}), rules=Rules(min_age_s=-60, limit=1000))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(result.seen, len(result.found), int(result.more), (after - before) // 1024)
"""


def listed_in_a_process_of_its_own(station: Station, folders: int, each: int) -> None:
    """So many files, of which a thousand are taken: memory does not grow with their number."""
    for folder in range(folders):
        place = station.data / f"{folder:04}"
        place.mkdir()
        for number in range(each):
            (place / f"{number:06}.bin").write_bytes(b"1")
    told = subprocess.run(
        [sys.executable, "-c", LISTING, str(station.data)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    ).stdout.split()
    seen, found, more, grown_mib = map(int, told)
    assert (seen, found, more) == (folders * each, 1000, 1)
    assert grown_mib < 16


def test_four_thousand_files_are_listed_in_bounded_memory(station: Station) -> None:
    listed_in_a_process_of_its_own(station, 2, 2_000)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_million_files_are_listed_in_bounded_memory(station: Station) -> None:
    listed_in_a_process_of_its_own(station, 20, 50_000)


class WindowsNames:
    """A listing as Win32-OpenSSH gives it: drive letters as first folders, forward slashes."""

    def __init__(self, sftp: paramiko.SFTPClient, root: Path) -> None:
        self._send = sftp._async_request  # type: ignore[attr-defined] # not in the stubs
        self._root = os.fsencode(root)

    def __call__(self, slot: object, kind: int, *request: object) -> object:
        named = [
            self._root + b"/C" + part.removeprefix(b"/C:")
            if isinstance(part, bytes) and part.startswith(b"/C:")
            else part
            for part in request
        ]
        return self._send(slot, kind, *named)


@pytest.mark.parametrize("given", ["C:\\data", "C:/data/", "/C:/data", "c:\\data\\"])
def test_a_windows_folder_is_searched_by_any_of_its_names(
    sftp: paramiko.SFTPClient, station: Station, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    old(station, "C/data/Sub Folder/Scan 1.BIN", 90_000)
    old(station, "C/data/ümlaut.bin", 80_000)
    monkeypatch.setattr(sftp, "_async_request", WindowsNames(sftp, station.data))
    wanted = parse({"file_path": given, "extension": "*.bin"})
    if wanted.file_path.startswith(b"/c:"):
        wanted = replace(wanted, file_path=b"/C:" + wanted.file_path[3:])
    found = find(sftp, wanted, now_s=lambda: NOW).found
    assert [file.path for file in found] == [
        b"/C:/data/Sub Folder/Scan 1.BIN",
        "/C:/data/ümlaut.bin".encode(),
    ]
