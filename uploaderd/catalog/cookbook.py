"""The analysts' queries: `sql/queries/NAME.sql`, each with a header that says what it takes.

The header's lines say what the query answers; `-- :name type default what it means` declares a
parameter of type text, int or float, which the SQL uses as `%(name)s`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uploaderd.catalog import sqlfiles
from uploaderd.catalog.client import Catalog
from uploaderd.errors import ConfigError

TYPES = {"text": str, "int": int, "float": float}
_PARAMETER = re.compile(r"-- :(\w+) (text|int|float) (\S+) (.*)")


@dataclass(frozen=True)
class Parameter:
    """A parameter with its default as text."""

    name: str
    type: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Query:
    """One query of the cookbook."""

    name: str
    answers: str
    parameters: tuple[Parameter, ...]
    sql: str


def queries() -> dict[str, Query]:
    """All queries by name."""
    paths = sorted((sqlfiles.folder() / "queries").glob("*.sql"))
    return {path.stem: _parsed(path.stem, path.read_text("utf-8")) for path in paths}


def _parsed(name: str, text: str) -> Query:
    header = [line for line in text.splitlines() if line.startswith("--")]
    found = [_PARAMETER.fullmatch(line) for line in header]
    says = [line[3:] for line, match in zip(header, found, strict=True) if not match]
    parameters = tuple(Parameter(*match.groups()) for match in found if match)
    body = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return Query(name, " ".join(says).replace("%%", "%"), parameters, body)


def run(catalog: Catalog, name: str, given: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of a query; raises `ConfigError` for an unknown name or parameter, or a bad value."""
    known = queries()
    if name not in known:
        raise ConfigError(f"There is no query {name}.", hint=f"There are: {', '.join(known)}.")
    query = known[name]
    values: dict[str, Any] = {}
    for parameter in query.parameters:
        text = given.get(parameter.name, parameter.default)
        try:
            values[parameter.name] = TYPES[parameter.type](text)
        except ValueError as error:
            raise ConfigError(
                f"Parameter {parameter.name} is to be {parameter.type}, not {text!r}."
            ) from error
    unknown = sorted(given.keys() - values.keys())
    if unknown:
        raise ConfigError(
            f"Query {name} has no parameter {unknown[0]}.",
            hint=f"It has: {', '.join(values) or 'none'}.",
        )
    # Without parameters the driver leaves per cent signs as they are.
    return catalog.query(query.sql, values or None)
