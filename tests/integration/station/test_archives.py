"""Many small files by the station's `tar`: believed only where nothing speaks against them."""

from __future__ import annotations

import dataclasses
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import sshd as lab_sshd
from tests.integration.station.test_transfer import (
    assert_same,
    leftovers,
    local,
    make,
    seen,
    wanted,
)
from uploaderd.station.access import Access
from uploaderd.station.archives import AT_ONCE, WORTH_IT, Archives
from uploaderd.station.connection import Connection, connect
from uploaderd.station.link import Stream
from uploaderd.station.outcome import Verification
from uploaderd.station.paramiko_link import ParamikoLink
from uploaderd.station.sftp_engine import Engine
from uploaderd.station.transfer import Fetched, Limits, Outcome, Refused, Wanted, fetch

LEVELS = pytest.mark.parametrize("level", ["remote_hash", "size"])
MANY = 3 * WORTH_IT


class Enough(Exception):
    """The caller's own."""


@pytest.fixture
def access(sshd: lab_sshd.Sshd, tmp_path: Path) -> Access:
    known = tmp_path / "known_hosts"
    return Access(sshd.host, sshd.port, sshd.user, key_file=sshd.key_file, known_hosts=known)


@pytest.fixture
def connection(access: Access) -> Iterator[Connection]:
    with connect(access) as connection:
        yield connection


