"""One run of the sender: what the target lacks becomes an export, and goes there.

The sender keeps no watermark. It asks the target what was confirmed and begins there, so that
nothing that was lost on the way, or in a crash of either side, stays lost.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from uploaderd.beating import beating
from uploaderd.catalog.client import Catalog
from uploaderd.errors import Disposition, RepositoryError, UploaderError
from uploaderd.exchange import export
from uploaderd.exchange.export import BadExport, Manifest, Title
from uploaderd.exchange.receipts import Receipt
from uploaderd.exchange.target import Target
from uploaderd.exchange.watermark import LOAD_ORDER, Watermark
from uploaderd.repository.placement import make_folder, unwritable


class NotConfirmed(UploaderError):
    """An earlier export must be confirmed before this one can begin."""

    code = "not_confirmed"
    disposition = Disposition.NOT_NOW


@dataclass(frozen=True)
class Plan:
    """What is sent, and from where."""

    sender: str
    outbox: Path
    tables: Sequence[str] = LOAD_ORDER
    floor_bytes: int = 0
    """What stays free on our disk and on the target's."""


@dataclass(frozen=True)
class Sent:
    """What a run did."""

    sequence: int
    kind: str
    rows: int
    text: str
    receipt: Receipt
    """What the target had confirmed before."""


def send(
    catalog: Catalog,
    target: Target,
    plan: Plan,
    *,
    complete: bool = False,
    beat: Callable[[], None] = lambda: None,
    media: Callable[[Path, Manifest], None] = lambda _path, _manifest: None,
) -> Sent:
    """Sends what came since the last receipt; `complete`: everything.

    An export that is sent and not confirmed is brought again (or to its end) instead of a new one,
    so that nothing piles up at a receiver that sleeps. `media` is called before an export is
    delivered, to bring what belongs to it.

    Raises:
        NotConfirmed: a complete export is asked for while a partial one is on its way.
        RepositoryError: a disk is nearly full, or the outbox cannot be written.
        CatalogError: our database cannot be reached.
        UploaderError: the target cannot be reached or refuses.
    """
    receipt = target.receipt()
    _forget_confirmed(plan, receipt)
    with beating(beat):
        waiting = _waiting(plan)
    if waiting is not None:
        path, manifest = waiting
        media(path, manifest)
        target.deliver(path, manifest, beat)
        text = f"export {manifest.sequence} waits for its receipt"
        if complete and manifest.kind != "complete":
            raise NotConfirmed(f"No complete export is begun: {text}.")
        return Sent(manifest.sequence, manifest.kind, manifest.rows, text, receipt)
    thinned = _room(catalog, target, plan, complete)
    kind = "complete" if complete and not thinned else "partial"
    start = receipt.confirmed
    if kind == "complete":
        start = Watermark(start.origin, stations=start.stations)
    number = max(receipt.sequence, target.highest()) + 1
    path, manifest = export.write(
        catalog, plan.outbox, Title(plan.sender, number, kind), start, plan.tables, beat=beat
    )
    if manifest.rows == 0 and kind == "partial":
        path.unlink()
        return Sent(receipt.sequence, kind, 0, "nothing new", receipt)
    media(path, manifest)
    target.deliver(path, manifest, beat)
    text = f"export {number} ({kind}, {manifest.rows} rows) is there{thinned}"
    return Sent(number, kind, manifest.rows, text, receipt)


def free_bytes(outbox: Path) -> int:
    """Room for exports, whose folder is made. Raises RepositoryError if it cannot be."""
    try:
        make_folder(outbox)
        return shutil.disk_usage(outbox).free
    except OSError as error:
        raise unwritable(outbox, error) from error


def _exports(plan: Plan) -> list[tuple[Title, Path]]:
    """What the outbox holds, in its order."""
    found = ((Title.of(path.name), path) for path in sorted(plan.outbox.glob("*.zip")))
    return [(title, path) for title, path in found if title and title.sender == plan.sender]


def _forget_confirmed(plan: Plan, receipt: Receipt) -> None:
    """Removes what the target has, and what a crash left half written."""
    for title, path in _exports(plan):
        if title.sequence <= receipt.sequence:
            path.unlink(missing_ok=True)
    for path in plan.outbox.glob(".*.zip"):
        path.unlink(missing_ok=True)


def _waiting(plan: Plan) -> tuple[Path, Manifest] | None:
    """The last export that is not confirmed; one that is damaged is made again."""
    for _, path in reversed(_exports(plan)):
        try:
            return path, export.read(path)
        except BadExport:
            path.unlink()
    return None


def _room(catalog: Catalog, target: Target, plan: Plan, complete: bool) -> str:
    """Nothing, or why a complete export becomes a partial one.

    Raises RepositoryError if there is no room for any.
    """
    ours = free_bytes(plan.outbox)
    theirs = target.free_bytes()
    spare = min(ours, ours if theirs is None else theirs) - plan.floor_bytes
    if spare < 0:
        whose = "our own" if theirs is None or ours <= theirs else "the target's"
        raise RepositoryError(
            f"Nothing is sent: {whose} disk has {(spare + plan.floor_bytes) / 1e6:.0f} MB free, and"
            f" {plan.floor_bytes / 1e6:.0f} MB are to stay free.",
            hint="Make room there, or lower `free_space_floor_mb`.",
        )
    if complete and (need := _size(catalog)) > spare:
        return (
            f"; a complete one would take up to {need / 1e6:.0f} MB and only {spare / 1e6:.0f} MB"
            " may be used, so only what is new was sent"
        )
    return ""


def _size(catalog: Catalog) -> int:
    """What the tables take on the database's disk: a complete export takes about as much."""
    rows = catalog.query(
        "SELECT sum(bytes_on_disk) AS size FROM system.parts"
        " WHERE active AND database = currentDatabase()"
    )
    return int(rows[0]["size"])
