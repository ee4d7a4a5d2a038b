"""Strict JSON: what two readers could understand differently is refused.

RFC 8259 leaves duplicate names undefined and has no NaN or Infinity; Python's reader takes both.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from uploaderd.errors import MessageError

MAXIMUM_BYTES = 16 * 1024 * 1024


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MessageError(f"The message's JSON has the key {twice!r} twice in one object.")
    return made


def _constant(name: str) -> NoReturn:
    raise MessageError(f"The message's JSON has {name}, which is not a JSON number.")


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def decode(body: bytes) -> object:
    """The value of a message body in UTF-8; MessageError with line and column if it is not JSON."""
    if len(body) > MAXIMUM_BYTES:
        raise MessageError(
            f"The message has {len(body)} bytes, more than the {MAXIMUM_BYTES} that are taken."
        )
    try:
        return _decoder.decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MessageError(f"The message is not UTF-8 at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        raise MessageError(
            f"The message is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except RecursionError:
        raise MessageError("The message's JSON is nested too deeply.") from None
    except ValueError:
        # Python limits the digits of an integer (4,300), for reading more takes too long.
        raise MessageError("The message's JSON has a number with too many digits.") from None


# Made once: `json.dumps` makes one a call, which takes as long as a small message.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def encode(value: object) -> bytes:
    """Compact UTF-8 JSON; MessageError for what JSON cannot say (NaN, a foreign type)."""
    try:
        return _ENCODER.encode(value).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise MessageError(f"A message cannot be written as JSON: {error}.") from None
