"""Runs of rows of one width: fields lie in the same columns of all, so no quote is looked for.

Exporters pad their numbers; behind the info column's text nearly all of a file is such runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]

SHORTEST = 64
"""Rows of which a run is worth its own handling."""


class Fields(NamedTuple):
    """First column of each measured field of a row, and the column after its last."""

    opened: tuple[int, ...]
    closed: tuple[int, ...]


def segments(widths: Places) -> Iterator[tuple[int, int, bool]]:
    """Cuts rows with these widths: (first, end, whether all have one width), in order."""
    cuts = np.concatenate([[0], np.flatnonzero(np.diff(widths)) + 1, [widths.size]])
    long = np.flatnonzero(np.diff(cuts) >= SHORTEST)
    done = 0
    for begin, end in zip(cuts[long].tolist(), cuts[long + 1].tolist(), strict=True):
        if done < begin:
            yield done, begin, False
        yield begin, end, True
        done = end
    if done < widths.size:
        yield done, int(widths.size), False


def table(data: Bytes, begin: int, width: int, count: int) -> Bytes:
    """Rows of one width as uint8 [count, width], without a copy."""
    return data[begin : begin + width * count].reshape(count, width)


def fields(rows: Bytes, measured: int) -> Fields | None:
    """Where the fields of all rows lie; `None` unless all are `"…","…",…,` and a line end."""
    first = rows[0].tobytes()
    text = first.rstrip(b"\r\n")
    quotes = [at for at, char in enumerate(text) if char == ord('"')]
    if len(quotes) != 2 * measured or not text.startswith(b'"') or not text.endswith(b'",'):
        return None
    if any(text[at : at + 3] != b'","' for at in quotes[1:-1:2]):
        return None
    if np.count_nonzero(rows == ord('"')) != len(rows) * len(quotes):
        return None
    frame = [*quotes, *(at + 1 for at in quotes[1::2]), *range(len(text), len(first))]
    if any((rows[:, at] != first[at]).any() for at in frame):
        return None
    return Fields(tuple(at + 1 for at in quotes[0::2]), tuple(quotes[1::2]))
