"""What kind of statement a query is, as far as the listener must know it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_COMMENT = re.compile(r"\s*(?:--[^\n]*(?:\n|$)|/\*.*?\*/)", re.DOTALL)
_FORMAT = re.compile(r"\s+FORMAT\s+\w+\s*;?\s*$", re.IGNORECASE)
_IDENTIFIER = r"(?:`(?:[^`\\]|\\.)*`|\"(?:[^\"\\]|\\.)*\"|[A-Za-z_]\w*)"
_NAME = rf"{_IDENTIFIER}(?:\s*\.\s*{_IDENTIFIER})?"
_INSERT = re.compile(
    rf"""(?P<head>INSERT\s+INTO\s+(?:TABLE\s+)?
         (?P<target>FUNCTION\s+\w+\s*\(.*?\)|{_NAME})
         (?:\s*\((?P<columns>.*?)\))?
         (?:\s+SETTINGS\s.*?)?)
         \s+(?:VALUES|FORMAT\s+\w+)\s*;?\s*$""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_INPUT = re.compile(
    r"""(?P<head>INSERT\s+INTO\s+(?:TABLE\s+)?.*?\sFROM\s+)
        input\s*\(\s*'(?P<structure>(?:[^'\\]|\\.)*)'\s*\)
        (?P<rest>.*?)(?:\s+FORMAT\s+\w+)?\s*;?\s*$""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_PLAIN = re.compile(rf"\s*{_IDENTIFIER}(?:\s*\.\s*{_IDENTIFIER})*\s*")


@dataclass(frozen=True)
class Insert:
    """An INSERT whose rows come as blocks after the query."""

    head: str
    """The statement up to where the rows or their format would come."""
    target: str
    """Table, or `FUNCTION name(…)`."""
    columns: tuple[str, ...] | None
    """The names asked for; None: all that can be inserted."""
    expression: str = ""
    """The column list as text when it is no plain list, such as `* EXCEPT (a)`."""
    structure: str = ""
    """Of `INSERT … SELECT … FROM input('structure') …`, whose head ends before `input`."""
    rest: str = ""
    """What comes behind `input(…)`."""


def bare(sql: str) -> str:
    """The statement without the comments in front of it."""
    while match := _COMMENT.match(sql):
        sql = sql[match.end() :]
    return sql.strip()


def streams(sql: str) -> bool:
    """Whether the statement is a query whose rows the engine gives chunk by chunk."""
    return re.match(r"\(*\s*(?:SELECT|WITH|FROM)\b", bare(sql), re.IGNORECASE) is not None


def without_format(sql: str) -> str:
    """The query without its FORMAT: over this protocol rows always travel as blocks."""
    return _FORMAT.sub("", sql)


def insert(sql: str) -> Insert | None:
    """The parts of an INSERT that waits for rows; None for every other statement."""
    if through := _INPUT.fullmatch(bare(sql)):
        structure = re.sub(r"\\(.)", r"\1", through["structure"])
        return Insert(through["head"], "", None, structure=structure, rest=through["rest"])
    match = _INSERT.fullmatch(bare(sql))
    if not match:
        return None
    listed = match["columns"]
    if listed is None:
        return Insert(match["head"], match["target"], None)
    names = listed.split(",")
    if all(_PLAIN.fullmatch(name) for name in names):
        return Insert(match["head"], match["target"], tuple(_unquoted(name) for name in names))
    return Insert(match["head"], match["target"], None, listed)


def _unquoted(name: str) -> str:
    parts = re.findall(_IDENTIFIER, name)
    return ".".join(re.sub(r"\\(.)", r"\1", p[1:-1]) if p[0] in '`"' else p for p in parts)


def quoted(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(name: str) -> str:
    """A quoted identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
