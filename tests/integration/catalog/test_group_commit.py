from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lab import database as lab_database
from uploaderd.catalog import Catalog
from uploaderd.catalog.group_commit import GroupCommit
from uploaderd.catalog.migrate import migrate
from uploaderd.catalog.rows import SiteRow
from uploaderd.errors import CatalogError, Disposition


def site(number: int) -> SiteRow:
    return SiteRow(f"s{number}", 1.0, 2.0, 3.0, 1)


def group(catalog: Catalog, **bounds: Any) -> GroupCommit:
    return GroupCommit(partial(catalog.insert, "sites"), **bounds)


def test_rows_that_many_threads_insert_at_once_go_in_together(catalog: Catalog) -> None:
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda n: catalog.insert("sites", [site(n)]), range(200)))
    assert catalog.query("SELECT count() AS n FROM sites") == [{"n": 200}]


def test_rows_that_come_within_the_delay_make_one_block(catalog: Catalog) -> None:
    blocks: list[int] = []

    def write(rows: Sequence[object]) -> None:
        blocks.append(len(rows))

    writer = GroupCommit(write, max_rows=20, max_delay_s=60.0)
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda n: writer.insert([site(n)]), range(20)))
    assert blocks == [20]


def test_small_bounds_split_the_rows_and_lose_none(catalog: Catalog) -> None:
    writer = group(catalog, max_rows=2, max_waiting_rows=3)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: writer.insert([site(n)] * (n % 4)), range(30)))
    assert catalog.query("SELECT count() AS n FROM sites_now") == [{"n": 22}]


def test_a_block_of_many_rows_is_made_while_another_is_written() -> None:
    begun: queue.SimpleQueue[int] = queue.SimpleQueue()
    go_on = threading.Event()

    def write(rows: Sequence[object]) -> None:
        begun.put(len(rows))
        assert go_on.wait(60)

    writer = GroupCommit(write, ahead=10)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(writer.insert, [site(1)])]
        assert begun.get(timeout=60) == 1
        waiting += [pool.submit(writer.insert, [site(2)] * 3)]
        waiting += [pool.submit(writer.insert, [site(3)] * 9)]
        assert begun.get(timeout=60) == 12
        waiting += [pool.submit(writer.insert, [site(4)] * 20)]
        assert begun.empty()
        go_on.set()
        assert begun.get(timeout=60) == 20
        for future in waiting:
            future.result()


def test_an_error_reaches_every_caller_and_the_next_block_goes_in(catalog: Catalog) -> None:
    writer = group(catalog, max_rows=4, max_delay_s=60.0)
    with ThreadPoolExecutor(4) as pool:
        catalog.execute("RENAME TABLE sites TO hidden")
        waiting = [pool.submit(writer.insert, [site(n)]) for n in range(4)]
        for future in waiting:
            with pytest.raises(CatalogError, match="UNKNOWN_TABLE"):
                future.result()
        catalog.execute("RENAME TABLE hidden TO sites")
        catalog.insert("sites", [site(9)])
    assert catalog.query("SELECT site_id FROM sites") == [{"site_id": "s9"}]


def test_a_bound_of_bytes_splits_the_rows_too(catalog: Catalog) -> None:
    writer = group(catalog, max_bytes=1, max_delay_s=60.0)
    writer.insert([site(1)])
    writer.insert([site(2)])
    assert catalog.query("SELECT count() AS n FROM sites") == [{"n": 2}]


def test_an_insert_into_a_killed_server_is_repeated_without_a_second_effect(tmp_path: Path) -> None:
    server = lab_database.start(tmp_path)
    settings = replace(server.settings, database="killed")
    rows = [site(number) for number in range(20_000)]
    try:
        migrate(settings)
        with Catalog(settings) as catalog, ThreadPoolExecutor(1) as pool:
            catalog.insert("sites", rows[:10_000])
            waiting = pool.submit(catalog.insert, "sites", rows)
            # At any moment of the insert: what it did or did not do must not matter.
            server.kill()
            with contextlib.suppress(CatalogError):
                waiting.result()
            with pytest.raises(CatalogError, match="cannot be reached") as caught:
                catalog.insert("sites", rows)
            assert caught.value.disposition is Disposition.NOT_NOW
            server = lab_database.start(tmp_path, settings.port)
            catalog.insert("sites", rows)
            assert catalog.query("SELECT count() AS n FROM sites_now") == [{"n": 20_000}]
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("code", "text"), [(252, "too many parts"), (243, "disk is full"), (241, "short of memory")]
)
def test_a_server_that_is_full_asks_for_patience(catalog: Catalog, code: int, text: str) -> None:
    check = f"throwIf(fixes = 13, 'full', {code}::Int16) = 0"
    catalog.execute(
        f"ALTER TABLE sites ADD CONSTRAINT full CHECK {check}"
        " SETTINGS allow_custom_error_code_in_throwif = 1"
    )
    wishes = {"allow_custom_error_code_in_throwif": 1}
    with Catalog(catalog.settings, wishes) as full:
        with pytest.raises(CatalogError, match=text) as caught:
            full.insert("sites", [replace(site(1), fixes=13)])
        assert caught.value.disposition is Disposition.NOT_NOW
        full.insert("sites", [site(2)])


def test_too_many_parts_ask_for_patience(catalog: Catalog) -> None:
    catalog.execute("ALTER TABLE sites MODIFY SETTING parts_to_throw_insert = 2")
    catalog.execute("SYSTEM STOP MERGES sites")
    for number in range(2):
        catalog.insert("sites", [site(number)])
    with pytest.raises(CatalogError, match="too many parts") as caught:
        catalog.insert("sites", [site(2)] * 3)
    assert caught.value.disposition is Disposition.NOT_NOW
    catalog.execute("SYSTEM START MERGES sites")
