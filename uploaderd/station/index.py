"""The agent's index: read as a stream, rewritten to what is left, never deleted.

That of the deployed agent, and the improved agent's second one with sizes and times, both stay as
they are but for the lines that are done. Raises what the connection raises:
`paramiko.SSHException`, `OSError`.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Container, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import cast

import paramiko
from paramiko.sftp import CMD_EXTENDED, CMD_READ, CMD_WRITE, int64

from uploaderd import crash_points
from uploaderd.station.agent import AgentConfig
from uploaderd.station.index_lines import (
    DamagedLine,
    IndexEntry,
    Line,
    Parse,
    merged,
    parse_first,
    parse_second,
    split,
)
from uploaderd.station.pipelined import WINDOW, answers, one, piece_of

__all__ = ["DamagedLine", "IndexEntry", "append_done", "entries", "remove", "sweep", "sync"]

_CHUNK = 32 * 1024
_ASIDE = b".uploaderd."


def entries(sftp: paramiko.SFTPClient, config: AgentConfig) -> Iterator[Line]:
    """The lines of both indexes, one by one; nothing if there is none.

    Of a file in both, the second one's line is given, with size and mtime as they were when the
    agent looked. Memory is bounded whatever their length.
    """
    second = _read(sftp, config.second_index, parse_second)
    yield from merged(second, _read(sftp, config.index, parse_first))


def _read(sftp: paramiko.SFTPClient, path: bytes, parse: Parse) -> Iterator[Line]:
    try:
        file = sftp.open(path, "r")
    except OSError as error:
        if error.errno == errno.ENOENT:
            return
        raise
    with file:
        size = file.stat().st_size or 0
        for number, line in enumerate(split(_chunks(sftp, file, size)), start=1):
            yield parse(number, line)


def remove(
    sftp: paramiko.SFTPClient, config: AgentConfig, done: Container[bytes]
) -> tuple[int, int]:
    """Rewrite both indexes without what is in `done`; how many lines (went, are left).

    Both name the same files, so what is left are the lines of the longer one.

    What the agent added since `entries` stays: an index is read again, and replaced by an atomic
    rename. If the agent wrote into the old index meanwhile (it does not rename), the old one is
    still open here, and what came is merged.
    """
    first = _rewrite(sftp, config.index, done, parse_first)
    second = _rewrite(sftp, config.second_index, done, parse_second)
    return first[0] + second[0], max(first[1], second[1])


def sweep(sftp: paramiko.SFTPClient, config: AgentConfig) -> None:
    """Remove what rewritings left behind that were cut off; for whoever holds the flag."""
    for path in (config.index, config.second_index):
        folder, _, name = path.rpartition(b"/")
        for found in map(os.fsencode, sftp.listdir(os.fsdecode(folder))):
            if found.startswith(name + _ASIDE):
                with suppress(FileNotFoundError):
                    sftp.remove(folder + b"/" + found)


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


def sync(sftp: paramiko.SFTPClient, file: paramiko.SFTPFile) -> None:
    """`fsync` on the station, where its server knows the extension (OpenSSH since 6.5)."""
    handle = cast(bytes, file.handle)
    with suppress(OSError):
        one(sftp, CMD_EXTENDED, b"fsync@openssh.com", handle)


def _rewrite(
    sftp: paramiko.SFTPClient, path: bytes, done: Container[bytes], parse: Parse
) -> tuple[int, int]:
    """Replace one index by what is left of it; the (removed, left) lines."""
    try:
        old = sftp.open(path, "r")
    except OSError as error:
        if error.errno == errno.ENOENT:
            return (0, 0)
        raise
    temporary = path + _ASIDE + secrets.token_hex(4).encode()
    counts = _Counts()
    with old:
        try:
            while True:
                before = _state(old)
                counts = _Counts()
                kept = _kept(split(_chunks(sftp, old, before[0])), done, parse, counts)
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
    lines: Iterable[bytes], done: Container[bytes], parse: Parse, counts: _Counts
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


def _chunks(sftp: paramiko.SFTPClient, file: paramiko.SFTPFile, size: int) -> Iterator[bytes]:
    """The file's bytes up to `size`, `WINDOW` reads ahead; none is given twice or left out."""
    handle = cast(bytes, file.handle)
    start, length = 0, _CHUNK
    while start < size:
        asked = ((at, min(length, size - at)) for at in range(start, size, length))
        requests = ((CMD_READ, handle, int64(at), many) for at, many in asked)
        with closing(answers(sftp, requests, WINDOW)) as came:
            for answer in came:
                failure = answer.failure()
                if isinstance(failure, EOFError):
                    return
                if failure is not None:
                    raise failure
                data = piece_of(answer)
                if not data:
                    return
                yield data
                due = min(length, size - start)
                start += len(data)
                if len(data) < due:
                    # The server gives no more at a time: from there on, less is asked for.
                    length = len(data)
                    break
