"""Where the SQL files lie: in a checkout, or where the wheel or the system package puts them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from uploaderd.errors import CatalogError

ENVIRONMENT = "UPLOADERD_SQL"
PLACES = (
    Path(__file__).parents[2] / "sql",
    Path(sys.prefix) / "share" / "uploaderd" / "sql",
    Path("/usr/share/uploaderd/sql"),
)


def folder() -> Path:
    """The `sql` folder; the environment variable UPLOADERD_SQL goes before the usual places."""
    named = os.environ.get(ENVIRONMENT)
    places = (Path(named),) if named else PLACES
    for place in places:
        if any(place.glob("[0-9][0-9][0-9][0-9]_*.sql")):
            return place
    raise CatalogError(
        f"The SQL files are in none of {', '.join(map(str, places))}.",
        hint=f"Set {ENVIRONMENT} to their folder.",
    )


UNLESS = "-- unless:"
"""Begins a comment that stays with its statement: the query behind it tells if that was done."""


def statements(text: str) -> list[str]:
    """The statements of a file: cut at semicolons that stand in no string and no comment."""
    found: list[str] = []
    current: list[str] = []
    position = 0
    while position < len(text):
        character = text[position]
        if text.startswith("--", position):
            end = text.find("\n", position)
            end = len(text) if end < 0 else end
            if text.startswith(UNLESS, position):
                current.append(text[position:end])
            position = end
            continue
        end = position + 1
        if character in "'`\"":
            while end < len(text) and text[end] != character:
                end += 2 if text[end] == "\\" else 1
            end += 1
        if character == ";":
            found.append("".join(current).strip())
            current = []
        else:
            current.append(text[position:end])
        position = end
    found.append("".join(current).strip())
    return [statement for statement in found if statement]
