"""gateway: the TCP socket of older scripts, which do not speak AMQP.

One line comes in, `backup <host_id> <host_uid> <host_add> <host_port> <user> <passwd>`, and
`<json>{…}</json>` goes out: the answer of the host-request service. This service takes no messages,
and so has a loop of its own.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from amqpfire import requests, send
from uploaderd import messages
from uploaderd.config.settings import ServiceSettings
from uploaderd.errors import ConfigError, MessageError, UploaderError

log = logging.getLogger(__name__)

KIND = "host-request"
ROUTING_KEY = messages.routing_key(KIND)
FIELDS = ("query_tag", "host_id", "host_uid", "host_add", "host_port", "user", "passwd")
LONGEST_LINE = 4096
_TURN_S = 0.5


class GatewayService:
    """Listens from the moment it is built; `port` is the port it got."""

    def __init__(self, settings: ServiceSettings) -> None:
        """Raises ConfigError if the address cannot be listened on."""
        behaviour = settings.behaviour
        self._broker = settings.broker
        self._answer_s = float(behaviour["answer_s"])
        self._places = threading.BoundedSemaphore(behaviour["connections"])
        self._pool = ThreadPoolExecutor(behaviour["connections"], thread_name_prefix="gateway")
        place = (behaviour["listen"], behaviour["port"])
        try:
            self._socket = socket.create_server(place)
        except OSError as error:
            self._pool.shutdown()
            raise ConfigError(f"{place[0]}:{place[1]} cannot be listened on: {error}.") from error
        self._socket.settimeout(_TURN_S)
        self.port = int(self._socket.getsockname()[1])
        log.info("listening on %s:%d", place[0], self.port)

    def run(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        """Serves until `stop`; who is being answered then gets the answer."""
        while not stop.is_set():
            beat()
            if not self._places.acquire(timeout=_TURN_S):
                continue
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                self._places.release()
                continue
            self._pool.submit(self._serve, connection)

    def close(self) -> None:
        """Stops listening, and waits for the answers under way."""
        self._socket.close()
        self._pool.shutdown()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                text = json.dumps(self._answer(_line(connection, self._answer_s)))
                connection.sendall(f"<json>{text}</json>".encode())
        except OSError as error:
            log.info("an asker has gone: %s", error)
        finally:
            self._places.release()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            body = request_of(line)
            outcome = next(iter(send.send(self._broker, ROUTING_KEY, [body], self._answer_s)))
        except UploaderError as error:
            return {"status": 0, "message": str(error)}
        if outcome.answer is None:
            log.warning("no answer for %s: %s", requests.shown(body), outcome.text)
            return {"status": 0, "message": outcome.text}
        return requests.told(None, 1, outcome.text, outcome.answer)


def request_of(line: bytes) -> dict[str, Any]:
    """The request in a line; the password is all that follows the sixth space.

    Raises MessageError for a line of another form, and for what the request's schema refuses.
    """
    try:
        words = line.decode("utf-8").rstrip("\r\n").split(" ", len(FIELDS) - 1)
    except UnicodeDecodeError:
        raise MessageError("The line is not UTF-8 text.") from None
    if len(words) < len(FIELDS) - 1:
        raise MessageError(f"A request is one line: {' '.join(FIELDS)}.")
    pairs = [f"{key}={word}" for key, word in zip(FIELDS, words, strict=False) if word]
    body = requests.from_parameters(KIND, pairs)
    messages.validate(KIND, body)
    return body


def _line(connection: socket.socket, patience_s: float) -> bytes:
    """What came up to a newline, the end of the stream or the longest line.

    An asker that neither ends its line nor its stream is answered after a while all the same, for
    some older scripts do so.
    """
    data = b""
    until = time.monotonic() + patience_s
    while b"\n" not in data and len(data) < LONGEST_LINE:
        connection.settimeout(max(0.01, until - time.monotonic()))
        try:
            more = connection.recv(LONGEST_LINE)
        except TimeoutError:
            break
        if not more:
            break
        data += more
    connection.settimeout(patience_s)
    return data.partition(b"\n")[0]
