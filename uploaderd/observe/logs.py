"""The log: text or JSON lines, with the message and the host that a line is about."""

from __future__ import annotations

import contextlib
import contextvars
import json
import logging
import logging.handlers
import os
import sys
import time
from collections.abc import Iterator

from uploaderd.config.settings import LoggingSettings
from uploaderd.messages import redact

_context: contextvars.ContextVar[dict[str, str]] = contextvars.ContextVar("log_context")

# sd-daemon(3): the priority of a line that goes to the journal, as in syslog(3).
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


@contextlib.contextmanager
def log_context(**fields: object) -> Iterator[None]:
    """Adds fields, such as `message` and `host`, to every line logged inside; None is left out."""
    added = {key: str(value) for key, value in redact(fields).items() if value is not None}
    token = _context.set({**_context.get({}), **added})
    try:
        yield
    finally:
        _context.reset(token)


class _Text(logging.Formatter):
    """`2026-01-02T03:04:05Z backup[1] warning sentence (message=… host=…)`."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={value}" for key, value in _context.get({}).items())
        text = (
            f"{_utc(record.created)} {self._program} {record.levelname.lower()} "
            f"{redact(record.getMessage())}"
        )
        if fields:
            text += f" ({fields})"
        if record.exc_info:
            text += "\n" + redact(self.formatException(record.exc_info))
        return text


class _Json(logging.Formatter):
    """One JSON object a line; the fields of the context are members."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "program": self._program,
            "logger": record.name,
            "text": redact(record.getMessage()),
            **_context.get({}),
        }
        if record.exc_info:
            line["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


class _Journal(logging.Formatter):
    """Puts the priority that the journal understands before each line of another formatter."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        priority = next((p for level, p in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in self._inner.format(record).split("\n"))


def configure(settings: LoggingSettings, program: str) -> None:
    """Directs the log of this process as the settings say; earlier directions are forgotten.

    `program` begins each line: `uploaderd` or an instance, as `backup[1]`.
    """
    formatter = _Json(program) if settings.format == "json" else _Text(program)
    handlers: list[logging.Handler] = []
    if settings.console:
        console = logging.StreamHandler(sys.stderr)
        console.setFormatter(_Journal(formatter) if "JOURNAL_STREAM" in os.environ else formatter)
        handlers.append(console)
    if settings.file is not None:
        file = logging.handlers.WatchedFileHandler(settings.file, encoding="utf-8", delay=True)
        file.setFormatter(formatter)
        handlers.append(file)
    if settings.syslog is not None:
        try:
            handlers.append(_syslog(settings.syslog, formatter))
        except OSError as error:
            # A name that is not known, as it may be for a while, is no reason to end.
            sys.stderr.write(f"uploaderd: nothing goes to syslog until a reload: {error}\n")
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers or [logging.NullHandler()]:
        root.addHandler(handler)
    root.setLevel(settings.level.upper())
    # These two tell of every packet; our own lines say what matters.
    for chatty in ("pika", "paramiko"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    for name, level in settings.levels.items():
        logging.getLogger(name).setLevel(level.upper())


class _Syslog(logging.handlers.SysLogHandler):
    """A syslog that is away is said once and loses lines; it is tried anew with each line."""

    _said = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002 - logging's signature
        """Instead of a traceback for every line."""
        if not self._said:
            self._said = True
            sys.stderr.write(f"uploaderd: syslog at {self.address} is away: {sys.exc_info()[1]}\n")


def _syslog(address: str, formatter: logging.Formatter) -> logging.Handler:
    """Syslog at a local socket (a path) or by UDP (`host:port`). Raises OSError."""
    host, _, port = address.rpartition(":")
    by_udp = bool(host) and port.isdecimal() and "/" not in address
    handler = _Syslog(
        (host.strip("[]"), int(port)) if by_udp else address,
        facility=_Syslog.LOG_DAEMON,
    )
    # The tag of RFC 3164, by which syslog daemons sort; and no NUL, which some of them show.
    handler.ident = f"uploaderd[{os.getpid()}]: "
    handler.append_nul = False
    handler.setFormatter(formatter)
    return handler


def _utc(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
