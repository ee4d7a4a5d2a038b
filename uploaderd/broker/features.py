"""What a broker can do, told from what it says of itself when a connection opens.

| RabbitMQ | delayed retry | `basic.nack` with requeue | `basic.reject` with requeue |
| --- | --- | --- | --- |
| 3.10 to 4.2 | none: at once again | counts as a delivery | counts as a delivery |
| from 4.3 | quorum queues, by argument or policy | does not count | counts as a failure |

Source: the release notes of RabbitMQ 4.3.0 and its guide to quorum queues.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Features:
    """Made by `of`; without arguments, a broker of which nothing is known."""

    product: str = ""
    version: tuple[int, ...] = ()

    @classmethod
    def of(cls, properties: Mapping[str, Any] | None) -> Features:
        """Of the `server-properties` of a connection; whatever they hold, no error."""
        values = {
            key: value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            for key, value in (properties or {}).items()
        }
        digits = re.match(r"\d+(\.\d+)*", values.get("version", ""))
        version = tuple(map(int, digits[0].split("."))) if digits else ()
        return cls(values.get("product", ""), version)

    @property
    def delayed_retry(self) -> bool:
        """Whether quorum queues give back what was rejected only after a delay of theirs."""
        return self.product == "RabbitMQ" and self.version >= (4, 3)

    def __str__(self) -> str:
        number = ".".join(map(str, self.version)) or "of unknown version"
        return f"{self.product or 'a broker'} {number}"
