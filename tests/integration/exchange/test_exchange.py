"""What one catalog gets, the other one has: by exports, receipts and nothing else."""

from __future__ import annotations

import pytest

from tests.integration.exchange.conftest import Pair, differences
from tests.integration.publishing.rows import fill, spectrum
from uploaderd.exchange.sending import NotConfirmed


def test_what_came_in_here_is_there_after_the_next_export(pair: Pair) -> None:
    fill(pair.ours)
    first = pair.send()
    (receipt,) = pair.receive()
    assert (receipt.outcome, receipt.sequence, receipt.rows) == ("loaded", 1, first.rows)
    assert differences(pair.ours, pair.theirs) == []
    assert pair.send().text == "nothing new"

    pair.ours.insert("spectra", [spectrum(3, level_max=-1.0), spectrum(999)])
    assert pair.send().rows == 2
    assert pair.send().text == "export 2 waits for its receipt"
    with pytest.raises(NotConfirmed, match="waits for its receipt"):
        pair.send(complete=True)
    assert [one.sequence for one in pair.receive()] == [2]
    assert differences(pair.ours, pair.theirs) == []


def test_of_rows_without_a_version_the_last_one_counts_there_too(pair: Pair) -> None:
    pair.ours.execute("SYSTEM STOP MERGES states")
    for number in range(12):
        pair.ours.execute(f"INSERT INTO states VALUES (1, 'name {number}', '')")
    pair.send()
    pair.receive()
    assert pair.theirs.query("SELECT name FROM states FINAL") == [{"name": "name 11"}]
