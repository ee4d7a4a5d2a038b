"""Which algorithms a station's SSH server offers: its first packet, read without any agreement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from paramiko.message import Message

from uploaderd.errors import StationUnreachable
from uploaderd.station.access import Access
from uploaderd.station.connection import dial

_KEXINIT = 20
_LONGEST = 35_000
"""Bytes of the longest packet that has to be understood (RFC 4253, section 6.1)."""


@dataclass(frozen=True)
class Offer:
    """The server's banner and, of its SSH_MSG_KEXINIT (RFC 4253, section 7.1), what matters."""

    banner: str
    key_exchange: tuple[str, ...]
    host_keys: tuple[str, ...]
    ciphers: tuple[str, ...]

    def __str__(self) -> str:
        parts = {"key exchange": self.key_exchange, "host key": self.host_keys}
        parts["cipher"] = self.ciphers
        return "; ".join(f"{name}: {', '.join(kinds)}" for name, kinds in parts.items())


def offer(access: Access) -> Offer:
    """Ask for the offer. Raises StationUnreachable if there is nobody, or nobody who speaks SSH."""
    with dial(access) as plain:
        plain.settimeout(access.timeouts.banner_s)
        try:
            plain.sendall(b"SSH-2.0-uploaderd\r\n")
            with plain.makefile("rb") as stream:
                return _read(stream)
        except (OSError, ValueError) as error:
            raise StationUnreachable(
                f"{access.address} answers, but not as an SSH server should: {error}.",
                hint="Check that the port is that of sshd; an sshd with too many connections "
                "does so, too.",
            ) from error


def _read(stream: BinaryIO) -> Offer:
    """Raises ValueError for what is no SSH."""
    for _ in range(64):
        # Other lines may come before the banner (RFC 4253, section 4.2).
        line = stream.readline(4096)
        if not line:
            raise ValueError("it closed the connection")
        if line.startswith(b"SSH-"):
            break
    else:
        raise ValueError("it sends no SSH banner")
    length = int.from_bytes(stream.read(4), "big")
    packet = stream.read(length) if length <= _LONGEST else b""
    if len(packet) < 18 or packet[1] != _KEXINIT:
        raise ValueError("it does not begin with its algorithms")
    message = Message(packet[18:])
    lists = [tuple(message.get_list()) for _ in range(3)]
    return Offer(line.decode("ascii", "replace").strip(), *lists)
