"""Archives as a stream, as Python's own `tarfile` writes them and as nobody should."""

from __future__ import annotations

import io
import tarfile

import hypothesis
import hypothesis.strategies as st
import pytest

from uploaderd.station.tar_stream import Entry, NotAnArchive, TarStream

LARGEST = 100_000
NAMES = st.text("abcdefghij-_. ", min_size=1, max_size=300).map(lambda name: "data/" + name)
FILES = st.dictionaries(NAMES, st.tuples(st.integers(0, 2**33 - 1), st.binary(max_size=3000)))


class Pieces:
    """A stream that gives what it has in pieces of a length."""

    def __init__(self, data: bytes, length: int) -> None:
        self._data = io.BytesIO(data)
        self._length = length

    def send(self, data: bytes) -> None:
        raise AssertionError(data)

    def receive(self, timeout_s: float) -> bytes:
        assert timeout_s > 0
        return self._data.read(self._length)

    def close(self) -> None:
        """Nothing to end."""


def archive(files: dict[str, tuple[int, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, (mtime, content) in files.items():
            about = tarfile.TarInfo(name)
            about.size, about.mtime = len(content), mtime
            tar.addfile(about, io.BytesIO(content))
    return buffer.getvalue()


@hypothesis.given(files=FILES, said=st.binary(max_size=50), length=st.integers(1, 5000))
def test_files_and_what_is_said_behind_them_come_as_they_were_written(
    files: dict[str, tuple[int, bytes]], said: bytes, length: int
) -> None:
    said = said.lstrip(b"\0")
    stream = TarStream(Pieces(archive(files) + said, length), 1.0)
    assert list(stream.entries(LARGEST, 1000)) == [
        Entry(name.encode(), mtime, content) for name, (mtime, content) in files.items()
    ]
    assert stream.rest(len(said)) == said


@hypothesis.given(files=FILES.filter(len), cut=st.floats(0, 1, exclude_max=True))
def test_an_archive_that_ends_early_says_so(
    files: dict[str, tuple[int, bytes]], cut: float
) -> None:
    # Behind the last file come two blocks of zeros at least; the first ends the archive.
    whole = archive(files).rstrip(b"\0") + bytes(1024)
    content = sum(512 + len(content) + -len(content) % 512 for _, content in files.values())
    content += sum(1024 for name in files if len(name) > 100)
    with pytest.raises(EOFError):
        list(TarStream(Pieces(whole[: int(content * cut)], 700), 1.0).entries(LARGEST, 1000))


@hypothesis.given(st.binary(max_size=5000))
def test_nonsense_is_no_archive(data: bytes) -> None:
    stream = TarStream(Pieces(data, 600), 1.0)
    try:
        entries = list(stream.entries(LARGEST, 1000))
    except (NotAnArchive, EOFError):
        return
    # It began with a block of zeros.
    assert not entries
    assert not any(data[:512])


def test_links_are_left_out() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind in (("hard", tarfile.LNKTYPE), ("soft", tarfile.SYMTYPE)):
            about = tarfile.TarInfo(name)
            about.type, about.linkname = kind, "elsewhere"
            tar.addfile(about)
    assert not list(TarStream(Pieces(buffer.getvalue(), 512), 1.0).entries(LARGEST, 1000))


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.XHDTYPE])
def test_what_is_no_file_ends_the_reading(kind: bytes) -> None:
    about = tarfile.TarInfo("x")
    about.type = kind
    with pytest.raises(NotAnArchive, match="type"):
        list(TarStream(Pieces(about.tobuf() + bytes(1024), 512), 1.0).entries(LARGEST, 1000))


def test_a_file_that_is_larger_than_any_that_was_asked_for_is_not_taken_into_memory() -> None:
    about = tarfile.TarInfo("x")
    about.size = LARGEST + 1
    with pytest.raises(NotAnArchive, match=str(LARGEST + 1)):
        list(TarStream(Pieces(about.tobuf(), 512), 1.0).entries(LARGEST, 1000))


def test_an_archive_without_end_is_left() -> None:
    about = tarfile.TarInfo("x")
    about.type = tarfile.SYMTYPE
    stream = TarStream(Pieces(about.tobuf() * 21, 512), 1.0)
    with pytest.raises(NotAnArchive, match="more than 10 entries"):
        list(stream.entries(LARGEST, 10))


def test_a_flood_behind_an_archive_is_not_taken_into_memory() -> None:
    stream = TarStream(Pieces(archive({}) + b"x" * 10_000_000, 65536), 1.0)
    assert not list(stream.entries(LARGEST, 1000))
    with pytest.raises(NotAnArchive, match="more than 10 bytes"):
        stream.rest(10)
