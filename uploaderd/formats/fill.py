"""Fills the level statistics of spectra from their decoded traces."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from uploaderd.formats.model import Spectrum, TraceBlock
from uploaderd.formats.statistics import FLOATS_AT_ONCE, FloatStatistics


def with_statistics(
    spectra: Sequence[Spectrum], blocks: Iterable[TraceBlock]
) -> tuple[Spectrum, ...]:
    """The same spectra with `statistics`, `first_trace` and `last_trace` of float levels."""
    gathered: dict[int, FloatStatistics] = {}
    for flow, levels in _joined(blocks):
        if flow not in gathered:
            gathered[flow] = FloatStatistics(levels.shape[1], flows=len(spectra))
        gathered[flow].add(levels)
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


def _joined(blocks: Iterable[TraceBlock]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Flows and their levels [n, points]; blocks of few traces are put together."""
    waiting: dict[int, list[NDArray[np.float32]]] = {}
    size = 0
    for block in blocks:
        waiting.setdefault(block.flow, []).append(block.levels)
        size += block.levels.size
        if size >= FLOATS_AT_ONCE:
            yield from ((flow, np.concatenate(parts)) for flow, parts in waiting.items())
            waiting, size = {}, 0
    yield from ((flow, np.concatenate(parts)) for flow, parts in waiting.items())
