"""The daemon's own list of host keys, in the format of OpenSSH's `known_hosts`.

Format: sshd(8), section SSH_KNOWN_HOSTS FILE FORMAT. Plain and hashed (`|1|`) host names are read,
plain ones are written, so that the file also serves the system's `ssh`. The file is replaced as a
whole under a lock; a reader sees the old or the new one and needs none.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import hmac
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from uploaderd.errors import ConfigError, HostKeyChanged, RepositoryError
from uploaderd.station.access import Access


@dataclass(frozen=True)
class HostKey:
    """One public key: its type (`ssh-ed25519`) and its blob as RFC 4253 has it."""

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it: `SHA256:…`."""
        digest = hashlib.sha256(self.blob).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def host_name(host: str, port: int) -> str:
    """The name that a station has in the file: `host`, or `[host]:port` off port 22."""
    return host if port == 22 else f"[{host}]:{port}"


def pinned(path: Path, host: str, port: int) -> tuple[HostKey, ...]:
    """The keys pinned for a station; none if the file does not exist.

    Raises ConfigError, with file and line, for a line of this station that cannot be understood:
    to pass over it would be to trust whatever comes.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the pinned host keys cannot be read: {error}.") from error
    name = host_name(host, port)
    keys = []
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        if fields[0].startswith("@"):
            raise ConfigError(f"{path}:{number}: marker {fields[0]} is not supported.")
        if not any(_matches(pattern, name) for pattern in fields[0].split(",")):
            continue
        try:
            keys.append(HostKey(fields[1], base64.b64decode(fields[2], validate=True)))
        except (IndexError, binascii.Error) as error:
            raise ConfigError(
                f"{path}:{number}: the line of {name} is damaged.",
                hint="Mend it from a copy, or remove it to pin the station's key anew.",
            ) from error
    return tuple(keys)


def check(access: Access, key: HostKey) -> None:
    """Compares the key that a station shows with the pinned ones; pins it if policy allows.

    Raises HostKeyChanged if it is another one, or if none is pinned and policy is `strict`.
    """
    if access.host_key_policy == "insecure":
        return
    known = pinned(access.known_hosts, access.host, access.port)
    if not known and access.host_key_policy == "accept-new":
        known = (_pin(access.known_hosts, access.host, access.port, key),)
    if not known:
        raise HostKeyChanged(
            f"No host key is pinned for {access.address}, which shows {key.kind} "
            f"{key.fingerprint}, and policy is strict.",
            hint=f"Compare the fingerprint at the station, then add the key to "
            f"{access.known_hosts} (ssh-keyscan writes the line).",
        )
    if key not in known:
        pins = ", ".join(f"{one.kind} {one.fingerprint}" for one in known)
        raise HostKeyChanged(
            f"{access.address} shows host key {key.kind} {key.fingerprint}, but {pins} is pinned: "
            "another machine answers, or the station was set up anew. No connection was made.",
            hint=f"If the new key is right, remove the old one: ssh-keygen -R "
            f"'{host_name(access.host, access.port)}' -f {access.known_hosts}",
        )


def _matches(pattern: str, name: str) -> bool:
    if not pattern.startswith("|1|"):
        return pattern == name
    try:
        _, _, salt, digest = pattern.split("|")
        expected = base64.b64decode(digest)
        found = hmac.digest(base64.b64decode(salt), name.encode(), "sha1")
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(expected, found)


def _pin(path: Path, host: str, port: int, key: HostKey) -> HostKey:
    """Adds the key unless somebody was quicker; gives the key that is pinned now."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_name(path.name + ".lock")):
            known = pinned(path, host, port)
            if known:
                return key if key in known else known[0]
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            if text and not text.endswith("\n"):
                text += "\n"
            blob = base64.b64encode(key.blob).decode()
            _replace(path, f"{text}{host_name(host, port)} {key.kind} {blob}\n")
            return key
    except OSError as error:
        raise RepositoryError(
            f"The host key of {host} cannot be pinned in {path}: {error}.",
            hint="The daemon's user needs to write there.",
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
