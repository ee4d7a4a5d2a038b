"""paramiko as the transport, made fast.

paramiko asks the kernel for 16 bytes and then for the rest of every packet, copies what a channel
receives twice through a byte array, sends small packets late, and offers small packets and a small
window: each is mended here from outside, by the hooks that it has.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import socket
import threading
import time
import weakref
from typing import Any

import paramiko
from paramiko.buffered_pipe import BufferedPipe, PipeTimeout

from uploaderd.errors import StationError, StationUnreachable
from uploaderd.station.budget import IN_FLIGHT
from uploaderd.station.link import CommandResult, NoSession
from uploaderd.station.pipelined import SftpNonsense, check_kind

WINDOW = 64 << 20
PACKET = 256 << 10
RECEIVED_AT_ONCE = 128 << 10
RECEIVED_AT_LEAST = 32 << 10
RECEIVING = 512 << 10
"""Bytes of all sockets' buffers together, from the fifth socket on, as far as the least allows."""
JOINED = 64 << 10
"""Small packets are joined up to this size."""
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
"""AES-GCM first: authenticates and decrypts in one pass outside the interpreter. No CBC."""

SFTP_HINT = "Its sshd_config needs a line such as: Subsystem sftp internal-sftp"

# paramiko logs an error with its traceback and raises it as well; the raised one is enough.
LOG_CHANNEL = "uploaderd.paramiko"
logging.getLogger(LOG_CHANNEL).setLevel(logging.CRITICAL)


_open: weakref.WeakSet[socket.socket] = weakref.WeakSet()


