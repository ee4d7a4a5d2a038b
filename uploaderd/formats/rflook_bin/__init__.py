"""RFlook / appColeta `.bin`, versions 1 and 2; layout in `docs/formats/rflook_bin.md`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

from uploaderd.formats.files import mapped
from uploaderd.formats.model import ReadOptions, Recording, TraceBlock
from uploaderd.formats.registry import Format
from uploaderd.formats.rflook_bin import common, v1, v2

_SIGNATURE: Final = re.compile(rb"RFlookBin (v\.(?:1/1|2/[1-4]))")


def sniff(head: bytes, _path: Path) -> bool:
    """The signature with a known version."""
    return _SIGNATURE.match(head) is not None


def read(path: Path, options: ReadOptions) -> Recording:
    """Reads an RFlook file."""
    version, layout = _version(path)
    recording: Recording = layout.read(path, version, options)
    return recording


def traces(path: Path, options: ReadOptions) -> Iterator[TraceBlock]:
    """Decodes an RFlook file's traces; flow indices are those of `read`."""
    version, layout = _version(path)
    yield from layout.traces(path, version, options)


def _version(path: Path) -> tuple[str, ModuleType]:
    version = mapped(path)[common.SIGNATURE - 5 : common.SIGNATURE].decode("ascii", "replace")
    return version, v1 if version.startswith("v.1") else v2


FORMAT: Final = Format(common.NAME, "RFlook / appColeta", (".bin",), sniff, read, traces)
