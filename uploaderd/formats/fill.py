"""Fills the level statistics of spectra from their decoded traces."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from uploaderd.formats.model import Spectrum, TraceBlock
from uploaderd.formats.statistics import FloatStatistics


def with_statistics(
    spectra: Sequence[Spectrum], blocks: Iterable[TraceBlock]
) -> tuple[Spectrum, ...]:
    """The same spectra with `statistics`, `first_trace` and `last_trace` of float levels."""
    gathered: dict[int, FloatStatistics] = {}
    for block in blocks:
        if block.flow not in gathered:
            points = block.levels.shape[1]
            gathered[block.flow] = FloatStatistics(points, flows=len(spectra))
        gathered[block.flow].add(block.levels)
    return tuple(
        dataclasses.replace(
            spectrum,
            statistics=gathered[flow].result(),
            first_trace=gathered[flow].first_trace,
            last_trace=gathered[flow].last_trace,
        )
        if flow in gathered
        else spectrum
        for flow, spectrum in enumerate(spectra)
    )
