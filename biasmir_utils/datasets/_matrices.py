"""Matrices of embeddings that a user brings: .npy, .npz or .parquet, and nothing unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from biasmir_utils.corpus import as_texts, read_table_file
from biasmir_utils.errors import CorpusError
from biasmir_utils.files import BROKEN_ARRAYS

# What names the clip of each row: arrays of an .npz, and columns of a table.
_KEYS = {"keys": "clip", "datasets": "dataset"}


def match_rows(
    embedding: str, path: Path, clips: pd.DataFrame, table: Path
) -> tuple[dict[str, tuple[list[str], NDArray[np.float32]]], list[str]]:
    """Read a matrix, assign each row to a clip, and check its numbers.

    Parameters
    ----------
    embedding : str
        Its name, for the notes.
    path : pathlib.Path
        The matrix; see `import_corpus` for the formats.
    clips : pandas.DataFrame
        Columns `dataset` and `clip`.
    table : pathlib.Path
        The clip table, for messages.

    Returns
    -------
    content : dict of str to (keys, features)
        For each dataset with rows: the clip of each row, and features (rows, D), float32.
    notes : list of str
        What the user has to know: clips without rows, rows without clips, rows that are equal.

    Raises
    ------
    CorpusError
        If the file cannot be read without unpickling, is no matrix of real numbers, rows and
        clips do not fit, or a number is not finite; it names row and clip.
    """
    ids, values, names = _read_matrix(path)
    listed = clips[["dataset", "clip"]]
    if "clip" not in ids:
        if len(values) != len(listed):
            raise CorpusError(
                f"{path}: {len(values)} rows, but {table} has {len(listed)} clips; without keys "
                f"there has to be a row for each clip, in the table's order"
            )
        ids = listed
    elif "dataset" not in ids:
        twice = listed[listed["clip"].duplicated(keep=False) & listed["clip"].isin(ids["clip"])]
        if len(twice):
            clip = twice["clip"].iloc[0]
            one, other = twice.loc[twice["clip"] == clip, "dataset"].iloc[:2]
            raise CorpusError(
                f"{path}: the key {clip!r} is a clip of {one!r} and of {other!r} in {table}; say "
                f"which is meant, in a column 'dataset' (of .npz: an array 'datasets')"
            )
        owner = listed.drop_duplicates("clip").set_index("clip")["dataset"]
        ids = ids.assign(dataset=ids["clip"].map(owner))
    owners = pd.MultiIndex.from_frame(ids[["dataset", "clip"]])
    wanted = pd.MultiIndex.from_frame(listed)
    known = owners.isin(wanted)
    if not known.any():
        raise CorpusError(
            f"{path}: none of its {len(ids)} keys is a clip of {table}; they look like "
            f"{ids['clip'].iloc[0]!r}, the clips like {listed['clip'].iloc[0]!r}"
        )
    content = {}
    with np.errstate(over="ignore"):
        single = values.astype(np.float32, copy=False)
    for dataset in ids.loc[known, "dataset"].unique():
        rows = np.flatnonzero(known & (ids["dataset"] == dataset).to_numpy())
        keys = ids["clip"].iloc[rows].tolist()
        content[dataset] = keys, single[rows]
        broken = ~np.isfinite(content[dataset][1])
        if broken.any():
            row, column = (int(i) for i in np.argwhere(broken)[0])
            raise CorpusError(
                f"{path}, row {rows[row]} (from 0), clip {keys[row]!r}, column {names[column]!r}: "
                f"{values[rows[row], column]}, expected a finite number that float32 can hold"
            )
    notes = []
    if without := int((~wanted.isin(owners)).sum()):
        notes.append(f"{embedding}: {without} clips have no row")
    if unlisted := int((~known).sum()):
        notes.append(f"{embedding}: {unlisted} rows of clips not in the table were left out")
    equal = [d for d, (_, rows) in content.items() if len(rows) > 1 and (rows == rows[0]).all()]
    if equal:
        notes.append(
            f"WARNING: {embedding}: all rows of {', '.join(equal)} are equal, so nothing can be "
            f"recognised there; was the matrix computed from these clips?"
        )
    return content, notes


def _read_matrix(path: Path) -> tuple[pd.DataFrame, NDArray[Any], list[Any]]:
    """Return who each row belongs to (columns `clip`, `dataset`, if told), values, and names."""
    readers = {".npy": _read_arrays, ".npz": _read_arrays, ".parquet": _read_columns}
    if path.suffix.lower() not in readers:
        raise CorpusError(f"{path}: expected a matrix of embeddings, {', '.join(readers)}")
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; it should hold a matrix of embeddings")
    ids, values, names = readers[path.suffix.lower()](path)
    if values.ndim != 2 or not values.size:
        raise CorpusError(
            f"{path}: an array of shape {values.shape}, expected (rows, dimensions)"
            + ("; average over the frames, or give keys" if values.ndim == 3 else "")
        )
    if values.dtype.kind not in "fiu":
        raise CorpusError(f"{path}: numbers of type {values.dtype}, expected real numbers")
    for name, column in ids.items():
        if len(column) != len(values):
            raise CorpusError(
                f"{path}: {len(column)} {name} for {len(values)} rows of features; each row needs "
                f"one"
            )
    told = {_KEYS.get(name, name): as_texts(column) for name, column in ids.items()}
    return pd.DataFrame(told), values, names or list(range(values.shape[1]))


def _read_arrays(path: Path) -> tuple[Mapping[str, pd.Series], NDArray[Any], list[str]]:
    try:
        file = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(file, np.ndarray):
            return {}, file, []
        with file:
            if "features" not in file.files and len(file.files) != 1:
                raise CorpusError(
                    f"{path}: the array 'features' is missing (found: "
                    f"{', '.join(file.files) or 'none'})"
                )
            values = file["features" if "features" in file.files else file.files[0]]
            ids = {name: file[name] for name in _KEYS if name in file.files}
    except BROKEN_ARRAYS as error:
        if "pickle" in str(error) or "Python objects" in str(error):
            raise CorpusError(
                f"{path}: no file of NumPy arrays, or it holds Python objects, which are not "
                f"loaded since they can run any code; save arrays of numbers and of texts (float32 "
                f"and str)"
            ) from error
        raise CorpusError(
            f"{path}: cannot be read, perhaps truncated ({error}); make it anew"
        ) from error
    for name, array in ids.items():
        if array.ndim != 1 or array.dtype.kind not in "SUiu":
            raise CorpusError(
                f"{path}: the array {name!r} has shape {array.shape} and type {array.dtype}, "
                f"expected a text for each row"
            )
    return {name: pd.Series(array.tolist()) for name, array in ids.items()}, values, []


def _read_columns(path: Path) -> tuple[Mapping[str, pd.Series], NDArray[Any], list[str]]:
    table = read_table_file(path)
    ids = {name: table.pop(name) for name in _KEYS.values() if name in table}
    for name, column in ids.items():
        if column.isna().any():
            row = int(column.isna().to_numpy().argmax())
            raise CorpusError(f"{path}, row {row} (from 0): the column {name!r} is empty")
    names = list(table.columns)
    if len(names) == 1 and table.dtypes.iloc[0].kind == "O":  # a list in each row
        lists = table[names[0]].tolist()
        for row, cell in enumerate(lists):
            if not isinstance(cell, list | np.ndarray) or len(cell) != len(lists[0]):
                raise CorpusError(
                    f"{path}, row {row} (from 0): the column {names[0]!r} holds {cell!r}, expected "
                    f"a list of numbers, as many as in the rows above"
                )
        try:
            return ids, np.array(lists, dtype=np.float64), []
        except (TypeError, ValueError) as error:
            raise CorpusError(
                f"{path}: the column {names[0]!r} holds no numbers ({error})"
            ) from error
    for column_name, dtype in zip(names, table.dtypes, strict=True):
        if dtype.kind not in "fiu":
            raise CorpusError(
                f"{path}: the column {column_name!r} holds {dtype}, expected numbers; all columns "
                f"but 'clip' and 'dataset' are dimensions of the embedding"
            )
    return ids, table.to_numpy(), names
