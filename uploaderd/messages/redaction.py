"""Masking of secrets in what is shown."""

from __future__ import annotations

import re
from typing import Any

from uploaderd.secret import MASK

_SECRET_KEY = re.compile(r"pass(wd|word|phrase|wrd)?$|secret|token|private.?key|credential", re.I)
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]*(?=@)")


def is_secret_key(key: str) -> bool:
    """True if the value under this key must not be shown."""
    return _SECRET_KEY.search(key) is not None


def redact(value: Any) -> Any:
    """A copy with every value under a secret-like key, and passwords in URLs, as `*****`.

    Goes into dicts, lists and tuples; what is not one of those or a string is given back as it is.
    """
    if isinstance(value, dict):
        return {
            key: MASK if isinstance(key, str) and is_secret_key(key) and item else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact(item) for item in value]
    if isinstance(value, str):
        return _URL_PASSWORD.sub(rf"\1:{MASK}", value)
    return value
