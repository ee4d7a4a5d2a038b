"""Checked values made complete: defaults, absolute paths, secrets from where they lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from uploaderd.config.check import check
from uploaderd.config.document import Document, KeyPath
from uploaderd.secret import Secret

_SECRETS = ("password", "passphrase")


def complete(file: Document, wanted: dict[str, Any], value: Any, where: KeyPath) -> dict[str, Any]:
    """The checked value with defaults filled in, paths made absolute and secrets fetched."""
    check(file, wanted, value, where)
    filled = _fill(file, wanted, value, where)
    assert isinstance(filled, dict)
    return filled


def _fill(file: Document, wanted: dict[str, Any], value: Any, where: KeyPath) -> Any:
    if wanted.get("format") == "path":
        return file.path.parent.absolute() / Path(value).expanduser()
    properties = wanted.get("properties")
    if not isinstance(value, dict) or properties is None:
        return value
    defaults = {key: each["default"] for key, each in properties.items() if "default" in each}
    filled = {
        key: _fill(file, properties[key], each, (*where, key))
        for key, each in {**defaults, **value}.items()
    }
    for name in _SECRETS:
        sources = (name, f"{name}_file", f"{name}_env", f"{name}_credential")
        given = [key for key in sources if key in filled]
        if len(given) > 1:
            raise file.error((*where, given[1]), f"give either this or {given[0]}, not both")
        if given:
            filled[name] = _secret(file, (*where, given[0]), filled.pop(given[0]))
    return filled


def _secret(file: Document, where: KeyPath, source: Any) -> Secret:
    match str(where[-1]).rpartition("_")[2]:
        case "password" | "passphrase":
            return Secret(source)
        case "env":
            if source not in os.environ:
                raise file.error(where, f"the environment variable {source} is not set")
            return Secret(os.environ[source])
        case "credential":
            folder = os.environ.get("CREDENTIALS_DIRECTORY")
            if folder is None:
                raise file.error(where, "systemd has passed no credentials (LoadCredential=)")
            source = Path(folder) / source
    try:
        text: str = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise file.error(where, f"{source} cannot be read: {reason}") from error
    return Secret(text.split("\n", 1)[0].rstrip("\r"))
