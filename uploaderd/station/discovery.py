"""Finding files on a station without an agent: by listing folders, in bounded memory.

What is new is told by identity (path, size and mtime), not by a moment: a cursor by time loses
files whose clock was wrong, or that were copied into place.
"""

from __future__ import annotations

import errno
import heapq
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice, repeat

import paramiko
from paramiko.sftp import CMD_CLOSE, CMD_LSTAT, CMD_OPENDIR, CMD_READDIR

from uploaderd.errors import RemoteFileError
from uploaderd.station.filters import Filter, Mode
from uploaderd.station.paths import LONGEST_PATH, Refused, Sound
from uploaderd.station.pipelined import SftpNonsense, answers, attributes_of, one

_BATCH = 1000
_READ_AHEAD = 8
_TOLD = 100

Place = tuple[int, bytes]
"""Of a file in the order of choosing."""
Known = Callable[[Sequence[Sound]], Collection[bytes]]
"""The paths, of those given, whose very version (size and mtime) the catalog has already."""


@dataclass(frozen=True)
class Rules:
    """When a file is finished, and how many are taken at once."""

    min_size: int = 1
    """Bytes."""
    min_age_s: float = 1800.0
    """A younger file may still be written, and is left for next time…"""
    look_again_after_s: float | None = None
    """…unless its size and mtime are the same after this time; None: there is no second look."""
    limit: int = 20_000
    """Files of one discovery; what is beyond comes with the next one."""


@dataclass
class Discovery:
    """What one discovery found."""

    found: list[Sound] = field(default_factory=list)
    """In the order in which they are to be fetched."""
    refused: list[Refused] = field(default_factory=list)
    """Folders and names that cannot be had, the first hundred."""
    seen: int = 0
    """Files that were listed."""
    unfinished: int = 0
    """Files that match and were too young."""
    postponed: int = 0
    """Files that the limit left out."""
    more: bool = False
    """Whether files were left out by the limit or the budget."""
    unpaid: int = 0
    """Files that the budget left out."""
    last: Place | None = None
    """Of the chosen files the last one in the order of choosing: what is left comes beyond it."""


def find(
    sftp: paramiko.SFTPClient,
    wanted: Filter,
    *,
    known: Known | None = None,
    rules: Rules | None = None,
    beyond: Place | None = None,
    now_s: Callable[[], float] = time.time,
    wait: Callable[[float], object] = time.sleep,
    beat: Callable[[], object] = lambda: None,
) -> Discovery:
    """List the filter's folder, recursively, and choose; links are not followed.

    `known` is asked in batches of up to a thousand files, and not in mode REDISCOVERY; `beat` is
    called between them. `beyond` is the `last` of the discovery before this one: only what comes
    after it is chosen. `now_s` should be the station's clock. Memory is bounded by `rules.limit`,
    however many files there are. Raises RemoteFileError if the folder itself cannot be listed, and
    what the connection raises.
    """
    rules = rules or Rules()
    result = Discovery()
    limit = min(wanted.last_n_files or rules.limit, rules.limit)
    newest = wanted.newest_first or wanted.mode is Mode.LAST
    # LAST chooses before it asks what is known: the newest N, not the newest N unknown.
    asked_first = None if wanted.mode in (Mode.LAST, Mode.REDISCOVERY) else known
    chosen = _Chosen(limit, newest, beyond)
    young = _Chosen(rules.limit, newest)
    latest = now_s() - rules.min_age_s
    for batch in _batches(_matching(sftp, wanted, rules, result)):
        beat()
        for file in _unknown(batch, asked_first):
            (chosen if _seconds(file) <= latest else young).add(file)
    if rules.look_again_after_s is not None and young.files:
        wait(rules.look_again_after_s)
        for file in _unchanged(sftp, young.sorted()):
            chosen.add(file)
            result.unfinished -= 1
    result.unfinished += young.offered
    files = chosen.sorted(newest_first=wanted.newest_first)
    if wanted.mode is Mode.LAST:
        files = [file for batch in _batches(files) for file in _unknown(batch, known)]
    else:
        result.postponed = chosen.offered - len(files)
    result.found = _within_budget(files, wanted.max_total_bytes)
    result.unpaid = len(files) - len(result.found)
    result.last = chosen.last
    result.more = result.postponed > 0 or result.unpaid > 0
    return result


def walk(sftp: paramiko.SFTPClient, folder: bytes) -> Iterator[Sound | Refused]:
    """Every plain file below the folder, as the listing shows it, several answers read ahead.

    A folder that cannot be listed is refused, and the others go on.
    """
    folders = [folder]
    while folders:
        current = folders.pop()
        try:
            for name, mode, size, mtime in _listed(sftp, current):
                path = current.rstrip(b"/") + b"/" + name
                if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                    continue
                if (problem := _bad_name(name, path)) is not None:
                    yield Refused(path, "name", problem)
                elif stat.S_ISDIR(mode):
                    folders.append(path)
                else:
                    yield Sound(path, size, mtime * 1_000_000_000)
        except OSError as error:
            yield Refused(current, "unreadable", f"the folder cannot be listed: {error}")


