"""Traces as a Parquet file, one row a trace. Needs pyarrow."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import numpy as np

from uploaderd.formats import FormatError, read, traces
from uploaderd.formats.errors import MISSING_LIBRARY
from uploaderd.formats.model import NO_TIME
from uploaderd.formats.report import as_dict


def write_parquet(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    clock_offset: timedelta = timedelta(0),
) -> int:
    """Writes all traces of a measurement file; returns how many there are.

    Columns: `flow` (index into the recording's spectra), `id`, `description`, `time` (ns, UTC, null
    if the trace has none), `start_hz`, `stop_hz`, `unit`, `levels` (list of float32). The whole
    recording stands as JSON under the schema's metadata key `recording`.

    Raises FormatError if the file cannot be read or pyarrow is missing.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        sentence = "Parquet needs pyarrow: install uploaderd[publish]."
        raise FormatError(MISSING_LIBRARY, sentence) from error
    recording = read(path, clock_offset=clock_offset)
    about = json.dumps({"file": Path(path).name, **as_dict(recording)}, allow_nan=False)
    schema = pa.schema(
        [
            ("flow", pa.int32()), ("id", pa.int64()), ("description", pa.string()),
            ("time", pa.timestamp("ns", "UTC")), ("start_hz", pa.int64()),
            ("stop_hz", pa.int64()), ("unit", pa.string()), ("levels", pa.list_(pa.float32())),
        ],
        metadata={"recording": about},
    )  # fmt: skip
    part = Path(f"{os.fspath(out)}.part")
    count = 0
    try:
        with pq.ParquetWriter(part, schema, compression="zstd") as writer:
            for block in traces(path, clock_offset=clock_offset):
                spectrum, n = recording.spectra[block.flow], len(block.times)
                ends = np.arange(n + 1, dtype=np.int32) * block.levels.shape[1]
                columns = [
                    pa.array([block.flow] * n, pa.int32()),
                    pa.array([spectrum.id] * n, pa.int64()),
                    pa.array([spectrum.description] * n, pa.string()),
                    pa.array(block.times, pa.timestamp("ns", "UTC"), mask=block.times == NO_TIME),
                    pa.array([spectrum.start_hz] * n, pa.int64()),
                    pa.array([spectrum.stop_hz] * n, pa.int64()),
                    pa.array([spectrum.unit] * n, pa.string()),
                    pa.ListArray.from_arrays(pa.array(ends), pa.array(block.levels.ravel())),
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
                count += n
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    part.replace(out)
    return count
