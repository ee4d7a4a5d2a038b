"""Transfers from real sshd stations: a file is whole at its target, or not there."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import os
import random
import re
import resource
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from lab import small_disk
from lab import sshd as lab_sshd
from lab.link import Link
from uploaderd.errors import RemoteFileError, RepositoryError, StationError, StationUnreachable
from uploaderd.station.access import Access
from uploaderd.station.connection import Connection, connect
from uploaderd.station.link import CommandResult
from uploaderd.station.transfer import Fetched, Limits, Outcome, Refused, Wanted, fetch

SIZE_ONLY = Limits(verification="size")


@pytest.fixture
def access(sshd: lab_sshd.Sshd, tmp_path: Path) -> Access:
    known = tmp_path / "known_hosts"
    return Access(sshd.host, sshd.port, sshd.user, key_file=sshd.key_file, known_hosts=known)


@pytest.fixture
def connection(access: Access) -> Iterator[Connection]:
    with connect(access) as connection:
        yield connection


def make(folder: Path, *contents: bytes) -> list[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [os.fsencode(folder / f"file-{number:04d}.bin") for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        Path(os.fsdecode(path)).write_bytes(content)
    return paths


def wanted(paths: list[bytes], target: Path) -> list[Wanted]:
    return [Wanted(path, target / local(path).name) for path in paths]


def seen(one: Wanted) -> Wanted:
    about = local(one.remote_path).stat()
    return dataclasses.replace(one, size=about.st_size, mtime_ns=about.st_mtime_ns)


def local(path: bytes) -> Path:
    """A path of the station, which is this machine."""
    return Path(os.fsdecode(path))


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def assert_same(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        assert isinstance(outcome, Fetched), outcome
        one = outcome.wanted
        there, here = local(one.remote_path).stat(), one.target.stat()
        assert sha256(one.target) == sha256(local(one.remote_path)) == outcome.sha256
        assert here.st_size == there.st_size == outcome.size
        assert int(here.st_mtime) == int(there.st_mtime)
        assert here.st_mtime_ns == outcome.mtime_ns


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if ".part" in path.name]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_files_of_all_sizes_arrive_as_they_are(
    access: Access, tmp_path: Path, known: bool, legacy: bool
) -> None:
    sizes = [0, 1, 4095, 32768, 261119, 261120, 261121, 3 << 20, *range(100, 400)]
    paths = make(tmp_path / "there", *(random.randbytes(size) for size in sizes))
    asked = wanted(paths, tmp_path / "here")
    if known:
        asked = [seen(one) for one in asked]
    with connect(dataclasses.replace(access, legacy=legacy)) as connection:
        outcomes = list(fetch(connection, asked))
    assert_same(outcomes)
    assert len(outcomes) == len(sizes)
    assert {one.verified for one in outcomes if isinstance(one, Fetched)} == {"remote_hash"}
    assert not leftovers(tmp_path / "here")


@hypothesis.settings(
    max_examples=25, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(
    contents=st.lists(st.binary(max_size=70000), max_size=12),
    files=st.integers(1, 6),
    in_flight=st.integers(1, 1 << 20),
    level=st.sampled_from(["size", "double_read", "remote_hash"]),
)
def test_content_is_equal_on_both_sides_within_any_bounds(
    connection: Connection,
    tmp_path: Path,
    contents: list[bytes],
    files: int,
    in_flight: int,
    level: str,
) -> None:
    paths = make(tmp_path / "there", *contents)
    limits = Limits(None, files, in_flight, verification=level)  # type: ignore[arg-type] # drawn
    outcomes = list(fetch(connection, wanted(paths, tmp_path / "here"), limits))
    assert_same(outcomes)
    assert len(outcomes) == len(contents)
    assert all(isinstance(one, Fetched) and one.verified == level for one in outcomes)


def test_names_are_bytes(connection: Connection, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    names = [b"with space", "Überfluß".encode(), b"\xff\xfe.bin", b"new\nline", b"it's 'quoted'"]
    paths = [os.fsencode(there) + b"/" + name for name in names]
    for path in paths:
        local(path).write_bytes(path)
    outcomes = list(fetch(connection, wanted(paths, tmp_path / "here")))
    assert_same(outcomes)
    assert {one.verified for one in outcomes if isinstance(one, Fetched)} == {"remote_hash"}


def test_a_file_that_cannot_be_had_does_not_hold_up_the_others(
    connection: Connection, tmp_path: Path
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    paths = make(there, b"one", b"two")
    (there / "folder").mkdir()
    os.mkfifo(there / "pipe")
    (here / "in-the-way").mkdir(parents=True)
    bad = wanted([os.fsencode(there / name) for name in ("gone", "folder", "pipe")], here)
    blocked = Wanted(paths[0], here / "in-the-way")
    good = wanted(paths, here)
    outcomes = list(fetch(connection, [bad[0], good[0], bad[1], blocked, bad[2], good[1]]))
    refused = {one.wanted: one.error for one in outcomes if isinstance(one, Refused)}
    assert set(refused) == {*bad, blocked}
    assert all(isinstance(refused[one], RemoteFileError) for one in bad)
    assert isinstance(refused[blocked], RepositoryError)
    assert_same([one for one in outcomes if isinstance(one, Fetched)])
    assert sorted(path.name for path in here.iterdir()) == [
        "file-0000.bin",
        "file-0001.bin",
        "in-the-way",
    ]


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "low"
    server = lab_sshd.start(folder, lab_sshd.Account("low", "x", 61234))
    if not server.passwords:
        server.stop()
        pytest.skip("namespaces are not permitted here, so all accounts are ours")
    try:
        for parent in (tmp_path, *tmp_path.parents[:2]):
            parent.chmod(0o755)
        (path,) = make(tmp_path / "there", b"secret")
        local(path).chmod(0o600)
        access = Access(
            server.host, server.port, "low", key_file=server.key_file, host_key_policy="insecure"
        )
        with connect(access) as connection:
            (outcome,) = fetch(connection, wanted([path], tmp_path / "here"))
        assert isinstance(outcome, Refused)
        assert "may not be read" in str(outcome.error)
    finally:
        server.stop()


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_that_is_not_as_it_was_told_is_refused(
    connection: Connection, tmp_path: Path, change: int
) -> None:
    (path,) = make(tmp_path / "there", bytes(5000))
    (one,) = wanted([path], tmp_path / "here")
    lie = dataclasses.replace(seen(one), size=5000 + change)
    (outcome,) = fetch(connection, [lie], SIZE_ONLY)
    assert isinstance(outcome, Refused)
    assert isinstance(outcome.error, RemoteFileError)
    assert not one.target.exists()
    assert not leftovers(tmp_path)


def test_no_link_at_the_part_files_place_is_followed(
    connection: Connection, tmp_path: Path
) -> None:
    paths = make(tmp_path / "there", b"new", random.randbytes(1 << 20))
    outside = tmp_path / "outside"
    outside.write_text("mine")
    small, large = wanted(paths, tmp_path / "here")
    small.target.parent.mkdir()
    for one in (small, large):
        one.target.with_name(one.target.name + ".part").symlink_to(outside)
    outcomes = {outcome.wanted: outcome for outcome in fetch(connection, [small, large])}
    # A small file has no part file.
    assert isinstance(outcomes[small], Fetched)
    assert isinstance(outcomes[large], Refused)
    assert outside.read_text() == "mine"


def test_a_station_without_commands_lowers_the_verification_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = lab_sshd.start(tmp_path / "bare", options=["ForceCommand internal-sftp"])
    try:
        access = Access(
            server.host,
            server.port,
            server.user,
            key_file=server.key_file,
            known_hosts=tmp_path / "known_hosts",
        )
        paths = make(tmp_path / "there", b"one", b"two")
        with connect(access) as connection:
            outcomes = list(fetch(connection, wanted(paths, tmp_path / "here")))
    finally:
        server.stop()
    assert_same(outcomes)
    assert {one.verified for one in outcomes if isinstance(one, Fetched)} == {"double_read"}
    assert caplog.text.count("read twice instead") == 1


def part_of(one: Wanted) -> Path:
    return one.target.with_name(one.target.name + ".part")


def cut(access: Access, asked: list[Wanted], after: int) -> list[Outcome]:
    """Fetches over a link that breaks after so many bytes; gives what was complete until then."""
    outcomes: list[Outcome] = []
    with Link((access.host, access.port)) as link, contextlib.suppress(StationUnreachable):
        link.cut_after(after)
        collect(through(access, link), asked, outcomes)
    return outcomes


def collect(access: Access, asked: list[Wanted], outcomes: list[Outcome]) -> None:
    with connect(access) as connection:
        for outcome in fetch(connection, asked, SIZE_ONLY):
            outcomes.append(outcome)


def through(access: Access, link: Link) -> Access:
    return dataclasses.replace(access, port=link.port, host_key_policy="insecure")


@pytest.mark.parametrize("commands", [True, False])
def test_a_broken_transfer_goes_on_where_it_stopped(
    access: Access, tmp_path: Path, commands: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = random.randbytes(24 << 20)
    (one,) = wanted(make(tmp_path / "there", content), tmp_path / "here")
    assert cut(access, [one], 20 << 20) == []
    kept = part_of(one).stat().st_size
    assert kept > 1 << 20
    if not commands:
        monkeypatch.setattr(Connection, "run", no_command)
    with Link((access.host, access.port)) as link, connect(through(access, link)) as connection:
        assert_same(list(fetch(connection, [one], SIZE_ONLY)))
        assert link.carried < len(content) - kept + (3 << 20)
    assert not leftovers(tmp_path)


def no_command(connection: Connection, command: str, **_: object) -> CommandResult:
    raise StationError("no commands here")


@pytest.mark.parametrize("commands", [True, False])
def test_what_is_kept_is_thrown_away_when_the_source_has_changed(
    access: Access, tmp_path: Path, commands: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = make(tmp_path / "there", random.randbytes(12 << 20))
    (one,) = wanted([path], tmp_path / "here")
    assert cut(access, [one], 10 << 20) == []
    assert part_of(one).exists()
    about = local(path).stat()
    make(tmp_path / "there", random.randbytes(12 << 20))
    # The same size and mtime: only the content tells.
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    if not commands:
        monkeypatch.setattr(Connection, "run", no_command)
    with connect(access) as connection:
        assert_same(list(fetch(connection, [one], SIZE_ONLY)))


def test_a_station_that_falls_silent_is_unreachable_after_the_stall_time(
    access: Access, tmp_path: Path
) -> None:
    asked = wanted(make(tmp_path / "there", b"first", bytes(5 << 20)), tmp_path / "here")
    with Link((access.host, access.port)) as link, connect(through(access, link)) as connection:

        def silencing() -> Iterator[Wanted]:
            yield asked[0]
            link.stall = True
            yield asked[1]

        limits = Limits(files_in_flight=1, stall_s=1, verification="size")
        outcomes = fetch(connection, silencing(), limits)
        assert_same([next(outcomes)])
        with pytest.raises(StationUnreachable, match="silent"):
            list(outcomes)
        link.stall = False


def test_a_killed_transfer_goes_on_where_it_stopped(access: Access, tmp_path: Path) -> None:
    content = random.randbytes(40 << 20)
    (one,) = wanted(make(tmp_path / "there", content), tmp_path / "here")
    script = (
        "import sys; from pathlib import Path\n"
        "from uploaderd.station.access import Access\n"
        "from uploaderd.station.connection import connect\n"
        "from uploaderd.station.transfer import Limits, Wanted, fetch\n"
        "port, user, key, known, there, here = sys.argv[1:]\n"
        "access = Access('127.0.0.1', int(port), user, None, Path(key), known_hosts=Path(known))\n"
        "limits = Limits(bytes_per_s=20 << 20, verification='size')\n"
        "with connect(access) as c: list(fetch(c, [Wanted(there.encode(), Path(here))], limits))\n"
    )
    there = os.fsdecode(one.remote_path)
    arguments = [str(access.port), access.user, str(access.key_file), str(access.known_hosts)]
    process = subprocess.Popen([sys.executable, "-c", script, *arguments, there, str(one.target)])
    record = part_of(one).with_name(part_of(one).name + ".json")
    try:
        deadline = time.monotonic() + 60
        while not record.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    assert not one.target.exists()
    with Link((access.host, access.port)) as link, connect(through(access, link)) as connection:
        assert_same(list(fetch(connection, [one], SIZE_ONLY)))
        assert link.carried < len(content) - (6 << 20)


def test_a_disk_that_is_full_keeps_what_is_done(access: Access, tmp_path: Path) -> None:
    small = tmp_path / "small"
    with small_disk.mounted(small, "4m") as permitted:
        if not permitted:
            pytest.skip("no tmpfs may be mounted here")
        paths = make(tmp_path / "there", *(random.randbytes(1 << 20) for _ in range(6)))
        outcomes: list[Outcome] = []
        with pytest.raises(RepositoryError, match="Make room"):
            collect(access, wanted(paths, small), outcomes)
        assert outcomes
        assert_same(outcomes)


def test_a_quota_that_is_used_up_keeps_what_is_done(
    access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few kernels that tests run on know quotas: here the call itself says what theirs would."""
    paths = make(tmp_path / "there", *(random.randbytes(1 << 20) for _ in range(6)))
    pwrite, left = os.pwrite, 3 << 20

    def limited(file: int, data: memoryview, offset: int) -> int:
        nonlocal left
        if left < len(data):
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        left -= len(data)
        return pwrite(file, data, offset)

    outcomes: list[Outcome] = []
    asked = wanted(paths, tmp_path / "here")
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", limited)
        with pytest.raises(RepositoryError, match=r"quota exceeded.*raise the quota"):
            collect(access, asked, outcomes)
    assert_same(outcomes)
    with connect(access) as connection:
        assert_same(list(fetch(connection, asked, SIZE_ONLY)))


