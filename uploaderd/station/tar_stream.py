"""A tar archive as it comes: its regular files one by one, and what was said behind it.

Source: POSIX.1-1988 `ustar`, and the entries of GNU tar for names of more than 100 bytes. Nothing
is searched for in a damaged archive: SSH lets no damage through, so it is none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from uploaderd.station.link import Stream

BLOCK = 512
LONGEST_NAME = 4096
_FIELDS = struct.Struct("100s24x12s12s8xc100x5s")
"""Name, size, mtime, type and magic; sizes and times are octal digits."""
_REGULAR = {b"0", b"\0"}
_LONG_NAME = b"L"
"""The content is the name of the next entry (GNU tar)."""
_LINKS = {b"1", b"2"}
"""Hard and symbolic: a name without content."""
_PADDING = 256 * BLOCK
"""Most zeros at the end: an archive fills up its last record."""


class NotAnArchive(Exception):
    """What comes is no archive of regular files."""


class Entry(NamedTuple):
    """A regular file of an archive; `mtime` in whole seconds."""

    name: bytes
    mtime: int
    content: bytes


class TarStream:
    """An archive on a stream."""

    def __init__(self, stream: Stream, silence_s: float) -> None:
        self._stream = stream
        self._silence_s = silence_s
        self._data = b""
        self._at = 0

    def entries(self, largest: int, most: int) -> Iterator[Entry]:
        """The files, without links; at most `most`, none larger than `largest` bytes.

        Raises NotAnArchive, EOFError if it ends early, and OSError as the stream does.
        """
        long_name = b""
        headers = 0
        while any(header := self._take(BLOCK)):
            headers += 1
            if headers > 2 * most:
                # Of each file one, and one for its long name.
                raise NotAnArchive(f"more than {most} entries")
            name, size_text, mtime_text, kind, magic = _FIELDS.unpack_from(header)
            size = _octal(size_text)
            if magic != b"ustar":
                raise NotAnArchive(f"{magic!r} in place of a header")
            if kind in _REGULAR and size <= largest:
                content = self._take(size + -size % BLOCK)[:size]
                yield Entry(long_name or name.rstrip(b"\0"), _octal(mtime_text), content)
            elif kind == _LONG_NAME and size <= LONGEST_NAME:
                long_name = self._take(size + -size % BLOCK)[:size].rstrip(b"\0")
                continue
            elif kind not in _LINKS:
                raise NotAnArchive(f"an entry of type {kind!r}, {size} bytes")
            long_name = b""

    def rest(self, limit: int) -> bytes:
        """What comes behind the archive, without its padding; raises as `entries`."""
        pieces = [self._data[self._at :]]
        size = len(pieces[0])
        while data := self._stream.receive(self._silence_s):
            pieces.append(data)
            size += len(data)
            if size > limit + _PADDING:
                raise NotAnArchive(f"more than {limit} bytes behind it")
        self._data, self._at = b"", 0
        return b"".join(pieces).lstrip(b"\0")

    def _take(self, count: int) -> bytes:
        have = len(self._data) - self._at
        if have < count:
            pieces = [self._data[self._at :]]
            while have < count:
                data = self._stream.receive(self._silence_s)
                if not data:
                    raise EOFError("the archive ends early")
                pieces.append(data)
                have += len(data)
            self._data, self._at = b"".join(pieces), 0
        begun = self._at
        self._at = begun + count
        return self._data[begun : self._at]


def _octal(text: bytes) -> int:
    try:
        return int(text.strip(b" \0"), 8)
    except ValueError as error:
        raise NotAnArchive(f"{text!r} for a number") from error
