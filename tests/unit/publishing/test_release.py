"""A version is seen whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from uploaderd.errors import RepositoryError
from uploaderd.publishing import release


def publish(folder: Path, text: str, keep: int = 2) -> release.Release:
    version = release.begin(folder)
    (version.path / "part").write_text(text)
    release.finish(version, {"text": text}, keep=keep)
    return version


def test_nothing_is_published_at_first(tmp_path: Path) -> None:
    assert release.current_manifest(tmp_path) is None


def test_current_names_the_finished_version(tmp_path: Path) -> None:
    publish(tmp_path, "one")
    assert (tmp_path / "current" / "part").read_text() == "one"
    assert release.current_manifest(tmp_path) == {"text": "one"}


def test_a_version_that_is_being_written_is_not_seen(tmp_path: Path) -> None:
    publish(tmp_path, "one")
    version = release.begin(tmp_path)
    (version.path / "part").write_text("two")
    assert (tmp_path / "current" / "part").read_text() == "one"


def test_what_was_never_finished_is_removed_by_the_next(tmp_path: Path) -> None:
    publish(tmp_path, "one")
    unfinished = release.begin(tmp_path)
    publish(tmp_path, "two")
    assert not unfinished.path.exists()


def test_only_the_newest_versions_are_kept(tmp_path: Path) -> None:
    versions = [publish(tmp_path, str(n), keep=2) for n in range(4)]
    kept = sorted(path.name for path in (tmp_path / "versions").iterdir())
    assert kept == [version.version for version in versions[-2:]]


def test_a_reader_that_resolved_current_keeps_its_version(tmp_path: Path) -> None:
    publish(tmp_path, "one")
    opened = (tmp_path / "current").resolve()
    publish(tmp_path, "two")
    assert (opened / "part").read_text() == "one"


def test_a_folder_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "versions").write_text("not a folder")
    with pytest.raises(RepositoryError, match="cannot be written"):
        release.begin(tmp_path)


def test_versions_that_somebody_may_still_read_are_kept(tmp_path: Path) -> None:
    versions = [release.begin(tmp_path)]
    release.finish(versions[0], {"previous": None}, keep=1, keep_for_s=60)
    for _ in range(3):
        versions.append(release.begin(tmp_path))
        previous = {"previous": versions[-2].version}
        release.finish(versions[-1], previous, keep=1, keep_for_s=60)
    assert all(version.path.exists() for version in versions)
    long_ago = versions[2].path.stat().st_mtime - 3600
    for version in versions[:3]:
        os.utime(version.path / release.MANIFEST, (long_ago, long_ago))
    last = release.begin(tmp_path)
    release.finish(last, {"previous": versions[-1].version}, keep=1, keep_for_s=60)
    kept = {path.name for path in (tmp_path / "versions").iterdir()}
    assert kept == {version.version for version in (*versions[2:], last)}


def test_a_sound_version_can_be_made_current_though_another_is_damaged(tmp_path: Path) -> None:
    for _ in range(2):
        release_of_now = release.begin(tmp_path)
        release.finish(release_of_now, {"version": release_of_now.version}, keep=3)
    damaged = tmp_path / "current" / release.MANIFEST
    damaged.write_text("{")
    with pytest.raises(RepositoryError, match="rollback"):
        release.current_manifest(tmp_path)
    (sound,) = [manifest["version"] for manifest in release.versions(tmp_path)]
    assert release.roll_back(tmp_path) == sound
    assert release.current_version(tmp_path) == sound


def test_a_version_that_is_half_removed_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(tmp_path, "one", keep=1)

    def killed(_path: Path) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(shutil, "rmtree", killed)
        with pytest.raises(RepositoryError):
            publish(tmp_path, "two", keep=1)
    assert [manifest["text"] for manifest in release.versions(tmp_path)] == ["two"]
    publish(tmp_path, "three", keep=1)
    assert not first.path.exists()
