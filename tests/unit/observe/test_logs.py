"""The log's two forms, its context and what it keeps to itself."""

from __future__ import annotations

import json
import logging
import os
import socket
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


@pytest.mark.parametrize("way", ["unix", "udp"])
def test_syslog_gets_lines_with_priority_tag_and_context(way: str, tmp_path: Path) -> None:
    family = socket.AF_UNIX if way == "unix" else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as daemon:
        daemon.settimeout(20)
        # A socket's path is limited to 108 bytes.
        here = Path(os.path.relpath(tmp_path / "log"))
        daemon.bind(str(here) if way == "unix" else ("127.0.0.1", 0))
        address = str(here) if way == "unix" else f"127.0.0.1:{daemon.getsockname()[1]}"
        configure(LoggingSettings("json", console=False, syslog=address), "backup[1]")
        with log_context(message="m1", host=7):
            logging.getLogger("x").error("cannot reach %s", Secret("canary"))
        priority, _, rest = daemon.recv(65536).decode().partition(">")
        tag, _, line = rest.partition(": ")
    # RFC 5424: facility daemon (3) times 8, and severity error (3).
    assert (priority, tag) == ("<27", f"uploaderd[{os.getpid()}]")
    told = json.loads(line)
    assert (told["message"], told["host"], told["text"]) == ("m1", "7", "cannot reach *****")


def test_a_syslog_that_is_away_is_said_once_and_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = Path(os.path.relpath(tmp_path / "later"))
    settings = LoggingSettings(console=False, file=tmp_path / "log", syslog=str(here))
    configure(settings, "uploaderd")
    for _ in range(3):
        logging.getLogger("x").info("goes on")
    assert (tmp_path / "log").read_text().count("goes on") == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is away: [Errno 2]" in said
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.settimeout(20)
        daemon.bind(str(here))
        logging.getLogger("x").info("is back")
        assert daemon.recv(65536).endswith(b"is back")


def test_nothing_is_logged_where_all_ways_are_switched_off(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(LoggingSettings(console=False), "uploaderd")
    logging.getLogger("x").critical("unseen")
    assert capsys.readouterr() == ("", "")
