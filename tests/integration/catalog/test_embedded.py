from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clickhouse_driver import Client, errors

from lab import database as lab_database
from lab.database import Database


@pytest.fixture(params=[False, "lz4"], ids=["plain", "compressed"])
def client(request: pytest.FixtureRequest, database: Database) -> Iterator[Client]:
    with Client("127.0.0.1", database.settings.port, compression=request.param) as client:
        client.execute("CREATE DATABASE IF NOT EXISTS embedded")
        client.execute("USE embedded")
        yield client
        client.execute("DROP DATABASE embedded SYNC")


def test_rows_of_all_kinds_come_back_as_they_went(client: Client) -> None:
    columns = {
        "a": ("UInt8", 1),
        "b": ("Int256", -(2**200)),
        "c": ("String", "x" * 300 + "é\n'"),
        "d": ("FixedString(3)", "abc"),
        "e": ("Nullable(Int32)", None),
        "f": ("LowCardinality(Nullable(String))", None),
        "g": ("Array(Array(LowCardinality(String)))", [["a", "b"], [], ["a"]]),
        "h": ("Map(String, Array(UInt16))", {"k": [1, 2], "l": []}),
        "i": ("Tuple(x UInt8, y Nullable(String))", (1, None)),
        "j": ("Enum8('a (b' = 1, 'c, d' = 2)", "c, d"),
        "k": ("Decimal(38, 4)", __import__("decimal").Decimal("-12.3400")),
        "l": ("UUID", __import__("uuid").UUID(int=77)),
        "m": ("IPv6", __import__("ipaddress").IPv6Address("::1")),
        "n": ("Point", (1.5, 2.5)),
        "o": ("Array(Tuple(String, LowCardinality(String)))", [("p", "q")]),
        "q": ("Bool", True),
    }
    types = ", ".join(f"{name} {kind}" for name, (kind, _) in columns.items())
    client.execute(f"CREATE TABLE kinds ({types}) ENGINE = MergeTree ORDER BY a")
    row = tuple(value for _, value in columns.values())
    assert client.execute("INSERT INTO kinds VALUES", [row, row]) == 2
    assert client.execute("SELECT * FROM kinds") == [row, row]


def test_a_time_keeps_its_zone_in_every_block(client: Client) -> None:
    client.execute("CREATE TABLE zoned (a String, b DateTime('Asia/Tokyo')) ENGINE = Memory")
    client.execute("INSERT INTO zoned SELECT repeat('\\bDateTime', 9), number FROM numbers(200000)")
    for sql in ("SELECT *, toDateTime(0) AS c FROM zoned", "SELECT *, toDateTime(0) FROM zoned;"):
        rows, columns = client.execute(sql, with_column_types=True)
        assert [kind for _, kind in columns] == ["String", "DateTime('Asia/Tokyo')", "DateTime"]
        assert len(rows) == 200_000
        assert {row[1].utcoffset().total_seconds() for row in rows} == {9 * 3600}
    assert client.execute("SELECT max(a) AS a FROM zoned") == [("\bDateTime" * 9,)]


def test_an_empty_answer_has_its_columns(client: Client) -> None:
    answer = client.execute("SELECT 1 AS a, 'x' AS b WHERE 0", with_column_types=True)
    assert answer == ([], [("a", "UInt8"), ("b", "String")])


def test_only_columns_that_can_be_inserted_are_asked_for(client: Client) -> None:
    client.execute(
        "CREATE TABLE made (a UInt8, b UInt8 DEFAULT a + 1, c UInt8 MATERIALIZED 7,"
        " d UInt8 ALIAS a) ENGINE = Memory"
    )
    client.execute("INSERT INTO made VALUES", [(1, 5)])
    client.execute("INSERT INTO made (`a`) VALUES", [(2,)])
    client.execute("INSERT INTO made (* EXCEPT (b)) VALUES", [(3,)])
    assert client.execute("SELECT a, b, c FROM made ORDER BY a") == [
        (1, 5, 7),
        (2, 3, 7),
        (3, 4, 7),
    ]
    assert client.execute("INSERT INTO made SELECT 9, 9") is not None
    client.execute("INSERT INTO made (a, b) VALUES (8, 8)")
    assert client.execute("SELECT count() FROM made") == [(5,)]


