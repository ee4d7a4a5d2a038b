"""Services without a queue, for the tests of the supervisor."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from uploaderd.config.settings import ServiceSettings


class Dummy:
    """Turns until it is stopped; what it does on the way is written to `folder`."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._folder = Path(str(settings.behaviour["folder"]))

    def run(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        logging.getLogger("dummy").info("settings: %s", self._settings)
        if (self._folder / "die").exists():
            os._exit(3)
        hoard: list[bytes] = []
        while not stop.is_set():
            beat()
            if (self._folder / "hoard").exists():
                (self._folder / "hoard").unlink()
                hoard.append(b"x" * (200 << 20))
            if (self._folder / "hang").exists():
                (self._folder / "hang").unlink()
                threading.Event().wait()
            time.sleep(0.05)
        time.sleep(float(str(self._settings.behaviour.get("drain_s", 0))))
        (self._folder / f"drained.{os.getpid()}").touch()

    def close(self) -> None:
        """Nothing is open."""
