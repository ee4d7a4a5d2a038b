"""Handles are guessed where the server looks like OpenSSH's: a wrong guess costs time, no truth."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest

from tests.unit.station.test_sftp_engine import Station, read
from uploaderd.station import sftp_wire as wire
from uploaderd.station.outcome import Limits, Refused
from uploaderd.station.reading import Complete


@dataclass
class Numbered(Station):
    """Numbers handles by the first free place, as OpenSSH does, from `first` on.

    After `stays` files it closes none in fact, so that their numbers stay taken.
    """

    first: int = 0
    stays: int = 10**9
    taken: dict[bytes, bytes] = field(default_factory=dict)
    asked_unopened: int = 0

    def say(self, packet: bytes) -> None:
        if packet[0] == wire.VERSION:
            packet += wire.text(wire.POSIX_RENAME) + wire.text(b"1")
        super().say(packet)

    def answer(self, kind: int, subject: bytes, rest: bytes) -> tuple[int, bytes]:
        if kind == wire.OPEN and subject in self.files:
            number = self.first
            while (handle := struct.pack(">I", number)) in self.taken:
                number += 1
            self.taken[handle] = subject
            self.opened += 1
            return wire.HANDLE, wire.text(handle)
        if kind in (wire.READ, wire.FSTAT, wire.CLOSE):
            if subject not in self.taken:
                self.asked_unopened += 1
                return wire.STATUS, struct.pack(">I", 4)
            name = self.taken[subject]
            if kind == wire.CLOSE and self.opened < self.stays:
                del self.taken[subject]
            return super().answer(kind, name, rest)
        return super().answer(kind, subject, rest)


def contents(count: int, largest: int = 60_000) -> dict[bytes, bytes]:
    chance = random.Random(count)
    return {b"f%d" % number: chance.randbytes(chance.randrange(largest)) for number in range(count)}


def assert_all_came(station: Station, target: Path, level: str = "size") -> None:
    limits = Limits(bytes_in_flight=200_000, verification=level)  # type: ignore[arg-type] # drawn
    results = read(station, target, limits)
    for name, content in station.files.items():
        result = results[name]
        assert isinstance(result, Complete), result
        assert result.part.target.read_bytes() == content
        assert result.read_twice == (level == "double_read")


@pytest.mark.parametrize("level", ["size", "double_read"])
def test_no_file_is_waited_for_where_the_guess_is_right(tmp_path: Path, level: str) -> None:
    station = Numbered(contents(300))
    assert_all_came(station, tmp_path, level)
    assert station.asked_unopened == 0
    assert station.opened == 300 * (1 + (level == "double_read"))
    assert not station.taken


@pytest.mark.parametrize("level", ["size", "double_read"])
def test_files_are_whole_where_handles_begin_elsewhere(tmp_path: Path, level: str) -> None:
    station = Numbered(contents(200), first=1)
    assert_all_came(station, tmp_path, level)
    assert not station.taken


@pytest.mark.parametrize("stays", [1, 50, 100])
def test_files_are_whole_where_the_guess_goes_wrong_later(tmp_path: Path, stays: int) -> None:
    assert_all_came(Numbered(contents(200), stays=stays), tmp_path)


def test_a_file_that_is_gone_leaves_the_guess_of_the_next_one_right(tmp_path: Path) -> None:
    class Forgetful(Numbered):
        def answer(self, kind: int, subject: bytes, rest: bytes) -> tuple[int, bytes]:
            if kind in (wire.STAT, wire.OPEN) and subject in (b"f3", b"f7"):
                return wire.STATUS, struct.pack(">I", wire.NO_SUCH_FILE)
            return super().answer(kind, subject, rest)

    station = Forgetful(contents(20))
    results = read(station, tmp_path)
    assert {name for name, one in results.items() if isinstance(one, Refused)} == {b"f3", b"f7"}
    assert all(
        one.part.target.read_bytes() == station.files[name]
        for name, one in results.items()
        if isinstance(one, Complete)
    )


@hypothesis.settings(
    max_examples=40, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(
    sizes=st.lists(st.integers(0, 100_000), min_size=1, max_size=30),
    first=st.integers(0, 2),
    stays=st.integers(0, 40),
    largest_read=st.integers(3000, 40_000),
)
def test_no_server_of_the_kind_mixes_up_files(
    tmp_path: Path, sizes: list[int], first: int, stays: int, largest_read: int
) -> None:
    files = {b"f%d" % n: random.Random(n).randbytes(size) for n, size in enumerate(sizes)}
    assert_all_came(Numbered(files, largest_read, first=first, stays=stays), tmp_path)
