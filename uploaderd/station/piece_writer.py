"""Two ways to the disk for the pieces of a part file.

Usually they go through the kernel's page cache. A large file goes past it (`O_DIRECT`, open(2)):
to find, fill and write back a page for every 4 KiB takes longer than to receive and to hash them.
The disk then takes whole pages only, from memory that begins at one, and the writer waits for it:
pieces are gathered in two blocks of memory, one being filled while another thread writes the other.
"""

from __future__ import annotations

import errno
import mmap
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from uploaderd import durable
from uploaderd.station.budget import Budget

LARGE = 16 << 20
"""Smaller files are left in the page cache: who reads them next finds them there."""
LARGEST_BLOCK = 1 << 20
PAGE = 4096
"""What the disk takes as a whole, and where it may begin; a multiple of every usual sector."""
WRITTEN_BACK = 8 << 20
"""Bytes in the page cache after which the kernel is told to begin writing them."""
BLOCKS = Budget(2 * LARGEST_BLOCK, 2 * (128 << 10))
"""Bytes of the two blocks of each transfer."""
_POOL = ThreadPoolExecutor(4, thread_name_prefix="blocks")
"""One for all transfers of the process, whose disk is one as well."""


class PieceWriter(Protocol):
    """Takes the pieces of one file, in whatever order; each call raises OSError."""

    @property
    def written(self) -> int:
        """Every piece that was given is with the kernel, as far as it lies below this offset."""

    def write(self, offset: int, data: memoryview) -> None:
        """Takes a piece, which the caller may forget then."""

    def finish(self) -> None:
        """Waits until all that was given is with the kernel. To be called on every path."""


def writer(file: int, size: int) -> PieceWriter:
    """The writer that suits an open file of that size, where it lies; raises OSError."""
    if size >= LARGE and durable.is_on_a_disk(file):
        try:
            direct = os.open(f"/proc/self/fd/{file}", os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        else:
            return DirectWriter(file, direct)
    return CachedWriter(file)


class CachedWriter:
    """Through the page cache, and written back as they come."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._written_back = self.written = 0

    def write(self, offset: int, data: memoryview) -> None:
        """Takes a piece."""
        _write_all(self._file, offset, data)
        self.written = max(self.written, offset + len(data))
        fresh = self.written - self._written_back
        if fresh >= WRITTEN_BACK:
            # So that the last sync has little to wait for. What is not written yet stays in
            # memory, whatever the name of the advice.
            os.posix_fadvise(self._file, self._written_back, fresh, os.POSIX_FADV_DONTNEED)
            self._written_back = self.written

    def finish(self) -> None:
        """There is nothing to wait for."""


class DirectWriter:
    """Past the page cache, by blocks; what does not fill a page goes through the cache."""

    def __init__(self, file: int, direct: int) -> None:
        """`direct` is the same file, opened with O_DIRECT; it is closed at the end."""
        self._file, self._direct = file, direct
        self._size = min(LARGEST_BLOCK, BLOCKS.share // 2) // PAGE * PAGE
        self._filling, self._spare = _block(self._size), _block(self._size)
        self._base = self._start = self._stop = 0
        """Where in the file the block that is filled has its place, and what of it is there."""
        self._pending: Future[None] | None = None
        self._pending_from = 0

    @property
    def written(self) -> int:
        """Every piece that was given is with the kernel, as far as it lies below this offset."""
        here = self._base + self._start
        return here if self._pending is None else min(here, self._pending_from)

    def write(self, offset: int, data: memoryview) -> None:
        """Takes a piece; raises OSError for this or for one before."""
        if offset != self._base + self._stop:
            self._hand_over()
            self._go_to(offset)
        while data:
            piece = data[: self._size - self._stop]
            stop = self._stop + len(piece)
            self._filling[self._stop : stop] = piece
            self._stop, data = stop, data[len(piece) :]
            if stop == self._size:
                self._hand_over()
                self._go_to(self._base + stop)

    def _go_to(self, offset: int) -> None:
        # A byte has the same place in its page of memory as in its page of the file.
        self._start = self._stop = offset % self._size
        self._base = offset - self._start

    def _hand_over(self) -> None:
        """Has another thread write what is gathered, once it is done with what was before."""
        self._settle()
        if self._start < self._stop:
            self._pending_from = self._base + self._start
            gathered = self._filling[self._start : self._stop]
            self._pending = _POOL.submit(self._write_out, self._pending_from, gathered)
            self._filling, self._spare = self._spare, self._filling
            self._start = self._stop

    def _settle(self) -> None:
        if self._pending is not None:
            # A failure stays: of what came since, nothing is to be taken for written.
            self._pending.result()
            self._pending = None

    def _write_out(self, offset: int, data: memoryview) -> None:
        """The whole pages past the cache, and what is before and behind them."""
        first = min(-offset % PAGE, len(data))
        _write_all(self._file, offset, data[:first])
        pages = data[first : first + (len(data) - first) // PAGE * PAGE]
        behind = first + self._write_pages(offset + first, pages)
        _write_all(self._file, offset + behind, data[behind:])

    def _write_pages(self, offset: int, pages: memoryview) -> int:
        """How many bytes of them went past the cache: none where the disk wants it otherwise."""
        try:
            return os.pwrite(self._direct, pages, offset) if pages else 0
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return 0

    def finish(self) -> None:
        """Waits until all that was given is with the kernel, and lets go of the blocks."""
        if self._direct < 0:
            return
        try:
            self._hand_over()
        finally:
            try:
                self._settle()
            finally:
                os.close(self._direct)
                self._direct = -1
                self._filling = self._spare = memoryview(b"")


def _block(size: int) -> memoryview:
    """Memory that begins at a page, which an object of the interpreter does not."""
    return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


def _write_all(file: int, offset: int, data: memoryview) -> None:
    while data:
        done = os.pwrite(file, data, offset)
        offset, data = offset + done, data[done:]
