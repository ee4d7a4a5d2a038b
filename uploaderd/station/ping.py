"""ICMP echo (RFC 792, RFC 4443), where this process may send it.

Tried are the unprivileged ping socket (sysctl `net.ipv4.ping_group_range`) and a raw socket
(CAP_NET_RAW); where neither is permitted, that is the answer.
"""

from __future__ import annotations

import secrets
import socket
import struct
import time

from uploaderd.errors import StationError

_TOKEN = 16
_KINDS = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}
"""Type numbers of the echo request and its reply."""


class PingNotPermitted(StationError):
    """This process may send no ICMP."""

    code = "ping_not_permitted"


def ping(host: str, timeout_s: float) -> float | None:
    """The round trip in seconds; None if nothing came back within the time.

    Raises PingNotPermitted if this process may send no ICMP.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)[0]
        with _opened(family) as plain:
            return _echo(plain, family, address, timeout_s)
    except OSError:
        # No such name, no route: nothing comes back.
        return None


def _opened(family: int) -> socket.socket:
    protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            return socket.socket(family, kind, protocol)
        except PermissionError:
            continue
    raise PingNotPermitted(
        "ICMP is not permitted.",
        hint="Let sysctl net.ipv4.ping_group_range hold the daemon's group.",
    )


def _echo(
    plain: socket.socket, family: int, address: tuple[object, ...], timeout_s: float
) -> float | None:
    request, reply = _KINDS[socket.AddressFamily(family)]
    token = secrets.token_bytes(_TOKEN)
    begun = time.monotonic()
    plain.sendto(_packet(request, token), address)
    while (left := begun + timeout_s - time.monotonic()) > 0:
        plain.settimeout(left)
        data = plain.recv(2048)
        # A raw IPv4 socket gives the IP header, too, and everybody's packets.
        raw = plain.type == socket.SOCK_RAW and family == socket.AF_INET
        body = data[(data[0] & 15) * 4 :] if raw else data
        if body[:1] == bytes([reply]) and body.endswith(token):
            return time.monotonic() - begun
    return None


def _packet(kind: int, token: bytes) -> bytes:
    """An echo request; the kernel fills in what belongs to its own kinds of socket."""
    identity = secrets.randbelow(65536)
    packet = struct.pack("!BBHHH", kind, 0, 0, identity, 1) + token
    total = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return packet[:2] + struct.pack("!H", checksum) + packet[4:]
