"""Many files are made durable together, and none is named before all bytes are on the disk."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from uploaderd import durable
from uploaderd.errors import RepositoryError
from uploaderd.station import group_sync
from uploaderd.station.part_file import TargetError
from uploaderd.station.placing import Group, Placing
from uploaderd.station.small_file import SmallFile
from uploaderd.station.unnamed_file import UnnamedFile

MANY = 20


def place(files: list[Placing]) -> None:
    """Every step of a group."""
    group = Group(files)
    try:
        group.write()
        group.sync()
        group.name()
        group.sync_names()
    finally:
        group.close()


@pytest.fixture(autouse=True)
def costs(monkeypatch: pytest.MonkeyPatch) -> group_sync.Costs:
    fresh = group_sync.Costs()
    monkeypatch.setattr(group_sync, "COSTS", fresh)
    return fresh


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done to the disk, in order."""
    taken: list[str] = []

    def noting(name: str, step: Callable[..., object]) -> Callable[..., object]:
        def noted(*arguments: object, **named: object) -> object:
            taken.append(name)
            return step(*arguments, **named)

        return noted

    monkeypatch.setattr(durable, "syncs_file_systems", lambda _handle: True)
    name = "sync_file_system"
    monkeypatch.setattr(durable, name, noting(name, getattr(durable, name)))
    for name in ("write", "link", "replace", "fsync"):
        monkeypatch.setattr(os, name, noting(name, getattr(os, name)))
    return taken


def small_files(folder: Path, count: int) -> list[Placing]:
    contents = ((folder / f"{number:02d}", b"%d" % number) for number in range(count))
    return [
        Placing(SmallFile(target, b"/there", content), 7 * 10**9) for target, content in contents
    ]


def runs(steps: list[str]) -> list[tuple[str, int]]:
    """The steps, with equal ones that follow each other counted."""
    return [(step, len(list(same))) for step, same in itertools.groupby(steps)]


def test_a_group_is_written_then_synced_then_named_then_its_folder_synced(
    tmp_path: Path, steps: list[str]
) -> None:
    files = small_files(tmp_path, MANY)
    place(files)
    assert runs(steps) == [
        ("write", MANY),
        ("sync_file_system", 1),
        ("link", MANY),
        ("fsync", 1),
    ]
    assert [one.error for one in files] == [None] * MANY
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == sorted(
        b"%d" % number for number in range(MANY)
    )


def after_a_named_one(folder: Path) -> tuple[Group, Group]:
    """A group that is written, and one whose files have their names, in folders of their own."""
    (folder / "before").mkdir()
    (folder / "after").mkdir()
    named = Group(small_files(folder / "before", MANY))
    named.write()
    named.sync()
    named.name()
    written = Group(small_files(folder / "after", MANY))
    written.write()
    return written, named


def test_names_get_to_the_disk_with_the_next_groups_bytes(tmp_path: Path, steps: list[str]) -> None:
    written, named = after_a_named_one(tmp_path)
    steps.clear()
    written.sync(named)
    assert steps == ["sync_file_system"]
    written.close()
    named.close()


def test_errors_are_told_since_the_first_folder_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(durable, "syncs_file_systems", lambda _handle: True)
    monkeypatch.setattr(
        durable,
        "sync_file_system",
        lambda handle: asked.append(str(Path(f"/proc/self/fd/{handle}").readlink())),
    )
    files = [one for name in ("first", "second") for one in small_files(tmp_path / name, MANY)]
    place(files)
    assert asked == [str(tmp_path / "first")]


def test_names_are_synced_by_their_folder_where_bytes_are_file_by_file(
    tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written, named = after_a_named_one(tmp_path)
    monkeypatch.setattr(durable, "sync_file_system", refused)
    steps.clear()
    written.sync(named)
    assert runs(steps) == [("fsync", MANY + 1)]
    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(RepositoryError, match="before"):
        written.sync(named)
    written.close()
    named.close()


def test_a_small_group_is_synced_file_by_file(tmp_path: Path, steps: list[str]) -> None:
    place(small_files(tmp_path, 3))
    assert runs(steps)[:3] == [("write", 3), ("fsync", 3), ("link", 3)]


def test_a_file_system_that_cannot_be_trusted_is_synced_file_by_file(
    tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "syncs_file_systems", lambda _handle: False)
    place(small_files(tmp_path, MANY))
    assert runs(steps)[:3] == [("write", MANY), ("fsync", MANY), ("link", MANY)]


def refusal() -> OSError:
    return OSError(errno.EIO, os.strerror(errno.EIO))


def refused(*_: object) -> None:
    raise refusal()


def test_when_the_file_system_tells_of_an_error_each_file_answers_for_itself(
    tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "sync_file_system", refused)
    files = small_files(tmp_path, MANY)
    place(files)
    assert runs(steps)[:3] == [("write", MANY), ("fsync", MANY), ("link", MANY)]
    assert [one.error for one in files] == [None] * MANY


def test_no_file_is_named_whose_bytes_did_not_get_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "sync_file_system", refused)
    monkeypatch.setattr(group_sync, "sync_each", lambda files: [refusal() for _ in files])
    files = small_files(tmp_path, MANY)
    place(files)
    for one in files:
        assert isinstance(one.error, RepositoryError)
        assert "Input/output error" in one.error.sentence
        one.part.keep()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_told_when_the_names_did_not_get_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(RepositoryError, match="Input/output error"):
        place(small_files(tmp_path, MANY))


def test_a_file_that_is_there_already_is_replaced(tmp_path: Path, steps: list[str]) -> None:
    (tmp_path / "00").write_text("older and longer")
    (tmp_path / "01").mkdir()
    files = small_files(tmp_path, 3)
    place(files)
    assert [type(one.error) for one in files] == [type(None), TargetError, type(None)]
    files[1].part.drop()
    assert (tmp_path / "00").read_bytes() == b"0"
    assert (tmp_path / "00").stat().st_mtime == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00", "01", "02"]
    assert steps.index("replace") > steps.index("fsync")


def test_a_file_system_without_unnamed_files_gets_part_files(
    tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(UnnamedFile, "__init__", unsupported)
    files = small_files(tmp_path, MANY)
    place(files)
    assert runs(steps)[:3] == [("write", MANY), ("sync_file_system", 1), ("replace", MANY)]
    assert [one.error for one in files] == [None] * MANY
    assert len(list(tmp_path.iterdir())) == MANY


def test_the_dearer_way_is_left_and_tried_again_later(costs: group_sync.Costs) -> None:
    assert costs.together_pays()
    costs.went_together(5.0)
    assert not costs.together_pays()
    groups = 0
    while not costs.together_pays():
        costs.went_each(0.1)
        groups += 1
    assert groups > 30
    costs.went_together(0.0001)
    costs.went_together(0.0001)
    while not costs.together_pays():
        costs.went_each(0.1)
    for _ in range(20):
        costs.went_together(0.0001)
        assert costs.together_pays()


@pytest.mark.parametrize(
    ("release", "tells"),
    [
        ("5.8.0", True),
        ("6.1.0-18-amd64", True),
        ("10.0", True),
        ("5.7.19", False),
        ("weird", False),
    ],
)
def test_a_kernel_before_5_8_is_not_believed(release: str, tells: bool) -> None:
    assert durable.kernel_tells(release) is tells


def test_an_error_of_the_system_call_is_raised() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        durable.sync_file_system(-1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        durable.syncs_file_systems(-1)


def test_a_pipe_is_no_file_system_to_be_synced() -> None:
    near, far = os.pipe()
    try:
        assert not durable.syncs_file_systems(near)
    finally:
        os.close(near)
        os.close(far)
