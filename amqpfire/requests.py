"""From the command line to message bodies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from uploaderd import messages
from uploaderd.errors import MessageError
from uploaderd.messages import redact
from uploaderd.secret import MASK

_INTEGER = re.compile(r"-?[0-9]{1,18}\Z")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")


def from_parameters(kind: str, pairs: Sequence[str]) -> dict[str, Any]:
    """The body for `KEY=VALUE` pairs; `filter.mode=ALL` reaches into an object.

    Values become numbers, booleans or objects (JSON) where the schema asks for them.
    """
    body: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise MessageError(f"A parameter is KEY=VALUE, and not {_hidden(pair)}.")
        _put(body, messages.schema(kind), key.split("."), value)
    return body


def from_csv(kind: str, path: Path) -> Iterator[dict[str, Any]]:
    """A valid body, without empty cells, for each line of a CSV file whose first names the keys.

    Raises MessageError, with the line's number, for one that makes no valid body or has more cells
    than the first, and for a file that is not readable.
    """
    import csv

    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                try:
                    yield _from_row(kind, row)
                except MessageError as error:
                    raise MessageError(f"{path}:{number}: {error}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MessageError(f"{path} cannot be read as CSV: {error}.") from None


def _from_row(kind: str, row: Mapping[Any, str]) -> dict[str, Any]:
    if None in row:
        raise MessageError("more cells than the first line names.")
    body = from_parameters(kind, [f"{k.strip()}={v}" for k, v in row.items() if v])
    messages.validate(kind, body)
    return body


def shown(body: object) -> Any:
    """The body as it may be printed: user and password as `*****`."""
    masked = redact(body)
    if isinstance(masked, dict) and masked.get("user"):
        masked["user"] = MASK
    return masked


def told(
    body: object, status_query: int, text: str, answer: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The flat object that Zabbix reads: the answer, and how the query itself went.

    Of an answer whose `status` is 0 only `status` and `message` are left. `body` None: there was
    no request to show.
    """
    answer = answer or {}
    keys = ("status", "message") if answer.get("status") == 0 else tuple(answer)
    flat = {key: answer[key] for key in keys if key in answer}
    request = {} if body is None else {"request": shown(body)}
    return {**flat, **request, "status_query": status_query, "message_query": text}


def listing() -> str:
    """The services and their parameters, out of the schemas."""
    lines: list[str] = []
    for kind in messages.KINDS:
        schema = messages.schema(kind)
        lines += [f"{kind}  ({messages.routing_key(kind)})", f"    {schema['description']}"]
        for name, part in schema["properties"].items():
            needed = " (required)" if name in schema.get("required", ()) else ""
            default = f" Default: {part['default']}." if "default" in part else ""
            lines.append(f"      {name}{needed}: {part['description']}{default}")
            for inner, below in part.get("properties", {}).items():
                lines.append(f"        {name}.{inner}: {below['description']}")
    return "\n".join(lines)


def _put(body: dict[str, Any], schema: Mapping[str, Any], path: list[str], value: str) -> None:
    part = schema.get("properties", {}).get(path[0], {})
    if len(path) > 1:
        inner = body.setdefault(path[0], {})
        if isinstance(inner, dict):
            _put(inner, part, path[1:], value)
        return
    body[path[0]] = _typed(part, value)


def _typed(schema: Mapping[str, Any], value: str) -> Any:
    types = schema.get("type", "string")
    types = [types] if isinstance(types, str) else types
    if "integer" in types and _INTEGER.match(value):
        return int(value)
    if "number" in types and _NUMBER.match(value):
        return float(value)
    if "boolean" in types and value in ("true", "false"):
        return value == "true"
    if "object" in types:
        return messages.decode(value.encode())
    return value


def _hidden(pair: str) -> str:
    # What lacks its `=` may be a password with a space in it.
    return repr(pair[:3] + "…") if len(pair) > 3 else "so short"
