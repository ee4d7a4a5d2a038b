"""The configuration of a station's indexer agent: shell lines that are read, never executed."""

from __future__ import annotations

import errno
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

import paramiko

from uploaderd.errors import AgentMissing, StationError
from uploaderd.station.link import is_broken
from uploaderd.station.pipelined import content

DEFAULT_PATH = b"/etc/node/indexerD.cfg"
SECOND_INDEX = b".v2"
"""What the improved agent appends to the name of its index for the one with sizes and times."""

_LARGEST = 64 * 1024
_DEFAULT_TIMEOUT_MIN = 300
_ASSIGNMENT = re.compile(rb"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$")
_ALMOST = re.compile(rb"[^\w#]*([A-Z_0-9]+)[\"'\s]*[=:]")
"""Blanks before the equals sign, a byte order mark, JSON…"""
_REFERENCE = re.compile(rb"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_COMMENT = re.compile(rb"\s*(?:[;\s]\s*(?:#.*)?)?")


class AgentConfigInvalid(StationError):
    """The agent's configuration is there and makes no sense; the sentence names the key."""

    code = "agent_config"

    def __init__(self, sentence: str, *, hint: str = "") -> None:
        super().__init__(
            sentence,
            hint=hint or "Mend it at the station, or set `agent_config` to the file that is meant.",
        )


@dataclass(frozen=True)
class AgentConfig:
    """What the server needs of `indexerD.cfg`; paths are absolute, as the station's bytes."""

    local_repo: bytes
    """The folder below which measurement files lie."""
    index: bytes
    """`DUE_BACKUP`: the files due for backup."""
    second_index: bytes
    """The improved agent's index with sizes and times; it may not be there."""
    backup_done: bytes
    halt_flag: bytes
    halt_timeout_min: float
    """Minutes after which the agent takes a flag for stale (`find -mmin`), by its mtime."""


def read_config(sftp: paramiko.SFTPClient, path: bytes | str = DEFAULT_PATH) -> AgentConfig:
    """Read and check the agent's configuration.

    Raises AgentMissing if there is no such file, AgentConfigInvalid naming the key if it is wrong,
    and what the connection raises.
    """
    shown = path if isinstance(path, str) else path.decode("utf-8", "replace")
    try:
        text = content(sftp, path, _LARGEST + 1)
    except OSError as error:
        if is_broken(error):
            raise
        if error.errno != errno.ENOENT:
            raise AgentConfigInvalid(
                f"{shown} cannot be read: {error.strerror or error}.",
                hint="It has to be a file that the station's user may read.",
            ) from error
        raise AgentMissing(
            f"The station has no agent configuration {shown}.",
            hint="Install the agent, set the right path, or send a filter for an agentless backup.",
        ) from error
    if len(text) > _LARGEST:
        raise AgentConfigInvalid(f"{shown} is larger than {_LARGEST} bytes.")
    return config_of(parse(text, shown), shown)


def parse(text: bytes, shown: str = "indexerD.cfg") -> dict[str, bytes]:
    """The variables that the lines `KEY=value` set, as a shell would see them.

    Understood are comments, `export`, both kinds of quotes and `$KEY` of an earlier line. Whatever
    else a shell would do (commands, globbing) is an error for a key of ours, and else ignored.
    """
    values: dict[str, bytes] = {}
    for number, line in enumerate(text.replace(b"\r\n", b"\n").split(b"\n"), start=1):
        match = _ASSIGNMENT.match(line)
        if match is None:
            _refuse_almost(line, f"{shown}, line {number}")
            continue
        key = match[1].decode("ascii")
        try:
            values[key] = _value(match[2], values)
        except ValueError as error:
            values.pop(key, None)
            if key in _KEYS:
                raise AgentConfigInvalid(f"{shown}, line {number}, {key}: {error}.") from error
    return values


def config_of(values: Mapping[str, bytes], shown: str = "indexerD.cfg") -> AgentConfig:
    """Check the variables and give them their types; raises AgentConfigInvalid."""
    index = _path(values, "DUE_BACKUP", shown)
    config = AgentConfig(
        local_repo=_path(values, "LOCAL_REPO", shown),
        index=index,
        second_index=_path(values, "DUE_BACKUP_V2", shown, index + SECOND_INDEX),
        backup_done=_path(values, "BACKUP_DONE", shown),
        halt_flag=_path(values, "HALT_FLAG", shown),
        halt_timeout_min=_minutes(values, shown),
    )
    if config.local_repo == b"/":
        raise AgentConfigInvalid(f"{shown}, LOCAL_REPO is the whole disk.")
    working = (config.index, config.second_index, config.backup_done, config.halt_flag)
    if len(set(working)) < len(working):
        raise AgentConfigInvalid(
            f"{shown}: DUE_BACKUP, BACKUP_DONE and HALT_FLAG have to be different files."
        )
    return config


_KEYS = frozenset(
    ("LOCAL_REPO", "DUE_BACKUP", "DUE_BACKUP_V2", "BACKUP_DONE", "HALT_FLAG", "HALT_TIMEOUT")
)


def _refuse_almost(line: bytes, where: str) -> None:
    """Raises AgentConfigInvalid for a line that sets one of our keys, but for no shell."""
    match = _ALMOST.match(line)
    if match is not None and match[1].decode("ascii") in _KEYS:
        raise AgentConfigInvalid(
            f"{where}: {match[1].decode('ascii')} has to stand alone before '='."
        )


def _value(raw: bytes, known: Mapping[str, bytes]) -> bytes:
    """One shell word; raises ValueError for what only a shell could find out."""
    out = b""
    rest = raw.rstrip()
    while rest and not _COMMENT.fullmatch(rest):
        quote = rest[:1]
        if quote in (b"'", b'"'):
            end = rest.find(quote, 1)
            if end < 0:
                raise ValueError("a quote is not closed")
            part, rest = rest[1:end], rest[end + 1 :]
        else:
            match = re.match(rb"[^'\"\s;]+", rest)
            if match is None:
                raise ValueError("more than one word")
            part, rest = match[0], rest[match.end() :]
        out += part if quote == b"'" else _expanded(part, known)
    return out


def _expanded(part: bytes, known: Mapping[str, bytes]) -> bytes:
    """`part` with references to earlier lines replaced."""

    def value(match: re.Match[bytes]) -> bytes:
        name = (match[1] or match[2]).decode("ascii")
        if name not in known:
            raise ValueError(f"${name} is not set before")
        return known[name]

    if b"`" in part or b"\\" in part or b"$" in _REFERENCE.sub(b"", part):
        raise ValueError("only plain values and $KEY are understood; nothing is executed")
    return _REFERENCE.sub(value, part)


def _path(values: Mapping[str, bytes], key: str, shown: str, default: bytes = b"") -> bytes:
    path = values.get(key, default)
    if not path:
        raise AgentConfigInvalid(f"{shown} does not set {key}.")
    if not path.startswith(b"/") or b".." in path.split(b"/") or b"\0" in path:
        text = path.decode("utf-8", "replace")
        raise AgentConfigInvalid(f"{shown}, {key}={text!r}: an absolute path without '..' is due.")
    return b"/" + posixpath.normpath(path).lstrip(b"/")


def _minutes(values: Mapping[str, bytes], shown: str) -> float:
    raw = values.get("HALT_TIMEOUT", b"") or str(_DEFAULT_TIMEOUT_MIN).encode()
    if not re.fullmatch(rb"[0-9]{1,6}", raw) or int(raw) == 0:
        text = raw.decode("utf-8", "replace")
        raise AgentConfigInvalid(f"{shown}, HALT_TIMEOUT={text!r}: whole minutes are due.")
    return float(raw)
