"""host-request: the answer that Zabbix waits for, and the backup that follows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab import ports
from tests.integration.services import harness
from uploaderd import crash_points
from uploaderd.catalog.client import Catalog
from uploaderd.errors import CatalogError, MessageError
from uploaderd.services import station_record as record
from uploaderd.services.host_request import HostRequestService

KEYS = {
    *("id_host", "host_files", "pending_host_task", "last_host_check", "host_check_error"),
    *("host_check_message", "backup_message"),
    *("pending_backup", "last_backup", "backup_error", "pending_processing"),
    *("processing_error", "last_processing", "status", "message"),
}
REQUEST = {
    "host_id": 7,
    "host_uid": "rfeye000007",
    "host_add": "192.0.2.7",
    "user": "station",
    "passwd": "canary-request",
}


@pytest.fixture
def service(catalog: Catalog, tmp_path: Path) -> Iterator[HostRequestService]:
    service = HostRequestService(harness.settings_of(tmp_path, "host-request", catalog.settings))
    yield service
    service.close()


def test_a_new_station_is_answered_and_its_backup_is_enqueued(
    service: HostRequestService, catalog: Catalog
) -> None:
    post = harness.run(service, REQUEST)
    (answer,) = post.replies
    assert answer.keys() == KEYS
    assert (answer["id_host"], answer["status"]) == (7, 1)
    assert answer["last_backup"] == "N/A"
    (backup,) = post.bodies("host.backup")
    assert backup.pop("asked_at") <= time.time()
    assert backup == {**REQUEST, "host_port": 22}
    for table in ("hosts", "host_events"):
        assert "canary" not in str(catalog.query(f"SELECT * FROM {table}"))


def test_a_station_is_known_by_its_uid_alone_once_it_was_named_by_its_id(
    service: HostRequestService,
) -> None:
    harness.run(service, REQUEST)
    post = harness.run(service, {"host_uid": "rfeye000007", "query_tag": "catalog"})
    (answer,) = post.replies
    assert answer.keys() == KEYS
    assert answer["id_host"] == 7
    assert answer["pending_host_task"] == 1
    assert post.messages == []


def test_an_unknown_uid_has_an_answer_but_no_backup(service: HostRequestService) -> None:
    post = harness.run(service, {"host_uid": "never-seen", "query_tag": "catalog"})
    (answer,) = post.replies
    assert answer.keys() == KEYS
    assert (answer["id_host"], answer["status"]) == ("N/A", 1)
    assert "never-seen" in answer["message"]
    with pytest.raises(MessageError, match="host_id once"):
        harness.run(service, {"host_uid": "never-seen"})


def test_an_id_as_digits_is_the_same_station(service: HostRequestService) -> None:
    harness.run(service, REQUEST)
    post = harness.run(service, {"host_id": "7", "query_tag": "catalog"})
    assert post.replies[0]["id_host"] == 7
    assert post.replies[0]["pending_host_task"] == 1


def test_requests_while_a_backup_is_on_its_way_enqueue_no_other(
    service: HostRequestService, catalog: Catalog
) -> None:
    station = record.identify(catalog, REQUEST)
    assert len(harness.run(service, REQUEST).messages) == 1
    assert harness.run(service, REQUEST).messages == []
    for event, enqueued in (
        ("backup_started", 0),
        ("backup_waiting", 0),
        ("backup_done", 1),
        ("backup_failed", 1),
    ):
        record.note(catalog, station, event)
        assert len(harness.run(service, REQUEST).messages) == enqueued, event


@pytest.mark.parametrize("tag", ["catalog", "metrics"])
def test_a_question_about_the_catalog_enqueues_nothing(
    service: HostRequestService, tag: str
) -> None:
    post = harness.run(service, {**REQUEST, "query_tag": tag})
    assert post.replies[0].keys() == KEYS
    assert post.messages == []


def test_a_station_without_an_address_is_refused(service: HostRequestService) -> None:
    with pytest.raises(MessageError, match="no known address"):
        harness.run(service, {"host_id": 8})


def test_a_request_does_not_wipe_out_why_the_last_contact_failed(
    service: HostRequestService, catalog: Catalog
) -> None:
    station = record.identify(catalog, REQUEST)
    record.remember(catalog, station, error="The station is on fire.")
    for _ in range(2):
        post = harness.run(service, REQUEST)
        assert post.replies[0]["host_check_message"] == "The station is on fire."
    record.remember_contact(catalog, station)
    post = harness.run(service, REQUEST)
    assert post.replies[0]["host_check_message"] == "N/A"
    assert post.replies[0]["last_host_check"] > 1_700_000_000


def test_a_database_that_is_down_is_said_so(catalog: Catalog, tmp_path: Path) -> None:
    gone = replace(catalog.settings, port=ports.free_ports(1)[0])
    service: Any = HostRequestService(harness.settings_of(tmp_path, "host-request", gone))
    try:
        with pytest.raises(CatalogError):
            harness.run(service, REQUEST)
    finally:
        service.close()


def test_a_stop_gives_up_the_backup_that_waits_and_the_next_request_asks_for_another(
    service: HostRequestService, catalog: Catalog
) -> None:
    (backup,) = harness.run(service, REQUEST).bodies("host.backup")
    station = record.identify(catalog, REQUEST)
    assert not record.was_stopped(catalog, station, backup["asked_at"])
    harness.run(service, {"host_id": 7, "query_tag": "stop"})
    assert record.was_stopped(catalog, station, backup["asked_at"])
    (again,) = harness.run(service, REQUEST).bodies("host.backup")
    assert not record.was_stopped(catalog, station, again["asked_at"])


def test_of_requests_that_come_at_once_one_asks_for_the_backup(
    service: HostRequestService, catalog: Catalog
) -> None:
    harness.run(service, {**REQUEST, "query_tag": "catalog"})
    with ThreadPoolExecutor(12) as workers:
        posts = list(workers.map(lambda _: harness.run(service, REQUEST), range(12)))
    assert sum(len(post.messages) for post in posts) == 1
    assert all(len(post.replies) == 1 for post in posts)
    rows = catalog.query("SELECT count() AS times FROM host_events WHERE event = 'request'")
    assert rows[0]["times"] == 1


def test_a_backup_is_safe_before_anything_says_that_it_is_on_its_way(
    service: HostRequestService, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(Exception):
        """Stands for the end of the process."""

    def crash(point: str) -> None:
        if point == "event-row:before":
            raise Crash

    first, again = harness.Post(), harness.Post()
    with monkeypatch.context() as patch:
        patch.setattr(crash_points, "reached", crash)
        with pytest.raises(Crash):
            harness.run(service, REQUEST, first)
    harness.run(service, REQUEST, again)
    ids = [[one.message_id for one in post.messages] for post in (first, again)]
    assert [len(each) for each in ids] == [1, 1]
    assert harness.run(service, REQUEST).messages == []


def test_events_of_several_requests_share_an_insert(
    service: HostRequestService, catalog: Catalog
) -> None:
    with ThreadPoolExecutor(12) as workers:
        asked = [{**REQUEST, "host_id": n, "query_tag": "metrics"} for n in range(1, 25)]
        list(workers.map(lambda body: harness.run(service, body), asked))
    rows = catalog.query(
        "SELECT uniqExact(host_id) AS stations, uniqExact(_part) AS blocks FROM host_events"
        " WHERE event = 'check'"
    )
    assert rows[0]["stations"] == 24
    assert rows[0]["blocks"] < 24
