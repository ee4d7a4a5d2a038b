"""Readers of measurement files: a library of its own, importing nothing of the rest.

from uploaderd import formats

recording = formats.read("rfeye002292_210211_T112336.bin", statistics=True)
for block in formats.traces("rfeye002292_210211_T112336.bin"):
    print(recording.spectra[block.flow].description, block.levels.shape)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from uploaderd.formats.errors import FormatError
from uploaderd.formats.model import (
    Issue,
    LevelProfile,
    LevelStatistics,
    Position,
    ReadOptions,
    Recording,
    Spectrum,
    TraceBlock,
    TraceSummary,
)
from uploaderd.formats.registry import Format, detect

__all__ = [
    "Format",
    "FormatError",
    "Issue",
    "LevelProfile",
    "LevelStatistics",
    "Position",
    "ReadOptions",
    "Recording",
    "Spectrum",
    "TraceBlock",
    "TraceSummary",
    "detect",
    "read",
    "traces",
]


def read(
    path: str | os.PathLike[str],
    *,
    statistics: bool = False,
    clock_offset: timedelta = timedelta(0),
    verify: bool = False,
) -> Recording:
    """Reads what a measurement file holds.

    Args:
        path: the file; its format is recognised by its content.
        statistics: decode every level, too, and fill the spectra's statistics.
        clock_offset: how far the station's clock is ahead of UTC.
        verify: compare hashes of data that is not read otherwise (SigMF samples).

    Raises FormatError if nothing in the file is sound; otherwise `Recording.issues` says what was
    wrong.
    """
    file = Path(path)
    return detect(file).read(file, ReadOptions(statistics, clock_offset, verify))


def traces(
    path: str | os.PathLike[str], *, clock_offset: timedelta = timedelta(0)
) -> Iterator[TraceBlock]:
    """Decodes a file's traces block after block, in bounded memory.

    `TraceBlock.flow` is an index into `read(path).spectra`. Raises FormatError as `read` does.
    """
    file = Path(path)
    return detect(file).traces(file, ReadOptions(clock_offset=clock_offset))
