from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lab.database import Database
from uploaderd.catalog import Catalog, fleet
from uploaderd.catalog.ids import file_id
from uploaderd.catalog.rows import STAGES, FileRow, HostEventRow, HostRow
from uploaderd.catalog.status import host_status, standing
from uploaderd.catalog.tally import MARKS
from uploaderd.clock import now
from uploaderd.errors import MessageError

WRITERS = 4
KEYS = ("host_files", "pending_backup", "pending_processing", "processing_error")


def expected(newest: dict[str, str]) -> dict[str, int]:
    """The counts of a status by the newest stage of each file."""
    count = Counter(newest.values())
    return {
        "host_files": len(newest) - count["discovered"],
        "pending_backup": count["discovered"],
        "pending_processing": count["fetched"],
        "processing_error": count["failed"] + count["trashed"],
    }


def work_of(writer: int) -> tuple[list[list[FileRow]], dict[str, str]]:
    """Blocks of rows of 40 files in random order of stages, each block twice; the newest stages."""
    chance = random.Random(writer)
    blocks, newest = [], {}
    versions: dict[str, int] = {}
    for version in range(1, 16):
        block = []
        for number in chance.sample(range(40), 10):
            path = f"/w{writer}/{number}"
            mtime = chance.choice([1, 10**18]) if not number else number * 10**15
            identity = file_id(7, path, 5, mtime)
            stage = chance.choice(STAGES)
            # An older version may come after a newer one.
            time = version + chance.choice([0, 100])
            row = FileRow(7, identity, path, 5, mtime, stage, version=time)
            if row.version == versions.get(identity):
                continue
            if row.version > versions.get(identity, 0):
                versions[identity], newest[identity] = row.version, stage
            block.append(row)
        blocks += [block, block]
    return blocks, newest


def test_the_status_is_exact_while_writers_repeat_and_mix_their_rows(
    catalog: Catalog, database: Database
) -> None:
    work = [work_of(writer) for writer in range(WRITERS)]
    seen: list[dict[str, int]] = []
    truth: dict[str, str] = {}
    for _, newest in work:
        truth |= newest

    def write(blocks: list[list[FileRow]]) -> None:
        with Catalog(catalog.settings) as mine:
            for block in blocks:
                mine.insert("files", block)

    threads = [threading.Thread(target=write, args=(blocks,)) for blocks, _ in work]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        answer = host_status(catalog, host_id=7)
        seen.append({key: answer[key] for key in KEYS})
    for thread in threads:
        thread.join()
    answer = host_status(catalog, host_id=7)
    assert {key: answer[key] for key in KEYS} == expected(truth)
    totals = [one["host_files"] + one["pending_backup"] for one in seen]
    assert totals == sorted(totals), "a file once told of is never forgotten"
    assert all(total <= len(truth) for total in totals)
    catalog.execute("OPTIMIZE TABLE files FINAL")
    answer = host_status(catalog, host_id=7)
    assert {key: answer[key] for key in KEYS} == expected(truth)


def test_the_status_follows_what_is_repeated_deleted_and_merged(catalog: Catalog) -> None:
    rows = [
        FileRow(7, file_id(7, f"/{n}", 5, n * 10**13), f"/{n}", 5, n * 10**13, "fetched")
        for n in range(3000)
    ]
    stages = {row.file_id: row.stage for row in rows}

    def holds() -> bool:
        answer = host_status(catalog, host_id=7)
        return {key: answer[key] for key in KEYS} == expected(stages)

    catalog.insert("files", rows)
    catalog.insert("files", rows[500:600])
    assert holds()
    later = [replace(row, stage="processed", version=0) for row in rows[::7]]
    catalog.insert("files", later)
    stages |= {row.file_id: row.stage for row in later}
    assert holds()
    assert holds()
    catalog.execute(f"DELETE FROM files WHERE file_id = '{rows[0].file_id}'")
    del stages[rows[0].file_id]
    assert holds()
    catalog.execute(
        f"ALTER TABLE files DELETE WHERE remote_path = '{rows[9].remote_path}'"
        " SETTINGS mutations_sync = 1"
    )
    del stages[rows[9].file_id]
    assert holds()
    catalog.execute("OPTIMIZE TABLE files FINAL")
    assert holds()
    catalog.execute("TRUNCATE TABLE files")
    stages.clear()
    assert holds()


def test_the_marks_of_the_ledger_come_from_its_projection(catalog: Catalog) -> None:
    catalog.insert("files", [FileRow(7, file_id(7, "/a", 5, 1), "/a", 5, 1, "fetched")])
    plan = catalog.query(f"EXPLAIN {MARKS}", {"host_id": 7})
    assert any("(stretches)" in row["explain"] for row in plan)


