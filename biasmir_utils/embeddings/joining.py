"""One embedding file from finished parts and from what the file had before.

Rows are streamed in the order of the clip table, so memory does not grow with the number of
clips, and the new file replaces the old one by renaming, so it is whole at any moment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from biasmir_utils.corpus import open_embedding_file, read_keys
from biasmir_utils.embeddings.parts import Contents, Key, part_features
from biasmir_utils.files import atomic_path

RECORD_ATTRIBUTE = "biasmir_record"
ROWS_AT_ONCE = 4_096


def target_record(target: Path) -> dict[str, Any] | None:
    """Return the record in an embedding file that extraction made; None for any other file."""
    with open_embedding_file(target) as file:
        text = file.attrs.get(RECORD_ATTRIBUTE)
    return None if text is None else json.loads(text)


def target_contents(target: Path, embedding: str) -> Contents:
    """Return what an embedding file that extraction made has."""
    found = Contents()
    with open_embedding_file(target) as file:
        for dataset in file:
            group = file[f"{dataset}/{embedding}"]
            keys = read_keys(group)
            for key, start, count in _runs(keys):
                found.rows.setdefault((dataset, key), []).append((target, start, count))
            for kind, mapping in (("skipped", found.skipped), ("noted", found.noted)):
                if f"{kind}_keys" in group:
                    texts = read_keys(group, f"{kind}_reasons")
                    for key, text in zip(read_keys(group, f"{kind}_keys"), texts, strict=True):
                        mapping[dataset, str(key)] = str(text)
    return found


def join(
    target: Path,
    embedding: str,
    contents: Contents,
    order: Sequence[Key],
    datasets: Sequence[str],
    record: Mapping[str, Any],
    dtype: str,
) -> None:
    """Write the target anew from its parts and from itself, and rename it into place.

    Parameters
    ----------
    target : pathlib.Path
        The embedding file, replaced as a whole.
    embedding : str
        Name of the embedding.
    contents : Contents
        All that is to be in it.
    order : sequence of (dataset, clip)
        The clip table's order; clips that it lacks follow in the order of their source.
    datasets : sequence of str
        Each gets a group if any of its clips was tried.
    record : dict
        What makes the vectors; kept in the file, which marks it as made here.
    dtype : {'float32', 'float16'}
        How features are stored.
    """
    position = {key: index for index, key in enumerate(order)}
    last = len(position)
    with atomic_path(target) as temporary:
        with h5py.File(temporary, "w", rdcc_nbytes=32 << 20) as file:
            file.attrs[RECORD_ATTRIBUTE] = json.dumps(dict(record))
            for dataset in dict.fromkeys([*datasets, *(key[0] for key in contents.rows)]):
                keys = [key for key in contents.rows if key[0] == dataset]
                keys.sort(key=lambda key: position.get(key, last))
                if keys or any(key[0] == dataset for key in contents.skipped):
                    group = file.create_group(f"{dataset}/{embedding}")
                    _write_rows(group, keys, contents, int(record["dimension"]), dtype, target)
                    for kind in ("skipped", "noted"):
                        said = getattr(contents, kind)
                        told = [key for key in said if key[0] == dataset]
                        told.sort(key=lambda key: position.get(key, last))
                        texts = {key[1]: said[key] for key in told}
                        if texts:
                            group[f"{kind}_keys"] = _bytes(list(texts))
                            group[f"{kind}_reasons"] = _bytes(list(texts.values()))
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
    part_features.cache_clear()


def _write_rows(
    group: h5py.Group,
    keys: Sequence[Key],
    contents: Contents,
    dimension: int,
    dtype: str,
    target: Path,
) -> None:
    counts = [sum(count for _, _, count in contents.rows[key]) for key in keys]
    total = sum(counts)
    features = group.create_dataset(
        "features",
        shape=(total, dimension),
        dtype=dtype,
        chunks=(min(total, 256), dimension) if total else None,
        compression="gzip" if total else None,
        shuffle=bool(total),
    )
    names = _bytes([clip for _, clip in keys])
    group["keys"] = np.repeat(names, counts) if keys else names
    before = h5py.File(target, "r") if target.is_file() else None
    try:
        written = 0
        for source, start, count in _merged(run for key in keys for run in contents.rows[key]):
            for at in range(start, start + count, ROWS_AT_ONCE):
                stop = min(at + ROWS_AT_ONCE, start + count)
                if source == target and before is not None:
                    rows = before[group.name]["features"][at:stop]
                else:
                    rows = part_features(source)[at:stop]
                features[written : written + stop - at] = rows
                written += stop - at
    finally:
        if before is not None:
            before.close()


def _merged(runs: Iterable[tuple[Path, int, int]]) -> Iterator[tuple[Path, int, int]]:
    """Join runs of rows that follow each other in one source."""
    current: tuple[Path, int, int] | None = None
    for source, start, count in runs:
        if current and current[0] == source and current[1] + current[2] == start:
            current = (source, current[1], current[2] + count)
            continue
        if current:
            yield current
        current = (source, start, count)
    if current:
        yield current


def _runs(keys: NDArray[np.str_]) -> Iterator[tuple[str, int, int]]:
    """Yield each run of equal neighbours as (key, first row, count)."""
    if len(keys):
        starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
        for start, stop in zip(starts, np.r_[starts[1:], len(keys)], strict=True):
            yield str(keys[start]), int(start), int(stop - start)


def _bytes(texts: Sequence[str]) -> NDArray[np.bytes_]:
    encoded = [text.encode("utf-8") for text in texts]
    width = max((len(text) for text in encoded), default=1)
    return np.array(encoded, dtype=f"S{max(width, 1)}")
