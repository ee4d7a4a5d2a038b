"""SigMF: pairs, archives and collections; hashes on demand; names that lead out of the folder."""

from __future__ import annotations

import hashlib
import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from uploaderd import formats
from uploaderd.formats.writers import sigmf_recording

START = datetime(2024, 5, 31, 23, 59, 58, tzinfo=UTC)


def pair(folder: Path, name: str, captures: int = 1, *, sha512: str | None = None) -> Path:
    """A pair of 100 samples a capture; `sha512` is what the metadata says of the data."""
    meta = folder / f"{name}.sigmf-meta"
    plan = [(100 * i, 100e6 + i * 1e6, START) for i in range(captures)]
    sigmf_recording.write(meta, 1e6, plan, total=100 * captures)
    if sha512 is not None:
        document = json.loads(meta.read_text())
        document["global"]["core:sha512"] = sha512
        meta.write_text(json.dumps(document))
    return meta


def collection(folder: Path, streams: list[dict[str, Any]]) -> Path:
    path = folder / "all.sigmf-collection"
    about = {"core:version": "1.2.5", "core:streams": streams}
    path.write_text(json.dumps({"collection": about}))
    return path


def kinds(recording: formats.Recording) -> list[str]:
    return [issue.kind for issue in recording.issues]


def sha512(data: bytes) -> str:
    return hashlib.sha512(data).hexdigest()


@pytest.mark.parametrize("packed", [False, True])
def test_the_hash_of_the_samples_is_compared_only_if_asked(tmp_path: Path, packed: bool) -> None:
    meta = pair(tmp_path, "a", sha512=sha512(bytes(400)).upper())
    data = meta.with_suffix(".sigmf-data")
    path = tmp_path / "a.sigmf" if packed else meta

    def read(*, verify: bool) -> formats.Recording:
        if packed:
            with tarfile.open(path, "w") as archive:
                archive.add(meta, "a/a.sigmf-meta")
                archive.add(data, "a/a.sigmf-data")
        return formats.read(path, verify=verify)

    assert kinds(read(verify=True)) == []
    data.write_bytes(bytes(399) + b"!")
    assert kinds(read(verify=False)) == []
    assert kinds(read(verify=True)) == ["hash_mismatch"]


def test_a_collection_gives_the_segments_of_all_its_recordings(tmp_path: Path) -> None:
    metas = [pair(tmp_path, "a", 2), pair(tmp_path, "b", 1)]
    streams = [{"name": m.stem, "hash": sha512(m.read_bytes())} for m in metas]
    recording = formats.read(collection(tmp_path, streams), verify=True)
    assert (recording.format, recording.outcome) == ("sigmf", "ok")
    assert [s.id for s in recording.spectra] == [0, 1, 2]
    assert [s.extra["n_samples"] for s in recording.spectra] == [100, 100, 100]
    assert recording.gps is not None
    assert recording.gps.count == 3


def test_what_a_collection_names_in_vain_is_told(tmp_path: Path) -> None:
    pair(tmp_path, "a")
    (tmp_path / "broken.sigmf-meta").write_text("{")
    inner = tmp_path / "inner"
    inner.mkdir()
    pair(tmp_path, "outside")
    names: list[Any] = ["a", "broken", "absent", "../outside", None]
    streams = [{"name": name, "hash": "0" * 128} for name in names]
    recording = formats.read(collection(tmp_path, streams))
    assert kinds(recording) == ["bad_stream", *["missing_stream"] * 3]
    assert len(recording.spectra) == 1
    assert kinds(formats.read(collection(tmp_path, streams[:1]), verify=True)) == ["hash_mismatch"]
    lonely = formats.read(collection(inner, streams[3:4]))
    assert (lonely.outcome, kinds(lonely)) == ("no_spectrum", ["missing_stream", "no_spectrum"])


@pytest.mark.parametrize("text", ["{}", "[]", '{"collection": {"core:streams": 3}}', "{"])
def test_a_collection_without_a_list_of_streams_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.sigmf-collection"
    path.write_text(text)
    with pytest.raises(formats.FormatError) as caught:
        formats.read(path)
    assert caught.value.code in ("invalid_metadata", "unknown_format")
