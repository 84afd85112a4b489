"""A matrix of embeddings that a user brings: .npy, .npz or .parquet, and nothing unpickled."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from biasmir_utils.datasets.user_table import to_texts
from biasmir_utils.errors import CorpusError

SUFFIXES = (".npy", ".npz", ".parquet")
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Features:
    """Rows of an embedding, and which clip each belongs to.

    Attributes
    ----------
    path : pathlib.Path
    matrix : ndarray, (n_rows, D)
        Real numbers; perhaps memory-mapped.
    keys : sequence of str, or None
        Clip of each row, if the file names it.
    datasets : sequence of str, or None
        Dataset of each row, if the file names it.
    columns : sequence of str, or None
        Names of the D columns.
    """

    path: Path
    matrix: NDArray[Any]
    keys: Sequence[str] | None = None
    datasets: Sequence[str] | None = None
    columns: Sequence[str] | None = None


@dataclass(frozen=True)
class MatchedFeatures:
    """Features sorted out by dataset.

    Attributes
    ----------
    content : dict of str to (keys, features)
        For each dataset with rows: the clip of each row, and features (rows, D), float32.
    n_unlisted : int
        Rows of clips that the table does not list, left out.
    n_without : int
        Clips of the table without a row.
    """

    content: dict[str, tuple[list[str], NDArray[np.float32]]]
    n_unlisted: int
    n_without: int


def read_features(path: str | os.PathLike[str]) -> Features:
    """Read a matrix of embeddings.

    - `.npy`: a matrix, a row for each clip, in the order of the clip table.
    - `.npz`: the array `features`, and perhaps `keys` (the clip of each row) and `datasets`; or
      one array only, as in `.npy`.
    - `.parquet`: perhaps the columns `clip` and `dataset`; all others are the dimensions, or one
      column holds a list in each row.

    Raises
    ------
    CorpusError
        If the file cannot be read without unpickling, or holds no matrix of real numbers.
    """
    path = Path(path)
    readers = {".npy": _read_npy, ".npz": _read_npz, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise CorpusError(f"{path}: expected a matrix of embeddings, {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; it should hold a matrix of embeddings")
    features = readers[path.suffix.lower()](path)
    matrix = features.matrix
    if matrix.ndim != 2 or not matrix.shape[1]:
        raise CorpusError(
            f"{path}: an array of shape {matrix.shape}, expected (rows, dimensions)"
            + ("; average over the frames, or give keys" if matrix.ndim == 3 else "")
        )
    if matrix.dtype.kind not in "fiu":
        raise CorpusError(f"{path}: numbers of type {matrix.dtype}, expected real numbers")
    for name, values in (("keys", features.keys), ("datasets", features.datasets)):
        if values is not None and len(values) != len(matrix):
            raise CorpusError(
                f"{path}: {len(values)} {name} for {len(matrix)} rows of features; each row needs "
                f"one"
            )
    return features


def match_features(features: Features, clips: pd.DataFrame, table: Path) -> MatchedFeatures:
    """Assign each row to a clip, and check its numbers.

    Parameters
    ----------
    features : Features
    clips : pandas.DataFrame
        Columns `dataset` and `clip`.
    table : pathlib.Path
        The clip table, for messages.

    Raises
    ------
    CorpusError
        If rows and clips do not fit, or a number is not finite; it names row and clip.
    """
    if features.keys is None:
        if len(features.matrix) != len(clips):
            raise CorpusError(
                f"{features.path}: {len(features.matrix)} rows, but {table} has {len(clips)} "
                f"clips; without keys there has to be a row for each clip, in the table's order"
            )
        owners = list(zip(clips["dataset"], clips["clip"], strict=True))
    else:
        owners = _owners(features, clips, table)
    listed = set(zip(clips["dataset"], clips["clip"], strict=True))
    members: dict[str, list[int]] = {}
    for row, owner in enumerate(owners):
        if owner in listed:
            members.setdefault(owner[0], []).append(row)
    n_kept = sum(map(len, members.values()))
    if not n_kept:
        raise CorpusError(
            f"{features.path}: none of its {len(owners)} keys is a clip of {table}; they look like "
            f"{owners[0][1]!r}, the clips like {clips['clip'].iloc[0]!r}"
            if owners
            else f"{features.path}: no rows"
        )
    content = {}
    for dataset, rows in members.items():
        keys = [owners[row][1] for row in rows]
        content[dataset] = (keys, _finite_rows(features, np.array(rows), keys))
    with_rows = {owner for owner in owners if owner in listed}
    return MatchedFeatures(content, len(owners) - n_kept, len(listed) - len(with_rows))


def _owners(features: Features, clips: pd.DataFrame, table: Path) -> list[tuple[str, str]]:
    keys = features.keys or ()
    if features.datasets is not None:
        return list(zip(features.datasets, keys, strict=True))
    datasets: dict[str, str] = {}
    wanted = set(keys)
    for dataset, clip in zip(clips["dataset"], clips["clip"], strict=True):
        if datasets.setdefault(clip, dataset) != dataset and clip in wanted:
            raise CorpusError(
                f"{features.path}: the key {clip!r} is a clip of {datasets[clip]!r} and of "
                f"{dataset!r} in {table}; say which is meant, in an array (or column) "
                f"{'dataset' if features.path.suffix == '.parquet' else 'datasets'!r}"
            )
    return [(datasets.get(key, ""), key) for key in keys]


def _finite_rows(
    features: Features, rows: NDArray[np.intp], keys: Sequence[str]
) -> NDArray[np.float32]:
    """Return some rows as float32; it has to be able to hold them."""
    found = np.empty((len(rows), features.matrix.shape[1]), np.float32)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        with np.errstate(over="ignore"):
            found[start : start + len(part)] = features.matrix[part]
        broken = ~np.isfinite(found[start : start + len(part)])
        if broken.any():
            row, column = (int(i) for i in np.argwhere(broken)[0])
            value = features.matrix[part[row], column]
            name = column if features.columns is None else repr(features.columns[column])
            raise CorpusError(
                f"{features.path}, row {int(part[row])} (from 0), clip {keys[start + row]!r}, "
                f"column {name}: {value}, expected a finite number that float32 can hold"
            )
    return found


def _read_npy(path: Path) -> Features:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise CorpusError(f"{path}: it holds several arrays; give it the suffix .npz")
    return Features(path, array)


def _read_npz(path: Path) -> Features:
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise CorpusError(f"{path}: it holds one array, no archive; give it the suffix .npy")
        with file:
            names = file.files
            if "features" not in names and len(names) != 1:
                raise CorpusError(
                    f"{path}: the array 'features' is missing (found: {', '.join(names) or 'none'})"
                )
            matrix = file["features" if "features" in names else names[0]]
            texts = {
                name: _texts(path, name, file[name])
                for name in ("keys", "datasets")
                if name in names
            }
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error
    return Features(path, matrix, texts.get("keys"), texts.get("datasets"))


def _read_parquet(path: Path) -> Features:
    try:
        table = pd.read_parquet(path)
    except Exception as error:
        raise CorpusError(f"{path}: cannot be read as a table ({error}); make it anew") from error
    texts = {}
    for name in ("clip", "dataset"):
        if name in table.columns:
            if table[name].isna().any():
                row = int(np.flatnonzero(table[name].isna())[0])
                raise CorpusError(f"{path}, row {row} (from 0): the column {name!r} is empty")
            texts[name] = to_texts(table[name]).tolist()
    numbers = table.drop(columns=list(texts))
    if numbers.shape[1] == 1 and numbers.dtypes.iloc[0].kind == "O":
        matrix = _stack(path, str(numbers.columns[0]), numbers.iloc[:, 0])
        return Features(path, matrix, texts.get("clip"), texts.get("dataset"))
    for column in numbers.columns:
        if numbers[column].dtype.kind not in "fiu":
            raise CorpusError(
                f"{path}: the column {column!r} holds {numbers[column].dtype}, expected numbers; "
                f"columns other than 'clip' and 'dataset' are the dimensions of the embedding"
            )
    columns = [str(column) for column in numbers.columns]
    return Features(path, numbers.to_numpy(), texts.get("clip"), texts.get("dataset"), columns)


def _stack(path: Path, column: str, cells: pd.Series) -> NDArray[Any]:
    length = None
    for row, cell in enumerate(cells):
        if not isinstance(cell, list | np.ndarray):
            raise CorpusError(
                f"{path}, row {row} (from 0): the column {column!r} holds {cell!r}, expected a "
                f"list of numbers"
            )
        length = len(cell) if length is None else length
        if len(cell) != length:
            raise CorpusError(
                f"{path}, row {row} (from 0): the column {column!r} has {len(cell)} numbers, but "
                f"{length} in the rows above"
            )
    try:
        return np.array(cells.tolist(), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CorpusError(f"{path}: the column {column!r} holds no numbers ({error})") from error


def _texts(path: Path, name: str, array: NDArray[Any]) -> list[str]:
    if array.ndim != 1 or array.dtype.kind not in "SUiu":
        raise CorpusError(
            f"{path}: the array {name!r} has shape {array.shape} and type {array.dtype}, expected "
            f"a text for each row"
        )
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    return [str(value) for value in array]


def _unreadable(path: Path, error: Exception) -> CorpusError:
    if "pickle" in str(error) or "Python objects" in str(error):
        return CorpusError(
            f"{path}: no file of NumPy arrays, or it holds Python objects, which are not loaded "
            f"since they can run any code; save arrays of numbers and of texts (float32 and str)"
        )
    return CorpusError(f"{path}: cannot be read, perhaps truncated ({error}); make it anew")
