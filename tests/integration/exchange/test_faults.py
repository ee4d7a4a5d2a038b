"""Whatever goes wrong on the way or at either side, the catalogs are equal in the end."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lab.link import Link
from tests.integration.exchange.conftest import Pair, differences
from tests.integration.publishing.rows import file, fill, spectrum
from uploaderd import crash_points
from uploaderd.errors import RepositoryError, StationError
from uploaderd.exchange import inbox, media, sending, watermark
from uploaderd.exchange.inbox import Keeping

STEPS = (
    *("export-written", "export-sent", "export-loaded"),
    *("receipt-row", "receipt-told", "export-kept"),
)


class Killed(BaseException):
    """Stands for the end of the process."""


def test_either_side_may_end_at_every_step(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pair.ours, a_month=5)
    for number, point in enumerate(f"{s}:{when}" for s in STEPS for when in ("before", "after")):
        pair.ours.insert("spectra", [spectrum(1000 + number)])
        armed = [point]

        def reached(name: str, armed: list[str] = armed) -> None:
            if name in armed:
                armed.remove(name)
                raise Killed

        monkeypatch.setattr(crash_points, "reached", reached)
        for _ in range(4):
            try:
                pair.send()
                pair.receive()
            except Killed:
                continue
            break
        assert armed == []
        assert differences(pair.ours, pair.theirs) == [], point
        assert inbox.waiting(pair.inbox) == []


def test_a_link_that_breaks_at_any_byte_is_gone_on_with(pair: Pair) -> None:
    fill(pair.ours, a_month=200)
    there = (pair.access.host, pair.access.port)
    with Link(there) as proxy:
        pair.access = replace(pair.access, port=proxy.port)
        broken = 0
        for seed in range(6):
            proxy.cut_after(60_000, seed=seed)
            try:
                pair.send()
            except StationError:
                broken += 1
        proxy.cut_after(None)
        pair.send()
        pair.receive()
    assert broken > 0
    assert differences(pair.ours, pair.theirs) == []


def test_a_short_false_repeated_or_late_export_does_no_harm(pair: Pair) -> None:
    fill(pair.ours, a_month=5)
    pair.send()
    first = next(pair.inbox.glob("*.zip"))
    whole = first.read_bytes()
    first.write_bytes(whole[: len(whole) // 2])
    (refused,) = pair.receive()
    assert (refused.outcome, refused.sequence) == ("refused", 1)
    assert list((pair.inbox / "refused").glob("*.reason.txt"))
    assert pair.theirs.query("SELECT count() AS n FROM spectra")[0]["n"] == 0

    assert pair.send().sequence == 2
    second = next(pair.inbox.glob("*.zip"))
    damaged = bytearray(second.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    second.write_bytes(damaged)
    assert [one.outcome for one in pair.receive()] == ["refused"]

    assert pair.send().sequence == 3
    assert [one.outcome for one in pair.receive()] == ["loaded"]
    assert differences(pair.ours, pair.theirs) == []
    kept = next((pair.inbox / "kept").glob("*.zip"))
    pair.ours.insert("spectra", [spectrum(3, level_max=-1.0)])
    pair.send()
    pair.receive()
    shutil.copy(kept, pair.inbox)
    (again,) = pair.receive()
    assert (again.sequence, again.outcome) == (4, "loaded")
    assert differences(pair.ours, pair.theirs) == []


def test_a_gap_is_named_and_filled(pair: Pair, tmp_path: Path) -> None:
    fill(pair.ours, a_month=5)
    pair.send()
    pair.receive()
    pair.ours.insert("spectra", [spectrum(700)])
    pair.send()
    pair.receive()
    # The receiver's catalog is an older one again, and an export is on its way already.
    pair.ours.insert("spectra", [spectrum(701)])
    pair.send()
    pair.theirs.execute(
        "ALTER TABLE receipts DELETE WHERE sequence = 2 SETTINGS mutations_sync = 1"
    )
    pair.theirs.execute(
        "ALTER TABLE spectra DELETE WHERE ingested_at > '2000-01-01' SETTINGS mutations_sync = 1"
    )
    pair.theirs.execute(
        "ALTER TABLE receipts DELETE WHERE sequence = 1 SETTINGS mutations_sync = 1"
    )
    (gap,) = pair.receive()
    assert gap.outcome == "gap"
    assert "asked for again" in gap.text
    pair.send()
    assert [one.outcome for one in pair.receive()] == ["loaded"]
    assert differences(pair.ours, pair.theirs) == []


def test_a_catalog_made_anew_is_sent_whole(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pair.ours, a_month=5)
    pair.send()
    pair.receive()
    monkeypatch.setattr(watermark, "origin", lambda _: "another")
    assert pair.send().rows > 15
    assert [one.outcome for one in pair.receive()] == ["loaded"]


def test_a_full_disk_refuses_thins_and_cleans(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(pair.ours, a_month=5)
    pair.send(complete=True)
    pair.receive()
    free = shutil.disk_usage(pair.inbox).free
    plan = pair.plan
    pair.plan = replace(plan, floor_bytes=free * 2)
    with pytest.raises(RepositoryError, match="Nothing is sent"):
        pair.send()
    monkeypatch.setattr(sending, "_size", lambda _: free * 2)
    pair.plan = plan
    pair.ours.insert("spectra", [spectrum(900)])
    thinned = pair.send(complete=True)
    assert (thinned.kind, thinned.rows) == ("partial", 1)
    assert "only what is new was sent" in thinned.text
    pair.receive()
    assert len(inbox.clean(pair.inbox, Keeping(floor_bytes=free * 2))) == 2


def test_measurement_files_travel_once(pair: Pair, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "2026" / "BA").mkdir(parents=True)
    (repository / "2026" / "BA" / "1.bin").write_bytes(b"one")
    (repository / "2026" / "BA" / "2.bin").write_bytes(b"two" * 1000)
    pair.ours.insert("files", [file(1, host_uid="a"), file(2, host_uid="b"), file(3, host_uid="a")])
    wanted = media.Filter(stations=("a",))
    with pair.target() as target:
        counts: list[int] = []
        sending.send(
            pair.ours,
            target,
            pair.plan,
            media=lambda path, _: counts.append(
                media.bring(target, repository, wanted, path, lambda: None)
            ),
        )
    assert counts == [1]
    there = [path for path in (pair.inbox / "media").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in there] == [b"one"]
