from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from uploaderd.catalog import Catalog
from uploaderd.catalog.group_commit import GroupCommit
from uploaderd.catalog.rows import SiteRow
from uploaderd.errors import CatalogError


def site(number: int) -> SiteRow:
    return SiteRow(f"s{number}", 1.0, 2.0, 3.0, 1)


def test_rows_of_many_callers_go_in_together(catalog: Catalog) -> None:
    with GroupCommit(catalog, "sites", max_delay_s=0.2) as writer, ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda n: writer.insert([site(n)]), range(20)))
        assert catalog.query("SELECT count() AS n FROM sites") == [{"n": 20}]
    parts = "SELECT count() AS n FROM system.parts WHERE database = currentDatabase()"
    assert catalog.query(parts + " AND table = 'sites' AND active")[0]["n"] < 20


def test_small_bounds_split_the_rows_and_lose_none(catalog: Catalog) -> None:
    bounds = {"max_rows": 2, "max_waiting_rows": 3}
    with GroupCommit(catalog, "sites", **bounds) as writer, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: writer.insert([site(n)] * (n % 4)), range(30)))
    assert catalog.query("SELECT count() AS n FROM sites_now") == [{"n": 22}]


def test_an_error_reaches_every_caller_and_the_next_block_goes_in(catalog: Catalog) -> None:
    with GroupCommit(catalog, "sites", max_delay_s=0.1) as writer, ThreadPoolExecutor(4) as pool:
        catalog.execute("RENAME TABLE sites TO hidden")
        waiting = [pool.submit(writer.insert, [site(n)]) for n in range(4)]
        for future in waiting:
            with pytest.raises(CatalogError, match="UNKNOWN_TABLE"):
                future.result()
        catalog.execute("RENAME TABLE hidden TO sites")
        writer.insert([site(9)])
    with pytest.raises(CatalogError, match="closed"):
        writer.insert([site(1)])
    assert catalog.query("SELECT site_id FROM sites") == [{"site_id": "s9"}]