@pytest.mark.parametrize("size", [4096, 3 << 20])
def test_a_file_larger_than_the_process_may_write_stops_the_transfer(
    access: Access, tmp_path: Path, size: int
) -> None:
    """The kernel's own refusal (EFBIG), for a file in one piece and one in many."""
    asked = wanted(make(tmp_path / "there", random.randbytes(size)), tmp_path / "here")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
    try:
        with pytest.raises(RepositoryError, match="File too large"):
            collect(dataclasses.replace(access, host_key_policy="insecure"), asked, [])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with connect(access) as connection:
        assert_same(list(fetch(connection, asked, SIZE_ONLY)))


def test_a_target_that_is_read_only_stops_the_transfer_and_says_so(
    access: Access, tmp_path: Path
) -> None:
    folder = tmp_path / "frozen"
    folder.mkdir()
    paths = make(tmp_path / "there", b"one", bytes(2 << 20))
    bind = subprocess.run(["mount", "-n", "--bind", folder, folder], check=False)
    if bind.returncode != 0:
        pytest.skip("nothing may be mounted here")
    try:
        freeze = ["mount", "-n", "-o", "remount,ro,bind", str(folder)]
        subprocess.run(freeze, check=True)
        with pytest.raises(RepositoryError, match=r"Read-only.*must be able to write"):
            collect(access, wanted(paths, folder), [])
    finally:
        subprocess.run(["umount", "-n", "-l", str(folder)], check=True)
    with connect(access) as connection:
        assert_same(list(fetch(connection, wanted(paths, folder), SIZE_ONLY)))


