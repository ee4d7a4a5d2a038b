"""The other kinds of target: another ClickHouse, a REST server; and the check of each."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lab.certificates import authority
from lab.rest import RestServer
from tests.integration.exchange.conftest import Pair, differences
from tests.integration.publishing.rows import fill, spectrum
from uploaderd.errors import CatalogError
from uploaderd.exchange.clickhouse_target import ClickHouseTarget
from uploaderd.exchange.rest_target import RestError, RestRefused, RestTarget, RestTooLarge
from uploaderd.exchange.sending import send
from uploaderd.secret import Secret


def test_a_remote_clickhouse_has_the_rows_and_the_receipt(pair: Pair) -> None:
    fill(pair.ours)
    with ClickHouseTarget(pair.theirs.settings, "north") as target:
        send(pair.ours, target, pair.plan)
        assert differences(pair.ours, pair.theirs) == []
        pair.ours.insert("spectra", [spectrum(500)])
        assert send(pair.ours, target, pair.plan).rows == 1
        assert send(pair.ours, target, pair.plan).text == "nothing new"
        assert all(one.ok for one in target.check(0))
    assert differences(pair.ours, pair.theirs) == []
    assert pair.theirs.query("SELECT DISTINCT sender FROM receipts") == [{"sender": "north"}]
    nowhere = replace(pair.theirs.settings, port=1)
    with ClickHouseTarget(nowhere, "north") as target:
        assert [one.ok for one in target.check(0)] == [False]
        with pytest.raises(CatalogError):
            send(pair.ours, target, pair.plan)


def test_a_rest_server_gets_each_row_once_over_tls(pair: Pair, tmp_path: Path) -> None:
    fill(pair.ours)
    ca = authority(tmp_path / "ca")
    with RestServer("secret", ca.issue("localhost")) as server:
        server.refusals = [(503, "0"), (429, "0"), (409, "0")]
        server.lost_answers = 1
        with RestTarget(server.url, "north", Secret("secret"), ca.certificate) as target:
            assert send(pair.ours, target, pair.plan).rows > 100
            assert len(server.rows["spectra"]) == 60
            assert (
                min(r["time_start"] for r in server.rows["spectra"]) == "2026-01-01T00:00:00+00:00"
            )
            assert server.rows["spectra"][0]["altitude"] is None
            assert send(pair.ours, target, pair.plan).text == "nothing new"
            assert [one.step for one in target.check(0) if one.ok] == ["connect", "write", "clock"]
        assert json.loads(server.receipts["north"])["sequence"] == 1
        with (
            RestTarget(server.url, "north", Secret("wrong"), ca.certificate) as target,
            pytest.raises(RestRefused, match="401"),
        ):
            target.receipt()
        server.refusals = [(503, "3600")]
        with (
            RestTarget(server.url, "north", Secret("secret"), ca.certificate) as target,
            pytest.raises(RestError, match="503"),
        ):
            target.receipt()


def test_a_rest_server_takes_what_it_can_and_each_row_of_an_export_made_anew(pair: Pair) -> None:
    fill(pair.ours)
    with RestServer(longest=20_000) as server, RestTarget(server.url, "north") as target:
        assert send(pair.ours, target, pair.plan).rows > 100
        assert len(server.rows["spectra"]) == 60
        server.receipts.clear()
        shutil.rmtree(pair.plan.outbox)
        # The receipt and the outbox are lost, so the number is given to other rows.
        pair.ours.insert("spectra", [spectrum(501)])
        assert send(pair.ours, target, pair.plan).sequence == 1
        ids = {row["spectrum_id"] for row in server.rows["spectra"]}
        assert spectrum(501).spectrum_id in ids
        pair.ours.insert("spectra", [spectrum(502)])
        server.longest = 10
        with pytest.raises(RestTooLarge, match="413"):
            send(pair.ours, target, pair.plan)


def test_an_inbox_is_checked_by_writing_and_reading(pair: Pair) -> None:
    with pair.target() as target:
        findings = list(target.check(0))
    assert [one.step for one in findings if one.ok] == ["connect", "write", "clock", "room"]
    assert list(pair.inbox.iterdir()) == []
    with pair.target() as target:
        (room,) = [one for one in target.check(10**18) if not one.ok]
    assert (room.step, "free_space_floor_mb" in room.text) == ("room", True)
    pair.access = replace(pair.access, port=1)
    with pair.target() as target:
        (finding,) = target.check(0)
    assert not finding.ok
    assert "refuses connections" in finding.text