def test_a_million_rows_go_in(client: Client) -> None:
    client.execute("CREATE TABLE big (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
    columns = [list(range(1_000_000)), ["some text"] * 1_000_000]
    client.execute("INSERT INTO big VALUES", columns, columnar=True)
    assert client.execute("SELECT count(), sum(n) FROM big") == [(1_000_000, 499_999_500_000)]


def test_an_error_has_the_engines_code_and_the_connection_goes_on(client: Client) -> None:
    client.execute("CREATE TABLE few (a UInt8, CONSTRAINT c CHECK a < 9) ENGINE = Memory")
    for sql, rows, code in (
        ("SELEC 1", None, 62),
        ("SELECT * FROM nothing", None, 60),
        ("SELECT throwIf(number = 100000) FROM numbers(200000)", None, 395),
        ("INSERT INTO few VALUES", [(99,)], 469),
        ("INSERT INTO few (z) VALUES", [(99,)], 16),
    ):
        with pytest.raises(errors.ServerException) as caught:
            client.execute(sql, rows)
        assert caught.value.code == code
        assert client.execute("SELECT 1") == [(1,)]


def test_settings_hold_for_their_query_only(client: Client) -> None:
    ask = "SELECT getSetting('max_threads')"
    before = client.execute(ask)
    assert client.execute(ask, settings={"max_threads": 1}) == [(1,)]
    assert client.execute(ask, settings={"no_such_setting": 1}) == before


def test_external_tables_are_there_for_one_query(client: Client) -> None:
    table: dict[str, Any] = {"name": "given", "structure": [("x", "Int32"), ("y", "String")]}
    table["data"] = [{"x": 1, "y": "a"}, {"x": 2, "y": "b"}]
    asked = "SELECT sum(x) FROM given"
    assert client.execute(asked, external_tables=[table]) == [(3,)]
    with pytest.raises(errors.ServerException):
        client.execute(asked)


def test_progress_is_told(client: Client) -> None:
    told = client.execute_with_progress("SELECT sum(number) FROM numbers(30000000)")
    assert list(told)[-1] == (30_000_000, 30_000_000)
    assert told.get_result() == [(449_999_985_000_000,)]


def test_a_query_can_be_cancelled(client: Client) -> None:
    client.execute_with_progress("SELECT sum(sipHash64(number)) FROM numbers(1000000000000)")
    client.cancel()
    assert client.execute("SELECT 1") == [(1,)]


def test_the_query_of_a_client_that_left_is_ended(database: Database, client: Client) -> None:
    other = Client("127.0.0.1", database.settings.port)
    other.execute_with_progress("SELECT sum(sipHash64(number)) FROM numbers(3000000000000)")
    other.disconnect()
    ask = "SELECT count() FROM system.processes WHERE query LIKE '%numbers(3000000%'"
    deadline = time.monotonic() + 30
    while client.execute(ask + " AND query NOT LIKE '%processes%'") != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_clients_work_side_by_side(database: Database, client: Client) -> None:
    client.execute("CREATE TABLE shared (n UInt64) ENGINE = MergeTree ORDER BY n")
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with Client("127.0.0.1", database.settings.port, database="embedded") as mine:
                for _ in range(5):
                    mine.execute("INSERT INTO shared VALUES", [(number,)] * 10)
                    mine.execute("SELECT count() FROM shared")
        except errors.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert client.execute("SELECT count(), sum(n) FROM shared") == [(300, 750)]


def test_what_was_accepted_survives_a_crash(tmp_path: Path) -> None:
    server = lab_database.start(tmp_path)
    try:
        with Client("127.0.0.1", server.settings.port) as client:
            client.execute("CREATE TABLE kept (n UInt64) ENGINE = MergeTree ORDER BY n")
            for number in range(20):
                client.execute("INSERT INTO kept VALUES", [(number,)])
            server.kill()
    finally:
        server.stop()
    server = lab_database.start(tmp_path)
    try:
        with Client("127.0.0.1", server.settings.port) as client:
            assert client.execute("SELECT count(), sum(n) FROM kept") == [(20, 190)]
        with pytest.raises(RuntimeError, match="in use by another embedded server"):
            lab_database.start(tmp_path)
    finally:
        server.stop()
    assert server.process.returncode == 0
