"""Matrices of embeddings that a user brings: .npy, .npz or .parquet, and nothing unpickled."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from biasmir_utils.errors import CorpusError
from biasmir_utils.files import BROKEN_ARRAYS

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Matrix:
    """Rows of an embedding, and which clip each belongs to.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    values : ndarray, (n_rows, D)
        Real numbers; perhaps memory-mapped.
    keys : sequence of str, or None
        Clip of each row, if the file names it.
    datasets : sequence of str, or None
        Dataset of each row, if the file names it.
    columns : sequence of str, or None
        Names of the D columns.
    """

    path: Path
    values: NDArray[Any]
    keys: Sequence[str] | None = None
    datasets: Sequence[str] | None = None
    columns: Sequence[str] | None = None


@dataclass(frozen=True)
class Matched:
    """The rows of a matrix sorted out by dataset.

    Attributes
    ----------
    content : dict of str to (keys, features)
        For each dataset with rows: the clip of each row, and features (rows, D), float32.
    notes : list of str
        What the user has to know: clips without rows, rows without clips, rows that are equal.
    """

    content: dict[str, tuple[list[str], NDArray[np.float32]]]
    notes: list[str]


def read_matrix(path: str | os.PathLike[str]) -> Matrix:
    """Read a matrix of embeddings; see `import_corpus` for the formats.

    Raises
    ------
    CorpusError
        If the file cannot be read without unpickling, or holds no matrix of real numbers.
    """
    path = Path(path)
    readers = {".npy": _read_npy, ".npz": _read_npz, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise CorpusError(f"{path}: expected a matrix of embeddings, {', '.join(readers)}")
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; it should hold a matrix of embeddings")
    matrix = readers[path.suffix.lower()](path)
    values = matrix.values
    if values.ndim != 2 or not values.shape[1]:
        raise CorpusError(
            f"{path}: an array of shape {values.shape}, expected (rows, dimensions)"
            + ("; average over the frames, or give keys" if values.ndim == 3 else "")
        )
    if values.dtype.kind not in "fiu":
        raise CorpusError(f"{path}: numbers of type {values.dtype}, expected real numbers")
    for name, texts in (("keys", matrix.keys), ("datasets", matrix.datasets)):
        if texts is not None and len(texts) != len(values):
            raise CorpusError(
                f"{path}: {len(texts)} {name} for {len(values)} rows of features; each row needs "
                f"one"
            )
    return matrix


def match_rows(embedding: str, matrix: Matrix, clips: pd.DataFrame, table: Path) -> Matched:
    """Assign each row to a clip, and check its numbers.

    Parameters
    ----------
    embedding : str
        Its name, for the notes.
    matrix : Matrix
        What was read.
    clips : pandas.DataFrame
        Columns `dataset` and `clip`.
    table : pathlib.Path
        The clip table, for messages.

    Raises
    ------
    CorpusError
        If rows and clips do not fit, or a number is not finite; it names row and clip.
    """
    listed = list(zip(clips["dataset"], clips["clip"], strict=True))
    owners = _owners(matrix, listed, table)
    wanted = set(listed)
    members: dict[str, list[int]] = {}
    for row, owner in enumerate(owners):
        if owner in wanted:
            members.setdefault(owner[0], []).append(row)
    if not members:
        raise CorpusError(
            f"{matrix.path}: none of its {len(owners)} keys is a clip of {table}; they look like "
            f"{owners[0][1]!r}, the clips like {listed[0][1]!r}"
            if owners
            else f"{matrix.path}: no rows"
        )
    content = {}
    for dataset, rows in members.items():
        keys = [owners[row][1] for row in rows]
        content[dataset] = (keys, _finite_rows(matrix, np.array(rows), keys))
    notes = []
    if without := len(wanted - set(owners)):
        notes.append(f"{embedding}: {without} clips have no row")
    if unlisted := len(owners) - sum(map(len, members.values())):
        notes.append(f"{embedding}: {unlisted} rows of clips not in the table were left out")
    equal = [d for d, (_, rows) in content.items() if len(rows) > 1 and (rows == rows[0]).all()]
    if equal:
        notes.append(
            f"WARNING: {embedding}: all rows of {', '.join(equal)} are equal, so nothing can be "
            f"recognised there; was the matrix computed from these clips?"
        )
    return Matched(content, notes)


def to_texts(column: pd.Series) -> pd.Series:
    """Return a column as Python texts, NaN where there is none."""
    texts = column.astype(object).map(_text, na_action="ignore").astype(object)
    return texts.where(texts.notna() & (texts != ""), np.nan)


def _text(cell: Any) -> str:
    # A whole number that pandas stores as a float, because others are missing, is a name too.
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return cell.decode() if isinstance(cell, bytes) else str(cell)


def _owners(
    matrix: Matrix, listed: Sequence[tuple[str, str]], table: Path
) -> list[tuple[str, str]]:
    """Return the dataset and clip of each row."""
    if matrix.keys is None:
        if len(matrix.values) != len(listed):
            raise CorpusError(
                f"{matrix.path}: {len(matrix.values)} rows, but {table} has {len(listed)} clips; "
                f"without keys there has to be a row for each clip, in the table's order"
            )
        return list(listed)
    if matrix.datasets is not None:
        return list(zip(matrix.datasets, matrix.keys, strict=True))
    datasets: dict[str, str] = {}
    wanted = set(matrix.keys)
    for dataset, clip in listed:
        if datasets.setdefault(clip, dataset) != dataset and clip in wanted:
            raise CorpusError(
                f"{matrix.path}: the key {clip!r} is a clip of {datasets[clip]!r} and of "
                f"{dataset!r} in {table}; say which is meant, in an array (or column) "
                f"{'dataset' if matrix.path.suffix == '.parquet' else 'datasets'!r}"
            )
    return [(datasets.get(key, ""), key) for key in matrix.keys]


def _finite_rows(
    matrix: Matrix, rows: NDArray[np.intp], keys: Sequence[str]
) -> NDArray[np.float32]:
    """Return some rows as float32; it has to be able to hold them."""
    found = np.empty((len(rows), matrix.values.shape[1]), np.float32)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        with np.errstate(over="ignore"):
            found[start : start + len(part)] = matrix.values[part]
        broken = ~np.isfinite(found[start : start + len(part)])
        if broken.any():
            row, column = (int(i) for i in np.argwhere(broken)[0])
            value = matrix.values[part[row], column]
            name = column if matrix.columns is None else repr(matrix.columns[column])
            raise CorpusError(
                f"{matrix.path}, row {int(part[row])} (from 0), clip {keys[start + row]!r}, "
                f"column {name}: {value}, expected a finite number that float32 can hold"
            )
    return found


def _load(path: Path, **how: Any) -> Any:
    """Load arrays; what needs unpickling is refused."""
    try:
        return np.load(path, allow_pickle=False, **how)
    except BROKEN_ARRAYS as error:
        raise _unreadable(path, error) from error


def _read_npy(path: Path) -> Matrix:
    array = _load(path, mmap_mode="r")
    if not isinstance(array, np.ndarray):
        array.close()
        raise CorpusError(f"{path}: it holds several arrays; give it the suffix .npz")
    return Matrix(path, array)


def _read_npz(path: Path) -> Matrix:
    file = _load(path)
    if isinstance(file, np.ndarray):
        raise CorpusError(f"{path}: it holds one array, no archive; give it the suffix .npy")
    with file:
        names = file.files
        if "features" not in names and len(names) != 1:
            raise CorpusError(
                f"{path}: the array 'features' is missing (found: {', '.join(names) or 'none'})"
            )
        try:
            values = file["features" if "features" in names else names[0]]
            texts = {name: file[name] for name in ("keys", "datasets") if name in names}
        except BROKEN_ARRAYS as error:
            raise _unreadable(path, error) from error
    for name, array in texts.items():
        if array.ndim != 1 or array.dtype.kind not in "SUiu":
            raise CorpusError(
                f"{path}: the array {name!r} has shape {array.shape} and type {array.dtype}, "
                f"expected a text for each row"
            )
    decoded = {name: to_texts(pd.Series(array.tolist())).tolist() for name, array in texts.items()}
    return Matrix(path, values, decoded.get("keys"), decoded.get("datasets"))


def _read_parquet(path: Path) -> Matrix:
    try:
        table = pd.read_parquet(path)
    except Exception as error:
        raise CorpusError(f"{path}: cannot be read as a table ({error}); make it anew") from error
    texts = {name: table.pop(name) for name in ("clip", "dataset") if name in table.columns}
    for name, column in texts.items():
        if column.isna().any():
            row = int(np.flatnonzero(column.isna())[0])
            raise CorpusError(f"{path}, row {row} (from 0): the column {name!r} is empty")
    names = {name: to_texts(column).tolist() for name, column in texts.items()}
    keys, datasets = names.get("clip"), names.get("dataset")
    if table.shape[1] == 1 and table.dtypes.iloc[0].kind == "O":
        values = _stack(path, str(table.columns[0]), table.iloc[:, 0])
        return Matrix(path, values, keys, datasets)
    for label, dtype in table.dtypes.items():
        if dtype.kind not in "fiu":
            raise CorpusError(
                f"{path}: the column {label!r} holds {dtype}, expected numbers; "
                f"columns other than 'clip' and 'dataset' are the dimensions of the embedding"
            )
    return Matrix(path, table.to_numpy(), keys, datasets, [str(name) for name in table.columns])


def _stack(path: Path, column: str, cells: pd.Series) -> NDArray[Any]:
    """Return the matrix of a column that holds a list in each row."""
    for row, cell in enumerate(cells):
        if not isinstance(cell, list | np.ndarray) or len(cell) != len(cells.iloc[0]):
            raise CorpusError(
                f"{path}, row {row} (from 0): the column {column!r} holds {cell!r}, expected a "
                f"list of numbers, as many as in the rows above"
            )
    try:
        return np.array(cells.tolist(), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CorpusError(f"{path}: the column {column!r} holds no numbers ({error})") from error


def _unreadable(path: Path, error: Exception) -> CorpusError:
    if "pickle" in str(error) or "Python objects" in str(error):
        return CorpusError(
            f"{path}: no file of NumPy arrays, or it holds Python objects, which are not loaded "
            f"since they can run any code; save arrays of numbers and of texts (float32 and str)"
        )
    return CorpusError(f"{path}: cannot be read, perhaps truncated ({error}); make it anew")
