"""What a program that starts for each message must not pay for, and must not show."""

from __future__ import annotations

import contextlib
import re
import sys
import types
from pathlib import Path

_ASYNCIO = "pika.adapters.asyncio_connection"
_SECRETS = re.compile(
    rb"((?:^|\0)(?:(?:user|passwd|password)=|--password[=\0])"
    rb'|amqps?://[^\0:/@]*:|"(?:passwd|password)"\s*:)([^\0]+)'
)
_ARGUMENTS = 45
"""Place of `arg_start` in /proc/self/stat behind the name of the program (proc(5): field 48)."""


def import_pika() -> None:
    """Imports pika without its adapter for asyncio, which takes a third of pika's time.

    Nothing here uses that adapter; an empty module stands in its place while pika is imported, and
    who asks for the adapter afterwards gets the true one.
    """
    if "pika" in sys.modules:
        return
    empty = types.ModuleType(_ASYNCIO)
    vars(empty)["AsyncioConnection"] = None
    sys.modules[_ASYNCIO] = empty
    try:
        import pika  # noqa: F401 - it is there from now on, for those who use it
    finally:
        del sys.modules[_ASYNCIO]


def hide_arguments() -> None:
    """Overwrites user and password in this process's arguments, as `ps` shows them to everybody.

    Where Linux does not let a process write there, they stay: keys at the stations and
    `--password-file` keep secrets off command lines altogether.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        stat = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        begin, end = int(stat[_ARGUMENTS]), int(stat[_ARGUMENTS + 1])
        with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
            memory.seek(begin)
            shown = memory.read(end - begin)
            memory.seek(begin)
            memory.write(masked(shown))


def masked(arguments: bytes) -> bytes:
    """NUL-separated arguments with secrets as stars, as long as before."""
    return _SECRETS.sub(lambda found: found[1] + b"*" * len(found[2]), arguments)
