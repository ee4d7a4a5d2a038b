"""How far another catalog has our rows, told by the blocks in which the server took them in.

The server numbers every inserted block, and a row keeps its block's number through all merges
(`enable_block_number_column`). So late and corrected rows are new rows, whatever their times say,
and no clock is asked that may be set back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from uploaderd.catalog.client import Catalog

LOAD_ORDER = (
    *("equipment_types", "file_types", "units", "states", "counties", "gazetteer"),
    *("hosts", "sites", "tracks", "spectra", "files", "host_events"),
)
"""Dimensions before facts, and a file's spectra before the row that says it is processed.

They are read in the opposite order: what a row refers to was there before it.
"""

_PARTS = """
SELECT partition_id AS partition, min(min_block_number) AS first, max(max_block_number) AS last
FROM system.parts WHERE active AND database = currentDatabase() AND table = %(table)s
GROUP BY partition
"""

Blocks = Mapping[str, tuple[int, int]]
"""First and last block number of each partition."""


@dataclass(frozen=True)
class Watermark:
    """For each table and partition, the blocks that the other catalog has."""

    origin: str = ""
    """Which catalog the numbers are of; another one, be it a restored one, numbers anew."""
    tables: Mapping[str, Blocks] = field(default_factory=dict)
    stations: frozenset[int] = frozenset()
    """All whose rows were sent: if one's are removed here, it is known whose are to go there."""

    def to_json(self) -> str:
        """As it is kept in receipts and manifests."""
        values = {"origin": self.origin, "tables": self.tables, "stations": sorted(self.stations)}
        return json.dumps(values, sort_keys=True)

    @classmethod
    def of_json(cls, text: str) -> Watermark:
        """Of `to_json`; empty text is the empty watermark. Raises ValueError."""
        if not text:
            return cls()
        try:
            values = json.loads(text)
            tables = {
                str(table): {
                    str(name): (int(first), int(last)) for name, (first, last) in b.items()
                }
                for table, b in values["tables"].items()
            }
            stations = frozenset(map(int, values.get("stations", ())))
            return cls(str(values["origin"]), tables, stations)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"no watermark: {error!r}") from error

    def covers(self, other: Watermark) -> bool:
        """Whether every block that `other` counts is counted here, too."""
        return not other.tables or (
            self.origin == other.origin
            and all(
                self.tables.get(table, {}).get(name, (-1, -1))[1] >= last
                for table, blocks in other.tables.items()
                for name, (_, last) in blocks.items()
            )
        )

    def joined(self, other: Watermark) -> Watermark:
        """This one, and what `other` counts of the same catalog's other tables and stations."""
        if self.origin != other.origin:
            return self
        stations = self.stations | other.stations
        return Watermark(self.origin, {**other.tables, **self.tables}, stations)


def origin(catalog: Catalog) -> str:
    """Tells this catalog from every other: when it was made."""
    rows = catalog.query("SELECT toString(min(applied_at)) AS made FROM migrations")
    return str(rows[0]["made"])


def blocks(catalog: Catalog, table: str) -> Blocks:
    """What the table has now. To be asked before its rows are read."""
    rows = catalog.query(_PARTS, {"table": table})
    return {row["partition"]: (row["first"], row["last"]) for row in rows}


def since(start: Blocks, now: Blocks) -> str:
    """The SQL condition of the rows that came after `start`.

    A partition whose numbers do not go on from where they were was made anew: it is taken whole.
    """
    known = {
        name: last
        for name, (first, last) in start.items()
        if name in now and now[name][0] == first and now[name][1] >= last
    }
    if not known:
        return "1"
    names, lasts = _list([f"'{name}'" for name in known]), _list(list(map(str, known.values())))
    return f"toInt64(_block_number) > transform(_partition_id, {names}, {lasts}, toInt64(-1))"


def anything_new(start: Blocks, now: Blocks) -> bool:
    """Whether any block came after `start`."""
    return any(start.get(name) != span for name, span in now.items())


def _list(items: Sequence[str]) -> str:
    return f"[{', '.join(items)}]"
