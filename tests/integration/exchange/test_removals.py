"""Rows that are removed at the sender leave the receiver with the next complete export."""

from __future__ import annotations

import pytest

from tests.integration.exchange.conftest import Pair, differences
from tests.integration.publishing.rows import START, file, fill, spectrum
from uploaderd import crash_points
from uploaderd.catalog import Catalog
from uploaderd.catalog.rows import HostRow, SiteRow
from uploaderd.exchange import inbox
from uploaderd.exchange.clickhouse_target import ClickHouseTarget
from uploaderd.exchange.receipts import Receipt
from uploaderd.exchange.sending import send

AT_ONCE = "SETTINGS mutations_sync = 1"


def removed_and_changed(catalog: Catalog) -> None:
    """Of what `fill` made: a station, single rows, a month and a site go; late rows come."""
    for table in ("hosts", "files", "spectra"):
        catalog.execute(f"ALTER TABLE {table} DELETE WHERE host_id = 4 {AT_ONCE}")
    catalog.execute("DELETE FROM spectra WHERE sha256 LIKE '%a'")
    catalog.execute("ALTER TABLE spectra DROP PARTITION 202602")
    catalog.execute(f"ALTER TABLE sites DELETE WHERE 1 {AT_ONCE}")
    catalog.insert("spectra", [spectrum(1, unit="dBuV"), spectrum(900, START.replace(month=3))])
    catalog.insert("files", [file(1, path="elsewhere", version=2)])


def exchanged(pair: Pair, *, complete: bool, limit: float = 1.0) -> Receipt:
    pair.send(complete=complete)
    (receipt,) = inbox.take_in(pair.theirs, pair.inbox, removal_limit=limit)
    return receipt


def test_late_corrected_and_removed_rows_are_equal_after_a_complete_export(pair: Pair) -> None:
    fill(pair.ours)
    exchanged(pair, complete=False)
    removed_and_changed(pair.ours)
    exchanged(pair, complete=False)
    assert differences(pair.ours, pair.theirs) == ["hosts", "sites", "spectra", "files"]
    receipt = exchanged(pair, complete=True)
    assert receipt.outcome == "loaded"
    assert "12 of 60 rows of files: they were removed" in receipt.text
    assert differences(pair.ours, pair.theirs) == []
    assert exchanged(pair, complete=True).text == ""
    assert differences(pair.ours, pair.theirs) == []


def test_other_stations_keep_their_rows_and_sites(pair: Pair) -> None:
    fill(pair.ours)
    own = spectrum(77, host_id=9, station="own", site_id="own")
    pair.theirs.insert("spectra", [own])
    pair.theirs.insert("hosts", [HostRow(9, "own")])
    pair.theirs.insert("sites", [SiteRow("own", 1.0, 2.0, 3.0, 1)])
    exchanged(pair, complete=True)
    pair.ours.execute("TRUNCATE TABLE spectra")
    exchanged(pair, complete=True)
    assert pair.theirs.query("SELECT host_id FROM spectra_now") == [{"host_id": 9}]
    assert pair.theirs.query("SELECT count() AS n FROM hosts_now") == [{"n": 6}]
    assert pair.theirs.query("SELECT count() AS n FROM sites_now") == [{"n": 2}]


def test_a_sender_that_lost_its_catalog_takes_nothing_along(pair: Pair) -> None:
    fill(pair.ours)
    exchanged(pair, complete=True)
    pair.ours.execute("TRUNCATE TABLE spectra")
    receipt = exchanged(pair, complete=True, limit=0.5)
    assert "60 of 60 rows of spectra: too many to be removed here" in receipt.text
    assert pair.theirs.query("SELECT count() AS n FROM spectra_now") == [{"n": 60}]


@pytest.mark.slow
@pytest.mark.parametrize(
    "point", ["export-loaded:before", "export-loaded:after", "receipt-row:before"]
)
def test_a_receiver_may_end_while_it_removes(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    fill(pair.ours)
    exchanged(pair, complete=True)
    removed_and_changed(pair.ours)

    class Killed(BaseException):
        """Stands for the end of the process."""

    def reached(name: str) -> None:
        if name == point:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(crash_points, "reached", reached)
        with pytest.raises(Killed):
            exchanged(pair, complete=True)
    list(inbox.take_in(pair.theirs, pair.inbox, removal_limit=1.0))
    assert differences(pair.ours, pair.theirs) == []


def test_a_row_that_went_back_to_an_older_version_is_equal(pair: Pair) -> None:
    fill(pair.ours)
    pair.ours.insert("files", [file(1, path="elsewhere", version=5)])
    exchanged(pair, complete=True)
    pair.ours.execute(f"ALTER TABLE files DELETE WHERE version = 5 {AT_ONCE}")
    pair.ours.insert("files", [file(1, path="back", version=4)])
    exchanged(pair, complete=True)
    assert differences(pair.ours, pair.theirs) == []


def test_a_remote_clickhouse_loses_removed_rows_too(pair: Pair) -> None:
    fill(pair.ours)
    with ClickHouseTarget(pair.theirs.settings, "north") as target:
        send(pair.ours, target, pair.plan, complete=True)
        pair.ours.execute(f"ALTER TABLE files DELETE WHERE path = '2026/BA/7.bin' {AT_ONCE}")
        send(pair.ours, target, pair.plan, complete=True)
    assert differences(pair.ours, pair.theirs) == []
