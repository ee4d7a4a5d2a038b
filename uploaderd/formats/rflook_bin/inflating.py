"""Inflates the gzip streams of RFlook v.2: about a kilobyte each, and as many as traces.

libdeflate (the extra `fast`) takes two thirds of zlib's time for such small ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

GZIP_WINDOW = zlib.MAX_WBITS | 16
"""What tells zlib to expect gzip's header and check its end."""

Raw = bytes | bytearray
Inflate = Callable[[bytes, int], Raw | None]


def with_zlib(stream: bytes, most: int) -> Raw | None:
    """A whole stream of 1 to `most` bytes, its checksum compared; `None` if it is not that."""
    inflater = zlib.decompressobj(GZIP_WINDOW)
    try:
        raw = inflater.decompress(stream, most)
    except zlib.error:
        return None
    return raw if inflater.eof else None


inflated: Inflate = with_zlib
"""The faster of the two that is there."""

try:
    import deflate
except ImportError:
    pass  # zlib does it as well, in half as much time again.
else:

    def with_libdeflate(stream: bytes, most: int) -> Raw | None:
        """As `with_zlib`."""
        try:
            return deflate.gzip_decompress(stream, most)
        except (deflate.DeflateError, ValueError):
            return None

    inflated = with_libdeflate
