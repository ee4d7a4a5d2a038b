"""The one error that a reader lets out, and its stable codes."""

from __future__ import annotations

from typing import Final

EMPTY_FILE: Final = "empty_file"
"""The file has no bytes."""
UNKNOWN_FORMAT: Final = "unknown_format"
"""No registered format recognises the content."""
UNREADABLE: Final = "unreadable"
"""The operating system refuses to give the file's bytes."""
UNSAFE_ARCHIVE: Final = "unsafe_archive"
"""An archive that would unpack to too much, or to places outside its folder."""
DAMAGED: Final = "damaged"
"""The format is recognised, but nothing in the file is sound."""
BAD_HEADER: Final = "bad_header"
"""A header whose sizes contradict each other."""
BAD_TIME: Final = "bad_time"
"""No date in the file can be read."""
INVALID_METADATA: Final = "invalid_metadata"
"""A text header or JSON document lacks a mandatory key, or cannot be parsed."""
READER_TIMEOUT: Final = "reader_timeout"
"""Reading the file took longer than was allowed."""
READER_MEMORY: Final = "reader_memory"
"""Reading the file took more memory than was allowed."""
READER_CRASHED: Final = "reader_crashed"
"""The reader ended, or failed in a way that it should not; the fault is the program's."""
NO_LEVELS: Final = "no_levels"
"""There are no levels to draw or to export."""
TOO_MANY_TRACES: Final = "too_many_traces"
"""More traces than the kind of export can hold."""
MISSING_LIBRARY: Final = "missing_library"
"""An optional library that the format or the export needs is not installed."""


class FormatError(Exception):
    """A file of which nothing can be used.

    Args:
        code: one of this module's codes; programs decide by it.
        sentence: what is wrong, for people.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(code, sentence)
        self.code = code
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence
