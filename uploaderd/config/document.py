"""One JSON file read strictly, and the line on which each of its values stands."""

from __future__ import annotations

import bisect
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uploaderd.errors import ConfigError

KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Document:
    """A parsed file: its value, and for each key path the line (from 1) where the value begins."""

    path: Path
    value: Any
    lines: dict[KeyPath, int]

    def error(self, where: KeyPath, expectation: str) -> ConfigError:
        """A one-line error: file, line, key path and what was expected there."""
        known = where
        while known not in self.lines:
            known = known[:-1]
        key = dotted(where)
        return ConfigError(
            f"{self.path}:{self.lines[known]}: {key + ': ' if key else ''}{expectation}"
        )


def dotted(where: KeyPath) -> str:
    """`("a", 0, "b")` as operators write it: `a[0].b`."""
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def text_of(path: Path) -> str:
    """The text of a UTF-8 file. Raises ConfigError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start})") from error


def read(path: Path, text: str | None = None) -> Document:
    """Reads a JSON file (RFC 8259, UTF-8); a key given twice, NaN and Infinity are errors.

    With `text` the file itself is not looked at. Raises ConfigError.
    """
    text = text_of(path) if text is None else text
    try:
        value = json.loads(text, parse_constant=_refuse)
        entries = _entries(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: is nested too deeply") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    lines: dict[KeyPath, int] = {}
    for where, line in entries:
        if where in lines:
            raise ConfigError(f"{path}:{line}: {dotted(where)}: the key is given twice")
        lines[where] = line
    return Document(path, value, lines)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _entries(text: str) -> list[tuple[KeyPath, int]]:
    """Every key path and its line, in order, of a text that is known to be JSON."""
    entries: list[tuple[KeyPath, int]] = []
    starts = [match.start() for match in re.finditer("^", text, re.MULTILINE)]

    def note(where: KeyPath, index: int) -> None:
        entries.append((where, bisect.bisect_right(starts, index)))

    def skip_blank(index: int) -> int:
        match = _BLANK.match(text, index)
        return match.end() if match else index

    def value(index: int, where: KeyPath) -> int:
        """Notes what stands at `index`; gives the index behind it."""
        if text[index] not in "{[":
            return _DECODER.raw_decode(text, index)[1]
        is_object = text[index] == "{"
        count = 0
        index = skip_blank(index + 1)
        while text[index] not in "}]":
            part: str | int = count
            note_at = index
            if is_object:
                part, index = _DECODER.raw_decode(text, index)
                index = skip_blank(skip_blank(index) + 1)
            note((*where, part), note_at)
            index = skip_blank(value(index, (*where, part)))
            if text[index] == ",":
                index = skip_blank(index + 1)
            count += 1
        return index + 1

    start = skip_blank(0)
    note((), start)
    value(start, ())
    return entries
