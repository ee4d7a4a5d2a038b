"""A file that came whole in one piece: kept in memory until it is made durable at one stroke.

Thousands of small files a second are no matter of bytes but of calls to the kernel: none is made
while the file is on its way.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from uploaderd.station.group_sync import sync_each
from uploaderd.station.part_file import PartFile, not_written
from uploaderd.station.unnamed_file import UNSUPPORTED, UnnamedFile

_OVERHEAD = 1024
"""Bytes in memory beside the content, about: its names, and what waits for it."""


class SmallFile:
    """What `PartFile` is to a finisher, for content that is whole."""

    __slots__ = ("_content", "_file", "_mtime_ns", "_remote_path", "_sha256", "target")

    def __init__(self, target: Path, remote_path: bytes, content: bytes) -> None:
        self.target = target
        self._remote_path = remote_path
        self._content = content
        self._mtime_ns = 0
        self._sha256 = ""
        self._file: UnnamedFile | PartFile | None = None

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return len(self._content) + _OVERHEAD

    @property
    def position(self) -> int:
        """How many bytes from the beginning are there: all."""
        return len(self._content)

    @property
    def sha256(self) -> str:
        """Digest of the content."""
        if not self._sha256:
            self._sha256 = hashlib.sha256(self._content).hexdigest()
        return self._sha256

    def md5(self) -> str:
        """Digest for a station that has no other."""
        return hashlib.md5(self._content, usedforsecurity=False).hexdigest()

    def write_out(self, folder: Callable[[str], int], mtime_ns: int) -> None:
        """Writes it all, without a name yet where there are such files; raises as PartFile.

        `folder` gives the open folder of a path.
        """
        self._mtime_ns = mtime_ns
        path, name = os.path.split(self.target)
        try:
            self._file = UnnamedFile(folder(path), name)
            self._file.write(self._content, mtime_ns)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise not_written(self.target, error) from error
            self._file = self._part_file()

    def _part_file(self) -> PartFile:
        part = PartFile(self.target, self._remote_path)
        part.write_whole(self._content, self._mtime_ns)
        return part

    @property
    def handle(self) -> int:
        """The open file, once it is written."""
        assert self._file is not None
        return self._file.handle

    def place(self) -> None:
        """Gives the file its name, as PartFile does."""
        if isinstance(self._file, UnnamedFile):
            try:
                self._file.place()
            except FileExistsError:
                self._replace()
            except OSError as error:
                raise not_written(self.target, error) from error
            self._file.drop()
        elif self._file is not None:
            self._file.place()

    def _replace(self) -> None:
        """Takes the place of an earlier file, by the way of a part file."""
        part = self._part_file()
        try:
            (error,) = sync_each([part.handle])
            if error is not None:
                raise not_written(self.target, error) from error
            part.place()
        finally:
            part.drop()

    def keep(self) -> None:
        """There is nothing worth keeping."""
        self.drop()

    def drop(self) -> None:
        """Removes what was written."""
        if self._file is not None:
            self._file.drop()
