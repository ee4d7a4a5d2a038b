"""What the driver's tests import of their helpers, and its source archive leaves out."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest


def configure(level: str) -> None:
    """Logs of the driver from this level on."""
    logging.getLogger().setLevel(level)


def skip_by_server_version(_test: object, version: tuple[int, ...]) -> None:
    """Skips a test of something newer than the server."""
    pytest.skip(f"needs {'.'.join(map(str, version))}")


def require_server_version(*version: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Skips the method if the server is older."""

    def around(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
            self.client.connection.connect()
            if self.client.connection.server_info.version_tuple() < version:
                skip_by_server_version(self, version)
            return method(self, *args, **kwargs)

        return checked

    return around


@contextlib.contextmanager
def capture_logging(name: str, level: str) -> Iterator[io.StringIO]:
    """The text that a logger writes."""
    text, logger = io.StringIO(), logging.getLogger(name)
    handler, before = logging.StreamHandler(text), logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield text
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


@contextlib.contextmanager
def patch_env_tz(name: str) -> Iterator[None]:
    """Another time zone of the process."""
    with patch.dict(os.environ, {"TZ": name}):
        time.tzset()
        yield
    time.tzset()


def check_numpy(method: Callable[..., Any]) -> Callable[..., Any]:
    """NumPy is always there."""
    return method
