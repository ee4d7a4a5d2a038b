"""The kinds of message, their routing keys and schemas."""

from __future__ import annotations

import functools
import json
import pkgutil
from collections.abc import Mapping
from typing import Any

from uploaderd.errors import MessageError

ROUTING_KEYS: Mapping[str, str] = {
    "host-request": "host.request",
    "backup": "host.backup",
    "process": "file.process",
    "publish": "catalog.publish",
    "send": "catalog.send",
    "receive": "catalog.receive",
    "garbage": "repository.garbage",
    "host-check": "host.check",
}
KINDS: tuple[str, ...] = tuple(ROUTING_KEYS)
KIND_OF: Mapping[str, str] = {key: kind for kind, key in ROUTING_KEYS.items()}
"""The kind that a routing key carries."""


def routing_key(kind: str) -> str:
    """The routing key of a kind; MessageError for a kind that does not exist."""
    try:
        return ROUTING_KEYS[kind]
    except KeyError:
        raise MessageError(
            f"There is no kind of message named {kind!r}.",
            hint=f"The kinds are {', '.join(KINDS)}.",
        ) from None


@functools.cache
def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a kind's body. Not to be changed by the caller."""
    routing_key(kind)
    # By the loader, for the package may lie in an archive: Zabbix's external check is one file.
    text = pkgutil.get_data(__package__, f"schemas/{kind}.json")
    loaded: dict[str, Any] = json.loads(text or b"")
    return loaded
