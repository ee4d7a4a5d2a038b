"""The agent's index: read as a stream, rewritten to what is left, never deleted.

A line of the deployed agent's index is `directory NUL /name NUL newline`; one of the improved
agent's second index is `size mtime path newline`. Both stay as they are but for the lines that
are done. Raises what the connection raises: `paramiko.SSHException`, `OSError`.
"""

from __future__ import annotations

import errno
import re
import secrets
import stat
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import paramiko
from paramiko.sftp import CMD_EXTENDED, CMD_READ, CMD_WRITE, int64

from uploaderd import crash_points
from uploaderd.station.agent import AgentConfig
from uploaderd.station.pipelined import WINDOW, answers, one

_CHUNK = 32 * 1024
_LONGEST_LINE = 8 * 1024
_SECOND = re.compile(rb"([0-9]{1,18}) ([0-9]{1,11})(?:\.([0-9]{1,20}))? (/.*)", re.DOTALL)


@dataclass(frozen=True)
class IndexEntry:
    """A file that is due, as the index names it; size and mtime only of the second index."""

    path: bytes
    size: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True)
class DamagedLine:
    """A line that names no file. `text` among the paths of `remove` takes it out of the index."""

    number: int
    text: bytes
    reason: str


_Parse = Callable[[int, bytes], IndexEntry | DamagedLine]


def entries(sftp: paramiko.SFTPClient, config: AgentConfig) -> Iterator[IndexEntry | DamagedLine]:
    """The index's lines, one by one; nothing if there is no index.

    The second index is taken if it holds anything and is not older than the first: an older one was
    left behind by an agent that is no longer there. Memory is bounded whatever the index's length.
    """
    if _second_is_current(sftp, config):
        path, parse = config.second_index, cast(_Parse, parse_second)
    else:
        path, parse = config.index, cast(_Parse, parse_first)
    try:
        file = sftp.open(path, "r")
    except OSError as error:
        if error.errno == errno.ENOENT:
            return
        raise
    with file:
        size = file.stat().st_size or 0
        for number, line in enumerate(_lines(_chunks(sftp, file, size)), start=1):
            yield parse(number, line)


def remove(
    sftp: paramiko.SFTPClient, config: AgentConfig, done: Container[bytes]
) -> tuple[int, int]:
    """Rewrite the index, and the second one, without what is in `done`; the (removed, left) lines.

    What the agent added since `entries` stays: the index is read again, and replaced by an atomic
    rename. If the agent wrote into the old index meanwhile (it does not rename), the old one is
    still open here, and what came is merged. The numbers are of the index
    that `entries` would read.
    """
    second = _second_is_current(sftp, config)
    first_counts = _rewrite(sftp, config.index, done, parse_first)
    # Last, so that it does not look older than the first one.
    second_counts = _rewrite(sftp, config.second_index, done, parse_second)
    return second_counts if second else first_counts


def append_done(sftp: paramiko.SFTPClient, config: AgentConfig, paths: Iterable[bytes]) -> None:
    """Append the paths to `BACKUP_DONE`, a line each; a repetition does no harm (`sort -u`)."""
    text = b"".join(path + b"\n" for path in paths)
    if not text:
        return
    with sftp.open(config.backup_done, "a+") as file:
        size = file.stat().st_size or 0
        if size:
            # The end of an append that broke off is made a line of its own.
            file.seek(size - 1)
            text = text if file.read(1) == b"\n" else b"\n" + text
        file.write(text)
        file.flush()
        sync(sftp, file)


def parse_first(number: int, line: bytes) -> IndexEntry | DamagedLine:
    """One line of the deployed agent's index; its NULs are dropped."""
    if not line.endswith(b"\n") and not line.endswith(b"\0"):
        return DamagedLine(number, line, "the line is cut off")
    text = line.removesuffix(b"\n")
    if b"\0" in text and not (text.count(b"\0") == 2 and text.endswith(b"\0") and b"\0/" in text):
        return DamagedLine(number, text, "NULs where none belong, as of a name with a newline")
    return _entry(number, text, text.replace(b"\0", b""), None, None)


def parse_second(number: int, line: bytes) -> IndexEntry | DamagedLine:
    """One line of the improved agent's index."""
    if not line.endswith(b"\n"):
        return DamagedLine(number, line, "the line is cut off")
    text = line.removesuffix(b"\n")
    match = _SECOND.fullmatch(text)
    if match is None:
        return DamagedLine(number, text, "not of the form 'size mtime path'")
    nanoseconds = int((match[3] or b"").ljust(9, b"0")[:9])
    return _entry(
        number, text, match[4], int(match[1]), int(match[2]) * 1_000_000_000 + nanoseconds
    )


def sync(sftp: paramiko.SFTPClient, file: paramiko.SFTPFile) -> None:
    """`fsync` on the station, where its server knows the extension (OpenSSH since 6.5)."""
    handle = cast(bytes, file.handle)
    with suppress(OSError):
        one(sftp, CMD_EXTENDED, b"fsync@openssh.com", handle)


