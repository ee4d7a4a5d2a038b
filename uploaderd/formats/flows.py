"""Which flow of a recording is drawn or exported."""

from __future__ import annotations

from uploaderd.formats.errors import NO_LEVELS, FormatError
from uploaderd.formats.model import Recording


def chosen(recording: Recording, name: str, wanted: int | None) -> int:
    """Index of the flow `wanted`, or of the one with most levels; `name` is the file's.

    Raises FormatError: `no_levels` if there is no such flow, or none with levels.
    """
    sizes = [(s.points or 0) * (s.n_traces or 0) for s in recording.spectra]
    if wanted is None:
        if not any(sizes):
            raise FormatError(NO_LEVELS, f"{name} has no levels.")
        return sizes.index(max(sizes))
    if not 0 <= wanted < len(sizes) or not recording.spectra[wanted].points:
        raise FormatError(NO_LEVELS, f"{name} has no flow {wanted} with levels.")
    return wanted
