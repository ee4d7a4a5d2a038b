"""Checks a document against a JSON Schema and says in one sentence what is wrong."""

from __future__ import annotations

import difflib
import functools
import importlib.resources
import json
from collections.abc import Iterable
from typing import Any

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

from uploaderd.config.document import Document, KeyPath
from uploaderd.errors import ConfigError

# To JSON Schema 2.0 is an integer; to those who count with it, it is not.
_Validator: Any = validators.extend(  # type: ignore[no-untyped-call] # so it is in its stubs
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _checker, value: type(value) is int
    ),
)
_TYPES = {
    "object": "an object {…}",
    "array": "a list […]",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


@functools.cache
def schema(name: str) -> dict[str, Any] | None:
    """A packaged schema by its name, such as `behaviour/backup`; None if there is none."""
    file = importlib.resources.files("uploaderd.config") / "schemas" / f"{name}.json"
    if not file.is_file():
        return None
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


def check(document: Document, wanted: dict[str, Any], value: Any, where: KeyPath = ()) -> None:
    """Raises ConfigError for the first thing, in the file's order, that `wanted` does not allow.

    `value` is what stands at the key path `where` of the document.
    """
    faults = [_fault(document, where, error) for error in _Validator(wanted).iter_errors(value)]
    if faults:
        raise min(faults, key=lambda fault: fault[0])[1]


_IN_MESSAGES = {"host_add": "address", "host_port": "port", "passwd": "password"}
"""What messages call some settings: somebody who knows those tries the same word in a file."""


def closest(word: str, known: Iterable[str]) -> str:
    """`; did you mean …?` for a misspelt word, or what there is to choose from."""
    names = sorted(known)
    near = [name for name in names if name == _IN_MESSAGES.get(word)]
    near = near or difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(names)}"


def _fault(document: Document, base: KeyPath, error: ValidationError) -> tuple[int, ConfigError]:
    where = (*base, *error.absolute_path)
    if error.validator == "additionalProperties":
        known = _part(error).get("properties", {})
        instance: Any = error.instance
        unknown = next(key for key in instance if key not in known)
        where = (*where, unknown)
        text = f"unknown key{closest(unknown, known)}"
    else:
        text = _sentence(error)
    return document.lines.get(where, 0), document.error(where, text)


def _sentence(error: ValidationError) -> str:
    """What was expected; the value is not repeated, for it may be a password."""
    wanted: Any = error.validator_value
    given: Any = error.instance
    match error.validator:
        case "type":
            names = [wanted] if isinstance(wanted, str) else wanted
            return f"expected {' or '.join(_TYPES[name] for name in names)}"
        case "required":
            missing = next(key for key in wanted if key not in given)
            return f"the key {missing} is missing"
        case "enum" | "const":
            choices = wanted if error.validator == "enum" else [wanted]
            return f"expected one of {', '.join(json.dumps(choice) for choice in choices)}"
        case "minimum":
            return f"expected at least {wanted}"
        case "exclusiveMinimum":
            return f"expected more than {wanted}"
        case "maximum":
            return f"expected at most {wanted}"
        case "minItems" | "minLength" | "minProperties":
            return "must not be empty"
        case "uniqueItems":
            return "names something twice"
        case _:
            return f"expected {_part(error).get('description', 'another value')}"


def _part(error: ValidationError) -> dict[str, Any]:
    """The part of the schema that the value does not satisfy."""
    part: Any = error.schema
    return dict(part)