def _entry(
    number: int, text: bytes, path: bytes, size: int | None, mtime_ns: int | None
) -> IndexEntry | DamagedLine:
    if len(text) > _LONGEST_LINE:
        return DamagedLine(number, text, "the line is too long for a path")
    if b"\0" in path or not path.startswith(b"/"):
        return DamagedLine(number, text, "not an absolute path")
    # `find /data/` writes `/data//name`; one file has one name.
    return IndexEntry(re.sub(rb"/{2,}", b"/", path), size, mtime_ns)


def _second_is_current(sftp: paramiko.SFTPClient, config: AgentConfig) -> bool:
    try:
        second = sftp.stat(config.second_index)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    if not second.st_size:
        return False
    try:
        first = sftp.stat(config.index)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return True
        raise
    return (second.st_mtime or 0) >= (first.st_mtime or 0)


def _rewrite(
    sftp: paramiko.SFTPClient, path: bytes, done: Container[bytes], parse: _Parse
) -> tuple[int, int]:
    """Replace one index by what is left of it; the (removed, left) lines."""
    try:
        old = sftp.open(path, "r")
    except OSError as error:
        if error.errno == errno.ENOENT:
            return (0, 0)
        raise
    temporary = path + b".uploaderd." + secrets.token_hex(4).encode()
    counts = _Counts()
    with old:
        try:
            while True:
                before = _state(old)
                counts = _Counts()
                kept = _kept(_lines(_chunks(sftp, old, before[0])), done, parse, counts)
                _write(sftp, temporary, kept, before[2])
                if _state(old) != before:
                    continue  # The agent wrote while it was read.
                if not counts.removed:
                    break
                crash_points.reached("index-rewritten:before")
                sftp.posix_rename(temporary, path)
                crash_points.reached("index-rewritten:after")
                if _state(old) == before:
                    return (counts.removed, counts.left)
                # The agent wrote into the file that was just replaced: once more, with that.
        finally:
            with suppress(OSError):
                sftp.remove(temporary)
    return (0, counts.left)


@dataclass
class _Counts:
    removed: int = 0
    left: int = 0


def _state(file: paramiko.SFTPFile) -> tuple[int, int, int]:
    """Size, mtime and permissions of the file that is open, whatever its name is by now."""
    attributes = file.stat()
    return (
        attributes.st_size or 0,
        attributes.st_mtime or 0,
        stat.S_IMODE(attributes.st_mode or 0o644),
    )


def _kept(
    lines: Iterable[bytes], done: Container[bytes], parse: _Parse, counts: _Counts
) -> Iterator[bytes]:
    """The lines that are not done, in pieces of about a chunk."""
    piece: list[bytes] = []
    length = 0
    for number, line in enumerate(lines, start=1):
        entry = parse(number, line)
        if (entry.path if isinstance(entry, IndexEntry) else entry.text) in done:
            counts.removed += 1
            continue
        counts.left += 1
        piece.append(line)
        length += len(line)
        if length >= _CHUNK:
            yield b"".join(piece)
            piece, length = [], 0
    if piece:
        yield b"".join(piece)


def _write(
    sftp: paramiko.SFTPClient, path: bytes, pieces: Iterable[bytes], permissions: int
) -> None:
    """Write a file anew, many writes in flight, and sync it."""
    with sftp.open(path, "w") as file:
        handle = cast(bytes, file.handle)

        def requests() -> Iterator[tuple[object, ...]]:
            at = 0
            for piece in pieces:
                yield (CMD_WRITE, handle, int64(at), piece)
                at += len(piece)

        for answer in answers(sftp, requests()):
            if failure := answer.failure():
                raise failure
        file.chmod(permissions)
        sync(sftp, file)


def _chunks(
    sftp: paramiko.SFTPClient, file: paramiko.SFTPFile, size: int, start: int = 0
) -> Iterator[bytes]:
    """The file's bytes from `start` to `size`, `WINDOW` reads ahead; a short read ends it there."""
    handle = cast(bytes, file.handle)
    asked = ((at, min(_CHUNK, size - at)) for at in range(start, size, _CHUNK))
    requests = ((CMD_READ, handle, int64(at), length) for at, length in asked)
    position = start
    for answer in answers(sftp, requests, WINDOW):
        failure = answer.failure()
        if isinstance(failure, EOFError):
            return
        if failure is not None:
            raise failure
        data = answer.message.get_string()
        yield data
        position += len(data)
        if len(data) < min(_CHUNK, size - (position - len(data))):
            # A short answer: the rest of the file is asked for again, from where it ended.
            yield from _chunks(sftp, file, size, position)
            return


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines with their newline; one that is too long comes in pieces, the last with the newline."""
    rest = b""
    for chunk in chunks:
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for line in lines:
            yield line + b"\n"
        if len(rest) > 2 * _LONGEST_LINE:
            yield rest
            rest = b""
    if rest:
        yield rest
