"""Which formats there are, and which one a file is of.

A format is a module with one frozen `Format`. Formats of this package are named in `MODULES`;
those of other packages in the entry point group `uploaderd.formats` (entry point → `Format`).
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from uploaderd.formats.errors import EMPTY_FILE, UNKNOWN_FORMAT, UNREADABLE, FormatError
from uploaderd.formats.model import ReadOptions, Recording, TraceBlock

HEAD_SIZE = 65_536
"""Bytes of a file's beginning that a `sniff` function is shown."""

MODULES: tuple[str, ...] = (
    "crfs_bin",
    "rflook_bin",
    "cellplan_dbm",
    "sm1809",
    "sigmf_recording",
    "argus_csv",
    "sweep_csv",
)
"""Modules of this package, each with a `FORMAT`, in the order in which they are asked."""


@dataclass(frozen=True, slots=True)
class Format:
    """One file format.

    Attributes:
        name: stable name, as the catalog holds it, e.g. `crfs_bin`.
        title: name for people.
        extensions: usual endings of file names, in lower case with the dot; only a hint, for
            several formats share them: of formats that recognise the same content, one whose
            extension fits is taken.
        sniff: takes the first `HEAD_SIZE` bytes and the path, says whether the content is this
            format's; must not raise on any bytes.
        read: gives the recording; raises FormatError only if nothing is sound.
        traces: gives the decoded traces of a file that `read` can read, flow indices as there.
    """

    name: str
    title: str
    extensions: tuple[str, ...]
    sniff: Callable[[bytes, Path], bool]
    read: Callable[[Path, ReadOptions], Recording]
    traces: Callable[[Path, ReadOptions], Iterator[TraceBlock]]


@functools.cache
def formats() -> tuple[Format, ...]:
    """All formats: this package's, then those of other packages, by the entry points' names."""
    own = [importlib.import_module(f"uploaderd.formats.{name}").FORMAT for name in MODULES]
    found = sorted(entry_points(group="uploaderd.formats"), key=lambda point: point.name)
    return (*own, *(point.load() for point in found))


def detect(path: Path) -> Format:
    """The format of a file, by content first and extension second.

    Raises FormatError: `unreadable`, `empty_file`, or `unknown_format`.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_SIZE)
    except OSError as error:
        raise FormatError(UNREADABLE, f"{path.name} cannot be read: {error.strerror}.") from error
    if not head:
        raise FormatError(EMPTY_FILE, f"{path.name} is empty.")
    fitting = [format_ for format_ in formats() if format_.sniff(head, path)]
    if not fitting:
        raise FormatError(UNKNOWN_FORMAT, f"{path.name} is of no known measurement format.")
    name = path.name.lower()
    return next((f for f in fitting if name.endswith(f.extensions)), fitting[0])
