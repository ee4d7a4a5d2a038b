"""SHA-256 of a file whose pieces may come out of order."""

from __future__ import annotations

import hashlib


class Digest:
    """SHA-256 over pieces that may come out of order."""

    def __init__(self) -> None:
        self.position = 0
        self._sha256 = hashlib.sha256()
        self._early: dict[int, bytes] = {}

    def write(self, offset: int, data: memoryview) -> None:
        """Takes a piece; one that is too early is kept until its turn."""
        if offset != self.position:
            self._early[offset] = bytes(data)
            return
        self._sha256.update(data)
        self.position += len(data)
        while self._early and (later := self._early.pop(self.position, None)) is not None:
            self._sha256.update(later)
            self.position += len(later)

    def hexdigest(self) -> str:
        """Digest of the `position` bytes from the beginning."""
        return self._sha256.hexdigest()
