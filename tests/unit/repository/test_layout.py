"""Every name that a station can invent becomes one safe place below the root."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploaderd.errors import MessageError, RepositoryError
from uploaderd.repository.layout import Repository, component

PLACE = {"year": 2026, "state": "BA", "county": "Salvador", "site": "one"}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def arrive(repository: Repository, remote: bytes, content: bytes) -> Path:
    path = repository.incoming(7, hashlib.sha256(remote).hexdigest(), remote)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@given(st.binary(min_size=1, max_size=400))
def test_whatever_a_remote_path_is_the_place_lies_in_the_hosts_folder(remote: bytes) -> None:
    path = Repository(Path("/repository")).incoming(7, "f1", remote)
    assert path.parts[:4] == ("/", "repository", "tmp", "7")
    assert len(path.parts) == 6
    assert ".." not in path.parts


@given(st.text(max_size=400))
def test_a_component_is_a_name_that_a_file_system_takes(name: str) -> None:
    safe = component(name)
    assert safe not in {"", ".", ".."}
    assert not set(safe) & {"/", "\x00", "\\", "\n"}
    assert len(safe.encode()) <= 200


def test_two_versions_of_a_file_have_two_places(repository: Repository) -> None:
    assert repository.incoming(7, "f1", b"/x.bin") != repository.incoming(7, "f2", b"/x.bin")


@pytest.mark.parametrize("path", ["tmp/../../etc/passwd", "/etc/passwd", "2026/x/y", "tmp/x"])
def test_a_message_cannot_name_a_file_outside_tmp(repository: Repository, path: str) -> None:
    with pytest.raises(MessageError, match="tmp folder"):
        repository.arrived(path)


def test_a_file_gets_its_final_name_and_the_old_one_stays(repository: Repository) -> None:
    source = arrive(repository, b"/d/x.bin", b"one")
    place = repository.to_final(source, **PLACE, name="x.bin", file_id="f1")
    assert place == "2026/BA/Salvador/one/x.bin"
    assert (repository.root / place).samefile(source)


def test_the_same_call_again_gives_the_same_place(repository: Repository) -> None:
    source = arrive(repository, b"/d/x.bin", b"one")
    first = repository.to_final(source, **PLACE, name="x.bin", file_id="f1")
    assert repository.to_final(source, **PLACE, name="x.bin", file_id="f1") == first


def test_two_different_files_of_one_name_both_survive(repository: Repository) -> None:
    places = [
        repository.to_final(
            arrive(repository, folder + b"/x.bin", content), **PLACE, name="x.bin", file_id=name
        )
        for folder, content, name in ((b"/d", b"one", "f1"), (b"/e", b"two", "f2"))
    ]
    assert places == ["2026/BA/Salvador/one/x.bin", "2026/BA/Salvador/one/x.f2.bin"]
    assert [(repository.root / place).read_bytes() for place in places] == [b"one", b"two"]


def test_what_was_filed_away_is_dropped_from_tmp(repository: Repository) -> None:
    source = arrive(repository, b"/d/x.bin", b"one")
    place = repository.to_final(source, **PLACE, name="x.bin", file_id="f1")
    for _ in range(2):
        repository.release(source)
    assert not source.parent.exists()
    assert (repository.root / place).read_bytes() == b"one"


def test_what_is_not_known_is_called_unknown(repository: Repository) -> None:
    source = arrive(repository, b"/d/x", b"one")
    place = repository.to_final(
        source, year=None, state="", county="", site="", name="..", file_id="f1"
    )
    assert place == "unknown/unknown/unknown/unknown/unknown"


def test_the_trash_holds_the_file_and_its_reason(repository: Repository) -> None:
    source = arrive(repository, b"/d/x.bin", b"one")
    for _ in range(2):
        place = repository.to_trash(source, host_id=7, file_id="f1", reason="empty_file: why")
    assert (repository.root / place).read_bytes() == b"one"
    assert (repository.root / f"{place}.reason.txt").read_text() == "empty_file: why\n"


def test_a_disk_that_refuses_is_a_clear_error(repository: Repository) -> None:
    source = arrive(repository, b"/d/x.bin", b"one")
    (repository.root / "2026").write_text("a file where a folder should be")
    with pytest.raises(RepositoryError, match="cannot be written"):
        repository.to_final(source, **PLACE, name="x.bin", file_id="f1")
