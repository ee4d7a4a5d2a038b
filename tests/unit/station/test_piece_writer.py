"""Pieces in any order, past the page cache or through it."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest

from lab import small_disk
from uploaderd import durable
from uploaderd.errors import RepositoryError
from uploaderd.station import part_file, piece_writer
from uploaderd.station.part_file import PartFile
from uploaderd.station.piece_writer import CachedWriter, DirectWriter, PieceWriter, writer

PAGE = piece_writer.PAGE


@contextmanager
def opened(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
    file = os.open(path, flags, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def direct(file: int) -> DirectWriter:
    """With a direct descriptor where this file system has such, else with a usual one."""
    flags = os.O_DIRECT if durable.is_on_a_disk(file) else 0
    return DirectWriter(file, os.open(f"/proc/self/fd/{file}", os.O_WRONLY | flags))


def in_pieces(content: bytes, cuts: list[int]) -> list[tuple[int, memoryview]]:
    edges = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    return [(start, memoryview(content)[start:stop]) for start, stop in itertools.pairwise(edges)]


def is_cached(file: int, offset: int) -> bool:
    """Whether a page is in memory (preadv2(2), RWF_NOWAIT)."""
    try:
        os.preadv(file, [bytearray(PAGE)], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    return True


@pytest.fixture
def blocks_of_three_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piece_writer, "LARGEST_BLOCK", 3 * PAGE)


@pytest.mark.usefixtures("blocks_of_three_pages")
@pytest.mark.parametrize("make", [direct, CachedWriter])
@hypothesis.settings(
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture], deadline=None
)
@hypothesis.given(
    size=st.integers(0, 20 * PAGE),
    begun=st.integers(0, 5 * PAGE),
    cuts=st.lists(st.integers(0, 20 * PAGE), max_size=12),
    order=st.randoms(use_true_random=False),
)
def test_the_file_is_what_was_given_in_whatever_order(
    make: Callable[[int], PieceWriter],
    tmp_path: Path,
    size: int,
    begun: int,
    cuts: list[int],
    order: random.Random,
) -> None:
    """Also behind what an earlier transfer left, and at every moment as far as it is told."""
    content = random.randbytes(size)
    pieces = in_pieces(content, cuts)
    if order.random() < 0.5:
        order.shuffle(pieces)
    before = random.randbytes(begun)
    path = tmp_path / "file"
    path.write_bytes(before)
    given: list[tuple[int, memoryview]] = []
    with opened(path) as file:
        one = make(file)
        try:
            for offset, data in pieces:
                one.write(begun + offset, data)
                given.append((begun + offset, data))
                for start, piece in given:
                    there = piece[: max(0, one.written - start)]
                    assert os.pread(file, len(there), start) == there
        finally:
            one.finish()
        one.finish()
    assert path.read_bytes() == before + content


@pytest.fixture
def on_a_disk(tmp_path: Path) -> Path:
    with opened(tmp_path, os.O_RDONLY) as folder:
        if not durable.is_on_a_disk(folder):
            pytest.skip("the temporary folder is on no disk's file system")
    return tmp_path


def test_a_large_file_leaves_the_page_cache_to_others(
    on_a_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(piece_writer, "LARGE", 2 << 20)
    for size, cached in ((1 << 20, True), (3 << 20, False)):
        with opened(on_a_disk / str(size)) as file:
            one = writer(file, size)
            for offset in range(0, size, 1 << 18):
                one.write(offset, memoryview(bytes(1 << 18)))
            one.finish()
            assert {is_cached(file, at) for at in range(0, size, 1 << 16)} == {cached}


def test_a_disk_that_wants_larger_pages_is_written_through_the_cache(
    on_a_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is no multiple of a sector is refused by every disk with the same error.
    monkeypatch.setattr(piece_writer, "PAGE", 100)
    content = random.randbytes(3 << 20)
    with opened(on_a_disk / "file") as file:
        one = direct(file)
        one.write(0, memoryview(content))
        one.finish()
    assert (on_a_disk / "file").read_bytes() == content


def test_what_the_disk_refuses_is_told_with_a_later_piece(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with opened(tmp_path / "file", os.O_RDONLY) as file:
        handle = os.open(tmp_path / "file", os.O_RDONLY)
        one = DirectWriter(file, handle)
        with pytest.raises(OSError, match="Bad file descriptor"):
            one.write(0, memoryview(bytes(3 * piece_writer.LARGEST_BLOCK)))
        with pytest.raises(OSError, match="Bad file descriptor"):
            one.finish()
        one.finish()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(handle)


def test_a_full_disk_is_told_at_the_end_and_nothing_stays_open(tmp_path: Path) -> None:
    with small_disk.mounted(tmp_path / "small", "64k") as permitted:
        if not permitted:
            pytest.skip("mounting a small tmpfs is not permitted")
        with opened(tmp_path / "small" / "file") as file:
            one = direct(file)
            one.write(0, memoryview(bytes(1 << 20))[: (1 << 20) - 1])
            with pytest.raises(OSError, match="No space left") as refusal:
                one.finish()
            one.finish()
    assert refusal.value.errno == errno.ENOSPC


def part(target: Path, size: int) -> tuple[PartFile, bool]:
    file = PartFile(target, b"/remote")
    return file, file.begin(size, 7)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is a large one, with blocks of three pages and a record after five."""
    monkeypatch.setattr(piece_writer, "LARGE", 0)
    monkeypatch.setattr(piece_writer, "LARGEST_BLOCK", 3 * PAGE)
    monkeypatch.setattr(part_file, "CHECKPOINT", 5 * PAGE)
    monkeypatch.setattr(part_file, "WORTH_A_RECORD", 1)


