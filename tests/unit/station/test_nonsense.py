"""A station whose SFTP server answers nonsense: an error with a name, and no endless work."""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable
from contextlib import suppress

import paramiko
import pytest
from paramiko.sftp import (
    CMD_ATTRS,
    CMD_DATA,
    CMD_HANDLE,
    CMD_NAME,
    CMD_OPEN,
    CMD_OPENDIR,
    CMD_READ,
    CMD_READDIR,
    CMD_STATUS,
    SFTP_EOF,
    SFTP_OK,
)

from lab import nonsense
from lab.nonsense import string
from uploaderd.errors import StationError, StationUnreachable
from uploaderd.services.holding import named_errors
from uploaderd.station import index, paths
from uploaderd.station.agent import AgentConfig, config_of, parse, read_config
from uploaderd.station.discovery import find, walk
from uploaderd.station.filters import parse as parse_filter
from uploaderd.station.halt import HaltFlag, Patience
from uploaderd.station.paths import LONGEST_PATH, Refused

OK = bytes([CMD_STATUS]) + struct.pack(">I", SFTP_OK) + string(b"") * 2
EOF = bytes([CMD_STATUS]) + struct.pack(">I", SFTP_EOF) + string(b"") * 2
HANDLE = bytes([CMD_HANDLE]) + string(b"h")
FOLDER = bytes([CMD_ATTRS]) + struct.pack(">IQI", 5, 0, stat.S_IFDIR | 0o755)
SIZE = bytes([CMD_ATTRS]) + struct.pack(">IQ", 1, 100)


def config() -> AgentConfig:
    return config_of(
        parse(b"LOCAL_REPO=/d\nDUE_BACKUP=/w/due\nBACKUP_DONE=/w/done\nHALT_FLAG=/w/flag\n")
    )


def take_the_flag(sftp: paramiko.SFTPClient) -> None:
    with HaltFlag(sftp, config(), patience=Patience(1, 0, 0, 0)):
        pytest.fail("the flag was taken")


USES: dict[str, Callable[[paramiko.SFTPClient], object]] = {
    "agent configuration": read_config,
    "index": lambda sftp: list(index.entries(sftp, config())),
    "rewriting": lambda sftp: index.remove(sftp, config(), {b"/d/a"}),
    "done list": lambda sftp: index.append_done(sftp, config(), [b"/d/a"]),
    "paths": lambda sftp: list(paths.screen(sftp, config(), [b"/d/a", b"/d/b"])),
    "flag": take_the_flag,
    "discovery": lambda sftp: find(sftp, parse_filter({"mode": "ALL", "file_path": "/d"})),
}
REPLIES: dict[str, dict[int, bytes]] = {
    "success instead of an answer": {},
    "a reading of nothing": {CMD_OPEN: HANDLE, CMD_READ: bytes([CMD_DATA]) + string(b"")},
    "success instead of data": {CMD_OPEN: HANDLE, CMD_OPENDIR: HANDLE},
    "attributes instead of a handle": {CMD_OPEN: SIZE, CMD_OPENDIR: SIZE},
    "a type that does not exist": dict.fromkeys(range(256), b"\xfa" + bytes(40)),
    "empty answers": dict.fromkeys(range(256), b"\xfa"),
    "fewer names than told": {
        CMD_OPENDIR: HANDLE,
        CMD_READDIR: bytes([CMD_NAME]) + struct.pack(">I", 0xFFFFFFFF),
    },
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("replies", REPLIES)
def test_nonsense_ends_in_an_error_with_a_name_if_in_any(use: str, replies: str) -> None:
    known = REPLIES[replies]
    if use == "discovery" and replies == "a reading of nothing":
        known = {CMD_OPENDIR: HANDLE, CMD_READDIR: FOLDER}

    def reply(asked: int, _rest: bytes) -> bytes:
        if asked == 8:  # FSTAT: a size, so that there is something to read.
            return known.get(asked, SIZE)
        return known.get(asked, OK)

    with nonsense.session(reply) as sftp, suppress(StationError), named_errors("station:22"):
        USES[use](sftp)


def test_the_error_says_what_is_wrong() -> None:
    with (
        nonsense.session(lambda *_: SIZE) as sftp,
        pytest.raises(StationUnreachable, match="SFTP server answers request 3 by packet 105"),
        named_errors("station:22"),
    ):
        read_config(sftp)


@pytest.mark.parametrize("name", [b"..", b"x" * 200])
def test_folders_without_end_are_refused_at_last(name: bytes) -> None:
    asked = []
    listing = bytes([CMD_NAME]) + struct.pack(">I", 1) + string(name) + string(b"") + FOLDER[1:]

    def reply(kind: int, rest: bytes) -> bytes:
        if kind == CMD_OPENDIR:
            asked.append(rest)
            return HANDLE
        if kind == CMD_READDIR:
            # Once a folder, then its end.
            answer, told[0] = (EOF, False) if told[0] else (listing, True)
            return answer
        return OK

    told = [False]
    with nonsense.session(reply) as sftp:
        found = list(walk(sftp, b"/d"))
    assert len(asked) <= LONGEST_PATH // len(name) + 1
    assert all(isinstance(one, Refused) for one in found)


def test_a_listing_that_climbs_names_no_folder() -> None:
    listing = bytes([CMD_NAME]) + struct.pack(">I", 1) + string(b"../../etc") + string(b"")
    told = [EOF, listing + FOLDER[1:]]

    def reply(kind: int, _rest: bytes) -> bytes:
        if kind == CMD_READDIR:
            return told.pop() if told else EOF
        return HANDLE if kind == CMD_OPENDIR else OK

    with nonsense.session(reply) as sftp:
        (refused,) = walk(sftp, b"/d")
    assert isinstance(refused, Refused)
    assert refused.code == "name"
