"""Validation of message bodies, with an error that names the place and what was expected."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any

from uploaderd.errors import MessageError
from uploaderd.messages import kinds, quick
from uploaderd.messages.redaction import is_secret_key

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

_MACRO = re.compile(r"\{[$#]?[A-Z][A-Z0-9_.$]*\}")


@functools.cache
def _quick(kind: str) -> quick.Check | None:
    return quick.compiled(kinds.schema(kind))


@functools.cache
def _validator(kind: str) -> Draft202012Validator:
    # A tool that sends one valid message never needs it, and the import takes a tenth of a second.
    from jsonschema import Draft202012Validator

    return Draft202012Validator(kinds.schema(kind))


def validate(kind: str, body: object) -> None:
    """Checks a decoded body against the schema of its kind.

    Raises MessageError with the path of the key that is wrong and what was expected there. A
    macro of Zabbix that arrives unexpanded gets a text of its own.
    """
    accept = _quick(kind)
    if accept is not None and accept(body):
        _refuse_macros(body)
        return
    _refuse_macros(body)
    try:
        validator = _validator(kind)
    except ModuleNotFoundError:
        # The external check of Zabbix is one file, and goes without the library.
        raise MessageError(f"The {kind} message is not valid: {_plainly(kind, body)}.") from None
    errors = sorted(validator.iter_errors(body), key=lambda error: list(error.path))
    if errors:
        raise MessageError(
            f"The {kind} message is not valid: " + "; ".join(_explain(e) for e in errors[:3]) + "."
        )


def _refuse_macros(body: object) -> None:
    if not isinstance(body, dict):
        return
    for key in ("host_id", "host_uid", "host_add"):
        value = body.get(key)
        if type(value) is not str or "{" not in value:
            continue
        macro = _MACRO.search(value)
        if macro is None:
            continue
        if macro[0] == "{HOST.ID}":
            raise MessageError(
                f"{key} is the literal text {{HOST.ID}}: Zabbix does not expand this macro in an "
                "item key.",
                hint="Keep the id in a host macro, as {$HOST_ID}, or leave host_id out and name "
                "the host by host_uid={HOST.HOST}.",
            )
        raise MessageError(
            f"{key} holds the macro {macro[0]}, which was not expanded.",
            hint="Define the macro on the host or template, or give the value itself.",
        )


def _plainly(kind: str, body: object) -> str:
    """The first fault that the quick check sees, in the words of the schema's descriptions."""
    schema = kinds.schema(kind)
    if not isinstance(body, dict):
        return "the body is no JSON object"
    for key, value in body.items():
        part = schema["properties"].get(key)
        if part is None:
            return (
                f"the body has the unknown key {key!r} (known: {', '.join(schema['properties'])})"
            )
        accept = quick.compiled(part)
        if accept is None or not accept(value):
            found = "*****" if is_secret_key(key) else _short(value)
            return f"{key} is {found}, but should be: {part['description'].rstrip('.')}"
    names = schema.get("required") or [each["required"][0] for each in schema.get("anyOf", ())]
    return f"the body needs {' or '.join(names)}"


def _explain(error: ValidationError) -> str:
    path = ".".join(str(part) for part in error.absolute_path) or "the body"
    found = "*****" if is_secret_key(path) else _short(error.instance)
    wanted: Any = error.validator_value
    schema: Any = error.schema
    instance: Any = error.instance
    match error.validator:
        case "required":
            missing = [name for name in wanted if name not in instance]
            return f"{path} lacks {missing[0]}"
        case "anyOf":
            names = " or ".join(branch["required"][0] for branch in wanted)
            return f"{path} needs {names}"
        case "additionalProperties":
            unknown = sorted(set(instance) - set(schema["properties"]))
            known = ", ".join(schema["properties"])
            return f"{path} has the unknown key {unknown[0]!r} (known: {known})"
        case "type":
            names = " or ".join([wanted] if isinstance(wanted, str) else wanted)
            return f"{path} is {found}, but should be of type {names}"
        case "enum":
            return f"{path} is {found}, but should be one of {', '.join(map(str, wanted))}"
        case "pattern" if "description" in schema:
            return f"{path} is {found}, but should be: {schema['description'].rstrip('.')}"
        case "minimum" | "exclusiveMinimum" | "maximum" | "minLength" | "maxLength":
            return f"{path} is {found}, but its {error.validator} is {wanted}"
    return f"{path}: {error.message}"


def _short(value: object) -> str:
    if isinstance(value, dict):
        return "a JSON object"
    if isinstance(value, list):
        return "a JSON array"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
