"""Transfers over links that break, lose and delay: every byte comes home all the same."""

from __future__ import annotations

import contextlib
import random
import threading
from pathlib import Path

import pytest

from lab import sshd as lab_sshd
from lab.link import Link
from tests.integration.station.test_transfer import (
    assert_same,
    leftovers,
    local,
    make,
    seen,
    through,
    wanted,
)
from uploaderd.errors import StationUnreachable
from uploaderd.station import piece_writer
from uploaderd.station.access import Access, Timeouts
from uploaderd.station.connection import connect
from uploaderd.station.transfer import Limits, Outcome, Wanted, fetch

SIZES = [0, 50, 5000, 40_000, 1 << 20, 6 << 20]


@pytest.fixture
def access(sshd: lab_sshd.Sshd, tmp_path: Path) -> Access:
    known = tmp_path / "known_hosts"
    return Access(sshd.host, sshd.port, sshd.user, key_file=sshd.key_file, known_hosts=known)


def fetch_into(outcomes: list[Outcome], access: Access, asked: list[Wanted], level: str) -> None:
    with connect(access) as connection:
        limits = Limits(verification=level)  # type: ignore[arg-type] # one of the levels
        for outcome in fetch(connection, asked, limits):
            outcomes.append(outcome)


def cut_while_fetching(access: Access, asked: list[Wanted], chance: random.Random) -> list[Outcome]:
    """Breaks the link at a random byte, or at a random time; gives what was complete until then."""
    outcomes: list[Outcome] = []
    total = 20_000 + sum(local(one.remote_path).stat().st_size for one in asked)
    at_byte = chance.random() < 0.5
    with Link((access.host, access.port)) as link:
        link.cut_after(chance.randrange(2000, total) if at_byte else None)
        timer = threading.Timer(chance.uniform(0.0, 0.6), link.reset)
        if not at_byte:
            timer.start()
        with contextlib.suppress(StationUnreachable):
            level = chance.choice(["size", "remote_hash", "double_read"])
            fetch_into(outcomes, through(access, link), asked, level)
        timer.cancel()
    return outcomes


LONG = (pytest.mark.slow, pytest.mark.timeout(900))


@pytest.mark.parametrize(
    "cuts", [40, *(pytest.param(250, marks=LONG, id=f"{part}-of-4") for part in range(1, 5))]
)
def test_cuts_at_random_bytes_and_times_lose_nothing(
    access: Access, tmp_path: Path, cuts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each cut leaves files whole or not there; what came is never asked for again."""
    chance = random.Random()
    here = tmp_path / "here"
    asked: list[Wanted] = []
    for _ in range(cuts):
        left = [one for one in asked if not one.target.exists()]
        if not left:
            contents = (chance.randbytes(chance.choice(SIZES)) for _ in range(30))
            left = asked = wanted(make(tmp_path / "there", *contents), here)
            for path in here.glob("*"):
                path.unlink()
        if chance.random() < 0.5:
            left = [seen(one) for one in left]
        # Past the page cache, or through it.
        monkeypatch.setattr(piece_writer, "LARGE", chance.choice([1 << 20, 16 << 20]))
        assert_same(cut_while_fetching(access, left, chance))
    last: list[Outcome] = []
    left = [one for one in asked if not one.target.exists()]
    fetch_into(last, access, left, "remote_hash")
    assert {outcome.wanted for outcome in last} == set(left)
    for one in asked:
        assert one.target.read_bytes() == local(one.remote_path).read_bytes()
    assert not leftovers(here)


def test_five_percent_loss_and_600_ms_only_take_time(access: Access, tmp_path: Path) -> None:
    contents = (random.randbytes(size) for size in [4000] * 60 + [150_000, 300_000])
    asked = [seen(one) for one in wanted(make(tmp_path / "there", *contents), tmp_path / "here")]
    outcomes: list[Outcome] = []
    with Link((access.host, access.port), delay_s=0.3) as link:
        link.loss = 0.05
        patient = Timeouts(60, 120, 120, 120)
        far = through(access, link)
        far = Access(**{**vars(far), "timeouts": patient})
        fetch_into(outcomes, far, asked, "size")
    assert len(outcomes) == len(asked)
    assert_same(outcomes)
