"""Quick acceptance of bodies that are valid, which nearly all are.

A full validation by `jsonschema` takes some 0.1 to 0.2 ms a message. A schema of the keywords
below is compiled into plain Python checks that take a few microseconds and *only ever accept*:
what they do not accept is left to the full validator, which decides and explains. A schema with
any other keyword has no quick check.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any], bool]

_ANNOTATIONS = {"$schema", "title", "description", "default", "examples"}
_BOUNDS = {"minimum", "maximum", "exclusiveMinimum"}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def compiled(schema: Mapping[str, Any]) -> Check | None:
    """A check that is true only for valid values, or None if the schema is beyond it."""
    if schema.get("type") == "object":
        return _object(schema)
    return _scalar(schema)


def _scalar(schema: Mapping[str, Any]) -> Check | None:
    names = schema.get("type")
    names = [names] if isinstance(names, str) else names
    known = {"type", "enum", "pattern", "minLength", "maxLength", *_BOUNDS}
    if not names or set(names) - set(_TYPES) or set(schema) - known - _ANNOTATIONS:
        return None
    # Exact types, by identity: a bool is an int to Python, but not to JSON.
    allowed = frozenset(kind for name in names for kind in _TYPES[name])
    string_ok = _string(schema)
    least, most = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    above = schema.get("exclusiveMinimum", -math.inf)

    def check(value: Any) -> bool:
        kind = type(value)
        if kind not in allowed:
            return False
        if kind is str:
            return string_ok(value)
        return kind is bool or (least <= value <= most and value > above)

    return string_ok if allowed == {str} else check


def _string(schema: Mapping[str, Any]) -> Check:
    if "enum" in schema:
        options = frozenset(item for item in schema["enum"] if isinstance(item, str))
        return lambda value: type(value) is str and value in options
    least, most = schema.get("minLength", 0), schema.get("maxLength", 1 << 60)
    if "pattern" not in schema:
        return lambda value: type(value) is str and least <= len(value) <= most
    search = re.compile(schema["pattern"]).search
    return lambda value: (
        type(value) is str and least <= len(value) <= most and search(value) is not None
    )


def _object(schema: Mapping[str, Any]) -> Check | None:
    known = {"type", "properties", "required", "additionalProperties", "anyOf"}
    branches = schema.get("anyOf", [])
    if (
        set(schema) - known - _ANNOTATIONS
        or schema.get("additionalProperties") is not False
        or any(set(branch) != {"required"} for branch in branches)
    ):
        return None
    checks = {name: compiled(part) for name, part in schema.get("properties", {}).items()}
    if None in checks.values():
        return None
    required = frozenset(schema.get("required", ()))
    alternatives = [frozenset(branch["required"]) for branch in branches] or [required]
    get = checks.get

    def check(value: Any) -> bool:
        if type(value) is not dict or not required <= value.keys():
            return False
        for names in alternatives:
            if names <= value.keys():
                break
        else:
            return False
        for name, item in value.items():
            part = get(name)
            if part is None or not part(item):
                return False
        return True

    return check
