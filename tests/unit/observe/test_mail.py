"""Mail for events, sent to a small SMTP server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fixtures.smtp import SmtpServer
from tests.integration.supervisor.running import until
from uploaderd.config.settings import MailSettings
from uploaderd.observe.mail import Mailer, digest


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def settings(port: int, **changes: Any) -> MailSettings:
    values: dict[str, Any] = {"digest_s": 0.2, "timeout_s": 20.0, **changes}
    return MailSettings("127.0.0.1", "uploaderd@here", ("ops@there",), port=port, **values)


def event(subject: str, severity: str = "error", **more: Any) -> dict[str, Any]:
    message = f"{subject} is so"
    return {"subject": subject, "severity": severity, "type": "t", "message": message, **more}


def test_events_of_a_while_share_a_mail(server: SmtpServer) -> None:
    mailer = Mailer(settings(server.server_address[1]))
    for subject in ("one", "two", "three"):
        mailer.tell(event(subject, timestamp=0))
    mailer.tell(event("unasked", "warning"))
    mailer.close()
    mails = "\n".join(server.mails)
    assert all(f"{subject} is so" in mails for subject in ("one", "two", "three"))
    assert "unasked" not in mails
    assert len(server.mails) < 3


def test_a_problem_is_mailed_once_and_when_it_clears(server: SmtpServer) -> None:
    mailer = Mailer(settings(server.server_address[1]))
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


def test_a_server_that_refuses_is_asked_again_and_nobody_waits(server: SmtpServer) -> None:
    server.refusals = 2
    mailer = Mailer(settings(server.server_address[1], digest_s=0.05))
    begun = time.monotonic()
    mailer.tell(event("late"))
    assert time.monotonic() - begun < 10
    until(lambda: server.mails, "the mail")
    mailer.close()
    assert "late is so" in server.mails[0]


def test_a_full_hour_holds_mails_back(server: SmtpServer) -> None:
    mailer = Mailer(settings(server.server_address[1], mails_per_hour=1, digest_s=0))
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
