"""The receiver's folder: what comes in is loaded in its order, confirmed, kept for a while.

INBOX/north-000000000012-partial.zip      has come, is to be loaded (.part: still coming)
INBOX/north.receipt.json                  what the sender goes on from
INBOX/kept/…                              was loaded
INBOX/refused/…                           was not, with the reason beside it
INBOX/media/…                             measurement files
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from uploaderd import clock, crash_points
from uploaderd.catalog.client import Catalog
from uploaderd.durable import sync_folder
from uploaderd.errors import RepositoryError
from uploaderd.exchange import load, receipts, removals
from uploaderd.exchange.export import BadExport, Manifest, Title
from uploaderd.exchange.receipts import Receipt
from uploaderd.repository.placement import make_folder, unwritable, write_text


@dataclass(frozen=True)
class Keeping:
    """How long exports are kept once they are loaded."""

    complete: timedelta = timedelta(days=7)
    partial: timedelta = timedelta(days=1)
    floor_bytes: int = 0
    """With less free than this, the oldest go earlier."""


def waiting(inbox: Path) -> list[tuple[Title, Path]]:
    """What is to be loaded, a sender's exports in their order. Raises RepositoryError."""
    try:
        make_folder(inbox)
        found = [(Title.of(path.name), path) for path in inbox.iterdir()]
    except OSError as error:
        raise unwritable(inbox, error) from error
    return sorted(
        ((title, path) for title, path in found if title),
        key=lambda one: (one[0].sender, one[0].sequence),
    )


def take_in(
    catalog: Catalog,
    inbox: Path,
    beat: Callable[[], None] = lambda: None,
    loaded: Callable[[Manifest], str] = lambda _: "",
    removal_limit: float = removals.LIMIT,
) -> Iterator[Receipt]:
    """Loads what waits, as `load.accept` does, and gives the receipt of each.

    Raises:
        CatalogError: the database cannot be reached; what is not confirmed waits on.
        RepositoryError: the inbox cannot be written.
    """
    for title, path in waiting(inbox):
        try:
            receipt = load.accept(catalog, path, beat, loaded, removal_limit)
            place = inbox / "kept"
        except BadExport as error:
            receipt = load.refuse(catalog, title, str(error))
            place = inbox / "refused"
        tell(inbox, receipt)
        _move(path, place)
        if receipt.outcome == "refused":
            write_text(place / f"{path.name}.reason.txt", f"{receipt.text}\n")
        yield receipt


def tell(inbox: Path, receipt: Receipt) -> None:
    """Writes a receipt for its sender to read. Raises RepositoryError."""
    path = inbox / f"{receipt.sender}.receipt.json"
    text = receipt.to_json()
    try:
        if path.exists() and path.read_text("utf-8") == text:
            return
    except (OSError, UnicodeDecodeError):
        # Whatever is there is written again.
        pass
    crash_points.reached("receipt-told:before")
    write_text(path, text)
    crash_points.reached("receipt-told:after")


def tell_all(catalog: Catalog, inbox: Path) -> None:
    """Writes every sender's last receipt again, as the catalog has it.

    A restored catalog knows less than the files beside it say; a lost file comes back.
    """
    known = receipts.senders(catalog)
    for receipt in known:
        tell(inbox, receipt)
    for path in inbox.glob("*.receipt.json"):
        if path.name.removesuffix(".receipt.json") not in {each.sender for each in known}:
            path.unlink(missing_ok=True)


def clean(inbox: Path, keeping: Keeping) -> list[str]:
    """Removes what was kept long enough, and with a full disk the oldest before that.

    Raises RepositoryError.
    """
    removed = []
    try:
        kept = [path for path in (inbox / "kept").glob("*.zip") if Title.of(path.name)]
        kept.sort(key=lambda path: path.stat().st_mtime)
        for path in kept:
            days = keeping.complete if path.stem.endswith("complete") else keeping.partial
            old = clock.seconds() - path.stat().st_mtime > days.total_seconds()
            if old or shutil.disk_usage(inbox).free < keeping.floor_bytes:
                path.unlink()
                removed.append(path.name)
        for path in (*inbox.glob("*.zip.part"), *(inbox / "refused").glob("*")):
            if clock.seconds() - path.stat().st_mtime > keeping.complete.total_seconds():
                path.unlink()
                removed.append(path.name)
    except OSError as error:
        raise unwritable(inbox, error) from error
    return removed


def require_room(inbox: Path, floor_bytes: int) -> None:
    """Refuses to load while the inbox's disk is nearly full: the exports wait where they are.

    Raises RepositoryError.
    """
    try:
        free = shutil.disk_usage(inbox).free
    except OSError as error:
        raise unwritable(inbox, error) from error
    if free < floor_bytes:
        raise RepositoryError(
            f"Nothing is taken in: the disk of {inbox} has {free / 1e6:.0f} MB free, and"
            f" {floor_bytes / 1e6:.0f} MB are to stay free.",
            hint="Make room, or lower `free_space_floor_mb`.",
        )


def _move(path: Path, folder: Path) -> None:
    try:
        make_folder(folder)
        crash_points.reached("export-kept:before")
        path.replace(folder / path.name)
        sync_folder(folder)
        sync_folder(path.parent)
        crash_points.reached("export-kept:after")
    except OSError as error:
        raise unwritable(path, error) from error