@pytest.mark.usefixtures("soon")
def test_a_record_tells_of_nothing_that_is_in_our_memory_only(tmp_path: Path) -> None:
    """Whenever the process is killed, what the record tells is in the file."""
    content = random.randbytes(60 * PAGE)
    recorded: set[int] = set()
    target = tmp_path / "file"
    one, _ = part(target, len(content))
    for offset in range(0, len(content) - 1, 3000):
        one.write(offset, memoryview(content)[offset : min(offset + 3000, len(content) - 1)])
        record = Path(f"{target}.part.json")
        if record.exists():
            told = json.loads(record.read_text())
            there = Path(f"{target}.part").read_bytes()[: told["offset"]]
            assert hashlib.sha256(there).hexdigest() == told["sha256"]
            recorded.add(told["offset"])
    one.drop()
    assert len(recorded) > 8


@pytest.mark.usefixtures("soon")
def test_a_large_file_goes_on_in_the_middle_of_a_page(tmp_path: Path) -> None:
    content = random.randbytes(20 * PAGE)
    target, stop = tmp_path / "file", 7 * PAGE + 123
    one, _ = part(target, len(content))
    one.write(0, memoryview(content)[:stop])
    one.keep()
    one, goes_on = part(target, len(content))
    assert goes_on
    assert one.position == stop
    one.write(stop, memoryview(content)[stop:])
    assert Path(one.path).read_bytes() == content
    one.drop()


def write_all(one: PartFile, content: bytes) -> None:
    for offset in range(0, len(content), 3000):
        one.write(offset, memoryview(content)[offset : offset + 3000])


@pytest.mark.usefixtures("soon")
def test_a_large_file_on_a_full_disk_keeps_its_last_record(tmp_path: Path) -> None:
    with small_disk.mounted(tmp_path / "small", "128k") as permitted:
        if not permitted:
            pytest.skip("mounting a small tmpfs is not permitted")
        target = tmp_path / "small" / "file"
        content = random.randbytes(60 * PAGE)
        one, _ = part(target, len(content))
        with pytest.raises(RepositoryError, match="No space left"):
            write_all(one, content)
        one.keep()
        again, goes_on = part(target, len(content))
        with closing(os.fdopen(os.dup(again.handle), "rb")) as file:
            assert goes_on
            assert file.read(again.position) == content[: again.position]
        again.drop()
