"""The two services as the daemon builds them, and the operator's command."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.integration.exchange.conftest import Pair, differences
from tests.integration.publishing.rows import fill
from tests.integration.services.harness import run, settings_of
from uploaderd.ctl.main import main
from uploaderd.errors import RepositoryError
from uploaderd.services.receive import ReceiveService
from uploaderd.services.send import SendService


def sender(pair: Pair, folder: Path) -> SendService:
    """A send service whose file is named send.json."""
    return SendService(
        settings_of(
            folder,
            "send",
            pair.ours.settings,
            kind="sftp",
            sender="north",
            outbox=str(folder / "outbox"),
            host=pair.access.host,
            port=pair.access.port,
            user=pair.access.user,
            key_file=str(pair.access.key_file),
            folder=str(pair.inbox),
            free_space_floor_mb=1,
        )
    )


def test_an_export_is_sent_received_and_told(
    pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    fill(pair.ours)
    mark = tmp_path / "mark"
    write = "import os, sys; open(sys.argv[1], 'w').write(os.environ['EXCHANGE_SENDER'])"
    hooks = [[sys.executable, "-c", write, str(mark)], ["false"]]
    sending = sender(pair, etc)
    receiving = ReceiveService(
        settings_of(etc, "receive", pair.theirs.settings, inbox=str(pair.inbox), hooks=hooks)
    )
    try:
        (sent,) = run(sending, {"mode": "partial"}).replies
        assert (sent["sequence"], sent["kind"]) == (1, "partial")
        assert run(sending, {"target": "elsewhere"}).replies == []
        post = run(receiving, {})
        assert post.replies[0]["exports"] == [
            {"sender": "north", "sequence": 1, "outcome": "loaded"}
        ]
        (event,) = post.bodies("notify.warning.receive")
        assert "hook false" in event["message"]
        assert mark.read_text() == "north"
        assert differences(pair.ours, pair.theirs) == []

        assert main(["exchange", "status", "-s", str(etc), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["targets"][0]["sequence"] == 1
        assert main(["exchange", "send", "-s", str(etc)]) == 0
        assert "nothing new" in capsys.readouterr().out
        assert main(["exchange", "received", "-s", str(etc)]) == 0
        assert "north: export 1, loaded" in capsys.readouterr().out
        assert main(["exchange", "check", "-s", str(etc)]) == 0
        away = json.loads((etc / "send.json").read_text())
        away["behaviour"] |= {"port": 1, "outbox": str(tmp_path / "away")}
        away["rabbitmq"]["queue"] = "away"
        (etc / "away.json").write_text(json.dumps(away))
        capsys.readouterr()
        assert main(["exchange", "send", "-s", str(etc), "--json"]) == 1
        told = json.loads(capsys.readouterr().out)["targets"]
        assert [(one["target"], one["status"]) for one in told] == [("away", 0), ("send", 1)]
    finally:
        sending.close()
        receiving.close()


def test_a_target_that_fails_is_told_once_and_again_when_it_is_good(
    pair: Pair, tmp_path: Path
) -> None:
    service = sender(pair, tmp_path)
    try:
        assert run(service, {"mode": "check"}).messages == []
        shutil.rmtree(pair.inbox)
        pair.inbox.write_text("no folder")
        first = run(service, {"mode": "check"})
        assert first.replies[0]["state"] == "bad"
        assert len(first.bodies("notify.error.send")) == 1
        assert run(service, {"mode": "check"}).messages == []
        pair.inbox.unlink()
        assert len(run(service, {"mode": "check"}).bodies("notify.info.send")) == 1
    finally:
        service.close()
    state = json.loads((tmp_path / "outbox" / "send.state.json").read_text())
    assert state["state"] == "good"


def test_nothing_is_taken_in_below_the_floor(pair: Pair, tmp_path: Path) -> None:
    fill(pair.ours, a_month=5)
    pair.send()
    floor = shutil.disk_usage(tmp_path).total // 1_000_000 + 1
    settings = settings_of(
        *(tmp_path, "receive", pair.theirs.settings),
        inbox=str(pair.inbox),
        free_space_floor_mb=floor,
    )
    service = ReceiveService(settings)
    try:
        with pytest.raises(RepositoryError, match="Nothing is taken in"):
            run(service, {})
    finally:
        service.close()
    assert [receipt.outcome for receipt in pair.receive()] == ["loaded"]
