"""What a publication has to do: what the database holds now against what is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from uploaderd import clock
from uploaderd.catalog.client import Catalog
from uploaderd.publishing import datasets, holdings, release
from uploaderd.publishing.columns import Column
from uploaderd.publishing.datasets import Dataset, Partition
from uploaderd.publishing.holdings import Asked, Marks

Entries = Mapping[str, Any]
"""Files of a manifest, by path."""


@dataclass(frozen=True)
class Plan:
    """The published folder beside the database."""

    read_from: str
    """When the database was asked, in UTC: all that it had taken in by then is published."""
    last: dict[str, Any] | None
    """Manifest of the current version."""
    columns: Mapping[str, Sequence[Column]]
    wanted: list[Partition]
    """What the database holds of the sets that may have changed."""
    known: Entries
    """What is published of these; nothing if all is to be written again."""
    others: Entries
    """Files that stay as they are."""
    watermarks: dict[str, Marks]
    """What the database held of each set before it was asked; none of sets that were not asked
    whole."""

    @property
    def before(self) -> dict[str, Any]:
        """All files of the current version."""
        return self.last["files"] if self.last else {}

    @property
    def is_done(self) -> bool:
        """Whether the current version holds all that is wanted."""
        published = {path: entry["digest"] for path, entry in self.known.items()}
        return self.last is not None and published == {
            part.path: part.digest for part in self.wanted
        }


def make(
    catalog: Catalog, folder: Path, chosen: Sequence[Dataset], *, complete: bool, since: date | None
) -> Plan:
    """Compares. What is as it was seen last, is not asked again, unless `complete`.

    Raises:
        CatalogError: the database cannot be reached.
        RepositoryError: the folder cannot be read.
    """
    read_from = clock.now().isoformat(timespec="milliseconds")
    last = release.current_manifest(folder)
    before: Entries = last["files"] if last else {}
    seen = release.seen(folder)
    columns = datasets.columns(catalog)
    marks = holdings.watermarks(catalog, chosen, columns)
    gone = {_set_of(path) for path in before if not (folder / "current" / path).exists()}
    first = since.year * 100 + since.month if since else 0

    def in_question(dataset: Dataset) -> Asked:
        whole = complete or dataset.name in gone or dataset.name not in marks
        changed = holdings.changed(dataset, marks.get(dataset.name, {}), seen.get(dataset.name, {}))
        return Asked(dataset, first, None if whole else changed)

    every = map(in_question, chosen)
    asked = [each for each in every if each.partitions is None or each.partitions]
    wanted = holdings.partitions(catalog, asked, columns)
    by_name = {each.dataset.name: each for each in asked}

    def stays(path: str) -> bool:
        return (each := by_name.get(_set_of(path))) is None or not each.covers(path)

    others = {path: entry for path, entry in before.items() if stays(path)}
    known = {} if complete else {path: before[path] for path in before.keys() - others.keys()}
    half = by_name if since else {}
    watermarks = {name: each for name, each in {**seen, **marks}.items() if name not in half}
    return Plan(read_from, last, columns, wanted, known, others, watermarks)


def _set_of(path: str) -> str:
    return path.partition("/")[0]