class BufferedSocket(socket.socket):
    """A socket that asks the kernel for much and gives as much as is asked of it."""

    def __init__(self, plain: socket.socket) -> None:
        """Takes the socket over: `plain` is closed afterwards."""
        timeout = plain.gettimeout()
        super().__init__(plain.family, plain.type, plain.proto, plain.detach())
        self.settimeout(timeout)
        _open.add(self)
        size = min(RECEIVED_AT_ONCE, max(RECEIVED_AT_LEAST, RECEIVING // len(_open)))
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Up to `bufsize` bytes; as `socket.recv`."""
        if self._start == self._end:
            self._start, self._end = 0, self.recv_into(self._buffer, 0, flags)
        start = self._start
        self._start = min(start + bufsize, self._end)
        return bytes(self._view[start : self._start])


class PacketQueue(BufferedPipe):  # type: ignore[type-arg] # generic only in the stubs
    """A channel's received data as the packets that came, neither joined nor copied."""

    def __init__(self) -> None:
        super().__init__()
        self._packets: collections.deque[bytes] = collections.deque()
        self._ready = threading.Condition()
        self._ended = False
        self._unread = False

    def feed(self, data: bytes) -> None:
        """Called by the transport's thread."""
        with self._ready:
            if self._unread:
                return
            IN_FLIGHT.came(len(data))
            self._packets.append(data)
            self._ready.notify()

    def read(self, _nbytes: int, timeout: float | None = None) -> bytes:
        """Some of what has come, in whole packets: many small ones, or a large one uncopied."""
        with self._ready:
            if not self._packets and not self._ready.wait_for(
                lambda: self._packets or self._ended, timeout
            ):
                raise PipeTimeout
            data = self._packets.popleft() if self._packets else b""
            if not self._packets or len(data) >= JOINED:
                IN_FLIGHT.taken(len(data))
                return data
            several, size = [data], len(data)
            while self._packets and size < JOINED:
                several.append(self._packets.popleft())
                size += len(several[-1])
            IN_FLIGHT.taken(size)
            return b"".join(several)

    def close(self) -> None:
        """Called by the transport's thread at the end of the channel."""
        with self._ready:
            self._ended = True
            self._ready.notify_all()

    def leave_unread(self) -> None:
        """Forgets what has come and what will: nobody reads any more."""
        with self._ready:
            self._unread = True
            IN_FLIGHT.taken(sum(map(len, self._packets)))
            self._packets.clear()

    def __len__(self) -> int:
        with self._ready:
            return sum(map(len, self._packets))


class ChannelStream:
    """An SFTP session on a channel of its own."""

    def __init__(self, channel: paramiko.Channel, received: PacketQueue) -> None:
        self._channel = channel
        self._received = received

    def send(self, data: bytes) -> None:
        """Sends all of it; raises OSError if the connection is gone."""
        try:
            self._channel.sendall(data)
        except (paramiko.SSHException, EOFError) as error:
            raise OSError(str(error)) from error

    def receive(self, timeout_s: float) -> bytes:
        """What has come; `b""` at the end; raises TimeoutError if nothing came."""
        self._channel.settimeout(timeout_s)
        try:
            return self._channel.recv(PACKET)
        except (paramiko.SSHException, EOFError) as error:
            # Receiving also sends: the window's adjustment.
            raise OSError(str(error)) from error

    def close(self) -> None:
        """Ends the session."""
        _hang_up(self._channel)
        self._received.leave_unread()


class BytesSftpClient(paramiko.SFTPClient):
    """paramiko's client, for file names that are bytes.

    Names that are not UTF-8 come as `os.fsdecode` gives them, instead of as an exception; paths
    are given as bytes (`os.fsencode`). Answers that the protocol does not allow are SftpNonsense.
    """

    def _request(self, kind: int, *arguments: Any) -> Any:
        answer, message = super()._request(kind, *arguments)  # type: ignore[misc] # not in the stubs
        check_kind(kind, answer)
        return answer, message

    def _read_response(self, waitfor: Any = None) -> Any:
        try:
            kind, message = super()._read_response(waitfor)  # type: ignore[misc] # not in the stubs
        except paramiko.SFTPError as error:
            raise SftpNonsense(f"its SFTP server sends nonsense: {error}") from error
        if message is not None:
            message.get_text = lambda: message.get_string().decode("utf-8", "surrogateescape")
        return kind, message


class ParamikoLink:
    """An authenticated paramiko transport."""

    def __init__(self, transport: paramiko.Transport, stall_s: float) -> None:
        self.transport = transport
        self._stall_s = stall_s

    def _broke(self, error: Exception) -> bool:
        """Whether it is the connection's end, which the transport may not know of just yet."""
        return isinstance(error, EOFError | ConnectionError) or not self.transport.is_active()

    def _session(self) -> paramiko.Channel:
        try:
            return self.transport.open_session(timeout=self._stall_s)
        except (paramiko.SSHException, EOFError, OSError) as error:
            if self._broke(error):
                raise StationUnreachable(f"The connection broke: {error}.") from error
            raise NoSession(f"The station opens no further session: {error}.") from error

    def _sftp_channel(self, channel: paramiko.Channel) -> paramiko.Channel:
        channel.settimeout(self._stall_s)
        try:
            channel.invoke_subsystem("sftp")
        except (paramiko.SSHException, EOFError, OSError) as error:
            _hang_up(channel)
            if self._broke(error):
                raise StationUnreachable(f"The connection broke: {error}.") from error
            raise StationError(
                "The station offers no SFTP.",
                hint=SFTP_HINT,
            ) from error
        return channel

    def open_sftp(self) -> ChannelStream:
        """A new SFTP session as a stream."""
        channel = self._session()
        channel.in_buffer = received = PacketQueue()
        return ChannelStream(self._sftp_channel(channel), received)

    def open_command(self, command: bytes) -> ChannelStream:
        """What a command writes, as a stream."""
        channel = self._session()
        channel.in_buffer = received = PacketQueue()
        channel.settimeout(self._stall_s)
        try:
            channel.exec_command(command)
        except (paramiko.SSHException, EOFError, OSError) as error:
            _hang_up(channel)
            raise self._no_command(error) from error
        return ChannelStream(channel, received)

    def _no_command(self, error: Exception) -> StationError:
        if self._broke(error):
            return StationUnreachable(f"The connection broke: {error}.")
        return StationError(f"The station runs no commands: {error}.")

    def sftp_client(self) -> paramiko.SFTPClient:
        """A new SFTP session for control operations; silence beyond the stall time ends it."""
        channel = self._sftp_channel(self._session())
        try:
            return BytesSftpClient(channel)
        except (paramiko.SSHException, EOFError, OSError) as error:
            _hang_up(channel)
            said = str(error) or "it ends the session"
            raise StationError(
                f"The station's SFTP does not answer: {said}.", hint=SFTP_HINT
            ) from error

    def run(self, command: bytes, timeout_s: float, limit: int) -> CommandResult:
        """Runs a command; output beyond `limit` bytes is an error."""
        deadline = time.monotonic() + timeout_s
        output, errors = bytearray(), bytearray()
        channel = self._session()
        channel.settimeout(timeout_s)
        try:
            channel.exec_command(command)
            channel.shutdown_write()
            while not channel.exit_status_ready() or channel.recv_ready():
                _drain(channel, output, errors)
                if len(output) + len(errors) > limit:
                    raise StationError(f"A command wrote more than {limit} bytes.")
                if time.monotonic() > deadline:
                    raise StationError(f"A command took longer than {timeout_s:.0f} s.")
            while data := channel.recv(PACKET):
                output += data
            while data := channel.recv_stderr(PACKET):
                errors += data
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._no_command(error) from error
        finally:
            _hang_up(channel)
        status = channel.recv_exit_status()
        if status < 0 and not self.transport.is_active():
            raise StationUnreachable("The connection broke while a command ran.")
        return CommandResult(status, bytes(output), bytes(errors))

    def close(self) -> None:
        """Ends the connection and its thread."""
        # Wakes the thread, which else asks only ten times a second whether it is to end.
        with contextlib.suppress(OSError):
            self.transport.sock.shutdown(socket.SHUT_RDWR)
        self.transport.close()
        self.transport.join(timeout=10)


def _hang_up(channel: paramiko.Channel) -> None:
    """Closes a channel; to say goodbye on a broken connection fails, and nothing is lost by it."""
    with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
        channel.close()


def _drain(channel: paramiko.Channel, output: bytearray, errors: bytearray) -> None:
    """Takes what a running command has written, waiting a little for it."""
    if channel.recv_ready():
        output += channel.recv(PACKET)
    elif channel.recv_stderr_ready():
        errors += channel.recv_stderr(PACKET)
    else:
        channel.status_event.wait(0.005)
