"""process: whatever breaks between its steps, a repetition brings the same end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.integration.services import harness
from tests.integration.services.harness import Post, Site
from uploaderd.catalog.client import Catalog
from uploaderd.errors import CatalogError, MessageError, RepositoryError
from uploaderd.repository.layout import Repository
from uploaderd.services.process import ProcessService


@pytest.fixture
def fetched(site: Site, recording: bytes) -> Post:
    """A backup that brought one sound file and a broken one."""
    paths = [site.station.write("one.bin", recording), site.station.write("bad.bin", b"broken")]
    site.station.write_index(paths)
    return site.backup()


@pytest.fixture
def service(site: Site) -> Iterator[ProcessService]:
    service = site.processing()
    yield service
    service.close()


@pytest.mark.parametrize("failing", ["spectra", "files", "release"])
def test_a_crash_between_link_rows_and_unlink_is_repeated_to_the_same_end(
    site: Site,
    fetched: Post,
    service: ProcessService,
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
) -> None:
    insert = Catalog.insert

    def refusing(self: Catalog, table: str, rows: Sequence[Any]) -> None:
        if table == failing:
            raise CatalogError("The database went away.")
        insert(self, table, rows)

    def without_release(_self: Repository, _path: object) -> None:
        raise RepositoryError("The disk went away.")

    sound, broken = sorted(fetched.bodies("file.process"), key=lambda body: -body["size"])
    with monkeypatch.context() as patched:
        if failing == "release":
            patched.setattr(Repository, "release", without_release)
        else:
            patched.setattr(Catalog, "insert", refusing)
        with pytest.raises((CatalogError, RepositoryError)):
            harness.run(service, sound)
    assert (site.repository / sound["path"]).exists()
    for _repetition in range(2):
        for body in (sound, broken):
            harness.run(service, body)
        assert {row["stage"] for row in site.rows().values()} == {"processed", "trashed"}
        assert len(site.catalog.query("SELECT file_id FROM files_now")) == 2
        assert len(site.catalog.query("SELECT spectrum_id FROM spectra_now")) == 2
        assert site.kept() == sorted([sound["sha256"], broken["sha256"]])
        assert site.waiting() == []


def test_a_copy_of_what_is_settled_is_dropped(
    site: Site, fetched: Post, service: ProcessService
) -> None:
    (body, *_) = fetched.bodies("file.process")
    content = (site.repository / body["path"]).read_bytes()
    harness.run(service, body)
    before = site.kept()
    copy = site.repository / body["path"]
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(content)
    harness.run(service, body)
    assert not copy.exists()
    assert site.kept() == before


def test_a_missing_file_and_a_path_that_climbs_are_told_apart(
    site: Site, fetched: Post, service: ProcessService
) -> None:
    (body, *_) = fetched.bodies("file.process")
    (site.repository / body["path"]).unlink()
    with pytest.raises(RepositoryError, match="not there"):
        harness.run(service, body)
    for path in ("tmp/7/../../secret", "/etc/passwd", "2026/a/b"):
        with pytest.raises(MessageError):
            harness.run(service, {**body, "path": path})