@pytest.fixture
def read_by_sftp(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that did not come by archive."""
    names: list[str] = []
    begin = Engine._begin

    def noted(self: Engine, one: Wanted) -> None:
        names.append(one.target.name)
        begin(self, one)

    monkeypatch.setattr(Engine, "_begin", noted)
    return names


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[bytes], bytes]]:
    """What is done to each command before it runs; what is appended here."""
    changes: list[Callable[[bytes], bytes]] = []
    opened = ParamikoLink.open_command

    def changed(self: ParamikoLink, command: bytes) -> Stream:
        for change in changes:
            command = change(command)
        return opened(self, command)

    monkeypatch.setattr(ParamikoLink, "open_command", changed)
    return changes


def many(folder: Path, count: int = MANY) -> list[Wanted]:
    contents = [random.randbytes(random.choice([0, 1, 511, 512, 4096])) for _ in range(count)]
    paths = make(folder / "there", *contents)
    return [seen(one) for one in wanted(paths, folder / "here")]


def refusals(outcomes: list[Outcome]) -> dict[str, str]:
    return {one.wanted.target.name: str(one.error) for one in outcomes if isinstance(one, Refused)}


@LEVELS
@pytest.mark.parametrize("legacy", [False, True])
def test_many_small_files_need_no_sftp(
    access: Access, tmp_path: Path, level: Verification, legacy: bool, read_by_sftp: list[str]
) -> None:
    ones = many(tmp_path, 600)
    with connect(dataclasses.replace(access, legacy=legacy)) as connection:
        outcomes = list(fetch(connection, ones, Limits(verification=level)))
    assert_same(outcomes)
    assert {one.verified for one in outcomes if isinstance(one, Fetched)} == {level}
    assert len(outcomes) == len(ones)
    assert not read_by_sftp
    assert not leftovers(tmp_path / "here")


def test_small_and_large_files_come_side_by_side(
    connection: Connection, tmp_path: Path, read_by_sftp: list[str]
) -> None:
    paths = make(tmp_path / "there", *(random.randbytes(100), random.randbytes(2 << 20)) * MANY)
    ones = [seen(one) for one in wanted(paths, tmp_path / "here")]
    outcomes = list(fetch(connection, ones, Limits(files_in_flight=AT_ONCE * WORTH_IT)))
    assert_same(outcomes)
    assert len(outcomes) == 2 * MANY
    assert sorted(read_by_sftp) == [one.target.name for one in ones[1::2]]


@LEVELS
def test_names_that_a_shell_or_tar_might_misread_arrive(
    connection: Connection, tmp_path: Path, level: Verification, read_by_sftp: list[str]
) -> None:
    names = ["it's", "two words", "$(reboot)", "-rf", "*", "\\n", "ü", "x" * 200, "a\nb", "@x", "`"]
    there = tmp_path / "there"
    there.mkdir()
    paths = [os.fsencode(there / name) for name in (*names, os.fsdecode(b"not-utf-8-\xff"))]
    paths += make(there, *(bytes([number]) for number in range(MANY)))
    for path in paths:
        local(path).write_bytes(path)
    ones = [seen(one) for one in wanted(paths, tmp_path / "here")]
    outcomes = list(fetch(connection, ones, Limits(verification=level)))
    assert_same(outcomes)
    assert len(outcomes) == len(ones)
    # Of a backslash GNU tar makes something else.
    assert sorted(read_by_sftp) == ["\\n", "a\nb"]


@LEVELS
def test_what_is_not_as_it_was_listed_is_told_of_and_the_others_come(
    connection: Connection, tmp_path: Path, level: Verification
) -> None:
    ones = many(tmp_path)
    gone, grown, touched, linked = (local(one.remote_path) for one in ones[:4])
    gone.unlink()
    grown.write_bytes(b"x" * 5000)
    os.utime(touched, (1, 1))
    linked.rename(linked.with_suffix(".moved"))
    linked.symlink_to(linked.with_suffix(".moved"))
    outcomes = list(fetch(connection, ones, Limits(verification=level)))
    refused = refusals(outcomes)
    assert set(refused) == {gone.name, grown.name, touched.name}
    assert "is not there" in refused[gone.name]
    assert "is not what the station said" in refused[grown.name]
    assert "is not what the station said" in refused[touched.name]
    assert_same([one for one in outcomes if isinstance(one, Fetched)])
    assert len(outcomes) == len(ones)


@LEVELS
def test_two_names_of_one_file_both_arrive(
    connection: Connection, tmp_path: Path, level: Verification, read_by_sftp: list[str]
) -> None:
    ones = many(tmp_path)
    first, second = (local(one.remote_path) for one in ones[:2])
    second.unlink()
    second.hardlink_to(first)
    ones[1] = seen(dataclasses.replace(ones[1], size=None, mtime_ns=None))
    assert_same(list(fetch(connection, ones, Limits(verification=level))))
    assert read_by_sftp == [second.name]


@LEVELS
def test_a_file_that_changes_while_the_archive_is_written_is_not_believed(
    connection: Connection,
    tmp_path: Path,
    level: Verification,
    commands: list[Callable[[bytes], bytes]],
    read_by_sftp: list[str],
) -> None:
    ones = [one for one in many(tmp_path, 2 * MANY) if one.size][:MANY]
    path = ones[5].remote_path

    def written_to(command: bytes) -> bytes:
        before, _, after = command.rpartition(b"; ")
        return before + b"; printf changed >'" + path + b"'; " + after

    commands.append(written_to)
    outcomes = list(fetch(connection, ones, Limits(verification=level)))
    assert read_by_sftp == [local(path).name]
    assert set(refusals(outcomes)) == {local(path).name}
    assert_same([one for one in outcomes if isinstance(one, Fetched)])


@pytest.mark.parametrize(
    "instead", [b"true", b"false", b"yes", b"cat /dev/zero", b"tar -cf - /etc/passwd", b"kill $$"]
)
def test_a_station_whose_tar_makes_no_sense_is_read_by_sftp(
    connection: Connection,
    tmp_path: Path,
    commands: list[Callable[[bytes], bytes]],
    read_by_sftp: list[str],
    instead: bytes,
) -> None:
    commands.append(lambda _command: instead)
    ones = many(tmp_path)
    assert_same(list(fetch(connection, ones)))
    assert len(read_by_sftp) == len(ones)
    assert not connection.archives


@pytest.mark.parametrize("kept", [0, 100, 5000, 20_000])
def test_an_archive_that_ends_early_costs_no_file(
    connection: Connection, tmp_path: Path, commands: list[Callable[[bytes], bytes]], kept: int
) -> None:
    commands.append(lambda command: b"(%s) | head -c %d" % (command, kept))
    ones = many(tmp_path)
    outcomes = list(fetch(connection, ones))
    assert_same(outcomes)
    assert len(outcomes) == len(ones)


def test_a_station_without_commands_is_asked_once(
    tmp_path: Path, read_by_sftp: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    archive = Archives._fetch

    def counted(self: Archives, chunk: object) -> object:
        asked.append(1)
        return archive(self, chunk)  # type: ignore[arg-type] # as it came

    monkeypatch.setattr(Archives, "_fetch", counted)
    server = lab_sshd.start(tmp_path / "bare", options=["ForceCommand internal-sftp"])
    try:
        access = Access(
            *(server.host, server.port, server.user),
            key_file=server.key_file,
            known_hosts=tmp_path / "known_hosts",
        )
        ones = many(tmp_path)
        with connect(access) as connection:
            assert_same(list(fetch(connection, ones[:WORTH_IT], Limits(verification="size"))))
            assert_same(list(fetch(connection, ones[WORTH_IT:], Limits(verification="size"))))
    finally:
        server.stop()
    assert len(asked) == 1
    assert len(read_by_sftp) == len(ones)


def test_a_station_that_allows_few_sessions_still_gives_every_hash(tmp_path: Path) -> None:
    server = lab_sshd.start(tmp_path / "narrow", options=["MaxSessions 2"])
    try:
        access = Access(
            *(server.host, server.port, server.user),
            key_file=server.key_file,
            known_hosts=tmp_path / "known_hosts",
        )
        paths = make(tmp_path / "large", *(random.randbytes(2 << 20) for _ in range(4)))
        ones = [*(seen(one) for one in wanted(paths, tmp_path / "other")), *many(tmp_path, 600)]
        with connect(access) as connection:
            outcomes = list(fetch(connection, ones, Limits(files_in_flight=AT_ONCE * WORTH_IT)))
    finally:
        server.stop()
    assert_same(outcomes)
    assert len(outcomes) == len(ones)
    assert {one.verified for one in outcomes if isinstance(one, Fetched)} == {"remote_hash"}


def test_who_stops_listening_leaves_no_thread_behind(
    connection: Connection, tmp_path: Path, commands: list[Callable[[bytes], bytes]]
) -> None:
    commands.append(lambda command: command + b"; sleep 600")
    outcomes = fetch(connection, many(tmp_path), Limits(stall_s=300), _raise)
    with pytest.raises(Enough):
        next(outcomes)
    assert not [one for one in threading.enumerate() if one.name.startswith("archive")]


def _raise() -> None:
    raise Enough
