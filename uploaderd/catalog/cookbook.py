"""The analysts' queries: `sql/queries/NAME.sql`, each with a header that says what it takes.

The header's lines say what the query answers; `-- :name type default what it means` declares a
parameter of type text, int or float, which the SQL uses as `%(name)s`; `-- plot: kind key=column …`
says how `charts` draws the answer. `python -m uploaderd.catalog.cookbook` prints `docs/queries.md`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uploaderd.catalog import sqlfiles
from uploaderd.catalog.client import Catalog
from uploaderd.errors import ConfigError

TYPES = {"text": str, "int": int, "float": float}
_PLOT = "-- plot: "
_PARAMETER = re.compile(r"-- :(\w+) (text|int|float) (\S+) (.*)")


_PREFACE = """# The analysts' queries

`uploaderctl query NAME [--param K=V]… [--json | --csv | --plot OUT.png]` runs one of the queries
in `sql/queries`; this page is made of their headers (`python -m uploaderd.catalog.cookbook`). All
of them read through the views `…_now`, in which every row counts once. Times are UTC, in ISO 8601;
a recording that lasts longer than 31 days is not looked for before the period.

**Occupancy from profiles.** The catalog holds, for each recording and each of at most 1,024 bins,
the lowest, 10 %, median, 90 % and highest level and the mean. A threshold between two of them
tells between which shares of the traces the true occupancy lies (0, 10, 50, 90, 100 %):
`occupancy_min` and `occupancy_max`. `occupancy` is the estimate within these bounds that supposes
two states, quiet and busy, with the mean telling how often each. Traces are spread evenly over the
time of their recording. A number without threshold method, revisit time and samples cannot be
compared with another (ITU-R SM.1880), so these stand beside it."""


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
    plot: str = ""
    """Kind of picture and the columns that it shows; empty: there is none."""


def queries() -> dict[str, Query]:
    """All queries by name."""
    paths = sorted((sqlfiles.folder() / "queries").glob("*.sql"))
    return {path.stem: _parsed(path.stem, path.read_text("utf-8")) for path in paths}


def _parsed(name: str, text: str) -> Query:
    header = [line for line in text.splitlines() if line.startswith("--")]
    plots = [line.removeprefix(_PLOT) for line in header if line.startswith(_PLOT)]
    rest = [line for line in header if not line.startswith(_PLOT)]
    found = [_PARAMETER.fullmatch(line) for line in rest]
    says = [line[3:] for line, match in zip(rest, found, strict=True) if not match]
    parameters = tuple(Parameter(*match.groups()) for match in found if match)
    body = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return Query(name, " ".join(says), parameters, body, "".join(plots))


def named(name: str) -> Query:
    """The query of that name; raises `ConfigError` if there is none."""
    known = queries()
    if name not in known:
        raise ConfigError(f"There is no query {name}.", hint=f"There are: {', '.join(known)}.")
    return known[name]


def run(catalog: Catalog, name: str, given: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of a query; raises `ConfigError` for an unknown name or parameter, or a bad value."""
    query = named(name)
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


def page() -> str:
    """The cookbook as a page in Markdown, told by the queries' own headers."""
    parts = [_PREFACE]
    for query in queries().values():
        lines = [f"## {query.name}", "", query.answers, ""]
        lines += ["| parameter | type | default | meaning |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {p.name} | {p.type} | `{p.default}` | {p.meaning} |" for p in query.parameters
        ]
        if not query.parameters:
            lines = lines[:-3]
        if query.plot:
            lines += ["", f"Picture: {query.plot.split()[0]}."]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
