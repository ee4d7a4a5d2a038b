"""Reference tables: official codes, the gazetteer, and types of equipment, files and units.

A file is CSV in UTF-8 with a header, which tells what it is: the columns of a table, or those of
the lists that the source system bulk-loads. Loading a file twice changes nothing; rows of the same
key are replaced, but units and file formats that are known keep their names.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uploaderd.catalog.client import Catalog
from uploaderd.errors import ConfigError

ASCII = str.maketrans({"µ": "u", "μ": "u"})
Cells = Mapping[str, str]


@dataclass(frozen=True)
class Form:
    """One kind of file: where its rows go, and how a row is made of a line."""

    table: str
    row: Callable[[Cells], dict[str, Any]]
    keep: bool = False
    """Rows whose key is known stay as they are."""


def _text(cell: str) -> str:
    if not cell.strip():
        raise ValueError("a name is missing")
    return cell.strip()


def _gazetteer(cells: Cells) -> dict[str, Any]:
    row = {name: cells[name].strip() for name in ("country", "state", "county")}
    numbers = {name: float(cells[name]) for name in ("latitude", "longitude", "radius_km")}
    if not (abs(numbers["latitude"]) <= 90 and abs(numbers["longitude"]) <= 180):
        raise ValueError("latitude or longitude is out of range")
    if not 0 < numbers["radius_km"] <= 1000:
        raise ValueError("radius_km is out of range")
    return {**row, **numbers}


FORMS: Mapping[frozenset[str], Form] = {
    frozenset(("ID_STATE", "NA_STATE", "LC_STATE")): Form(
        "states",
        lambda c: {
            "code": int(c["ID_STATE"]),
            "name": _text(c["NA_STATE"]),
            "abbreviation": c["LC_STATE"].strip(),
        },
    ),
    frozenset(("ID_COUNTY", "FK_STATE", "NA_COUNTY")): Form(
        "counties",
        lambda c: {
            "code": int(c["ID_COUNTY"]),
            "state_code": int(c["FK_STATE"]),
            "name": _text(c["NA_COUNTY"]),
        },
    ),
    frozenset(("ID_EQUIPMENT_TYPE", "NA_EQUIPMENT_TYPE", "NA_EQUIPMENT_TYPE_UID")): Form(
        "equipment_types",
        lambda c: {
            "prefix": _text(c["NA_EQUIPMENT_TYPE_UID"]).lower(),
            "name": _text(c["NA_EQUIPMENT_TYPE"]),
        },
    ),
    frozenset(("ID_TYPE_FILE", "NA_TYPE_FILE", "NA_EQUIPMENT")): Form(
        "file_types",
        lambda c: {
            "format": "_".join(_text(c["NA_TYPE_FILE"]).lower().split()),
            "name": _text(c["NA_TYPE_FILE"]),
            "extension": "",
        },
        keep=True,
    ),
    frozenset(("ID_TIPO_UNIDADE", "NO_TIPO_UNIDADE")): Form(
        "units",
        lambda c: {
            "unit": _text(c["NO_TIPO_UNIDADE"]).translate(ASCII),
            "name": "",
            "symbol": _text(c["NO_TIPO_UNIDADE"]),
        },
        keep=True,
    ),
    frozenset(("code", "name", "abbreviation")): Form(
        "states", lambda c: {**c, "code": int(c["code"])}
    ),
    frozenset(("code", "state_code", "name")): Form(
        "counties",
        lambda c: {**c, "code": int(c["code"]), "state_code": int(c["state_code"])},
    ),
    frozenset(("prefix", "name")): Form("equipment_types", dict),
    frozenset(("format", "name", "extension")): Form("file_types", dict),
    frozenset(("unit", "name", "symbol")): Form("units", dict),
    frozenset(("country", "state", "county", "latitude", "longitude", "radius_km")): Form(
        "gazetteer", _gazetteer
    ),
}


def load(catalog: Catalog, path: Path) -> tuple[str, int]:
    """Loads a file into its table; gives the table, and how many rows of it were new or changed.

    Nothing is loaded of a file that has one wrong line.

    Raises:
        ConfigError: the file cannot be read, or is of no known form; names file and line.
        CatalogError: the database cannot be reached.
    """
    form, rows = _read(path)
    if not rows:
        return form.table, 0
    names = list(rows[0])
    listed = ", ".join(names)
    have = [tuple(r.values()) for r in catalog.query(f"SELECT {listed} FROM {form.table} FINAL")]
    known = {row[0] for row in have} if form.keep else set(have)
    fresh = {
        tuple(row.values()): None
        for row in rows
        if (next(iter(row.values())) if form.keep else tuple(row.values())) not in known
    }
    if fresh:
        catalog.insert_columns(form.table, names, list(zip(*fresh, strict=True)))
    return form.table, len(fresh)


def _read(path: Path) -> tuple[Form, list[dict[str, Any]]]:
    rows = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, strict=True)
            form = FORMS.get(frozenset(lines.fieldnames or ()))
            if form is None:
                raise ConfigError(
                    f"{path}: no reference table has the columns"
                    f" {', '.join(lines.fieldnames or ('none',))}.",
                    hint="docs/maintenance.md tells which there are.",
                )
            for cells in lines:
                if None in cells or None in cells.values():
                    raise ConfigError(f"{path}, line {lines.line_num}: the columns do not fit.")
                try:
                    rows.append(form.row(cells))
                except ValueError as error:
                    raise ConfigError(f"{path}, line {lines.line_num}: {error}.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"The reference file {path} cannot be read: {error}.") from error
    return form, rows