@pytest.mark.parametrize("step", [-70_000, 70_000])
def test_a_file_that_grows_or_shrinks_while_it_is_read_is_refused_and_had_later(
    connection: Connection, tmp_path: Path, step: int
) -> None:
    (path,) = make(tmp_path / "there", random.randbytes(400_000))
    (one,) = wanted([path], tmp_path / "here")
    about = local(path).stat()

    def write_on() -> None:
        if local(path).stat().st_size == 400_000:
            os.truncate(path, 400_000 + step)
            # So that the size alone must tell.
            os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))

    slowly = Limits(bytes_per_s=800_000, verification="size")
    (outcome,) = fetch(connection, [one], slowly, write_on)
    assert isinstance(outcome, Refused)
    assert "is not what the station said" in str(outcome.error)
    assert not one.target.exists()
    assert_same(list(fetch(connection, [one], SIZE_ONLY)))


def test_a_station_with_md5sum_alone_is_asked_for_that(
    connection: Connection, tmp_path: Path
) -> None:
    connection.hash_tool = "md5sum"
    paths = make(tmp_path / "there", b"small", random.randbytes(600_000))
    outcomes = list(fetch(connection, wanted(paths, tmp_path / "here")))
    assert_same(outcomes)
    assert {one.verified for one in outcomes if isinstance(one, Fetched)} == {"remote_hash"}


