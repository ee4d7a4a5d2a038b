"""Compares what we have with what the station has, by its own `sha256sum` where it allows that.

`md5sum` where it has no `sha256sum`: against a bad line or disk, one is as good as the other.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import paramiko

from uploaderd.errors import StationError, StationUnreachable
from uploaderd.station.connection import Connection
from uploaderd.station.link import NoSession
from uploaderd.station.outcome import Wanted
from uploaderd.station.part_file import PartFile
from uploaderd.station.reading import Complete
from uploaderd.station.small_file import SmallFile

LOG = logging.getLogger(__name__)
SAMPLE = 32768
SAMPLES = 6
LONGEST_COMMAND = 60_000
"""Bytes of file names in one command; Linux takes 128 KiB in one argument."""
SESSION_S = 30.0
"""How long to wait for a session, where a station allows few; then nothing is verified by hash."""
SESSION_AGAIN_S = 0.2
_ESCAPE = re.compile(rb"\\[\\nr]")
_ESCAPES = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}


@dataclass(frozen=True)
class Tool:
    """A command of the station that hashes files, and how we do the same."""

    command: bytes
    digits: int

    def of(self, part: PartFile | SmallFile) -> str:
        """Our own digest of a file; raises RepositoryError."""
        return part.sha256 if self == SHA256 else part.md5()


SHA256 = Tool(b"sha256sum", 64)
MD5 = Tool(b"md5sum", 32)


class Verifier:
    """Asks the station for hashes, by the better tool that it has."""

    def __init__(self, connection: Connection, timeout_s: float = 600.0) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._lock = threading.Lock()

    @cached_property
    def tool(self) -> Tool | None:
        """The station's tool, asked for once a connection; None if it runs no commands."""
        if self._connection.hash_tool is None:
            line = self._run(b"command -v sha256sum || command -v md5sum || echo none")
            name = line.strip().rsplit(b"/", 1)[-1]
            self._connection.hash_tool = name.decode("ascii", "replace") or "none"
        known = {"sha256sum": SHA256, "md5sum": MD5}
        return known.get(self._connection.hash_tool)

    def ours(self, part: PartFile | SmallFile) -> str:
        """Our digest, by the station's tool; raises RepositoryError."""
        return (self.tool or SHA256).of(part)

    @property
    def command(self) -> bytes:
        """The tool by its name."""
        return (self.tool or SHA256).command

    def remote_hashes(self, files: Sequence[Complete]) -> list[str | None]:
        """The station's digest of each file; None where it gives none.

        Raises StationUnreachable when the connection breaks.
        """
        hashes: list[str | None] = []
        names: list[bytes] = []
        length = 0
        for file in files:
            if length > LONGEST_COMMAND:
                hashes += self._hashes(names)
                names, length = [], 0
            names.append(file.wanted.remote_path)
            length += len(names[-1]) + 3
        return hashes + self._hashes(names)

    def _hashes(self, names: Sequence[bytes]) -> list[str | None]:
        """One process hashes them all; one line a file, but for those that cannot be read."""
        if self.tool is None or not names:
            return [None] * len(names)
        command = b"%s -- %s" % (self.tool.command, b" ".join(map(quoted, names)))
        found = self.parsed(self._run(command))
        return [found.get(name) for name in names]

    def parsed(self, said: bytes) -> dict[bytes, str]:
        """The digest of each path in what the tool has said."""
        digits = (self.tool or SHA256).digits
        found: dict[bytes, str] = {}
        for line in said.split(b"\n"):
            # A backslash in front says that the name is escaped (GNU coreutils).
            escaped, text = line.startswith(b"\\"), line.removeprefix(b"\\")
            digest, name = text[:digits], text[digits + 2 :]
            if escaped:
                name = _ESCAPE.sub(lambda found: _ESCAPES[found[0]], name)
            if len(digest) == digits and _is_hash(digest):
                found[name] = digest.decode("ascii")
        return found

    def _run(self, command: bytes) -> bytes:
        """What a command says, however it ends; nothing if the station runs none."""
        deadline = time.monotonic() + SESSION_S
        with self._lock:
            while True:
                try:
                    return self._connection.run(command, timeout_s=self._timeout_s).output
                except StationUnreachable:
                    raise
                except StationError as error:
                    if not isinstance(error, NoSession) or time.monotonic() > deadline:
                        LOG.debug("no command at the station: %s", error)
                        return b""
                # Those that are open now will not be for long.
                time.sleep(SESSION_AGAIN_S)

    def prefix_matches(self, wanted: Wanted, part: PartFile) -> bool:
        """Whether the bytes that a part file has are those of the station's file.

        By the station's hash of them; where it gives none, by re-reading samples spread over them.
        """
        if self.tool is not None:
            arguments = (part.position, quoted(wanted.remote_path), self.tool.command)
            said = self._run(b"head -c %d <%s | %s" % arguments)[: self.tool.digits]
            if _is_hash(said):
                return said.decode("ascii") == self.ours(part)
        return self._samples_match(wanted.remote_path, part)

    def _samples_match(self, path: bytes, part: PartFile) -> bool:
        last = max(0, part.position - SAMPLE)
        offsets = sorted({last * step // (SAMPLES - 1) for step in range(SAMPLES)})
        client = self._connection.link.sftp_client()
        try:
            with client.open(path, "rb") as remote:
                chunks = [(at, min(SAMPLE, part.position - at)) for at in offsets]
                # To their end: paramiko asks for them in a thread that must not outlive the file.
                samples = list(remote.readv(chunks))
                return samples == [part.read(at, length) for at, length in chunks]
        except (paramiko.SSHException, EOFError, OSError) as error:
            LOG.debug("no samples of %r: %s", path, error)
            return False
        finally:
            client.close()


def quoted(path: bytes) -> bytes:
    """A path as one word of a shell."""
    return b"'" + path.replace(b"'", b"'\\''") + b"'"


def _is_hash(word: bytes) -> bool:
    return len(word) >= MD5.digits and all(byte in b"0123456789abcdef" for byte in word)
