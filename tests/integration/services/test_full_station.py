"""A station whose disk fills: what came is kept, its index is whole, and it goes on with room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import small_disk
from lab import sshd as lab_sshd
from tests.integration.services import harness
from tests.integration.services.harness import Post, Site
from uploaderd.catalog.client import Catalog
from uploaderd.errors import StationFull
from uploaderd.station import index


@pytest.fixture
def site(tmp_path: Path, catalog: Catalog) -> Iterator[Site]:
    """A station on a disk of 2 MiB; its sshd sees the disk, for it is started behind it."""
    with small_disk.mounted(tmp_path / "station", "2m") as permitted:
        if not permitted:
            pytest.skip("no tmpfs may be mounted here")
        server = lab_sshd.start(tmp_path / "sshd")
        try:
            yield harness.site(tmp_path, server, catalog)
        finally:
            server.stop()


def test_a_station_that_is_full_before_its_backup_is_told_and_left_as_it_is(
    site: Site, recording: bytes
) -> None:
    file = site.station.write("a.bin", recording)
    site.station.write_index([file])
    before = site.left()
    filler = small_disk.fill(site.station.folder)
    with pytest.raises(StationFull, match="0 bytes are free there"):
        site.backup()
    assert site.events()[-1] == ("backup_waiting", "station_full")
    assert site.left() == before
    assert [each.name for each in site.station.index.parent.iterdir()] == [site.station.index.name]
    filler.unlink()
    site.backup()
    assert site.left() == b""
    assert site.rows()[str(file)]["stage"] == "fetched"


def test_a_station_that_fills_during_its_backup_keeps_its_index_and_nothing_comes_twice(
    site: Site, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [site.station.write(f"{n}.bin", recording + bytes(n)) for n in range(3)]
    site.station.write_index(files)
    before = site.left()
    append = index.append_done

    def appending(*arguments: Any) -> None:
        small_disk.fill(site.station.folder)
        append(*arguments)

    post = Post()
    with monkeypatch.context() as patched:
        patched.setattr(index, "append_done", appending)
        with pytest.raises(StationFull):
            site.backup(post)
    assert site.left() == before
    assert not site.station.flag.exists()
    assert {body["remote_path"] for body in post.bodies("file.process")} == set(map(str, files))
    here = {path: path.stat().st_ino for path in site.waiting()}
    (site.station.folder / "filler").unlink()

    site.backup(post)

    assert {path: path.stat().st_ino for path in site.waiting()} == here
    assert site.left() == b""
    assert site.station.done.read_bytes().split() == [os.fsencode(file) for file in files]
