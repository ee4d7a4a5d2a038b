"""Groups that overlap on their way to the disk: each is told of only once its names are on it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from uploaderd import durable
from uploaderd.errors import RepositoryError, StationUnreachable, UploaderError
from uploaderd.station import finisher as module
from uploaderd.station import group_sync
from uploaderd.station.finisher import Finisher
from uploaderd.station.outcome import Limits, Outcome, Wanted
from uploaderd.station.placing import Group
from uploaderd.station.reading import Complete
from uploaderd.station.small_file import SmallFile

GROUP = 16


class Hashes:
    """A station that hashes nothing, and may be gone."""

    def __init__(self) -> None:
        self.asked = 0
        self.gone_after: int | None = None
        self.all_there = threading.Event()
        """No group is written before all wait for it."""

    def remote_hashes(self, files: list[Complete]) -> list[str | None]:
        """None for each."""
        self.asked += 1
        if self.gone_after is not None and self.asked > self.gone_after:
            raise StationUnreachable("It is gone.")
        return [None] * len(files)

    def ours(self, part: SmallFile) -> str:
        """Never asked for: there is nothing to compare with."""
        raise AssertionError(part)


@pytest.fixture
def station() -> Hashes:
    return Hashes()


@pytest.fixture
def steps(station: Hashes, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What groups go through, in order; each has a number."""
    taken: list[str] = []
    numbers: dict[Group, int] = {}

    def number(group: Group) -> int:
        return numbers.setdefault(group, len(numbers))

    write, sync, name, sync_names = Group.write, Group.sync, Group.name, Group.sync_names

    def noted(what: str, step: Callable[[Group], None]) -> Callable[[Group], None]:
        def step_noted(group: Group) -> None:
            step(group)
            taken.append(f"{what} {number(group)}")

        return step_noted

    def sync_noted(group: Group, named: Group | None = None) -> None:
        sync(group, named)
        with_names = f" names {number(named)}" if named is not None else ""
        taken.append(f"sync {number(group)}{with_names}")

    def write_noted(group: Group) -> None:
        station.all_there.wait(60)
        noted("write", write)(group)

    monkeypatch.setattr(Group, "write", write_noted)
    monkeypatch.setattr(Group, "sync", sync_noted)
    monkeypatch.setattr(Group, "name", noted("name", name))
    monkeypatch.setattr(Group, "sync_names", noted("names", sync_names))
    monkeypatch.setattr(module, "LARGEST_GROUP", GROUP)
    # Groups go by one `syncfs`, whatever this file system is and has cost lately.
    monkeypatch.setattr(group_sync, "COSTS", group_sync.Costs())
    monkeypatch.setattr(durable, "syncs_file_systems", lambda _handle: True)
    monkeypatch.setattr(durable, "sync_file_system", lambda _handle: None)
    return taken


def complete(folder: Path, number: int) -> Complete:
    wanted = Wanted(b"/there/%d" % number, folder / f"{number:03d}")
    part = SmallFile(wanted.target, wanted.remote_path, b"%d" % number)
    return Complete(wanted, part, part.position, 7, read_twice=False)


def finish(
    station: Hashes, folder: Path, groups: int
) -> tuple[list[Outcome], UploaderError | None]:
    finisher = Finisher(station, Limits())  # type: ignore[arg-type] # all that it asks for
    for number in range(groups * GROUP):
        finisher.take(complete(folder, number))
    station.all_there.set()
    finisher.stop(lambda: None)
    return list(finisher.done()), finisher.failure


def test_each_groups_names_are_synced_before_it_is_told(
    station: Hashes, steps: list[str], tmp_path: Path
) -> None:
    outcomes, failure = finish(station, tmp_path, 3)
    assert failure is None
    assert [outcome.wanted.target.name for outcome in outcomes] == [
        f"{number:03d}" for number in range(3 * GROUP)
    ]
    for number in range(3):
        named = steps.index(f"name {number}")
        (written,) = (at for at, step in enumerate(steps) if step.startswith(f"sync {number}"))
        assert written < named
        (synced,) = (at for at, step in enumerate(steps) if step.endswith(f"names {number}"))
        assert named < synced
    assert steps[-1] == "names 2"


def test_names_that_are_not_on_the_disk_are_not_told(
    station: Hashes, steps: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_group: Group) -> None:
        raise RepositoryError("The names cannot be written.")

    monkeypatch.setattr(Group, "sync_names", refused)
    outcomes, failure = finish(station, tmp_path, 2)
    assert isinstance(failure, RepositoryError)
    assert len(outcomes) == GROUP
    assert steps.count("name 1") == 1


def test_what_is_on_the_disk_is_told_though_the_station_is_gone(
    station: Hashes, steps: list[str], tmp_path: Path
) -> None:
    station.gone_after = 1
    outcomes, failure = finish(station, tmp_path, 4)
    assert isinstance(failure, StationUnreachable)
    assert [outcome.wanted.target.name for outcome in outcomes] == [
        f"{number:03d}" for number in range(GROUP)
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{number:03d}" for number in range(GROUP)
    ]
    assert "name 1" not in steps
