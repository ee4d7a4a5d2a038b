"""What a receiving catalog has confirmed; kept beside the rows, so that both are of one age.

A catalog that is restored from a backup has older receipts, too: senders go on from there.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from uploaderd import clock
from uploaderd.catalog.client import Catalog
from uploaderd.exchange.watermark import Watermark


@dataclass(frozen=True)
class Receipt:
    """The last word on a sender's exports; with sequence 0: none came yet."""

    sender: str
    sequence: int = 0
    kind: str = ""
    outcome: str = ""
    """loaded, gap (its rows are there, earlier ones are missing) or refused."""
    text: str = ""
    rows: int = 0
    watermark: str = ""
    """What the catalog has after this export, as JSON; a sender goes on from there."""
    at: datetime = field(default_factory=clock.now)

    @property
    def confirmed(self) -> Watermark:
        """The watermark. Raises ValueError for one that is damaged."""
        return Watermark.of_json(self.watermark)

    def to_json(self) -> str:
        """As it is written for a sender."""
        return json.dumps({**asdict(self), "at": self.at.isoformat()}, indent=1) + "\n"

    @classmethod
    def of_json(cls, text: str | bytes) -> Receipt:
        """Of `to_json`. Raises ValueError."""
        try:
            values: dict[str, Any] = json.loads(text)
            found = cls(**{**values, "at": datetime.fromisoformat(values["at"])})
            Watermark.of_json(found.watermark)
        except (TypeError, KeyError) as error:
            raise ValueError(f"no receipt: {error}") from error
        return found


def last(catalog: Catalog, sender: str) -> Receipt:
    """The receipt of a sender's highest sequence. Raises CatalogError."""
    rows = catalog.query(
        "SELECT sender, sequence, kind, outcome, text, rows, watermark, at FROM receipts FINAL"
        " WHERE sender = %(sender)s ORDER BY sequence DESC LIMIT 1",
        {"sender": sender},
    )
    return Receipt(**rows[0]) if rows else Receipt(sender)


def senders(catalog: Catalog) -> list[Receipt]:
    """The last receipt of each sender."""
    rows = catalog.query("SELECT DISTINCT sender FROM receipts ORDER BY sender")
    return [last(catalog, row["sender"]) for row in rows]
