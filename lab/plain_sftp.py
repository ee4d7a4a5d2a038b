"""An SFTP session with the distribution's own server over a socket pair: real, and without sshd."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import paramiko

SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server")


class _Pipe:
    """As much of a channel as paramiko's SFTP client asks for; as one, it takes all that comes.

    Without that, a client and a server that both write much would wait for each other for ever.
    """

    def __init__(self, socket_: socket.socket) -> None:
        self._socket = socket_
        self._came = bytearray()
        self._changed = threading.Condition()
        self._ended = False
        self.send = socket_.send
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while data := self._socket.recv(1 << 18):
            with self._changed:
                self._came += data
                self._changed.notify()
        with self._changed:
            self._ended = True
            self._changed.notify()

    def recv(self, size: int) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._came or self._ended)
            data = bytes(self._came[:size])
            del self._came[:size]
            return data

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()

    def get_name(self) -> str:
        return "sftp-server"

    def recv_ready(self) -> bool:
        return False


@contextmanager
def session() -> Iterator[paramiko.SFTPClient]:
    """A client that sees this machine's own files; leaving the block ends the server."""
    program = next(path for path in SERVERS if Path(path).exists())
    ours, theirs = socket.socketpair()
    with ours, subprocess.Popen([program], stdin=theirs.fileno(), stdout=theirs.fileno()) as server:
        theirs.close()
        pipe = _Pipe(ours)
        try:
            yield paramiko.SFTPClient(cast(paramiko.Channel, pipe))
        finally:
            pipe.close()
            server.wait(30)
