"""Mail for events: collected for a while, limited in number, and never in the way of the work."""

from __future__ import annotations

import collections
import logging
import smtplib
import ssl
import threading
import time
from collections.abc import Sequence
from email.message import EmailMessage
from typing import Any

from uploaderd.config.settings import MailSettings
from uploaderd.messages import redact

log = logging.getLogger(__name__)

_KEPT = 1000
"""Events that wait for a mail at most; of more the oldest are forgotten."""


class Mailer:
    """Sends digests from a thread of its own; `close` it.

    A problem (severity in the settings) is told once, by its type and subject; it is told again
    only after an event of severity `info` with the same type and subject, which clears it.
    """

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings
        self._events: collections.deque[dict[str, Any]] = collections.deque(maxlen=_KEPT)
        self._problems: set[tuple[str, str]] = set()
        self._taken = self._refused = 0
        self._sent: collections.deque[float] = collections.deque()
        self._some = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mail", daemon=True)
        self._thread.start()

    def tell(self, event: dict[str, Any]) -> None:
        """Takes note of an event (`subject`, `severity`, `type`, `message`); returns at once."""
        problem = (str(event.get("type")), str(event.get("subject")))
        if event.get("severity") in self._settings.severities:
            if problem in self._problems:
                return
            if len(self._problems) >= _KEPT:
                self._problems.clear()
            self._problems.add(problem)
        elif event.get("severity") == "info" and problem in self._problems:
            self._problems.discard(problem)
        else:
            return
        self._events.append(event)
        self._some.set()

    def samples(self) -> dict[str, float]:
        """What is counted of mails, for the metrics."""
        return {
            "mails_sent_total": self._taken,
            "mails_refused_total": self._refused,
            "mail_events_waiting": len(self._events),
        }

    def close(self) -> None:
        """Sends what waits, if the server takes it soon, and ends."""
        self._closing.set()
        self._some.set()
        self._thread.join(self._settings.timeout_s)

    def _work(self) -> None:
        while not self._closing.is_set() or self._events:
            self._some.wait()
            self._closing.wait(self._settings.digest_s)
            self._closing.wait(self._pause_s())
            self._some.clear()
            events = [self._events.popleft() for _ in range(len(self._events))]
            if not events:
                continue
            try:
                send(self._settings, digest(self._settings, events))
            except (OSError, smtplib.SMTPException) as error:
                self._refused += 1
                log.warning("a mail could not be sent and waits: %s", error)
                if self._closing.is_set():
                    return
                self._events.extendleft(reversed(events))
                self._some.set()
            else:
                self._taken += 1
            self._sent.append(time.monotonic())

    def _pause_s(self) -> float:
        """Time until the number of mails in an hour allows one more."""
        now = time.monotonic()
        while self._sent and self._sent[0] < now - 3600:
            self._sent.popleft()
        full = len(self._sent) >= self._settings.mails_per_hour
        return self._sent[0] + 3600 - now if full else 0.0


def digest(settings: MailSettings, events: Sequence[dict[str, Any]]) -> EmailMessage:
    """One mail that tells of all events; what looks like a secret is masked."""
    shown = [redact(event) for event in events]
    first = " ".join(str(shown[0].get("subject", "")).split())[:120]
    more = f" (and {len(shown) - 1} more)" if len(shown) > 1 else ""
    mail = EmailMessage()
    mail["From"] = settings.sender
    mail["To"] = ", ".join(settings.recipients)
    mail["Subject"] = f"uploaderd: {_verdict(shown[0])}: {first}{more}"
    mail.set_content("\n\n".join(_paragraph(event) for event in shown) + "\n")
    return mail


def send(settings: MailSettings, mail: EmailMessage) -> None:
    """Hands the mail to the server. Raises OSError or smtplib.SMTPException."""
    with connect(settings) as connection:
        connection.send_message(mail)


def connect(settings: MailSettings) -> smtplib.SMTP:
    """A connection over which mail can be sent: encrypted and logged in as the settings say.

    Raises OSError (ssl.SSLError among them) or smtplib.SMTPException.
    """
    context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.security == "tls":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(
            settings.host, settings.port, timeout=settings.timeout_s, context=context
        )
    else:
        connection = smtplib.SMTP(settings.host, settings.port, timeout=settings.timeout_s)
    try:
        if settings.security == "starttls":
            connection.starttls(context=context)
        if settings.user is not None:
            connection.login(settings.user, settings.password.reveal())
    except BaseException:
        connection.close()
        raise
    return connection


def _verdict(event: dict[str, Any]) -> str:
    return "cleared" if event.get("severity") == "info" else str(event.get("severity"))


def _paragraph(event: dict[str, Any]) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(float(event.get("timestamp", 0))))
    return f"{at}  {_verdict(event)}  {event.get('type')}\n{event.get('message')}"
