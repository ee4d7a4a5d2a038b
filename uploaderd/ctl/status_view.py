"""The status as lines for people, fitted to the terminal."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from uploaderd.observe.states import duration

_WORDS = ("fine", "degraded", "down")
_GREEN, _YELLOW, _RED, _BOLD = 32, 33, 31, 1
_COLOURS = {
    **dict.fromkeys(("fine", "running", "idle", "starting"), _GREEN),
    **dict.fromkeys(("failed", "down", "full", "disconnected", "silent", "hung", "frozen"), _RED),
}
_AILING = ("failed", "silent", "waiting")
_STATIONS = 8
"""So many stations that are not well are told one by one."""
_STYLE = re.compile("\x01(\\d+)\x02(.*?)\x03")
"""Marks of a styled text: they become colours, or vanish, when the line is fitted."""

Table = Sequence[Sequence[str]]


def lines(shown: dict[str, Any]) -> Iterator[str]:
    """All that there is to tell, a title before each part."""
    word = _WORDS[shown["health"]]
    yield f"uploaderd is {_state(word)}: {shown['reason']}"
    if shown["pid"]:
        up = duration(time.time() - shown["started"])
        yield f"version {shown['version']}, process {shown['pid']}, started {up} ago"
    if shown["services"]:
        yield from _part("SERVICES", _services(shown))
    if shown["instances"]:
        yield from _part("INSTANCES", _instances(shown))
    if shown.get("queues"):
        yield from _part("QUEUES", _queues(shown))
    if shown.get("catalog_error"):
        yield from _part("CATALOG", [[shown["catalog_error"]]])
    if shown.get("stations"):
        counts = Counter(each["state"] for each in shown["stations"])
        text = ", ".join(f"{count} {state}" for state, count in counts.most_common())
        yield from _part(f"STATIONS: {text}", _stations(shown))
    if shown.get("errors"):
        yield from _part("ERRORS of the last day", _errors(shown))
    if shown["disks"]:
        yield from _part("DISKS", _disks(shown))


def fit(
    all_lines: Iterator[str], width: int | None, height: int | None, *, colourful: bool
) -> list[str]:
    """The lines cut to a terminal's width and height, with colours or without."""
    fitted = [_cut(line, width, colourful) for line in all_lines]
    if height is not None and len(fitted) > height:
        hidden = len(fitted) - height + 1
        fitted = [*fitted[: height - 1], _cut(f"… {hidden} more lines", width, False)]
    return fitted


def _cut(line: str, width: int | None, colourful: bool) -> str:
    """Cuts by what is seen: marks take no room, and a style never goes on behind the cut."""
    out, room, at = "", width if width is not None else 1 << 30, 0
    plain = _STYLE.sub(r"\2", line)
    cut = len(plain) > room
    room -= cut
    for match in [*_STYLE.finditer(line), None]:
        before = line[at : match.start() if match else len(line)]
        out += before[:room]
        room -= min(room, len(before))
        if match:
            text = match[2][:room]
            out += f"\x1b[{match[1]}m{text}\x1b[0m" if colourful and text else text
            room -= len(text)
            at = match.end()
    return out + "…" * cut


def _styled(text: str, style: int) -> str:
    return f"\x01{style}\x02{text}\x03"


def _state(name: str) -> str:
    """A state in its colour."""
    return _styled(name, _COLOURS.get(name, _YELLOW))


def _part(title: str, rows: Table) -> Iterator[str]:
    """A title and a table, whose last column may be of any length."""
    yield ""
    yield _styled(title, _BOLD)
    seen = [[_STYLE.sub(r"\2", cell) for cell in row[:-1]] for row in rows]
    widths = [max(map(len, column)) for column in zip(*seen, strict=True)]
    for row, plain in zip(rows, seen, strict=True):
        cells = [_padded(*each) for each in zip(row[:-1], plain, widths, strict=True)]
        yield "  ".join(["", *cells, row[-1]]).rstrip()


def _padded(cell: str, plain: str, width: int) -> str:
    """Numbers to the right, words to the left."""
    room = " " * (width - len(plain))
    return room + cell if plain.replace(".", "", 1).isdigit() or plain == "-" else cell + room


def _ago(since: float) -> str:
    return duration(time.time() - since)


def _services(shown: dict[str, Any]) -> Table:
    rows = [["service", "state", "since", "why, and what happens next"]]
    for each in shown["services"]:
        rows.append([each["service"], _state(each["state"]), _ago(each["since"]), _why(each)])
    return rows


def _why(each: dict[str, Any]) -> str:
    return f"{each['reason'].removesuffix('.')}; next: {each['next']}"


def _instances(shown: dict[str, Any]) -> Table:
    rows = [["instance", "state", "since", "pid", "handled", "failed", "restarts", "MiB", "why"]]
    for each in shown["instances"]:
        why = each["reason"]
        if each["next"] is not None:
            why += f"; again in {max(0.0, each['next'] - time.time()):.0f} s"
        numbers = [str(each[key]) for key in ("handled", "failed", "restarts")]
        name = f"{each['service']}[{each['instance']}]"
        state = [name, _state(each["state"]), _ago(each["since"]), str(each["pid"] or "-")]
        rows.append([*state, *numbers, f"{each['memory_mb']:.0f}", why])
    return rows


def _queues(shown: dict[str, Any]) -> Table:
    counts = ("ready", "in_flight", "retrying", "dead", "consumers")
    rows = [["queue", "ready", "in flight", "retrying", "dead", "consumers", "a second", "oldest"]]
    for each in shown["queues"]:
        if each["error"]:
            rows.append([each["queue"], *["-"] * (len(counts) + 1), each["error"]])
            continue
        oldest = "-" if each["oldest_s"] is None else duration(each["oldest_s"])
        numbers = [str(each[key]) for key in counts]
        rows.append([each["queue"], *numbers, f"{each['rate']:.1f}", oldest])
    return rows


def _stations(shown: dict[str, Any]) -> Table:
    ailing = [
        each for each in shown["stations"] if each["state"] in ("failed", "silent", "waiting")
    ]
    ailing.sort(key=lambda each: (each["state"] == "waiting", -each["since"]))
    rows = [
        [
            str(each["host_id"]),
            each["host_uid"],
            _state(each["state"]),
            _ago(each["since"]),
            _why(each),
        ]
        for each in ailing[:_STATIONS]
    ]
    if len(ailing) > _STATIONS:
        rows.append([""] * 4 + [f"and {len(ailing) - _STATIONS} more; --json tells of all"])
    return rows


def _errors(shown: dict[str, Any]) -> Table:
    rows = [["error", "times", "stations", "last", "for example"]]
    for each in shown["errors"]:
        numbers = [str(each["times"]), str(each["stations"]), f"{_ago(each['last'])} ago"]
        rows.append([each["code"], *numbers, " ".join(each["example"].split())])
    return rows


def _disks(shown: dict[str, Any]) -> Table:
    rows = []
    for each in shown["disks"]:
        room = f"{_bytes(each['free_bytes'])} free of {_bytes(each['size_bytes'])}"
        lasts = ""
        if each["days_left"] is not None:
            growth = _bytes(each["growth_bytes_a_day"])
            lasts = f"{growth} a day, full in {duration(each['days_left'] * 86400)}"
        why = "" if each["state"] == "fine" else each["reason"]
        rows.append([each["folder"], _state(each["state"]), room, lasts, why])
    return rows


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
