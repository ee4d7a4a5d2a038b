"""Backups of a station without an agent: by a filter, and by identity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab.sshd import Sshd
from tests.integration.services.agentless import HOST, Agentless
from uploaderd.catalog import Catalog
from uploaderd.catalog.status import host_status
from uploaderd.errors import AgentMissing, MessageError, RemoteFileError
from uploaderd.repository.layout import Repository


@pytest.fixture
def place(tmp_path: Path, sshd: Sshd, catalog: Catalog) -> Agentless:
    """An agentless station with an empty data folder."""
    (tmp_path / "data").mkdir()
    return Agentless(tmp_path, sshd, catalog)


def test_a_filter_brings_files_home_and_leaves_nothing_on_the_station(place: Agentless) -> None:
    place.write("2024/a.bin", 100, age_s=7200)
    place.write("2024/b.BIN", 200, age_s=9000)
    place.write("notes.txt", 10)
    before = sorted(place.data.rglob("*"))
    assert place.backup(place.message(extension=".bin")) == ["b.BIN", "a.bin"]
    assert sorted(place.data.rglob("*")) == before
    kept = [path for path in (place.folder / "repository/tmp").rglob("*") if path.is_file()]
    assert sorted(path.stat().st_size for path in kept) == [100, 200]
    assert place.continuations() == []


def test_only_versions_that_the_catalog_has_not_settled_come(place: Agentless) -> None:
    place.write("a.bin", 100)
    place.write("b.bin", 100)
    assert len(place.backup(place.message())) == 2
    place.settle()
    assert place.backup(place.message()) == []
    # An old file that was copied into place, and a known path that was written again.
    place.write("ancient.bin", 100, age_s=10_000_000)
    place.write("b.bin", 101)
    assert place.backup(place.message()) == ["ancient.bin", "b.bin"]


def test_a_file_that_may_still_be_written_is_left_for_next_time(place: Agentless) -> None:
    place.write("finished.bin", 100)
    place.write("growing.bin", 100, age_s=60)
    assert place.backup(place.message()) == ["finished.bin"]
    place.settle()
    assert place.backup(place.message(), min_age_s=30) == ["growing.bin"]


def test_a_young_file_that_holds_still_is_taken_at_the_second_look(place: Agentless) -> None:
    place.write("young.bin", 100, age_s=60)
    assert place.backup(place.message(), look_again_s=0.01) == ["young.bin"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [("newest_first", ["f1.bin", "f2.bin"]), ("oldest_first", ["f4.bin", "f3.bin"])],
)
def test_the_budget_is_spent_in_the_order_that_was_asked_for(
    place: Agentless, order: str, expected: list[str]
) -> None:
    for day in range(1, 5):
        place.write(f"f{day}.bin", 1000, age_s=day * 86_400)
    assert sorted(place.backup(place.message(max_total_gb=2.5e-6, sort_order=order))) == sorted(
        expected
    )
    assert place.continuations() == []


def test_a_budget_that_pays_for_no_file_does_not_look_like_nothing_new(place: Agentless) -> None:
    for day in range(1, 4):
        place.write(f"f{day}.bin", 1000, age_s=day * 86_400)
    assert place.backup(place.message(max_total_gb=9e-7)) == []
    assert place.continuations() == []
    assert host_status(place.catalog, HOST)["pending_backup"] == 3
    (done,) = place.catalog.query("SELECT text FROM host_events_now WHERE event = 'backup_done'")
    assert done["text"] == "0 copied, 0 refused, 0 already here, 3 left for later"


def test_slices_follow_until_the_budget_is_spent(place: Agentless) -> None:
    for day in range(1, 6):
        place.write(f"f{day}.bin", 1000, age_s=day * 86_400)
    assert all_slices(place, place.message(max_total_gb=3e-6)) == [["f4.bin", "f5.bin"], ["f3.bin"]]


def test_the_status_tells_how_many_files_were_seen_and_not_brought(place: Agentless) -> None:
    for day in range(1, 4):
        place.write(f"f{day}.bin", 1000, age_s=day * 86_400)
    place.write("young.bin", 1000, age_s=0)
    place.backup(place.message(), slice_files=2)
    assert host_status(place.catalog, HOST)["pending_backup"] == 2


def test_a_rediscovery_in_slices_comes_to_its_end(place: Agentless) -> None:
    for day in range(1, 4):
        place.write(f"f{day}.bin", 1000, age_s=day * 86_400)
    slices = all_slices(place, place.message(mode="REDISCOVERY"))
    assert [name for names in slices for name in names] == ["f2.bin", "f3.bin", "f1.bin"]


def all_slices(place: Agentless, body: dict[str, Any]) -> list[list[str]]:
    """What each slice of two files brought, sorted, until none follows (five at most)."""
    came: list[list[str]] = []
    while len(came) < 5:
        came.append(sorted(place.backup(body, slice_files=2)))
        place.settle()
        if len(place.continuations()) < len(came):
            break
        body = place.continuations()[-1]
    return came[:-1] if came[-1] == [] else came


def test_the_newest_files_come_although_a_slice_takes_fewer(place: Agentless) -> None:
    for day in range(1, 6):
        place.write(f"f{day}.bin", 1000, age_s=day * 86_400)
    body = place.message(mode="LAST", last_n_files=3)
    assert all_slices(place, body) == [["f2.bin", "f3.bin"], ["f1.bin"]]


def test_a_folder_that_is_not_there_is_an_error_with_its_name(place: Agentless) -> None:
    body = place.message()
    body["filter"]["file_path"] = "/no/such/folder"
    with pytest.raises(RemoteFileError, match="/no/such/folder"):
        place.backup(body)
    (event,) = place.catalog.query(
        f"SELECT code FROM host_events WHERE host_id = {HOST} AND event = 'backup_failed'"
    )
    assert event["code"] == "remote_file"


def test_a_senseless_filter_is_told_before_the_station_is_called(place: Agentless) -> None:
    body = {**place.message(mode="LAST"), "host_port": 1}
    with pytest.raises(MessageError, match="last_n_files"):
        place.backup(body)


def test_without_filter_a_station_without_agent_is_told_apart(place: Agentless) -> None:
    body = place.message()
    del body["filter"]
    with pytest.raises(AgentMissing, match="filter"):
        place.backup(body, agent_config=str(place.folder / "none.cfg"))


def test_a_station_file_wins_over_the_message(place: Agentless) -> None:
    place.write("f1.bin", 1000)
    place.write("f2.bin", 1000, age_s=9000)
    folder = place.folder / "stations.d"
    folder.mkdir()
    (folder / "eleven.json").write_text(
        json.dumps(
            {"host_id": HOST, "port": place.server.port, "filter": {"file_path": str(place.data)}}
        )
    )
    body = {**place.message(), "host_port": 1}
    del body["filter"]
    assert place.backup(body, stations="stations.d", slice_files=1) == ["f1.bin"]
    assert place.continuations()[-1]["filter"] == {"file_path": str(place.data)}


def test_files_that_are_refused_again_and_again_do_not_starve_the_others(
    place: Agentless, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest files, as many as a slice takes, can never be had: their targets are folders."""
    incoming = Repository.incoming

    def blocked(self: Repository, host_id: int, identity: str, path: bytes) -> Path:
        target = incoming(self, host_id, identity, path)
        if path.rpartition(b"/")[2].startswith(b"refused"):
            target.mkdir(parents=True, exist_ok=True)
        return target

    monkeypatch.setattr(Repository, "incoming", blocked)
    for day in range(3, 9):
        place.write(f"refused{day}.bin", 10, age_s=day * 86_400)
    place.write("good1.bin", 10, age_s=2 * 86_400)
    place.write("good2.bin", 10, age_s=86_400)
    came = place.backup(place.message(), slice_files=2)
    assert sorted(came) == ["good1.bin", "good2.bin"]
