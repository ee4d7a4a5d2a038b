"""Settings that exactness and durability rest on: set with every query, checked at the start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

PINNED: Mapping[str, object] = {
    "async_insert": 0,
    "insert_deduplicate": 0,
    "do_not_merge_across_partitions_select_final": 1,
    "optimize_on_insert": 1,
}
"""Releases of the server have changed their minds about these.

Rows fold by key, so blocks are not deduplicated: a block that the server swallowed as a repetition
may be one whose rows were deleted since. An asynchronous insert is acknowledged before it lasts.
"""
DURABLE = ("fsync_after_insert = 1", "fsync_part_directory = 1")
"""Settings of the ledger's table: an acknowledged row survives a power cut."""

_LEDGER = "the table files"
QUERY = f"""
SELECT name, value FROM system.settings WHERE name IN {tuple(PINNED)}
UNION ALL
SELECT '{_LEDGER}', engine_full FROM system.tables
WHERE database = currentDatabase() AND name IN ('files', 'files_local')
    AND engine LIKE '%MergeTree'
"""
"""Pairs of a name and what the server has for it."""


def problem(found: Iterable[tuple[str, str]]) -> str:
    """What of the answer to `QUERY` is not as it must be, as a sentence; empty if all is well."""
    for name, value in found:
        if name == _LEDGER:
            missing = [one for one in DURABLE if one not in value]
            if missing:
                return (
                    f"The table files is without {missing[0]}: rows could be lost at a power cut."
                )
        elif value != str(PINNED[name]):
            return f"The server has {name} = {value} and does not let it be {PINNED[name]}."
    return ""
