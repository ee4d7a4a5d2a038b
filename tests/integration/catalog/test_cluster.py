from __future__ import annotations

import re

import pytest

from uploaderd.catalog import Catalog, cluster
from uploaderd.ctl.main import main
from uploaderd.errors import CatalogError

_ENGINE = re.compile(r"ReplicatedReplacingMergeTree\('[^']*', '[^']*'(?:, (\w+))?\)")


def test_the_engine_understands_every_statement_of_the_cluster(catalog: Catalog) -> None:
    for statement in cluster.script("uploaderd", "main"):
        catalog.query("SELECT formatQuery(%(sql)s)", {"sql": statement})
        if statement.startswith(("CREATE", "ALTER", "EXCHANGE", "DROP", "INSERT INTO spectra")):
            assert catalog.query(f"EXPLAIN AST {statement}")


def test_local_tables_of_the_cluster_are_those_of_a_single_server(catalog: Catalog) -> None:
    """Without what needs a keeper, the engine takes them, with the same columns and keys."""
    where = "database = currentDatabase() AND table = %(name)s ORDER BY position"
    ask = (
        f"SELECT name, type, comment, compression_codec AS codec FROM system.columns WHERE {where}"
    )
    ask_keys = (
        "SELECT sorting_key, partition_key, comment FROM system.tables"
        " WHERE database = currentDatabase() AND name = %(name)s"
    )
    for statement in cluster.script("uploaderd", "main"):
        if "_local" in statement and " ON CLUSTER 'main'" in statement:
            alone = statement.replace(" ON CLUSTER 'main'", "")
            if "ENGINE = Distributed" not in alone:
                catalog.execute(_ENGINE.sub(lambda m: f"ReplacingMergeTree({m[1] or ''})", alone))
    for name in cluster.SHARDED:
        local, single = {"name": f"{name}_local"}, {"name": name}
        assert catalog.query(ask, local) == catalog.query(ask, single) != []
        assert catalog.query(ask_keys, local) == catalog.query(ask_keys, single)


def test_a_statement_without_a_form_for_a_cluster_is_refused() -> None:
    with pytest.raises(CatalogError, match="no form for a cluster"):
        cluster.form("DROP TABLE files", "main")


def test_the_command_prints_the_form_for_a_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["catalog", "migrate", "--cluster", "main", "--print"]) == 0
    assert "files_local ON CLUSTER 'main'" in capsys.readouterr().out
    assert main(["catalog", "migrate", "--cluster", "main"]) != 0
