"""The info column: a second document, written downwards beside the measurements."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field

from uploaderd.formats.model import Position
from uploaderd.formats.positions import median_position

_HERTZ = {"hz": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9}
_AM_PM = re.compile(r"\d{1,2}:\d\d:\d\d [AP]M\b", re.ASCII)
_ANGLE = re.compile(
    r"([NSEW])?\s*(\d{1,3})\s*[\u00b0\u00ba]\s*(\d{1,2})\s*['\u00b4\u2019]\s*"
    r"(\d{1,2}(?:[.,]\d+)?)\s*\"?\s*([NSEW])?",
    re.ASCII,
)


@dataclass(frozen=True)
class Info:
    """The lines of the info column, in the order of the file.

    Attributes:
        pairs: (section, key, value) of every line; the keys Name, Date and Time come in many
            sections.
        month_first: whether the computer wrote times with AM or PM, so dates month first.
    """

    pairs: list[tuple[str, str, str]] = field(default_factory=list)
    month_first: bool = False

    def first(self, key: str) -> str | None:
        """The first value of a key in any section."""
        return next((v for _, k, v in self.pairs if k == key and v), None)

    def within(self, section: str, key: str) -> str | None:
        """The value of a key in a section."""
        return next((v for s, k, v in self.pairs if s == section and k == key and v), None)

    @property
    def rbw_hz(self) -> float | None:
        """IF Bandwidth in Hz."""
        match = re.fullmatch(r"([\d.,]+)\s*([kMG]?Hz)", self.first("IF Bandwidth") or "", re.I)
        if not match:
            return None
        try:
            value = float(match[1].replace(",", "."))
        except ValueError:
            return None
        return value * _HERTZ[match[2].lower()] or None

    @property
    def position(self) -> Position | None:
        """The station's one fixed position; the antenna's pair, which may follow, is another."""
        lat, lon = _angle(self.first("Latitude")), _angle(self.first("Longitude"))
        return None if lat is None or lon is None else median_position(lat, lon, source="header")


def parse(text: str, columns: int) -> Info:
    """The info column of the rows in `text`, each of which has so many columns."""
    lines = []
    try:
        for row in csv.reader(text.splitlines()):
            if len(row) == columns and row[-1].strip():
                lines.append(row[-1].strip())
    except csv.Error:
        # A field beyond the reader's limit: what came before it is still good.
        pass
    pairs = []
    section = ""
    for line in lines:
        key, _, value = line.partition(":")
        key, value = key.strip(), value.strip()
        if not value:
            section = key
        pairs.append((section, key, value))
    return Info(pairs, any(_AM_PM.search(line) for line in lines))


def _angle(text: str | None) -> float | None:
    match = _ANGLE.match(text or "")
    if not match:
        return None
    degrees, minutes = int(match[2]), int(match[3])
    value = degrees + minutes / 60 + float(match[4].replace(",", ".")) / 3600
    side = match[5] or match[1]
    if side is None:
        return None
    return -value if side in "SW" else value
