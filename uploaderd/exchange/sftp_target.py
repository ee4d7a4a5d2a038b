"""A target reached by SFTP: exports go into its inbox, receipts are read beside them."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from uploaderd import clock
from uploaderd.errors import RemoteFileError, UploaderError
from uploaderd.exchange.export import Manifest, Title
from uploaderd.exchange.receipts import Receipt
from uploaderd.exchange.target import Finding, clock_step, room_step
from uploaderd.exchange.upload import guarded, make_folders, put
from uploaderd.station import disk
from uploaderd.station.access import Access
from uploaderd.station.connection import Connection, connect
from uploaderd.station.pipelined import content

LARGEST_RECEIPT = 16 << 20


class SftpTarget:
    """The inbox of a `receive` service on another server."""

    def __init__(self, access: Access, folder: str, sender: str) -> None:
        self._access = access
        self._folder = folder
        self._sender = sender
        self._open: Connection | None = None

    @property
    def connection(self) -> Connection:
        """Made at first use. Raises StationError."""
        if self._open is None:
            self._open = connect(self._access)
        return self._open

    def __enter__(self) -> SftpTarget:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def receipt(self) -> Receipt:
        """Raises RemoteFileError for one that is damaged."""
        place = posixpath.join(self._folder, f"{self._sender}.receipt.json")
        with guarded(self.connection):
            try:
                text = content(self.connection.sftp, place, LARGEST_RECEIPT)
            except FileNotFoundError:
                return Receipt(self._sender)
        try:
            found = Receipt.of_json(text)
        except ValueError as error:
            raise RemoteFileError(f"The receipt {place} is damaged: {error}.") from error
        if found.sender != self._sender:
            raise RemoteFileError(f"The receipt {place} is for {found.sender}.")
        return found

    def highest(self) -> int:
        """By the names in the inbox and among what is kept."""
        names: list[str] = []
        with guarded(self.connection):
            for folder in (self._folder, posixpath.join(self._folder, "kept")):
                try:
                    names += self.connection.sftp.listdir(folder)
                except FileNotFoundError:
                    continue
        titles = (Title.of(name.removesuffix(".part")) for name in names)
        return max((t.sequence for t in titles if t and t.sender == self._sender), default=0)

    def free_bytes(self) -> int | None:
        """Of the inbox's disk; the inbox is made."""
        with guarded(self.connection):
            make_folders(self.connection.sftp, self._folder)
        return self._space()

    def deliver(self, path: Path, manifest: Manifest, beat: Callable[[], None]) -> None:  # noqa: ARG002 - the file tells all
        """By SFTP into the inbox."""
        put(self.connection, path, posixpath.join(self._folder, path.name), beat)

    def bring(self, path: Path, name: str, beat: Callable[[], None]) -> None:
        """A measurement file, to its place below `media`."""
        put(self.connection, path, posixpath.join(self._folder, "media", name), beat)

    def check(self, floor_bytes: int) -> Iterator[Finding]:
        """The inbox is written to, as for an export."""
        try:
            yield Finding("connect", True, f"{self.connection.access.address} lets us in")
        except UploaderError as error:
            yield Finding("connect", False, str(error))
            return
        room = partial(self._room, floor_bytes)
        for step, look in (
            ("write", self._written_and_read),
            ("clock", self._clock),
            ("room", room),
        ):
            try:
                yield look()
            except UploaderError as error:
                yield Finding(step, False, f"{self._folder}: {error}")
                if not isinstance(error, RemoteFileError):
                    return

    def _written_and_read(self) -> Finding:
        place = posixpath.join(self._folder, f".{self._sender}.check")
        said = str(time.time_ns()).encode()
        with guarded(self.connection):
            sftp = self.connection.sftp
            make_folders(sftp, self._folder)
            with sftp.open(place, "wb") as file:
                file.write(said)
            same = content(sftp, place, 100) == said
            sftp.remove(place)
        text = "written, read back and removed" if same else "what was written reads otherwise"
        return Finding("write", same, f"{self._folder}: {text}")

    def _room(self, floor_bytes: int) -> Finding:
        return room_step(self._space(), floor_bytes)

    def _space(self) -> int | None:
        with guarded(self.connection):
            found = disk.space(self.connection, self._folder.encode())
        return found[0] if found else None

    def _clock(self) -> Finding:
        with guarded(self.connection):
            said = self.connection.run("date +%s", timeout_s=30.0).output.strip()
        if not said.isdigit():
            return Finding("clock", True, "it runs no commands: its clock is not known")
        return clock_step(int(said) - clock.seconds())
