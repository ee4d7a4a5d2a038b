"""The roles for a production server, as far as an engine without the right to make roles tells."""

from __future__ import annotations

import pytest

from uploaderd.catalog import Catalog, sqlfiles
from uploaderd.errors import CatalogError


def test_the_engine_understands_every_statement_of_the_roles(catalog: Catalog) -> None:
    text = (sqlfiles.folder() / "access" / "roles.sql").read_text("utf-8")
    statements = sqlfiles.statements(text)
    assert len(statements) > 10
    for statement in statements:
        catalog.query(f"EXPLAIN AST {statement}")
        with pytest.raises(CatalogError, match=r"ACCESS_DENIED|UNKNOWN_ROLE"):
            catalog.execute(statement)
