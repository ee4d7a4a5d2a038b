"""What an agentless station is searched for: the filter of a request, checked field by field."""

from __future__ import annotations

import enum
import fnmatch
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any, TypeVar

from uploaderd.errors import MessageError


class Mode(enum.Enum):
    """How files are chosen; a file is known by its path, size and mtime, not by time alone."""

    NONE = "NONE"
    """Incremental: what is not known yet."""
    ALL = "ALL"
    """Everything that matches and is not known yet."""
    RANGE = "RANGE"
    """What was last written between two dates."""
    LAST = "LAST"
    """The newest N."""
    FILE = "FILE"
    """By name or glob."""
    REDISCOVERY = "REDISCOVERY"
    """Everything that matches, known or not."""


_COMMON = frozenset(("mode", "file_path", "max_total_gb", "sort_order"))
FIELDS: Mapping[Mode, frozenset[str]] = {
    Mode.NONE: _COMMON | {"extension"},
    Mode.ALL: _COMMON | {"extension"},
    Mode.RANGE: _COMMON | {"extension", "start_date", "end_date"},
    Mode.LAST: _COMMON | {"extension", "last_n_files"},
    Mode.FILE: _COMMON | {"file_name"},
    Mode.REDISCOVERY: _COMMON | {"extension"},
}
_T = TypeVar("_T")
_ORDERS = {"newest_first": True, "oldest_first": False}


@dataclass(frozen=True)
class Filter:
    """A checked filter; times are Unix seconds, both inclusive."""

    mode: Mode
    file_path: bytes
    extension: str = ""
    file_name: str = ""
    start_s: float | None = None
    end_s: float | None = None
    last_n_files: int | None = None
    max_total_bytes: int | None = None
    newest_first: bool = False

    def matches(self, name: str, mtime_s: float) -> bool:
        """Whether a file of this name and mtime is meant; case does not matter, as on Windows."""
        folded = name.casefold()
        if not folded.endswith(self.extension.casefold()):
            return False
        if self.file_name and not fnmatch.fnmatchcase(folded, self.file_name.casefold()):
            return False
        if self.start_s is not None and mtime_s < self.start_s:
            return False
        return self.end_s is None or mtime_s <= self.end_s


def parse(fields: Mapping[str, Any]) -> Filter:
    """Check a request's filter; empty strings count as not given, numbers may come as strings.

    Raises MessageError naming the field: unknown ones, ones that mean nothing in the mode, missing
    and senseless ones.
    """
    given = {name: value for name, value in fields.items() if value not in (None, "")}
    mode = _mode(given.get("mode", Mode.NONE.value))
    if strange := sorted(given.keys() - FIELDS[mode]):
        raise _wrong(
            ", ".join(strange),
            f"means nothing in mode {mode.value}, which takes {', '.join(sorted(FIELDS[mode]))}",
        )
    if mode is Mode.FILE and "file_name" not in given:
        raise _wrong("file_name", "is missing in mode FILE")
    if mode is Mode.LAST and "last_n_files" not in given:
        raise _wrong("last_n_files", "is missing in mode LAST")
    if mode is Mode.RANGE and not given.keys() & {"start_date", "end_date"}:
        raise _wrong("start_date, end_date", "are missing in mode RANGE")
    start = _given(given, "start_date", lambda text: _date(text, "start_date", time.min))
    end = _given(given, "end_date", lambda text: _date(text, "end_date", time.max))
    if start is not None and end is not None and start > end:
        raise _wrong("end_date", "is before start_date")
    gigabytes = _given(given, "max_total_gb", lambda value: _positive(value, "max_total_gb"))
    last_n = _given(given, "last_n_files", _count)
    return Filter(
        mode=mode,
        file_path=_folder(given.get("file_path")),
        extension=_text(given, "extension").removeprefix("*"),
        file_name=_text(given, "file_name"),
        start_s=start,
        end_s=end,
        last_n_files=last_n,
        max_total_bytes=None if gigabytes is None else int(gigabytes * 1_000_000_000),
        newest_first=_order(given.get("sort_order", "oldest_first")),
    )


def _wrong(field: str, what: str) -> MessageError:
    return MessageError(f"The filter's {field} {what}.")


def _given(given: Mapping[str, Any], name: str, convert: Callable[[Any], _T]) -> _T | None:
    return convert(given[name]) if name in given else None


def _mode(value: object) -> Mode:
    try:
        return Mode(str(value).upper())
    except ValueError as error:
        modes = ", ".join(mode.value for mode in Mode)
        raise _wrong("mode", f"is {value!r}, and has to be one of {modes}") from error


def _order(value: object) -> bool:
    if not isinstance(value, str) or value not in _ORDERS:
        raise _wrong("sort_order", "has to be newest_first or oldest_first")
    return _ORDERS[value]


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name, "")
    if not isinstance(value, str) or "\0" in value or "/" in value:
        raise _wrong(name, "has to be a text without '/'")
    return value


def _folder(value: object) -> bytes:
    r"""The folder as SFTP names it: `C:\data` of Windows is `/C:/data` (Win32-OpenSSH)."""
    if value is None:
        raise _wrong("file_path", "is missing")
    if not isinstance(value, str) or "\0" in value:
        raise _wrong("file_path", "has to be a text")
    if re.match(r"/?[A-Za-z]:([\\/]|$)", value):
        value = "/" + value.replace("\\", "/").lstrip("/")
    if not value.startswith("/") or ".." in value.split("/"):
        raise _wrong("file_path", "has to be an absolute path without '..'")
    return (value.rstrip("/") or "/").encode("utf-8", "surrogateescape")


def _date(value: object, name: str, day_edge: time) -> float:
    """Unix seconds; a day alone means its beginning or its end, no zone means UTC."""
    try:
        text = str(value)
        moment = datetime.fromisoformat(text)
        if len(text) <= len("2024-01-31"):
            moment = datetime.combine(moment.date(), day_edge)
    except ValueError as error:
        raise _wrong(name, f"is {value!r}, and has to be an ISO 8601 date") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _positive(value: object, name: str) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = -1.0
    if not 0 < number < 1e9:
        raise _wrong(name, f"is {value!r}, and has to be a positive number")
    return number


def _count(value: object) -> int:
    number = _positive(value, "last_n_files")
    if not number.is_integer() or number > 100_000:
        raise _wrong("last_n_files", "has to be a whole number up to 100000")
    return int(number)
