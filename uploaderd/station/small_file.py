"""A file that came whole in one piece: kept in memory until it is made durable at one stroke.

Thousands of small files a second are no matter of bytes but of calls to the kernel: none is made
while the file is on its way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from uploaderd.station.part_file import PartFile


class SmallFile:
    """What `PartFile` is to a finisher, for content that is whole."""

    def __init__(self, target: Path, remote_path: bytes, content: bytes) -> None:
        self.target = target
        self._remote_path = remote_path
        self._content = content
        self._part: PartFile | None = None

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return len(self._content)

    @property
    def position(self) -> int:
        """How many bytes from the beginning are there: all."""
        return len(self._content)

    @cached_property
    def sha256(self) -> str:
        """Digest of the content."""
        return hashlib.sha256(self._content).hexdigest()

    def md5(self) -> str:
        """Digest for a station that has no other."""
        return hashlib.md5(self._content, usedforsecurity=False).hexdigest()

    def write(self, watch: Callable[[int], None]) -> None:
        """Makes the part file and writes it; raises as PartFile.

        `watch` is given the open file before it is written.
        """
        self._part = PartFile(self.target, self._remote_path)
        watch(self._part.handle)
        self._part.write_whole(self._content)

    def set_mtime(self, mtime_ns: int) -> None:
        """Of what is written; raises RepositoryError."""
        self._written.set_mtime(mtime_ns)

    @property
    def handle(self) -> int:
        """The open part file, once it is written."""
        return self._written.handle

    def place(self) -> None:
        """Gives the file its name, as PartFile does."""
        self._written.place()

    @property
    def _written(self) -> PartFile:
        assert self._part is not None
        return self._part

    def keep(self) -> None:
        """There is nothing worth keeping."""
        self.drop()

    def drop(self) -> None:
        """Removes what was written."""
        if self._part is not None:
            self._part.drop()