@pytest.mark.parametrize("tool", ["sha256sum", "md5sum"])
def test_a_hash_that_differs_at_the_station_refuses_the_file(
    connection: Connection, tmp_path: Path, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.hash_tool = tool
    paths = make(tmp_path / "there", b"small", random.randbytes(600_000))
    run = Connection.run

    def lying(self: Connection, command: bytes, **options: Any) -> CommandResult:
        said = run(self, command, **options)
        turned = re.sub(rb"(?m)^[0-9a-f]{32,}", lambda found: found[0][::-1], said.output)
        return dataclasses.replace(said, output=turned)

    monkeypatch.setattr(Connection, "run", lying)
    outcomes = list(fetch(connection, wanted(paths, tmp_path / "here")))
    assert all(isinstance(one, Refused) and "another here" in str(one.error) for one in outcomes)
    assert len(outcomes) == 2
    assert not any((tmp_path / "here").rglob("*.bin*"))


def test_the_rate_is_limited_without_taking_silence_for_a_stall(
    connection: Connection, tmp_path: Path
) -> None:
    (path,) = make(tmp_path / "there", random.randbytes(200_000))
    limits = Limits(bytes_per_s=200_000, stall_s=5, verification="size")
    assert_same(list(fetch(connection, wanted([path], tmp_path / "here"), limits)))


def test_the_part_file_is_not_executable(connection: Connection, tmp_path: Path) -> None:
    (path,) = make(tmp_path / "there", b"#!/bin/sh")
    local(path).chmod(0o777)
    (one,) = wanted([path], tmp_path / "here")
    assert_same(list(fetch(connection, [one])))
    assert not one.target.stat().st_mode & stat.S_IXUSR
