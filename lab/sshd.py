"""A private OpenSSH server on a free loopback port, with accounts of its own.

The server runs in its own mount and process namespaces: its `/etc/passwd` and `/etc/shadow` are
files of the lab's folder, so that password logins work and the machine's accounts are never
touched; and ending its first process ends every session. Where namespaces are not permitted (an
unprivileged container, a user other than root) it serves the present user by key only, and
`Sshd.passwords` says so.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import pwd
import shlex
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.ports import free_ports

SSHD = "/usr/sbin/sshd"
START_S = 30.0


@dataclass(frozen=True)
class Account:
    """One account of a station. With user id 0 it may read whatever the tests have made."""

    name: str = "station"
    password: str = "measure-1"
    uid: int = 0


@dataclass
class Sshd:
    """A running server. `key_file` opens every account; `password` only those in namespaces."""

    folder: Path
    port: int
    accounts: tuple[Account, ...]
    key_file: Path
    host_key_file: Path
    passwords: bool
    process: subprocess.Popen[bytes]
    config: Path
    host: str = "127.0.0.1"

    @property
    def user(self) -> str:
        """Name of the first account."""
        return self.accounts[0].name

    @property
    def password(self) -> str:
        """Password of the first account."""
        return self.accounts[0].password

    @property
    def log(self) -> str:
        """What the server has said so far."""
        return (self.folder / "sshd.log").read_text(errors="replace")

    def stop(self) -> None:
        """Ends the server, and with it every session in its namespace."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """The same server again, on the same port, after `stop`."""
        self.process = _launch(self.folder, self.config, self.accounts, self.passwords)
        _await_banner(self)


def start(
    folder: Path,
    *accounts: Account,
    options: Sequence[str] = (),
    host_key_type: str = "ed25519",
    key_file: Path | None = None,
    home: Path | None = None,
) -> Sshd:
    """Starts a server with its own host key below `folder`.

    `options` are further lines of `sshd_config`; they come first, and the first value of a
    keyword wins. `key_file` is a private key that several servers may share; an SFTP session begins
    in `home`. Raises RuntimeError with the server's log if it does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    passwords = _namespaces_permitted()
    if not passwords:
        accounts = (Account(pwd.getpwuid(os.geteuid()).pw_name, "", os.geteuid()),)
    elif not accounts:
        accounts = (Account(),)
    host_key, key_file = folder / "host_key", key_file or folder / "client_key"
    make_key(host_key, host_key_type)
    make_key(key_file, "ed25519")
    config = folder / "sshd_config"
    for _attempt in range(5):
        port = free_ports(1)[0]
        config.write_text(_config(folder, port, (host_key, key_file), home, options))
        process = _launch(folder, config, accounts, passwords)
        server = Sshd(folder, port, accounts, key_file, host_key, passwords, process, config)
        try:
            _await_banner(server)
        except RuntimeError:
            if "Address already in use" in server.log:
                continue
            raise
        return server
    raise RuntimeError("no free port for sshd was found")


def _config(
    folder: Path,
    port: int,
    keys: tuple[Path, Path],
    home: Path | None,
    options: Sequence[str],
) -> str:
    host_key, key_file = keys
    # Unlike other keywords, this one must not be given twice.
    own = any(line.startswith("Subsystem ") for line in options)
    sftp = "" if own else f"Subsystem sftp internal-sftp -d {home or folder}"
    return "\n".join(
        [
            *options,
            f"Port {port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {host_key}",
            f"PidFile {folder}/sshd.pid",
            f"AuthorizedKeysFile {key_file}.pub",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication yes",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin yes",
            "PrintMotd no",
            "PrintLastLog no",
            "UseDNS no",
            "MaxStartups 500:30:1000",
            "MaxSessions 100",
            "LogLevel VERBOSE",
            sftp,
            "",
        ]
    )


def _launch(
    folder: Path, config: Path, accounts: Sequence[Account], namespaces: bool
) -> subprocess.Popen[bytes]:
    command = [SSHD, "-D", "-e", "-f", str(config)]
    if os.geteuid() == 0 and not namespaces:
        Path("/run/sshd").mkdir(exist_ok=True)
    if namespaces:
        passwd, shadow = _account_files(folder, accounts)
        # sshd wants an empty /run/sshd; this one is seen by nobody else.
        script = (
            "mount -n -t tmpfs tmpfs /run && mkdir /run/sshd && "
            f"mount -n --bind {shlex.quote(str(passwd))} /etc/passwd && "
            f"mount -n --bind {shlex.quote(str(shadow))} /etc/shadow && "
            f"exec {shlex.join(command)}"
        )
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]
    with (folder / "sshd.log").open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _account_files(folder: Path, accounts: Sequence[Account]) -> tuple[Path, Path]:
    names = {account.name for account in accounts}
    present = Path("/etc/passwd").read_text().splitlines()
    kept = [line for line in present if line.split(":")[0] not in names]
    home = folder / "home"
    home.mkdir(exist_ok=True)
    passwd, shadow = folder / "passwd", folder / "shadow"
    passwd.write_text(
        "".join(f"{line}\n" for line in kept)
        + "".join(f"{a.name}:x:{a.uid}:{a.uid}::{home}:/bin/sh\n" for a in accounts)
    )
    shadow.write_text(
        "".join(f"{line.split(':')[0]}:*:19000:0:99999:7:::\n" for line in kept)
        + "".join(f"{a.name}:{_crypt(a.password)}:19000:0:99999:7:::\n" for a in accounts)
    )
    shadow.chmod(0o600)
    return passwd, shadow


def _crypt(password: str) -> str:
    """The password as `/etc/shadow` holds it (SHA-512); Python 3.13 has no such function."""
    library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    salt = "$6$rounds=1000$" + os.urandom(6).hex() + "$"
    hashed: bytes | None = library.crypt(password.encode(), salt.encode())
    if hashed is None:
        raise RuntimeError("this machine's libcrypt does not know SHA-512")
    return hashed.decode()


def _namespaces_permitted() -> bool:
    if os.geteuid() != 0:
        return False
    probe = ["unshare", "--mount", "--pid", "--fork", "true"]
    try:
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def make_key(path: Path, kind: str) -> None:
    """A key pair at `path`, unless there is one."""
    if path.exists():
        return
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)], check=True)


def _await_banner(server: Sshd) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise RuntimeError(f"sshd did not start:\n{server.log}")
        try:
            with socket.create_connection((server.host, server.port), timeout=5) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            time.sleep(0.02)
    server.stop()
    raise RuntimeError(f"sshd did not answer within {START_S:.0f} s:\n{server.log}")
