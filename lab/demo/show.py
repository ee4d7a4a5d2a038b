"""How the demo speaks: steps, tables, and one line of progress on a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any


def _styled(text: str, code: str) -> str:
    plain = not sys.stdout.isatty() or bool(os.environ.get("NO_COLOR"))
    return text if plain else f"\033[{code}m{text}\033[0m"


class Steps:
    """Numbered steps, each with the seconds since the first."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._count = 0

    def step(self, text: str) -> None:
        """Says what comes next."""
        self._count += 1
        since = time.monotonic() - self._began
        print(_styled(f"{since:5.1f} s  {self._count}. {text}", "1"), flush=True)

    @property
    def seconds(self) -> float:
        """Time since the first step."""
        return time.monotonic() - self._began


def say(text: str) -> None:
    """A line that belongs to the step above it."""
    print(f"         {text}", flush=True)


def progress(text: str, *, last: bool = False) -> None:
    """Overwrites one line on a terminal; elsewhere only the last is printed."""
    if sys.stdout.isatty():
        print(f"\r\033[K         {text}", end="\n" if last else "", flush=True)
    elif last:
        say(text)


def table(rows: Sequence[dict[str, Any]], *, empty: str = "nothing") -> None:
    """Rows under their column names, numbers to the right."""
    if not rows:
        say(empty)
        return
    names = list(rows[0])
    cells = [[_cell(row[name]) for name in names] for row in rows]
    numeric = [all(isinstance(row[name], int | float) for row in rows) for name in names]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    say(_styled(_line(names, widths, numeric), "4"))
    for line in cells:
        say(_line(line, widths, numeric))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return str(value)


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    return "  ".join(
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, numeric, strict=True)
    ).rstrip()
