"""publish: an answer that says what was written, and a second one that finds nothing new."""

from __future__ import annotations

from pathlib import Path

from tests.integration.services import harness
from tests.integration.services.harness import Site
from uploaderd.services.publish import PublishService


def test_what_was_processed_is_published_once(site: Site, recording: bytes, tmp_path: Path) -> None:
    site.station.write_index([site.station.write("one.bin", recording)])
    site.process(site.backup())
    folder = tmp_path / "published"
    service = PublishService(
        harness.settings_of(tmp_path, "publish", site.database, folder=str(folder))
    )
    try:
        body = {"dataset": "all", "mode": "incremental"}
        (first,) = harness.run(service, body).replies
        (second,) = harness.run(service, body).replies
    finally:
        service.close()
    assert (first["status"], first["message"]) == (1, "published")
    assert first["rows"] >= 4
    assert second["message"] == "nothing new"
    assert second["version"] == first["version"]
    assert list((folder / "current").resolve().rglob("*.parquet"))
