"""Identities that are derived, never drawn: the same file or flow has the same id everywhere."""

from __future__ import annotations

import hashlib


def file_id(host_id: int, remote_path: bytes | str, size: int, mtime_ns: int) -> str:
    """32 hexadecimal digits that name one version of one file of one station.

    The first eight are the mtime in Unix seconds, the others a hash of all that tells files apart.
    So ids sort by time, and the ledger, which is ordered by them, has what is written together
    in one place: new rows fold with few old ones (decision 0110).

    A path in bytes and its text (with `surrogateescape`) give the same id.
    """
    path = remote_path if isinstance(remote_path, bytes) else _bytes(remote_path)
    head = f"file\0{host_id}\0{size}\0{mtime_ns}\0".encode()
    seconds = min(max(mtime_ns // 1_000_000_000, 0), 0xFFFF_FFFF)
    return f"{seconds:08x}{hashlib.sha256(head + path).hexdigest()[:24]}"


def spectrum_id(sha256: str, flow: int) -> str:
    """32 hexadecimal digits that name one flow of one file content: 24 of its hash, 8 the flow.

    Flows of a file share what they begin with, so that their ids compress to a tenth.
    """
    return f"{sha256[:24].lower()}{flow:08x}"


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