def test_a_standing_tells_identity_status_and_the_backup_on_its_way(catalog: Catalog) -> None:
    host = HostRow(3, "rfeye3", "station.example", 2222, "sensor", last_error="cut")
    catalog.insert("hosts", [replace(host, host_add="old", updated_at=now() - timedelta(1)), host])
    before = standing(catalog, host_uid="rfeye3")
    assert before.host == replace(host, updated_at=before.host.updated_at if before.host else now())
    assert before.waiting_s is None
    catalog.insert("host_events", [HostEventRow(3, "request", at=now() - timedelta(seconds=90))])
    asked = standing(catalog, host_id=3)
    assert asked.waiting_s is not None
    assert 89 < asked.waiting_s < 600
    assert asked.answer["pending_host_task"] == 1
    catalog.insert("host_events", [HostEventRow(3, "backup_done"), HostEventRow(3, "check")])
    done = standing(catalog, host_id=3)
    assert (done.waiting_s, done.answer["pending_host_task"]) == (None, 0)


def test_a_station_that_nobody_named_has_a_standing(catalog: Catalog) -> None:
    assert standing(catalog, host_id=9).host is None
    assert standing(catalog, host_uid="nobody").answer["id_host"] == "N/A"
    with pytest.raises(MessageError):
        standing(catalog)


def test_errors_of_files_are_told_for_a_day(catalog: Catalog) -> None:
    row = FileRow(7, file_id(7, "/a", 5, 1), "/a", 5, 1, "trashed", error_code="damaged")
    old = replace(row, file_id=file_id(7, "/b", 5, 1), version=10**18)
    catalog.insert("files", [row, old])
    (error,) = fleet.errors_of_last_day(catalog)
    assert (error["code"], error["times"]) == ("damaged", 1)
    assert abs(error["last"] - now().timestamp()) < 600


def test_events_of_long_ago_and_of_today_make_one_answer(catalog: Catalog) -> None:
    def event(name: str, days: float, **told: Any) -> HostEventRow:
        return HostEventRow(5, name, at=now() - timedelta(days), **told)

    failed = {"outcome": "error", "code": "unreachable", "text": "Nobody is there."}
    long_ago = [
        event("backup_done", 90, pending=4), event("backup_waiting", 60, **failed),
        event("backup_failed", 3, **failed), event("host_check", 2, outcome="error"),
        event("backup_failed", 500, **failed),
    ]  # fmt: skip
    catalog.insert("host_events", long_ago * 2)
    before = host_status(catalog, host_id=5)
    assert before["last_backup"] == pytest.approx(long_ago[0].at.timestamp(), abs=0.001)
    keys = ("pending_backup", "backup_error", "host_check_error", "backup_message")
    assert [before[key] for key in keys] == [4, 2, 3, "Nobody is there."]
    catalog.insert("host_events", [event("backup_failed", 0.1, **failed)])
    assert [host_status(catalog, host_id=5)[key] for key in keys] == [4, 3, 4, "Nobody is there."]
    catalog.insert("host_events", [event("backup_done", 0, pending=1), event("request", 0.2)])
    after = host_status(catalog, host_id=5)
    assert [after[key] for key in keys] == [1, 3, 4, "N/A"]
    assert (after["pending_host_task"], after["last_backup"] > before["last_backup"]) == (0, True)


def test_each_station_is_told_its_own_state(catalog: Catalog) -> None:
    catalog.insert("hosts", [HostRow(host, f"rfeye{host}", user=f"u{host}") for host in (1, 2, 3)])
    catalog.insert(
        "host_events",
        [
            HostEventRow(1, "backup_failed", "error", "disk_full", "No room."),
            HostEventRow(2, "request"),
            HostEventRow(3, "backup_done", at=now() - timedelta(3), pending=4),
        ],
    )
    files = [(1, 1, "discovered"), (2, 1, "discovered"), (2, 2, "fetched")]
    catalog.insert(
        "files",
        [
            FileRow(host, file_id(host, "/a", 5, at), "/a", 5, at, stage)
            for host, at, stage in files
        ],
    )
    told = {host: standing(catalog, host_id=host) for host in (1, 2, 3, 4)}
    hosts = {host: one.host.user for host, one in told.items() if one.host}
    assert hosts == {1: "u1", 2: "u2", 3: "u3"}
    keys = ("pending_backup", "backup_error", "backup_message", "pending_host_task", "last_backup")
    assert [[one.answer[key] for key in keys[:4]] for one in told.values()] == [
        [1, 1, "No room.", 0],
        [1, 0, "N/A", 1],
        [4, 0, "N/A", 0],
        [0, 0, "N/A", 0],
    ]
    assert [one.answer["last_backup"] == "N/A" for one in told.values()] == [1, 1, 0, 1]
    assert standing(catalog, host_uid="rfeye2").answer == told[2].answer
