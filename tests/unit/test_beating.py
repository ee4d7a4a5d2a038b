"""A long call gives signs of life."""

from __future__ import annotations

import threading

import pytest

from uploaderd.beating import beating


def test_signs_come_while_a_call_works_and_not_afterwards() -> None:
    beats: list[int] = []
    enough = threading.Event()

    def beat() -> None:
        beats.append(1)
        if len(beats) == 3:
            enough.set()

    with beating(beat, 0.001):
        assert enough.wait(60)
    after = len(beats)
    assert not any(thread.name == "beat" for thread in threading.enumerate())
    assert len(beats) == after


def test_an_error_ends_them() -> None:
    with pytest.raises(KeyError), beating(lambda: None, 0.001):
        raise KeyError
    assert not any(thread.name == "beat" for thread in threading.enumerate())
