"""The listener: one thread a client, until it is told to stop."""

from __future__ import annotations

import itertools
import logging
import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from uploaderd.catalog.embedded.engine import DataFolder, EngineError, Session
from uploaderd.catalog.embedded.session import Client
from uploaderd.catalog.embedded.statements import quoted
from uploaderd.catalog.embedded.watch import Watch

log = logging.getLogger(__name__)
HOST = "127.0.0.1"


class Server:
    """Serves the data in `folder` on a loopback port; raises `EngineError` if it is in use."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self._folder = DataFolder(folder)
        try:
            self._listener = socket.create_server((HOST, port), backlog=128)
            self._control = Session(folder, 0)
        except BaseException:
            self._folder.close()
            raise
        self._control_lock = threading.Lock()
        self._watch = Watch()
        self._numbers = itertools.count(1)
        self._clients: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        self._stopping = False

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listener.getsockname()[1])

    def serve(self) -> None:
        """Accepts clients until `stop` is called."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._stopping:
                    return
                raise
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._client, args=(connection,), daemon=True)
            with self._lock:
                self._clients[connection] = thread
            thread.start()

    def stop(self) -> None:
        """Lets `serve` return; may be called from a signal handler."""
        self._stopping = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)

    def _client(self, connection: socket.socket) -> None:
        try:
            session = Session(self._folder.path, next(self._numbers))
            try:
                Client(connection, session, self._watch, self._kill).serve()
            finally:
                session.close()
        except EngineError as error:
            log.error("a client's session ended: %s", error)
        finally:
            connection.close()
            with self._lock:
                del self._clients[connection]

    def _kill(self, mark: str) -> None:
        with self._control_lock, suppress(EngineError):
            self._control.run(f"KILL QUERY WHERE Settings['log_comment'] = {quoted(mark)} ASYNC")

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        with self._lock:
            clients = dict(self._clients)
        for connection in clients:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in clients.values():
            thread.join()
        self._watch.stop()
        self._control.close()
        self._folder.close()
