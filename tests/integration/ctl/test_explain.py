"""`uploaderctl explain` tells the whole life of an item, and takes no message."""

from __future__ import annotations

import pytest

from tests.end_to_end.truth import FLOWS, HOST, UID
from tests.integration.ctl.conftest import CANARY, GARBAGE, REFUSED, UNREACHABLE, Live
from uploaderd.ctl.main import main


def test_a_file_is_told_of_from_its_measurement_to_its_rows(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{UID}_001.bin"
    (trace,) = live.explain(name, capsys)
    assert (trace["kind"], trace["facts"]["stage"]) == ("file", "processed")
    steps = [step["what"] for step in trace["timeline"]]
    assert steps == [
        *("measured", "request", "backup started", "discovered", "fetched"),
        *("backup done", "processed"),
    ]
    assert [step["at"] for step in trace["timeline"]] == sorted(
        step["at"] for step in trace["timeline"]
    )
    assert trace["facts"]["spectra_catalogued"] == FLOWS
    assert "is there" in trace["now"]
    for other in (trace["id"], trace["facts"]["remote_path"], trace["facts"]["path"]):
        assert live.explain(other, capsys) == [trace]
    (message,) = live.explain(trace["facts"]["message_id"], capsys)
    assert message["kind"] == "message"
    assert message["facts"]["file_ids"] == [trace["id"]]
    assert message["now"] == "settled and acknowledged"


def test_a_file_that_is_gone_from_its_place_is_told_so(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    (trace,) = live.explain(f"{UID}_002.bin", capsys)
    place = live.site.system.repository / trace["facts"]["path"]
    place.rename(place.with_suffix(".away"))
    try:
        assert "is NOT there" in live.explain(f"{UID}_002.bin", capsys)[0]["now"]
    finally:
        place.with_suffix(".away").rename(place)


def test_a_file_in_the_trash_has_its_reason(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    (trace,) = live.explain(GARBAGE, capsys)
    assert trace["timeline"][-1]["what"] == "trashed"
    assert trace["now"].startswith("in the trash: ")
    assert trace["facts"]["error_code"]


def test_stations_and_their_messages_are_told_of(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    (well,) = live.explain(str(HOST), capsys)
    assert well["now"].startswith("fine since")
    assert well["facts"]["files"]["trashed"] == 1
    (by_uid,) = live.explain(UID, capsys)
    assert (by_uid["id"], by_uid["timeline"]) == (well["id"], well["timeline"])
    (waiting,) = live.explain(str(UNREACHABLE), capsys)
    assert waiting["now"].startswith("waiting since")
    assert "retrying there" in waiting["now"]
    assert waiting["next"] == "it is tried again by itself"
    (refused,) = live.explain(str(REFUSED), capsys)
    assert refused["now"].startswith("failed since")
    (letter,) = refused["dead_letters"]
    assert "uploaderctl dead replay --id " + letter["message_id"] in refused["next"]
    assert letter["body"]["passwd"] == "*****"
    assert CANARY not in str(refused)
    (message,) = live.explain(letter["message_id"], capsys)
    assert message["now"] == "a dead letter of backup (authentication)"
    assert [step["what"] for step in message["timeline"]][-1] == "dead letter"


def test_looking_takes_nothing_and_the_text_folds_attempts(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        assert main(["explain", str(REFUSED), *live.files]) == 0
        text = capsys.readouterr().out
        assert text.count("backup failed") == 2
        assert "(attempt 5 of this kind)" in text
        assert "dead letter" in text
        assert CANARY not in text
    assert main(["explain", "nobody-knows-it", *live.files]) == 1
    assert "leaves no trace before it is handled" in capsys.readouterr().err
