"""Compares what we have with what the station has, by its own `sha256sum` where it allows that."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import paramiko

from uploaderd.errors import StationError, StationUnreachable
from uploaderd.station.connection import Connection
from uploaderd.station.outcome import Wanted
from uploaderd.station.part_file import PartFile

LOG = logging.getLogger(__name__)
SAMPLE = 32768
SAMPLES = 6
LONGEST_COMMAND = 60_000
"""Bytes of file names in one command; Linux takes 128 KiB in one argument."""


class Verifier:
    """Asks the station for hashes; remembers, and tells once, when it gives none."""

    def __init__(self, connection: Connection, timeout_s: float = 600.0) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._commands = True

    def remote_hashes(self, paths: Sequence[bytes]) -> list[str | None]:
        """SHA-256 of each remote file in hexadecimal; None where the station gives none."""
        hashes: list[str | None] = []
        names: list[bytes] = []
        for path in paths:
            names.append(_quoted(path))
            if sum(map(len, names)) > LONGEST_COMMAND:
                hashes += self._hashes(names)
                names = []
        return hashes + (self._hashes(names) if names else [])

    def _hashes(self, names: Sequence[bytes]) -> list[str | None]:
        # By standard input, so that no name is printed, escaped or taken for an option.
        loop = b"for f in " + b" ".join(names) + b'; do sha256sum <"$f" || echo -; done'
        return self._ask(loop, len(names))

    def _ask(self, command: bytes, answers: int) -> list[str | None]:
        nothing: list[str | None] = [None] * answers
        with self._lock:
            if not self._commands:
                return nothing
            try:
                lines = self._connection.run(command, timeout_s=self._timeout_s).output.split(b"\n")
            except StationUnreachable:
                raise
            except StationError as error:
                lines = []
                LOG.debug("no command at the station: %s", error)
            found = [_hash(line) for line in lines[:answers]]
            if len(lines) != answers + 1 or not any(found):
                self._commands = False
                return nothing
            return found

    def prefix_matches(self, wanted: Wanted, part: PartFile) -> bool:
        """Whether the bytes that a part file has are those of the station's file.

        By the station's hash of them; where it gives none, by re-reading samples spread over them.
        """
        name = _quoted(wanted.remote_path)
        (found,) = self._ask(b"head -c %d <%s | sha256sum" % (part.position, name), 1)
        if found is not None:
            return found == part.digest.hexdigest()
        return self._samples_match(wanted.remote_path, part)

    def _samples_match(self, path: bytes, part: PartFile) -> bool:
        last = max(0, part.position - SAMPLE)
        offsets = sorted({last * step // (SAMPLES - 1) for step in range(SAMPLES)})
        client = self._connection.link.sftp_client()
        try:
            with client.open(path, "rb") as remote:
                chunks = [(at, min(SAMPLE, part.position - at)) for at in offsets]
                return all(
                    data == part.read(at, length)
                    for (at, length), data in zip(chunks, remote.readv(chunks), strict=True)
                )
        except (paramiko.SSHException, EOFError, OSError) as error:
            LOG.debug("no samples of %r: %s", path, error)
            return False
        finally:
            client.close()


def _quoted(path: bytes) -> bytes:
    return b"'" + path.replace(b"'", b"'\\''") + b"'"


def _hash(line: bytes) -> str | None:
    word = line.split(b" ")[0].decode("ascii", "replace").lower()
    return word if len(word) == 64 and all(c in "0123456789abcdef" for c in word) else None
