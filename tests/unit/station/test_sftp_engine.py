"""The engine against a station in memory that misbehaves at will."""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest

from tests.unit.station.test_group_sync import place
from uploaderd.errors import RemoteFileError, StationUnreachable
from uploaderd.station import sftp_wire as wire
from uploaderd.station.digest import Digest
from uploaderd.station.outcome import Limits, Refused, Wanted
from uploaderd.station.placing import Placing
from uploaderd.station.reading import Complete
from uploaderd.station.sftp_engine import Engine


@dataclass
class Station:
    """Answers SFTP requests out of memory; `pieces` is how much of its stream comes at once."""

    files: dict[bytes, bytes]
    largest_read: int = 1 << 20
    told_size: dict[bytes, int] = field(default_factory=dict)
    pieces: int = 1 << 20
    opened: int = 0
    answers: bytes = b""

    def send(self, data: bytes) -> None:
        while data:
            (length,) = struct.unpack_from(">I", data)
            packet, data = data[4 : 4 + length], data[4 + length :]
            kind, number = struct.unpack_from(">BI", packet)
            if kind == wire.INIT:
                self.say(struct.pack(">BI", wire.VERSION, 3))
                continue
            (length,) = struct.unpack_from(">I", packet, 5)
            subject, rest = packet[9 : 9 + length], packet[9 + length :]
            answer, body = self.answer(kind, subject, rest)
            self.say(struct.pack(">BI", answer, number) + body)

    def answer(self, kind: int, subject: bytes, rest: bytes) -> tuple[int, bytes]:
        if kind in (wire.STAT, wire.OPEN) and subject not in self.files:
            return wire.STATUS, struct.pack(">I", wire.NO_SUCH_FILE)
        if kind in (wire.STAT, wire.FSTAT):
            size = self.told_size.get(subject, len(self.files[subject]))
            return wire.ATTRS, struct.pack(">IQIII", 13, size, 0o100644, 7, 7)
        if kind == wire.OPEN:
            self.opened += 1
            return wire.HANDLE, wire.text(subject)
        if kind == wire.READ:
            offset, length = struct.unpack(">QI", rest)
            data = self.files[subject][offset : offset + min(length, self.largest_read)]
            if data:
                return wire.DATA, wire.text(data)
            return wire.STATUS, struct.pack(">I", wire.EOF)
        return wire.STATUS, struct.pack(">I", 0)

    def say(self, packet: bytes) -> None:
        self.answers += struct.pack(">I", len(packet)) + packet

    def receive(self, timeout_s: float) -> bytes:
        if not self.answers:
            raise TimeoutError
        data, self.answers = self.answers[: self.pieces], self.answers[self.pieces :]
        return data

    def close(self) -> None:
        pass


def _unheeded() -> None:
    pass


def read(
    station: Station, target: Path, limits: Limits | None = None, stall_s: float = 5.0
) -> dict[bytes, Complete | Refused]:
    engine = Engine(
        lambda: station, limits or Limits(), stall_s, lambda _wanted, _part: False, _unheeded
    )
    wanted: Iterator[Wanted] = (Wanted(name, target / name.hex()) for name in list(station.files))
    results = {}
    for result in engine.run(wanted, lambda: True):
        if result is not None:
            results[result.wanted.remote_path] = result
        if isinstance(result, Complete):
            place([Placing(result.part, 7 * 10**9)])
    return results


@hypothesis.settings(
    max_examples=60, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(
    contents=st.lists(st.binary(max_size=100_000), min_size=1, max_size=4),
    largest_read=st.integers(3000, 40_000),
    pieces=st.integers(1000, 50_000),
)
def test_a_server_that_reads_less_than_asked_gives_whole_files(
    tmp_path: Path, contents: list[bytes], largest_read: int, pieces: int
) -> None:
    files = {b"f%d" % number: content for number, content in enumerate(contents)}
    results = read(Station(files, largest_read, pieces=pieces), tmp_path)
    assert results.keys() == files.keys()
    for name, content in files.items():
        result = results[name]
        assert isinstance(result, Complete)
        assert result.part.sha256 == hashlib.sha256(content).hexdigest()
        assert result.part.target.read_bytes() == content


@pytest.mark.parametrize("told", [0, 49_999, 50_001, 10**12])
def test_a_station_that_lies_about_a_size_is_found_out(tmp_path: Path, told: int) -> None:
    station = Station({b"lie": bytes(50_000), b"true": b"x"}, told_size={b"lie": told})
    results = read(station, tmp_path)
    lie = results[b"lie"]
    assert isinstance(lie, Refused)
    assert isinstance(lie.error, RemoteFileError)
    assert isinstance(results[b"true"], Complete)
    assert sorted(path.name for path in tmp_path.iterdir()) == [b"true".hex()]


def test_a_silent_station_is_unreachable(tmp_path: Path) -> None:
    class Silent(Station):
        def say(self, packet: bytes) -> None:
            pass

    with pytest.raises(StationUnreachable, match="silent"):
        read(Silent({b"a": b""}), tmp_path, stall_s=0.01)


def test_nonsense_is_no_crash(tmp_path: Path) -> None:
    class Mad(Station):
        def say(self, packet: bytes) -> None:
            self.answers += b"\xff" * 50

    with pytest.raises(StationUnreachable, match="nonsense"):
        read(Mad({b"a": b""}), tmp_path)


@hypothesis.given(content=st.binary(max_size=500), data=st.data())
def test_a_digest_takes_pieces_in_any_order(content: bytes, data: st.DataObject) -> None:
    cuts = sorted({0, len(content), *data.draw(st.lists(st.integers(0, len(content))))})
    pieces = list(itertools.pairwise(cuts))
    digest = Digest()
    for start, end in data.draw(st.permutations(pieces)):
        digest.write(start, memoryview(content)[start:end])
    assert digest.position == len(content)
    assert digest.hexdigest() == hashlib.sha256(content).hexdigest()
