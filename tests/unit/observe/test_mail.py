"""Mail for events, sent to a small SMTP server."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.certificates import authority
from tests.fixtures.smtp import MailServer
from tests.integration.supervisor.running import until
from uploaderd.config.settings import MailSettings
from uploaderd.observe.mail import Mailer, digest
from uploaderd.secret import Secret


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


def settings(port: int, **changes: Any) -> MailSettings:
    values: dict[str, Any] = {"digest_s": 0.2, "timeout_s": 20.0, **changes}
    return MailSettings("127.0.0.1", "uploaderd@here", ("ops@there",), port=port, **values)


def event(subject: str, severity: str = "error", **more: Any) -> dict[str, Any]:
    message = f"{subject} is so"
    return {"subject": subject, "severity": severity, "type": "t", "message": message, **more}


def test_events_of_a_while_share_a_mail(server: MailServer) -> None:
    mailer = Mailer(settings(server.port))
    for subject in ("one", "two", "three"):
        mailer.tell(event(subject, timestamp=0))
    mailer.tell(event("unasked", "warning"))
    mailer.close()
    mails = "\n".join(server.mails)
    assert all(f"{subject} is so" in mails for subject in ("one", "two", "three"))
    assert "unasked" not in mails
    assert len(server.mails) < 3


def test_a_problem_is_mailed_once_and_when_it_clears(server: MailServer) -> None:
    mailer = Mailer(settings(server.port))
    for _ in range(5):
        mailer.tell(event("disk full"))
    until(lambda: server.mails, "the problem")
    for _ in range(2):
        mailer.tell(event("disk full", "info"))
    until(lambda: len(server.mails) == 2, "the clearing")
    mailer.tell(event("disk full"))
    mailer.close()
    assert len(server.mails) == 3
    assert "Subject: uploaderd: error: disk full" in server.mails[0]
    assert "Subject: uploaderd: cleared: disk full" in server.mails[1]


def test_a_server_that_refuses_is_asked_again_and_nobody_waits(server: MailServer) -> None:
    server.refusals = 2
    mailer = Mailer(settings(server.port, digest_s=0.05))
    begun = time.monotonic()
    mailer.tell(event("late"))
    assert time.monotonic() - begun < 10
    until(lambda: server.mails, "the mail")
    mailer.close()
    assert "late is so" in server.mails[0]


def test_a_full_hour_holds_mails_back(server: MailServer) -> None:
    mailer = Mailer(settings(server.port, mails_per_hour=1, digest_s=0))
    mailer.tell(event("first"))
    until(lambda: server.mails, "the first mail")
    mailer.tell(event("second"))
    mailer.tell(event("third"))
    mailer.close()
    assert len(server.mails) == 2
    assert "second is so" in server.mails[1]
    assert "third is so" in server.mails[1]


def test_secrets_and_line_breaks_stay_out_of_a_mail() -> None:
    mail = digest(
        settings(1), [event("a\nBcc: x@y", message="amqp://user:canary@host/", passwd="canary")]
    )
    assert "canary" not in mail.as_string()
    assert mail["Bcc"] is None


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_is_encrypted_and_logged_in(security: str, tmp_path: Path) -> None:
    ca = authority(tmp_path)
    login = ("ops", "canary")
    with MailServer(security, ca.issue("mail"), login) as server:
        given = {"security": security, "ca_file": ca.certificate, "user": "ops"}
        mailer = Mailer(settings(server.port, **given, password=Secret("canary")))
        mailer.tell(event("disk full"))
        until(lambda: server.mails, "the mail")
        mailer.close()
        assert (server.encrypted, server.users) == ([True], ["ops"])
        assert mailer.samples()["mails_sent_total"] == 1


@pytest.mark.parametrize(
    ("fault", "changes"),
    [
        ("an expired certificate", {"days": -1}),
        ("a certificate of another host", {"hosts": "DNS:elsewhere.example"}),
        ("a wrong password", {"password": Secret("wrong")}),
        ("an authority that nobody trusts", {"ca_file": None}),
    ],
)
def test_nothing_is_mailed_over_a_connection_that_is_not_right(
    fault: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    ca = authority(tmp_path)
    pair = ca.issue("mail", **{k: v for k, v in changes.items() if k in ("days", "hosts")})
    given = {k: v for k, v in changes.items() if k in ("password", "ca_file")}
    values = {"security": "starttls", "ca_file": ca.certificate, "user": "ops"}
    values |= {"password": Secret("canary"), **given}
    with MailServer("starttls", pair, ("ops", "canary")) as server:
        mailer = Mailer(settings(server.port, digest_s=0.01, **values))
        mailer.tell(event("disk full"))
        until(lambda: mailer.samples()["mails_refused_total"], fault)
        mailer.close()
        assert server.mails == []


def test_a_server_without_starttls_gets_no_password(server: MailServer) -> None:
    values = {"security": "starttls", "user": "ops", "password": Secret("canary")}
    mailer = Mailer(settings(server.port, digest_s=0.01, **values))
    mailer.tell(event("disk full"))
    until(lambda: mailer.samples()["mails_refused_total"], "the refusal")
    mailer.close()
    assert (server.mails, server.users) == ([], [])


def test_a_server_that_swallows_everything_holds_up_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as black_hole:
        mailer = Mailer(settings(black_hole.getsockname()[1], digest_s=0, timeout_s=3))
        mailer.tell(event("first"))
        connection, _ = black_hole.accept()
        with connection:
            # The server has our connection, and says nothing: `tell` returns all the same.
            for number in range(3000):
                mailer.tell(event(f"problem {number}"))
            assert mailer.samples()["mails_sent_total"] == 0
            assert mailer.samples()["mail_events_waiting"] == 1000
            mailer.close()
