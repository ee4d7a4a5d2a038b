"""The connection of an instance: an I/O thread that does nothing else, and reconnects for ever.

`link`, `session` and `access` are all that knows pika's asynchronous connection; the rest calls
`Link`. pika's loop outlives its connections: work that is handed in while there is none is done,
and told so, rather than silently dropped.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pika
from pika.adapters.select_connection import IOLoop

from uploaderd.broker import access
from uploaderd.broker.session import Session, Wants
from uploaderd.config.settings import BrokerSettings
from uploaderd.errors import BrokerError, UploaderError

log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
FLUSH_TIMEOUT_S = 10.0


class Link:
    """Keeps one session open. `session` is None while there is no connection."""

    def __init__(self, settings: BrokerSettings, wants: Wants, *, name: str) -> None:
        self.settings = settings
        self.session: Session | None = None
        self.ready = threading.Event()
        """Set while the queue is consumed."""
        self._wants = wants
        self._name = name
        self._loop = IOLoop()
        self._calls: deque[Callable[[], None]] = deque()
        self._awake = False
        self._connection: Any = None
        self._closing = False
        self._reason: BaseException | None = None
        self._tries = 0
        self._thread = threading.Thread(target=self._run, name=f"{name} I/O", daemon=True)
        self._fault: BaseException | None = None

    def start(self) -> None:
        """Starts the I/O thread. Raises ConfigError if the TLS files are not usable."""
        access.parameters(self.settings, *self.settings.hosts[0])
        self._thread.start()

    def check(self) -> None:
        """Sees to what was posted; to be called every second or so.

        Raises BrokerError if the I/O thread has died, which nothing but a fault makes it do.
        """
        if self._calls:
            self.wake()
        if not self._thread.is_alive():
            raise BrokerError(f"The broker connection's thread died: {self._fault!r}.")

    def call(self, what: Callable[[], None]) -> None:
        """Has `what` called in the I/O thread, soon; from any thread, and never lost."""
        self._calls.append(what)
        self.wake()

    def post(self, what: Callable[[], None]) -> None:
        """As `call`, but with the next `wake` or `check`: for many in a row."""
        self._calls.append(what)

    def call_later(self, delay_s: float, what: Callable[[], None]) -> None:
        """Has `what` called in the I/O thread after a delay; only from that thread."""
        self._loop.call_later(delay_s, what)

    def wake(self) -> None:
        """Has the loop turn; many calls before it does are one."""
        if not self._awake:
            self._awake = True
            self._loop.add_callback_threadsafe(self._turn)

    def close(self) -> None:
        """Sends what is to be sent, waits for confirmations (up to 10 s), closes, and joins."""
        if self._thread.is_alive():
            self.call(self._begin_to_close)
            self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        try:
            self._connect()
            while not self._turned_to_the_end():
                pass
        except BaseException as error:
            self._fault = error
            log.critical("The broker connection's thread died.", exc_info=True)
            raise
        finally:
            self.ready.clear()

    def _turned_to_the_end(self) -> bool:
        """Runs the loop; False if pika threw it out, and the next connection is under way."""
        try:
            self._loop.start()
        except (AssertionError, ValueError) as error:
            # pika 1.4 raises these for some connections that break just while they open.
            if self.session is not None:
                raise
            self._on_closed(None, error)
            return False
        return True

    def _turn(self) -> None:
        self._awake = False
        while self._calls:
            self._calls.popleft()()
        session = self.session
        if session is not None:
            session.flush()
        if self._closing and (session is None or session.idle):
            self._end()

    # Connecting

    def _connect(self) -> None:
        if self._closing:
            return
        host, port = self._place()
        try:
            parameters = access.parameters(self.settings, host, port, name=self._name)
        except UploaderError as error:
            self._again(error)
            return
        self._connection = pika.SelectConnection(
            parameters,
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_closed,
            on_close_callback=self._on_closed,
            custom_ioloop=self._loop,
        )

    def _place(self) -> tuple[str, int]:
        hosts = self.settings.hosts
        return hosts[self._tries % len(hosts)]

    def _on_open(self, connection: Any) -> None:
        self._reason = None
        if self._closing:
            connection.close()
            return
        self.session = Session(
            connection, self.settings, self._wants, self._on_ready, self._on_failure
        )
        self.session.open()

    def _on_ready(self) -> None:
        host, port = self._place()
        log.info("Connected to the broker at %s:%s, consuming %s.", host, port, self._wants.queue)
        # Stay with the host that works.
        self._tries %= len(self.settings.hosts)
        self.ready.set()

    def _on_failure(self, reason: BaseException) -> None:
        self._reason = self._reason or reason
        connection = self._connection
        if connection is not None and connection.is_open:
            connection.close()

    def _on_closed(self, _connection: Any, reason: BaseException) -> None:
        session, self.session = self.session, None
        self._connection = None
        self.ready.clear()
        if session is not None:
            session.lost()
        if self._closing:
            self._loop.stop()
        else:
            self._again(self._reason or reason)

    def _again(self, reason: BaseException) -> None:
        host, port = self._place()
        error = reason
        if not isinstance(reason, UploaderError):
            error = access.explain(reason, self.settings, host, port)
        self._tries += 1
        rounds = (self._tries - 1) // len(self.settings.hosts)
        delay = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(rounds, 10))
        if self._tries % len(self.settings.hosts):
            # The next host is tried at once, a new round after a pause.
            delay = FIRST_DELAY_S / 5
        delay *= random.uniform(0.5, 1.0)
        log.warning("%s Trying again in %.1f s.", error, delay)
        self._loop.call_later(delay, self._connect)

    # Closing

    def _begin_to_close(self) -> None:
        self._closing = True
        self._loop.call_later(FLUSH_TIMEOUT_S, self._end)
        if self.session is None or self.session.idle:
            self._end()

    def _end(self) -> None:
        connection = self._connection
        if connection is None or connection.is_closed:
            self._loop.stop()
            return
        if connection.is_open:
            connection.close()
        # One that is just opening is closed when it is open, for pika 1.4 fails otherwise. A broker
        # that does not answer is not waited for.
        self._loop.call_later(FLUSH_TIMEOUT_S, self._loop.stop)
