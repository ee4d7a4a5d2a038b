"""Takes an export into a catalog: checked first, loaded in order, confirmed last.

Every table folds its rows by key, so a repetition after a crash, or rows that come twice by an
overlap, change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from uploaderd import crash_points
from uploaderd.beating import beating
from uploaderd.catalog.client import Catalog
from uploaderd.exchange import export, receipts, removals
from uploaderd.exchange.export import BadExport, Manifest
from uploaderd.exchange.receipts import Receipt
from uploaderd.exchange.watermark import LOAD_ORDER, Watermark

BYTES = {"strings_as_bytes": True}


def accept(
    catalog: Catalog,
    path: Path,
    beat: Callable[[], None] = lambda: None,
    loaded: Callable[[Manifest], str] = lambda _: "",
    removal_limit: float = removals.LIMIT,
) -> Receipt:
    """Loads an export and records its receipt; a complete one also removes what it does not bring.

    `loaded` is called between the two, and may add a sentence to the receipt. An export that was
    loaded before, and whose rows the catalog has, gives the last receipt again. `removal_limit` is
    the share of a table's rows that may be removed.

    Raises:
        BadExport: it is damaged, or of another schema; nothing of it is loaded.
        CatalogError: the database cannot be reached.
    """
    with beating(beat):
        manifest = export.read(path)
    last = receipts.last(catalog, manifest.sender)
    end = Watermark.of_json(manifest.end)
    if manifest.sequence <= last.sequence and last.confirmed.covers(end):
        return last
    _require_same_columns(catalog, manifest)
    before = removals.before(catalog) if manifest.kind == "complete" else {}
    crash_points.reached("export-loaded:before")
    with Catalog(catalog.settings, BYTES) as filling:
        for table in LOAD_ORDER:
            if table in manifest.parts:
                _fill(filling, path, table, manifest.parts[table].columns, beat)
    crash_points.reached("export-loaded:after")
    with beating(beat):
        removed = removals.remove(catalog, end, before, removal_limit) if before else ""
    receipt = _receipt(manifest, last)
    said = (receipt.text, removed, loaded(manifest))
    receipt = replace(receipt, text=" ".join(filter(None, said)))
    record(catalog, receipt)
    return receipt


def record(catalog: Catalog, receipt: Receipt) -> None:
    """Confirms. Raises CatalogError."""
    crash_points.reached("receipt-row:before")
    catalog.insert("receipts", [receipt])
    crash_points.reached("receipt-row:after")


def refuse(catalog: Catalog, title: export.Title, reason: str) -> Receipt:
    """Tells the sender of an export that was not loaded; the rows are asked for again.

    Raises CatalogError.
    """
    last = receipts.last(catalog, title.sender)
    sequence = max(title.sequence, last.sequence)
    receipt = Receipt(title.sender, sequence, title.kind, "refused", reason, 0, last.watermark)
    record(catalog, receipt)
    return receipt


def _receipt(manifest: Manifest, last: Receipt) -> Receipt:
    """What is confirmed once the rows are there."""
    begin, end = Watermark.of_json(manifest.start), Watermark.of_json(manifest.end)
    connected = last.confirmed.covers(begin)
    outcome = "loaded" if connected else "gap"
    text = ""
    if not connected:
        text = (
            f"Export {manifest.sequence} of {manifest.sender} begins behind export"
            f" {last.sequence}, the last one here: rows between them are asked for again."
        )
    elif last.sequence and manifest.sequence > last.sequence + 1:
        text = (
            f"Exports {last.sequence + 1} to {manifest.sequence - 1} of {manifest.sender} never"
            f" came; their rows are in export {manifest.sequence}."
        )
    return Receipt(
        manifest.sender,
        max(manifest.sequence, last.sequence),
        manifest.kind,
        outcome,
        text,
        manifest.rows,
        end.to_json() if connected else last.watermark,
    )


def _require_same_columns(catalog: Catalog, manifest: Manifest) -> None:
    """Raises BadExport for tables or columns that this catalog does not have."""
    for table, part in manifest.parts.items():
        if table not in LOAD_ORDER:
            raise BadExport(f"The export has a table {table}, which is not exchanged.")
        known = {name: kind for name, kind, _ in catalog.columns(table)}
        for name, kind in part.columns:
            if known.get(name) != kind:
                raise BadExport(
                    f"The sender's column {table}.{name} is {kind}, ours is {known.get(name)}.",
                    hint="Run the same release on both servers, and `uploaderctl catalog migrate`.",
                )


def _fill(
    catalog: Catalog,
    path: Path,
    table: str,
    columns: Sequence[tuple[str, str]],
    beat: Callable[[], None],
) -> None:
    for batch in export.batches(path, table):
        taken = [values(batch.column(n), kind) for n, (_, kind) in enumerate(columns)]
        names = [name for name, _ in columns]
        catalog.insert_columns(f"`{table}`", names, taken)
        beat()


def values(sent: pa.Array, kind: str) -> list[Any]:
    """A column's values as the driver takes them: bytes, whole numbers, lists of them."""
    if kind.startswith("Array("):
        numbers = kind.removeprefix("Array(").removesuffix(")").lower()
        return [np.frombuffer(one, numbers).tolist() for one in sent.to_pylist()]
    plain: list[Any] = sent.to_pylist()
    return plain
