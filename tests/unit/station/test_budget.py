"""Memory that the transfers of one process share."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from uploaderd.station import budget
from uploaderd.station.budget import Budget, InFlight
from uploaderd.station.paramiko_link import PacketQueue

TOTAL = 16 << 20


def in_flight(stack: ExitStack, sharers: int) -> InFlight:
    shared = InFlight(TOTAL, 128 << 10)
    for _ in range(sharers):
        stack.enter_context(shared.shared())
    return shared


def test_one_transfer_alone_has_all_of_it() -> None:
    with ExitStack() as stack:
        shared = in_flight(stack, 1)
        shared.came(TOTAL)
        assert shared.share == TOTAL


def test_many_transfers_have_less_together_than_one_alone() -> None:
    budget_of_many = Budget(TOTAL, 64 << 10, 2)
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(budget_of_many.shared())
        assert budget_of_many.share == TOTAL // 64
        for _ in range(100):
            stack.enter_context(budget_of_many.shared())
        assert budget_of_many.share == 64 << 10
    assert budget_of_many.share == TOTAL


def test_a_long_link_is_given_more_while_nothing_waits_and_little_again_once_much_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: now[0])
    with ExitStack() as stack:
        shared = in_flight(stack, 25)
        seen = []
        for _ in range(20):
            seen.append(shared.share)
            now[0] += 0.03
        assert seen == sorted(seen)
        assert (seen[-1], seen[0] <= 2 * (128 << 10)) == (TOTAL // 25, True)
        shared.came(TOTAL // 4)
        assert shared.share == 128 << 10
        shared.taken(TOTAL // 4)
        now[0] += 0.03
        assert shared.share > 128 << 10


def test_what_nobody_reads_any_more_is_not_counted_as_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = [0]
    monkeypatch.setattr(InFlight, "came", lambda _, count: counted.append(counted[-1] + count))
    received = PacketQueue()
    for _ in range(3):
        received.feed(b"x" * 1000)
    assert received.read(4096, 1.0) == b"x" * 3000
    assert counted[-1] == 0
    received.feed(b"y" * 500)
    received.leave_unread()
    received.feed(b"z" * 500)
    assert (counted[-1], len(received)) == (0, 0)
