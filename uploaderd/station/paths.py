"""Which of the paths that a station names are fetched: plain files below its data folder.

A station is not trusted: each path is looked at by itself, and one that is refused says why.
"""

from __future__ import annotations

import errno
import posixpath
import stat
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import paramiko
from paramiko.sftp import CMD_CLOSE, CMD_LSTAT, CMD_OPENDIR, CMD_READDIR, CMD_REALPATH

from uploaderd.station.agent import AgentConfig
from uploaderd.station.pipelined import Answer, answers, attributes_of, one

LONGEST_PATH = 4096
_REMEMBERED = 10_000
_LOOKS = 128
"""Requests in flight: they are small, and so are their answers."""


@dataclass(frozen=True)
class Sound:
    """A plain file below the data folder, as it is on the station now."""

    path: bytes
    size: int
    mtime_ns: int
    """SFTP version 3 knows whole seconds only."""


@dataclass(frozen=True)
class Refused:
    """A path that is not fetched, and why."""

    path: bytes
    code: str
    """`outside`, `name`, `vanished`, `unmounted`, `special` (no plain file) or `unreadable`."""
    reason: str


def check(path: bytes, config: AgentConfig) -> Refused | None:
    """What is wrong with the path itself; none if nothing is. Asks the station nothing."""
    if not path.startswith(b"/"):
        return Refused(path, "outside", "the path is not absolute")
    if len(path) > LONGEST_PATH or b"\0" in path or b"\n" in path:
        return Refused(path, "name", "the path is too long, or holds a NUL or a newline")
    if b".." in path.split(b"/"):
        return Refused(path, "outside", "the path holds '..'")
    if not _below(posixpath.normpath(path), config.local_repo):
        return Refused(path, "outside", "the path is not below LOCAL_REPO")
    if path.endswith(b"/"):
        return Refused(path, "name", "the path names a folder")
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        return Refused(path, "name", "the name is not UTF-8")
    return None


def screen(
    sftp: paramiko.SFTPClient,
    config: AgentConfig,
    paths: Iterable[bytes],
    window: int = _LOOKS,
) -> Iterator[Sound | Refused]:
    """Check each path, on the station too, in order: one pipelined `lstat` a file.

    Each distinct folder is resolved once, so a symbolic link on the way is seen; a link that stays
    below LOCAL_REPO is followed, one that leaves it is refused, and so are devices, pipes and
    folders. Where LOCAL_REPO is empty, or not there, files have not vanished: its disk may not be
    mounted. Raises what the connection raises.
    """
    folders = _Folders(sftp, config)
    batch: list[bytes] = []
    for path in paths:
        batch.append(path)
        if len(batch) == window:
            yield from _screened(sftp, config, folders, batch)
            batch = []
    yield from _screened(sftp, config, folders, batch)


def _screened(
    sftp: paramiko.SFTPClient, config: AgentConfig, folders: _Folders, batch: list[bytes]
) -> Iterator[Sound | Refused]:
    refused = {path: wrong for path in batch if (wrong := check(path, config))}
    sound = [path for path in batch if path not in refused]
    inside = folders.inside({posixpath.dirname(path) for path in sound})
    for path in sound:
        if not inside[posixpath.dirname(path)]:
            refused[path] = Refused(path, "outside", "its folder leads out of LOCAL_REPO")
    asked = [path for path in sound if path not in refused]
    found = dict(
        zip(asked, answers(sftp, ((CMD_LSTAT, path) for path in asked), len(asked)), strict=True)
    )
    for path in batch:
        judged = refused.get(path) or _judged(sftp, path, found[path], folders)
        if isinstance(judged, Refused) and judged.code == "vanished" and folders.hold_nothing:
            yield Refused(path, "unmounted", "LOCAL_REPO is empty: its disk may not be mounted")
        else:
            yield judged


def _judged(
    sftp: paramiko.SFTPClient, path: bytes, answer: Answer, folders: _Folders
) -> Sound | Refused:
    failure = answer.failure()
    if failure is not None:
        return _failed(path, failure)
    attributes = attributes_of(answer)
    if stat.S_ISLNK(attributes.st_mode or 0):
        try:
            if not folders.leads_inside(path):
                return Refused(path, "outside", "a symbolic link that leads out of LOCAL_REPO")
            attributes = sftp.stat(path)
        except OSError as error:
            return _failed(path, error)
    if not stat.S_ISREG(attributes.st_mode or 0):
        return Refused(path, "special", "not a plain file")
    if attributes.st_size is None or attributes.st_mtime is None:
        return Refused(path, "unreadable", "the station tells neither size nor time")
    return Sound(path, attributes.st_size, attributes.st_mtime * 1_000_000_000)


def _failed(path: bytes, failure: OSError | EOFError) -> Refused:
    if isinstance(failure, OSError) and failure.errno == errno.ENOENT:
        return Refused(path, "vanished", "the file is no longer on the station")
    return Refused(path, "unreadable", f"the station does not show it: {failure}")


def _below(path: bytes, root: bytes) -> bool:
    return path.startswith(root.rstrip(b"/") + b"/")


class _Folders:
    """Where folders really are; the last ten thousand are remembered."""

    def __init__(self, sftp: paramiko.SFTPClient, config: AgentConfig) -> None:
        self._sftp = sftp
        self._known: OrderedDict[bytes, bool] = OrderedDict()
        self._root = _real(one(sftp, CMD_REALPATH, config.local_repo)) or config.local_repo

    @cached_property
    def hold_nothing(self) -> bool:
        """Whether the data folder is empty, or is not there."""
        try:
            handle = one(self._sftp, CMD_OPENDIR, self._root).message.get_string()
        except OSError:
            return True
        try:
            listed = one(self._sftp, CMD_READDIR, handle)
            names = set()
            for _ in range(min(3, listed.message.get_int())):
                names.add(listed.message.get_string())
                listed.message.get_string()
                attributes_of(listed)
        except EOFError:
            return True
        finally:
            one(self._sftp, CMD_CLOSE, handle)
        return names <= {b".", b".."}

    def inside(self, folders: set[bytes]) -> dict[bytes, bool]:
        """Whether each folder is really below the data folder; a vanished one counts as inside."""
        unknown = sorted(folders - self._known.keys())
        requests = ((CMD_REALPATH, folder) for folder in unknown)
        for folder, answer in zip(unknown, answers(self._sftp, requests), strict=True):
            real = None if answer.failure() else _real(answer)
            self._known[folder] = real is None or real == self._root or _below(real, self._root)
        verdicts = {folder: self._known[folder] for folder in folders}
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return verdicts

    def leads_inside(self, path: bytes) -> bool:
        """Whether the link ends below the data folder."""
        real = _real(one(self._sftp, CMD_REALPATH, path))
        return real is not None and _below(real, self._root)


def _real(answer: Answer) -> bytes | None:
    """The path of an answer to `realpath`, as bytes."""
    return answer.message.get_string() if answer.message.get_int() == 1 else None
