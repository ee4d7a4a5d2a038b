"""Connections to real sshd stations."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import sshd as lab_sshd
from uploaderd.errors import (
    AuthenticationFailed,
    ConfigError,
    HostKeyChanged,
    StationUnreachable,
)
from uploaderd.secret import Secret
from uploaderd.station.access import Access
from uploaderd.station.connection import connect


@pytest.fixture
def access(sshd: lab_sshd.Sshd, tmp_path: Path) -> Access:
    return Access(
        sshd.host,
        sshd.port,
        sshd.user,
        key_file=sshd.key_file,
        known_hosts=tmp_path / "keys" / "known_hosts",
    )


def with_password(access: Access, sshd: lab_sshd.Sshd, password: str) -> Access:
    if not sshd.passwords:
        pytest.skip("namespaces are not permitted here, so the station has no password accounts")
    return dataclasses.replace(access, key_file=None, password=Secret(password))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_key_opens_a_station_for_commands_and_files(
    access: Access, tmp_path: Path, legacy: bool
) -> None:
    (tmp_path / "a").write_bytes(b"content")
    with connect(dataclasses.replace(access, legacy=legacy)) as connection:
        result = connection.run("echo out; echo err >&2; exit 3")
        assert (result.status, result.output, result.errors) == (3, b"out\n", b"err\n")
        with connection.sftp.open(str(tmp_path / "a")) as file:
            assert file.read() == b"content"


@pytest.mark.parametrize("legacy", [False, True])
def test_a_password_opens_a_station(access: Access, sshd: lab_sshd.Sshd, legacy: bool) -> None:
    opened = dataclasses.replace(with_password(access, sshd, sshd.password), legacy=legacy)
    with connect(opened) as connection:
        assert connection.run("echo in").output == b"in\n"


@pytest.mark.parametrize("legacy", [False, True])
def test_a_wrong_password_is_an_authentication_error_that_does_not_show_it(
    access: Access, sshd: lab_sshd.Sshd, legacy: bool
) -> None:
    wrong = dataclasses.replace(with_password(access, sshd, "oh-no-7"), legacy=legacy)
    with pytest.raises(AuthenticationFailed) as caught:
        connect(wrong)
    assert "oh-no-7" not in str(caught.value)
    assert sshd.user in str(caught.value)


@pytest.fixture
def ssh_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A running ssh-agent without keys; its socket."""
    if shutil.which("ssh-agent") is None:
        pytest.skip("there is no ssh-agent")
    # The name of a socket may have 108 bytes.
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "agent")
        with subprocess.Popen(["ssh-agent", "-D", "-a", place], stdout=subprocess.DEVNULL) as agent:
            try:
                deadline = time.monotonic() + 60
                while not place.exists():
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
                yield place
            finally:
                agent.terminate()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_key_of_the_ssh_agent_opens_a_station_if_it_may_be_asked(
    access: Access, ssh_agent: Path, legacy: bool
) -> None:
    own = dataclasses.replace(access, key_file=None, legacy=legacy)
    with pytest.raises(AuthenticationFailed):
        connect(dataclasses.replace(own, use_agent=True))
    subprocess.run(["ssh-add", "-q", str(access.key_file)], check=True)
    with pytest.raises(AuthenticationFailed):
        connect(own)
    with connect(dataclasses.replace(own, use_agent=True)) as connection:
        assert connection.run("echo in").output == b"in\n"


@pytest.mark.parametrize("kind", [("ed25519",), ("rsa", "-m", "PEM")], ids=["openssh", "pem"])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_key_with_a_passphrase_opens_a_station(
    access: Access, tmp_path: Path, kind: tuple[str, ...], legacy: bool
) -> None:
    locked = tmp_path / "locked"
    make = ["ssh-keygen", "-q", "-N", "open sesame", "-f", str(locked), "-t", *kind]
    subprocess.run(make, check=True)
    station = lab_sshd.start(tmp_path / "station", key_file=locked)
    try:
        own = dataclasses.replace(access, port=station.port, key_file=locked, legacy=legacy)
        with connect(dataclasses.replace(own, passphrase=Secret("open sesame"))) as connection:
            assert connection.run("echo in").output == b"in\n"
        with pytest.raises((ConfigError, AuthenticationFailed)):
            connect(dataclasses.replace(own, passphrase=Secret("open barley")))
    finally:
        station.stop()


def test_a_key_that_is_none_is_told_by_its_file(access: Access, tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("no key")
    with pytest.raises(ConfigError, match="bad"):
        connect(dataclasses.replace(access, key_file=tmp_path / "bad"))


def test_nobody_at_the_port_is_unreachable(access: Access) -> None:
    with pytest.raises(StationUnreachable, match="refuses connections"):
        connect(dataclasses.replace(access, port=1))


@pytest.mark.parametrize("legacy", [False, True])
def test_the_first_key_is_pinned_and_another_one_is_an_alarm(
    access: Access, tmp_path: Path, legacy: bool
) -> None:
    access = dataclasses.replace(access, legacy=legacy)
    connect(access).close()
    text = access.known_hosts.read_text()
    assert "ssh-ed25519" in text
    connect(access).close()
    assert access.known_hosts.read_text() == text

    impostor = lab_sshd.start(tmp_path / "impostor")
    try:
        moved = dataclasses.replace(access, port=impostor.port, key_file=impostor.key_file)
        moved.known_hosts.write_text(text.replace(str(access.port), str(impostor.port)))
        with pytest.raises(HostKeyChanged, match="No connection was made"):
            connect(moved)
        assert "Accepted" not in impostor.log
        connect(dataclasses.replace(moved, host_key_policy="insecure")).close()
    finally:
        impostor.stop()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_strict_policy_wants_a_pinned_key(access: Access, legacy: bool) -> None:
    strict = dataclasses.replace(access, host_key_policy="strict", legacy=legacy)
    with pytest.raises(HostKeyChanged):
        connect(strict)
    connect(access).close()
    connect(strict).close()


def test_many_first_contacts_at_once_pin_one_key(access: Access) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for connection in pool.map(lambda _: connect(access), range(8)):
            connection.close()
    assert len(access.known_hosts.read_text().splitlines()) == 1


def test_an_ssh_agent_that_answers_no_sense_is_told_and_the_password_is_tried(
    access: Access, sshd: lab_sshd.Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = dataclasses.replace(with_password(access, sshd, sshd.password), use_agent=True)
    # A socket's path must be short.
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/agent")
        listener.listen()
        monkeypatch.setenv("SSH_AUTH_SOCK", f"{folder}/agent")

        def answer() -> None:
            for _ in range(2):
                with listener.accept()[0] as asked:
                    asked.recv(100)
                    asked.sendall(b"\0\0\0\1\5")

        answering = threading.Thread(target=answer)
        answering.start()
        with pytest.raises(AuthenticationFailed, match="ssh-agent"):
            connect(dataclasses.replace(own, password=None))
        with connect(own) as connection:
            assert connection.run("echo in").output == b"in\n"
        answering.join()
