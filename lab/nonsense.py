"""An SFTP server that answers whatever a test has it answer: for what a broken station may say."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import paramiko

from uploaderd.station.paramiko_link import BytesSftpClient

Reply = Callable[[int, bytes], bytes | None]
"""Of a request's packet type and what follows its number: an answer's type and what follows the
number, or None for an end of the connection."""


def string(data: bytes) -> bytes:
    """A string of the SSH protocols (RFC 4251, section 5)."""
    return struct.pack(">I", len(data)) + data


@contextmanager
def session(reply: Reply) -> Iterator[paramiko.SFTPClient]:
    """A client of such a server."""
    ours, theirs = socket.socketpair()
    server = threading.Thread(target=_serve, args=(theirs, reply))
    server.start()
    ours.settimeout(60)
    try:
        yield BytesSftpClient(cast(paramiko.Channel, _Channel(ours)))
    finally:
        ours.close()
        server.join()


class _Channel:
    """As much of a channel as paramiko's SFTP client asks for."""

    def __init__(self, plain: socket.socket) -> None:
        self.send, self.recv, self.close = plain.send, plain.recv, plain.close

    def get_name(self) -> str:
        return "nonsense"

    def recv_ready(self) -> bool:
        return False


def _serve(plain: socket.socket, reply: Reply) -> None:
    with plain, plain.makefile("rb") as requests:
        try:
            _packet(requests.read)
            plain.sendall(struct.pack(">IBI", 5, 2, 3))
            while packet := _packet(requests.read):
                answer = reply(packet[0], packet[5:])
                if answer is None:
                    return
                plain.sendall(string(answer[:1] + packet[1:5] + answer[1:]))
        except OSError:
            # The client has gone.
            return


def _packet(read: Callable[[int], bytes]) -> bytes:
    head = read(4)
    return read(struct.unpack(">I", head)[0]) if len(head) == 4 else b""
