"""What is read ahead arrives whole, in order, and never more of it than was asked for."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Generator

import pytest

from uploaderd.publishing.ahead import read_ahead


def test_items_come_in_their_order() -> None:
    with read_ahead((n for n in range(100)), 3) as items:
        assert list(items) == list(range(100))


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        raise ValueError("broken")

    with read_ahead(items(), 3) as taken:
        assert next(taken) == 1
        with pytest.raises(ValueError, match="broken"):
            next(taken)


def test_who_leaves_early_ends_the_reading() -> None:
    closed = threading.Event()

    def items() -> Generator[int, None, None]:
        try:
            yield from itertools.count(1)
        finally:
            closed.set()

    with read_ahead(items(), 2) as taken:
        assert next(taken) == 1
    assert closed.is_set()
    threads = [thread.name for thread in threading.enumerate()]
    assert not [name for name in threads if name.startswith("read-ahead")]