def _listed(sftp: paramiko.SFTPClient, folder: bytes) -> Iterator[tuple[bytes, int, int, int]]:
    """Name, mode, size and mtime (s) of what is in one folder."""
    handle = one(sftp, CMD_OPENDIR, folder).message.get_string()
    try:
        for answer in answers(sftp, repeat((CMD_READDIR, handle)), _READ_AHEAD):
            failure = answer.failure()
            if isinstance(failure, EOFError):
                return
            if failure is not None:
                raise failure
            for _ in range(answer.message.get_int()):
                name = answer.message.get_string()
                if not name:
                    raise SftpNonsense("its SFTP server lists fewer names than it says")
                answer.message.get_string()
                attributes = attributes_of(answer)
                if name in (b".", b".."):
                    continue
                if attributes.st_mode is None or attributes.st_size is None:
                    # Some foreign servers list names only.
                    with suppress(OSError):
                        attributes = sftp.lstat(folder.rstrip(b"/") + b"/" + name)
                yield (
                    name,
                    attributes.st_mode or 0,
                    attributes.st_size or 0,
                    attributes.st_mtime or 0,
                )
    finally:
        with suppress(OSError):
            one(sftp, CMD_CLOSE, handle)


def _matching(
    sftp: paramiko.SFTPClient, wanted: Filter, rules: Rules, result: Discovery
) -> Iterator[Sound]:
    """The files that the filter means; counts the others, and keeps what was refused."""
    for file in walk(sftp, wanted.file_path):
        if isinstance(file, Refused):
            if file.path == wanted.file_path:
                shown = file.path.decode("utf-8", "replace")
                raise RemoteFileError(f"{shown}: {file.reason}.", hint="Mend the filter's path.")
            if len(result.refused) < _TOLD:
                result.refused.append(file)
            continue
        result.seen += 1
        name = file.path.rpartition(b"/")[2].decode("utf-8")
        if file.size >= rules.min_size and wanted.matches(name, _seconds(file)):
            yield file


def _unknown(batch: Sequence[Sound], known: Known | None) -> list[Sound]:
    """Those that the catalog does not have, in their order."""
    have = known(batch) if known is not None else ()
    return [file for file in batch if file.path not in have]


def _unchanged(sftp: paramiko.SFTPClient, files: Sequence[Sound]) -> Iterator[Sound]:
    """Those whose size and mtime are still what they were."""
    looks = answers(sftp, ((CMD_LSTAT, file.path) for file in files))
    for file, answer in zip(files, looks, strict=True):
        failure = answer.failure()
        if failure is None:
            now = attributes_of(answer)
            if (now.st_size, now.st_mtime) == (file.size, file.mtime_ns // 1_000_000_000):
                yield file
        elif isinstance(failure, OSError) and failure.errno not in (errno.ENOENT, errno.EACCES):
            raise failure


def _within_budget(files: Sequence[Sound], budget: int | None) -> list[Sound]:
    """As many files, in their order, as the budget of bytes pays for."""
    if budget is None:
        return list(files)
    taken: list[Sound] = []
    for file in files:
        budget -= file.size
        if budget < 0:
            break
        taken.append(file)
    return taken


def _batches(files: Iterable[Sound]) -> Iterator[list[Sound]]:
    source = iter(files)
    while batch := list(islice(source, _BATCH)):
        yield batch


def _seconds(file: Sound) -> float:
    return file.mtime_ns / 1_000_000_000


def _bad_name(name: bytes, path: bytes) -> str | None:
    if len(path) > LONGEST_PATH:
        # Folders without end are no file system's.
        return "the path is too long"
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return "the name is not UTF-8"
    # A server must not name what lies elsewhere.
    if "/" in text or "\\" in text or "\0" in text or "\n" in text:
        return "the name holds a separator, a NUL or a newline"
    return None


class _Chosen:
    """The `limit` oldest (or newest) of the files that are offered."""

    def __init__(self, limit: int, newest: bool, beyond: Place | None = None) -> None:
        self._limit = limit
        self._sign = 1 if newest else -1
        self._beyond = beyond
        self.files: list[tuple[int, bytes, Sound]] = []
        self.offered = 0

    @property
    def last(self) -> Place | None:
        return self.files[0][:2] if self.files else None

    def add(self, file: Sound) -> None:
        entry = (self._sign * file.mtime_ns, file.path, file)
        if self._beyond is not None and entry[:2] >= self._beyond:
            return
        self.offered += 1
        if len(self.files) < self._limit:
            heapq.heappush(self.files, entry)
        else:
            heapq.heappushpop(self.files, entry)

    def sorted(self, *, newest_first: bool = False) -> list[Sound]:
        files = [file for _, _, file in self.files]
        return sorted(files, key=lambda file: (file.mtime_ns, file.path), reverse=newest_first)
