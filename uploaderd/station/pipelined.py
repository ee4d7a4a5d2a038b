"""SFTP requests by the windowful: a round trip is paid once a window, not once a request.

paramiko offers no such call, so this module, and no other of the protocol side, uses the two
methods of its client that send a request without waiting and take the next answer.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import paramiko
from paramiko import sftp_attr
from paramiko.message import Message
from paramiko.sftp import (
    CMD_ATTRS,
    CMD_DATA,
    CMD_FSTAT,
    CMD_HANDLE,
    CMD_LSTAT,
    CMD_NAME,
    CMD_OPEN,
    CMD_OPENDIR,
    CMD_READ,
    CMD_READDIR,
    CMD_READLINK,
    CMD_REALPATH,
    CMD_STAT,
    CMD_STATUS,
    SFTP_EOF,
    SFTP_NO_SUCH_FILE,
    SFTP_OK,
    SFTP_PERMISSION_DENIED,
    int64,
)

WINDOW = 32
"""Requests in flight."""

_DUE = {
    CMD_OPEN: CMD_HANDLE,
    CMD_OPENDIR: CMD_HANDLE,
    CMD_READ: CMD_DATA,
    CMD_READDIR: CMD_NAME,
    CMD_REALPATH: CMD_NAME,
    CMD_READLINK: CMD_NAME,
    CMD_STAT: CMD_ATTRS,
    CMD_LSTAT: CMD_ATTRS,
    CMD_FSTAT: CMD_ATTRS,
}
"""The answer to each request that asks for more than a status."""
_ERRNO = {SFTP_NO_SUCH_FILE: errno.ENOENT, SFTP_PERMISSION_DENIED: errno.EACCES}


@dataclass(frozen=True)
class Answer:
    """One answer: its SFTP packet type and the rest of the packet after the request's number."""

    kind: int
    message: Message

    def failure(self) -> OSError | EOFError | None:
        """What a status answer other than "OK" says; none for the others."""
        if self.kind != CMD_STATUS:
            return None
        self.message.rewind()
        self.message.get_int()
        code = self.message.get_int()
        text = self.message.get_string().decode("utf-8", "replace")
        if code == SFTP_OK:
            return None
        if code == SFTP_EOF:
            return EOFError(text)
        return OSError(_ERRNO.get(code, errno.EIO), text or f"SFTP status {code}")


class SftpNonsense(paramiko.SSHException):
    """The station's SFTP server answers what the protocol does not allow."""


def check_kind(asked: int, kind: int) -> None:
    """Raises SftpNonsense if that is no answer to such a request; a failure is checked before."""
    if kind != _DUE.get(asked, kind):
        raise SftpNonsense(f"its SFTP server answers request {asked} by packet {kind}")


class _Client(Protocol):
    """What of paramiko's client is used here beyond its public calls."""

    _expecting: Any

    def _async_request(self, target: object, kind: int, *arguments: object) -> int: ...

    def _read_response(self, waitfor: int | None = None) -> object: ...


class _Slot:
    """Where paramiko leaves the answer of one request."""

    def __init__(self, asked: int) -> None:
        self.asked = asked
        self.answer: Answer | None = None
        self.number = -1

    def _async_response(self, kind: int, message: Message, _number: int) -> None:
        self.answer = Answer(kind, message)


def answers(
    sftp: paramiko.SFTPClient, requests: Iterable[tuple[Any, ...]], window: int = WINDOW
) -> Generator[Answer, None, None]:
    """The answers to `requests` (packet type, arguments…), in their order, `window` in flight.

    Requests are taken from the iterable only as fast as answers are taken from here, so memory is
    bounded by the window. One thread at a time may use the client, and may call it between answers.
    Raises what the connection raises: `paramiko.SSHException`, `OSError`.
    """
    client = cast(_Client, sftp)
    waiting: deque[_Slot] = deque()
    source = iter(requests)
    exhausted = False
    try:
        while True:
            while not exhausted and len(waiting) < window:
                request = next(source, None)
                if request is None:
                    exhausted = True
                    break
                slot = _Slot(request[0])
                waiting.append(slot)
                slot.number = client._async_request(slot, *request)
            if not waiting:
                return
            while waiting[0].answer is None:
                client._read_response()
            slot = waiting.popleft()
            answer = cast(Answer, slot.answer)
            if answer.failure() is None:
                check_kind(slot.asked, answer.kind)
            yield answer
    finally:
        # Answers still on their way are then unexpected ones, which paramiko drops.
        for slot in waiting:
            if slot.answer is None and slot.number in client._expecting:
                del client._expecting[slot.number]


class _Attributes(Protocol):
    def _from_msg(self, message: Message) -> paramiko.SFTPAttributes: ...


def attributes_of(answer: Answer) -> paramiko.SFTPAttributes:
    """The attributes that come next in an answer to `stat`, `lstat` or `readdir`."""
    return cast(_Attributes, sftp_attr.SFTPAttributes)._from_msg(answer.message)


def one(sftp: paramiko.SFTPClient, *request: Any) -> Answer:
    """The answer to a single request; raises `OSError` or `EOFError` if it is a failure."""
    answer = next(answers(sftp, [request], 1))
    if failure := answer.failure():
        raise failure
    return answer


def piece_of(answer: Answer) -> bytes:
    """The bytes of an answer to a READ; raises SftpNonsense if there are none."""
    data: bytes = answer.message.get_string()
    if not data:
        raise SftpNonsense("its SFTP server reads nothing, and tells no end")
    return data


def content(sftp: paramiko.SFTPClient, path: bytes | str, limit: int) -> bytes:
    """What a small file holds, up to `limit` bytes.

    Raises what the connection raises; paramiko's own `read` takes a connection that is cut for the
    end of the file.
    """
    data = b""
    with sftp.open(path, "r") as file:
        while len(data) < limit:
            request = (CMD_READ, file.handle, int64(len(data)), limit - len(data))
            answer = next(answers(sftp, [request], 1))
            failure = answer.failure()
            if isinstance(failure, EOFError):
                break
            if failure is not None:
                raise failure
            data += piece_of(answer)
    return data
