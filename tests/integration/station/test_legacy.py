"""A station whose sshd knows only what OpenSSH 6 of Debian 7 knows, and how it is reached."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import sshd as lab_sshd
from uploaderd.ctl.main import main
from uploaderd.errors import HostKeyChanged, StationError
from uploaderd.station.access import Access
from uploaderd.station.connection import connect
from uploaderd.station.transfer import Fetched, Wanted, fetch

SHA1_ONLY = (
    "HostKeyAlgorithms ssh-rsa",
    "KexAlgorithms diffie-hellman-group14-sha1",
    # This sshd announces rsa-sha2 whatever it takes; one of OpenSSH 6 announces nothing.
    "PubkeyAcceptedAlgorithms +ssh-rsa",
    "Ciphers aes128-cbc",
    "MACs hmac-sha1",
)


@pytest.fixture(scope="module")
def old_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab_sshd.Sshd]:
    folder = tmp_path_factory.mktemp("old")
    key = folder / "rsa_key"
    lab_sshd.make_key(key, "rsa")
    server = lab_sshd.start(folder / "sshd", options=SHA1_ONLY, host_key_type="rsa", key_file=key)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def access(old_sshd: lab_sshd.Sshd, tmp_path: Path) -> Access:
    return Access(
        old_sshd.host,
        old_sshd.port,
        old_sshd.user,
        key_file=old_sshd.key_file,
        known_hosts=tmp_path / "known_hosts",
    )


def test_without_the_setting_it_is_refused_and_the_error_names_the_setting(access: Access) -> None:
    with pytest.raises(StationError, match="shares no algorithm") as raised:
        connect(access)
    assert "legacy" in raised.value.hint
    assert not access.known_hosts.exists()


def test_with_the_setting_files_come_home_over_sha1(access: Access, tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(os.urandom(300_000))
    with connect(dataclasses.replace(access, legacy=True)) as connection:
        wanted = Wanted(os.fsencode(source), tmp_path / "target.bin")
        outcomes = list(fetch(connection, [wanted]))
    assert [type(outcome) for outcome in outcomes] == [Fetched]
    assert (tmp_path / "target.bin").read_bytes() == source.read_bytes()
    assert "ssh-rsa" in access.known_hosts.read_text()


def test_a_changed_key_of_an_old_station_is_an_alarm_too(access: Access, tmp_path: Path) -> None:
    other = tmp_path / "other"
    lab_sshd.make_key(other, "rsa")
    kind, blob, *_ = Path(f"{other}.pub").read_text().split()
    access.known_hosts.write_text(f"[127.0.0.1]:{access.port} {kind} {blob}\n")
    with pytest.raises(HostKeyChanged, match="pinned"):
        connect(dataclasses.replace(access, legacy=True))


def test_doctor_says_what_an_old_station_offers_and_what_to_set(
    access: Access, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["doctor", "ssh", access.host, "--port", str(access.port), "--user", access.user]
    command += ["--key-file", str(access.key_file), "--known-hosts", str(access.known_hosts)]
    assert main(command) == 1
    told = capsys.readouterr().out
    assert "diffie-hellman-group14-sha1" in told
    assert "FAIL key exchange" in told
    assert "legacy" in told.splitlines()[-1]
    assert main([*command, "--legacy"]) == 0
    assert "OK   sftp" in capsys.readouterr().out
