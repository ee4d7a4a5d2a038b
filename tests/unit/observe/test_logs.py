"""The log's two forms, its context and what it keeps to itself."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from uploaderd.config.settings import LoggingSettings
from uploaderd.observe.logs import configure, log_context
from uploaderd.secret import Secret


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = handlers, level


def test_a_json_line_holds_message_and_host(tmp_path: Path) -> None:
    configure(LoggingSettings("json", console=False, file=tmp_path / "log"), "backup[1]")
    with log_context(message="m1", host=None), log_context(host=7):
        logging.getLogger("x").warning("copied %s", "a")
    logging.getLogger("x").info("left")
    first, second = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert (first["message"], first["host"], first["text"]) == ("m1", "7", "copied a")
    assert (first["level"], first["program"]) == ("warning", "backup[1]")
    assert "host" not in second


def test_text_has_the_context_and_no_secret(tmp_path: Path) -> None:
    configure(LoggingSettings(console=False, file=tmp_path / "log"), "backup[1]")
    with log_context(message="m1", password="canary"):
        logging.getLogger("x").error("%s amqp://u:canary@h/", Secret("canary"))
    text = (tmp_path / "log").read_text()
    assert " backup[1] error ***** amqp://u:*****@h/ (message=m1 password=*****)" in text


def test_the_journal_gets_priorities_on_every_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    configure(LoggingSettings(), "uploaderd")
    logging.getLogger("x").error("one\ntwo")
    assert [line[:3] for line in capsys.readouterr().err.splitlines()] == ["<3>", "<3>"]


def test_a_rotated_file_is_opened_anew(tmp_path: Path) -> None:
    configure(LoggingSettings(console=False, file=tmp_path / "log"), "uploaderd")
    logging.getLogger("x").info("one")
    (tmp_path / "log").rename(tmp_path / "log.1")
    logging.getLogger("x").info("two")
    assert "two" in (tmp_path / "log").read_text()


def test_levels_of_single_loggers_can_differ(tmp_path: Path) -> None:
    settings = LoggingSettings(levels={"quiet": "error"}, console=False, file=tmp_path / "log")
    configure(settings, "uploaderd")
    logging.getLogger("quiet").warning("unseen")
    logging.getLogger("x").warning("seen")
    logging.getLogger("quiet").setLevel(logging.NOTSET)
    assert "unseen" not in (tmp_path / "log").read_text()
