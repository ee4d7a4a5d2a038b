"""Throw-away certificates by the openssl command: a CA, servers and clients."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """A certificate authority that lives in a folder."""

    folder: Path
    certificate: Path
    key: Path

    def issue(
        self, name: str, *, hosts: str = "DNS:localhost,IP:127.0.0.1", days: int = 30
    ) -> Pair:
        """A new pair for the common name; `days` below zero gives one that has expired."""
        key, request = self.folder / f"{name}.key", self.folder / f"{name}.csr"
        certificate, extensions = self.folder / f"{name}.pem", self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={hosts}\nextendedKeyUsage=serverAuth,clientAuth\n")
        _openssl("req", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        signing: list[str | Path] = ["-CA", self.certificate, "-CAkey", self.key]
        outcome: list[str | Path] = ["-out", certificate, "-extfile", extensions]
        span = ["-days", str(days)]
        _openssl("x509", "-req", "-in", request, *signing, "-CAcreateserial", *outcome, *span)
        return Pair(certificate, key)


_NEW_KEY: tuple[str, ...] = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def authority(folder: Path, name: str = "throw-away") -> Authority:
    """A new self-signed authority whose files are written to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Authority(folder, folder / f"{name}-ca.pem", folder / f"{name}-ca.key")
    subject = ("-days", "30", "-subj", f"/CN={name} authority")
    _openssl("req", "-x509", *_NEW_KEY, "-keyout", made.key, "-out", made.certificate, *subject)
    return made


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")
