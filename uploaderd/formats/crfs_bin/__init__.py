"""CRFS `.bin`, the binary log of RFeye nodes (Logger); layout in `docs/formats/crfs_bin.md`."""

from __future__ import annotations

from typing import Final

from uploaderd.formats.crfs_bin.reader import NAME, read, sniff, traces
from uploaderd.formats.registry import Format

FORMAT: Final = Format(NAME, "CRFS RFeye Logger", (".bin",), sniff, read, traces)
