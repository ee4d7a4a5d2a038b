from __future__ import annotations

import base64
import hmac
from pathlib import Path

import pytest

from uploaderd.errors import ConfigError, HostKeyChanged
from uploaderd.station.access import Access
from uploaderd.station.known_hosts import HostKey, check, pinned

KEY = HostKey("ssh-ed25519", b"\0\0\0\x0bssh-ed25519 one")
OTHER = HostKey("ssh-ed25519", b"\0\0\0\x0bssh-ed25519 two")


def test_a_key_is_pinned_once_beside_those_of_other_stations(tmp_path: Path) -> None:
    file = tmp_path / "new" / "known_hosts"
    check(Access("a", known_hosts=file), KEY)
    check(Access("a", 2222, known_hosts=file), OTHER)
    check(Access("a", known_hosts=file), KEY)
    assert pinned(file, "a", 22) == (KEY,)
    assert pinned(file, "a", 2222) == (OTHER,)
    with pytest.raises(HostKeyChanged, match=r"ssh-keygen -R '\[a\]:2222'"):
        check(Access("a", 2222, known_hosts=file), KEY)


def test_lines_that_openssh_writes_are_read(tmp_path: Path) -> None:
    blob = base64.b64encode(KEY.blob).decode()
    salt = b"twenty bytes of salt"
    digest = hmac.digest(salt, b"hashed", "sha1")
    hashed = f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
    file = tmp_path / "known_hosts"
    file.write_text(f"# told\n\na,b ssh-ed25519 {blob} comment\n{hashed} ssh-ed25519 {blob}\n")
    for host in ("a", "b", "hashed"):
        assert pinned(file, host, 22) == (KEY,)
    assert pinned(file, "c", 22) == ()


@pytest.mark.parametrize("line", ["a ssh-ed25519", "a ssh-ed25519 ???", "@revoked a ssh-rsa AAAA"])
def test_a_line_that_is_not_understood_is_no_free_pass(tmp_path: Path, line: str) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"# first\n{line}\n")
    with pytest.raises(ConfigError, match="known_hosts:2"):
        check(Access("a", known_hosts=file), KEY)
