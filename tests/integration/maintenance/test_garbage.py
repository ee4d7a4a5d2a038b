"""garbage: nothing goes from the trash that was not announced a time of grace before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.maintenance.conftest import Home
from tests.integration.services import harness
from uploaderd import clock
from uploaderd.catalog import Catalog
from uploaderd.services.garbage import GarbageService

DAY_NS = 24 * 3600 * 10**9


@pytest.fixture
def service(home: Home, tmp_path: Path) -> Iterator[GarbageService]:
    settings = harness.settings_of(
        tmp_path, "garbage", home.catalog.settings, trash_days=10, transfer_days=5, grace_days=3
    )
    service = GarbageService(settings)
    yield service
    service.close()


def in_days(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    start = clock.nanoseconds()
    monkeypatch.setattr(clock, "source", lambda: start + round(days * DAY_NS))


def trash(home: Home) -> list[str]:
    return [p.name for p in (home.repository / "trash").rglob("*") if p.is_file()]


def test_what_is_old_is_announced_and_deleted_after_the_grace(
    home: Home, service: GarbageService, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = home.repository / "tmp" / "7" / "abc" / "coming.bin.part"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"half")
    assert harness.run(service, {}).replies[0]["announced"] == 0
    with monkeypatch.context() as later:
        in_days(later, 11)
        looked = harness.run(service, {"mode": "list"})
        assert looked.replies[0]["announced"] == 2
        assert looked.messages == []
        told = harness.run(service, {})
        (event,) = told.bodies("notify.warning.garbage")
        assert (event["payload"]["announced"], event["payload"]["deleted"]) == (2, 0)
        assert any(path.endswith("-broken.bin") for path in event["payload"]["announced_paths"])
        again = harness.run(service, {})
        assert again.replies[0] == {**again.replies[0], "announced": 0, "waiting": 2, "deleted": 0}
        assert again.messages == []
    assert partial.exists()
    with monkeypatch.context() as later:
        in_days(later, 14.5)
        assert harness.run(service, {}).replies[0]["deleted"] == 2
    assert not partial.parent.exists()
    assert trash(home) == [".announced.json"]
    (row,) = home.catalog.query(
        "SELECT path, stage, error_text FROM files_now WHERE stage='trashed'"
    )
    assert (row["path"], row["stage"]) == ("", "trashed")
    assert "Deleted from the trash on" in row["error_text"]


def test_one_run_deletes_only_so_many_and_a_new_file_is_told_anew(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalog: Catalog
) -> None:
    folder = home.repository / "trash" / "9"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}.bin").write_bytes(b"old")
    settings = harness.settings_of(
        tmp_path, "garbage", catalog.settings, trash_days=1, grace_days=1, most_files=1
    )
    service = GarbageService(settings)
    try:
        with monkeypatch.context() as later:
            in_days(later, 2)
            assert harness.run(service, {}).replies[0]["announced"] == 4
        (folder / "2.bin").unlink()
        (folder / "2.bin").write_bytes(b"another")
        with monkeypatch.context() as later:
            in_days(later, 4)
            reply = harness.run(service, {}).replies[0]
        assert (reply["announced"], reply["deleted"], reply["waiting"]) == (1, 1, 2)
        assert json.loads((home.repository / "trash" / ".announced.json").read_text())
    finally:
        service.close()
