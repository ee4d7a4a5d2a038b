from __future__ import annotations

from uploaderd.catalog import tally


def test_neighbouring_stretches_are_read_in_one_range() -> None:
    starts = [f"{number:04d}".encode() for number in range(6)]
    assert tally._ranges(starts, {starts[1], starts[2], starts[5]}) == [
        f"(file_id >= {tally._literal(b'0001')} AND file_id < {tally._literal(b'0003')})",
        f"(file_id >= {tally._literal(b'0005')})",
    ]
    assert tally._ranges(starts, set(starts)) == [f"(file_id >= {tally._literal(b'0000')})"]
    assert tally._ranges([], set()) == []


def test_a_catalog_remembers_stations_up_to_a_limit() -> None:
    memory = tally._Memory()
    many = {number: (0, tally.Tally()) for number in range(tally._STRETCHES)}
    memory.keep(1, tally._Station([1], {1: (0, tally.Tally())}, tally.Tally()))
    memory.keep(2, tally._Station([2], many, tally.Tally()))
    assert memory.recall(1).marks == []
    assert memory.recall(2).marks == [2]
