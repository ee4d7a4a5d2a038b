"""Lines of the agent's index, and of the improved agent's second one: parsed, and merged.

A line of the deployed agent's index is `directory NUL /name NUL newline`; one of the improved
agent's second index is `size mtime path newline`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

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


Line = IndexEntry | DamagedLine
Parse = Callable[[int, bytes], Line]


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


def merged(preferred: Iterable[Line], other: Iterable[Line]) -> Iterator[Line]:
    """The lines of both indexes, and the preferred one's of a file that is in both.

    Both are merged as they come, which takes no memory: the improved agent keeps both in the same
    order, by folder and name. Where another order is met, as of a deployed agent in a locale of its
    own, a file may come twice; none is left out.
    """
    mine, theirs = iter(preferred), iter(other)
    left, right = next(mine, None), next(theirs, None)
    while left is not None and right is not None:
        if isinstance(left, IndexEntry) and isinstance(right, IndexEntry):
            ours, others = _order(left), _order(right)
            if ours == others:
                right = next(theirs, None)
                continue
            if ours > others:
                yield right
                right = next(theirs, None)
                continue
        yield left
        left = next(mine, None)
    for rest, source in ((left, mine), (right, theirs)):
        if rest is not None:
            yield rest
        yield from source


def _order(entry: IndexEntry) -> tuple[bytes, bytes]:
    folder, _, name = entry.path.rpartition(b"/")
    return folder, name


def _entry(
    number: int, text: bytes, path: bytes, size: int | None, mtime_ns: int | None
) -> IndexEntry | DamagedLine:
    if len(text) > _LONGEST_LINE:
        return DamagedLine(number, text, "the line is too long for a path")
    if b"\0" in path or not path.startswith(b"/"):
        return DamagedLine(number, text, "not an absolute path")
    # `find /data/` writes `/data//name`; one file has one name.
    return IndexEntry(re.sub(rb"/{2,}", b"/", path), size, mtime_ns)


def split(chunks: Iterable[bytes]) -> Iterator[bytes]:
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
