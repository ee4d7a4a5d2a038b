"""The agent's configuration is read, never executed."""

from pathlib import Path

import paramiko
import pytest

from lab.station import Station
from uploaderd.errors import AgentMissing
from uploaderd.station.agent import AgentConfigInvalid, config_of, parse, read_config

GOOD = b"LOCAL_REPO=/d\nDUE_BACKUP=/w/due\nBACKUP_DONE=/w/done\nHALT_FLAG=/w/flag\n"


def test_the_stations_configuration_is_read(sftp: paramiko.SFTPClient, station: Station) -> None:
    config = read_config(sftp, str(station.config_path))
    assert config == station.config
    assert config.index.endswith(b"/.indexerD/files.changed.list")
    assert config.halt_timeout_min == 300


def test_no_configuration_is_no_agent(sftp: paramiko.SFTPClient, tmp_path: Path) -> None:
    with pytest.raises(AgentMissing):
        read_config(sftp, str(tmp_path / "none.cfg"))


def test_a_configuration_that_is_no_file_is_told_by_its_path(
    sftp: paramiko.SFTPClient, tmp_path: Path
) -> None:
    with pytest.raises(AgentConfigInvalid, match=f"{tmp_path} cannot be read: Failure"):
        read_config(sftp, str(tmp_path))


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b"K=plain", b"plain"),
        (b"export K='single $A'  # why", b"single $A"),
        (b'K="two words";', b"two words"),
        (b"A=/x\nK=${A}/y", b"/x/y"),
        (b"K=", b""),
        (b"K=crlf\r", b"crlf"),
    ],
)
def test_values_are_those_of_a_shell(line: bytes, value: bytes) -> None:
    assert parse(line + b"\n")["K"] == value


@pytest.mark.parametrize("value", [b"$(touch x)", b"`id`", b"$NOT_SET", b"'open", b"two words"])
def test_what_only_a_shell_could_do_is_refused(value: bytes) -> None:
    with pytest.raises(AgentConfigInvalid, match="LOCAL_REPO"):
        parse(b"LOCAL_REPO=" + value + b"\n")


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (b"LOCAL_REPO=/\n", "LOCAL_REPO"),
        (b"LOCAL_REPO=data\n", "absolute"),
        (b"HALT_FLAG=/w/../etc/passwd\n", "HALT_FLAG"),
        (b"HALT_FLAG=/w/due\n", "different"),
        (b"HALT_TIMEOUT=soon\n", "minutes"),
        (b"DUE_BACKUP=\n", "DUE_BACKUP"),
    ],
)
def test_senseless_values_are_refused_by_name(extra: bytes, told: str) -> None:
    with pytest.raises(AgentConfigInvalid, match=told):
        config_of(parse(GOOD + extra))


@pytest.mark.parametrize(
    "line", [b"LOCAL_REPO = /d", b"\xef\xbb\xbfLOCAL_REPO=/d", b'{"LOCAL_REPO": "/d"}']
)
def test_a_line_that_only_looks_as_if_it_set_a_key_is_told(line: bytes) -> None:
    with pytest.raises(AgentConfigInvalid, match="line 2: LOCAL_REPO has to stand alone"):
        parse(b"# configuration\n" + line + b"\n")


def test_comments_and_keys_of_others_are_no_concern() -> None:
    parse(b"# LOCAL_REPO = /x\n#LOCAL_REPO=/y\necho LOCAL_REPO=/z\nOTHER = 1\n")
