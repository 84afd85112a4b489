"""Matrices of embeddings that a user brings: .npy, .npz or .parquet, and nothing unpickled."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from biasmir_utils.corpus import as_text, as_texts, read_table_file
from biasmir_utils.errors import CorpusError
from biasmir_utils.files import BROKEN_ARRAYS

# What names the clip of each row: arrays of an .npz, and columns of a table.
_KEYS = {"keys": "clip", "datasets": "dataset", "clip": "clip", "dataset": "dataset"}


def match_rows(
    embedding: str,
    path: Path,
    clips: pd.DataFrame,
    table: Path,
    order: pd.Index,
    allow_table_columns: bool,
) -> tuple[dict[str, tuple[list[str], NDArray[np.float32]]], list[str]]:
    """Read a matrix, assign each row to a clip, and check its numbers.

    Parameters
    ----------
    embedding : str
        Its name, for the notes.
    path : pathlib.Path
        The matrix; see `import_corpus` for the formats.
    clips : pandas.DataFrame
        The clip table, with all of its columns.
    table : pathlib.Path
        The file of it, for messages.
    order : pandas.Index
        The index that it had there.
    allow_table_columns : bool
        Whether the matrix may have dimensions that are columns of the clip table.

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
    ids, values, names = _read_matrix(path, order)
    taken = {str(name).casefold() for name in clips}
    # Arrays have numbers in the place of names, which are no names of columns.
    shared = [n for n in names if isinstance(n, str) and n.casefold() in taken]
    if shared and not allow_table_columns:
        raise CorpusError(
            f"{path}: columns of {table} are among the dimensions of the embedding "
            f"({len(shared)} of {len(names)}): {', '.join(map(repr, shared[:5]))}"
            f"{', ...' if len(shared) > 5 else ''}; a label among the features is recognised "
            f"without fail. Take them out, or allow them (--allow-table-columns)"
        )
    listed = clips[["dataset", "clip"]]
    ids = _owners(ids, path, listed, table, order)
    owners = pd.MultiIndex.from_frame(ids[["dataset", "clip"]])
    wanted = pd.MultiIndex.from_frame(listed)
    known = owners.isin(wanted)
    if not known.any():
        other = "dataset" if ids["clip"].isin(listed["clip"]).any() else "clip"
        raise CorpusError(
            f"{path}: none of its {len(ids)} keys is a clip of {table}; the first {other} here is "
            f"{ids[other].iloc[0]!r}, and there {listed[other].iloc[0]!r}"
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
                f"{path}, row {ids.index[rows[row]]} (from 0), clip {keys[row]!r}, column "
                f"{names[column]!r}: {values[rows[row], column]}, expected a finite number that "
                f"float32 can hold"
            )
    notes = []
    if without := int((~wanted.isin(owners)).sum()):
        notes.append(f"{embedding}: {without} clips have no row")
    if len(unlisted := ids["clip"].to_numpy()[~known]):
        left = f"{len(unlisted)} rows of clips not in the table were left out"
        notes.append(f"{embedding}: {left}, the first of {unlisted[0]!r}")
    equal = [d for d, (_, rows) in content.items() if len(rows) > 1 and (rows == rows[0]).all()]
    if equal:
        notes.append(
            f"WARNING: {embedding}: all rows of {', '.join(equal)} are equal, so nothing can be "
            f"recognised there; was the matrix computed from these clips?"
        )
    return content, notes


def _owners(
    ids: pd.DataFrame, path: Path, listed: pd.DataFrame, table: Path, order: pd.Index
) -> pd.DataFrame:
    """Return dataset and clip of each row of a matrix, as far as they can be told."""
    if "clip" not in ids:
        _check_order(order, table)
        if len(ids) != len(listed):
            raise CorpusError(
                f"{path}: {len(ids)} rows, but {table} has {len(listed)} clips; without keys "
                f"there has to be a row for each clip, in the table's order"
            )
        other = ids.get("dataset", listed["dataset"]).to_numpy() != listed["dataset"].to_numpy()
        if other.any():
            raise CorpusError(
                f"{path}, row {other.argmax()} (from 0): the dataset is another one than in this "
                f"row of {table}; say the clip of each row, too"
            )
        return listed
    if "dataset" not in ids:
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
    return ids


def _check_order(index: pd.Index, path: Path) -> None:
    """Refuse rows that were shuffled, where their order is all that tells whose they are."""
    if index.is_unique and not index.is_monotonic_increasing:
        raise CorpusError(
            f"{path}: the rows stand in another order than the numbers of their index; number them "
            f"anew (with pandas: reset_index(drop=True)), or name the clip of each row of features"
        )


def _read_matrix(path: Path, order: pd.Index) -> tuple[pd.DataFrame, NDArray[Any], list[Any]]:
    """Return who each row belongs to, the values, and the columns' names.

    The first has columns `clip` and `dataset`, if they are told, and as its index the row of the
    file: several rows are of one where that holds the frames of a clip.
    """
    columns = functools.partial(_read_columns, order=order)
    readers: dict[str, Any] = {".npy": _read_arrays, ".npz": _read_arrays, ".parquet": columns}
    if path.suffix.lower() not in readers:
        raise CorpusError(f"{path}: expected a matrix of embeddings, {', '.join(readers)}")
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; it should hold a matrix of embeddings")
    ids, values, names = readers[path.suffix.lower()](path)
    rows: NDArray[np.int64] = np.arange(len(values))
    if isinstance(values, list):
        rows, values = rows.repeat([len(frames) for frames in values]), np.concatenate(values)
    elif values.ndim == 3 and ids:
        rows, values = rows.repeat(values.shape[1]), values.reshape(-1, values.shape[2])
    if values.ndim != 2 or not values.size:
        raise CorpusError(
            f"{path}: an array of shape {values.shape}, expected (rows, dimensions)"
            + ("; average over the frames, or give keys" if values.ndim == 3 else "")
        )
    if values.dtype.kind not in "fiu":
        raise CorpusError(f"{path}: numbers of type {values.dtype}, expected real numbers")
    told = {}
    for name, column in ids.items():
        if len(column) != rows[-1] + 1:
            raise CorpusError(
                f"{path}: {len(column)} {name} for {rows[-1] + 1} rows of features; each row needs "
                f"one"
            )
        if _KEYS[name] in told:
            raise CorpusError(
                f"{path}: {' and '.join(ids)} name the {_KEYS[name]} of a row twice; leave one out"
            )
        told[_KEYS[name]] = as_texts(column.rename(name), path).to_numpy()[rows]
    return pd.DataFrame(told, rows), values, names or list(range(values.shape[1]))


def _read_arrays(path: Path) -> tuple[Mapping[str, pd.Series], NDArray[Any], list[str]]:
    try:
        file = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(file, np.ndarray):
            return {}, np.atleast_1d(file), []
        with file:
            if "features" not in file.files and len(file.files) != 1:
                raise CorpusError(
                    f"{path}: the array 'features' is missing (found: "
                    f"{', '.join(file.files[:5]) or 'none'}{', ...' * (len(file.files) > 5)}); it "
                    f"has a row for each name in the array 'keys'"
                )
            features = "features" if "features" in file.files else file.files[0]
            values = np.atleast_1d(file[features])
            ids = {name: file[name] for name in _KEYS if name in file.files}
            others = [] if "clip" in map(_KEYS.get, ids) else {*file.files} - {features, *ids}
            for name, array in ((name, file[name]) for name in sorted(others)):
                holds = {"S": "texts", "U": "texts", "i": "numbers", "u": "numbers"}
                if array.dtype.kind in holds and array.shape and array.size == len(values):
                    raise CorpusError(
                        f"{path}: the array {name!r} holds {holds[array.dtype.kind]}; if these are "
                        f"the clips, call it 'keys', or else take it out, and the rows are those "
                        f"of the table in order"
                    )
    except BROKEN_ARRAYS as error:
        if "pickle" in str(error) or "Python objects" in str(error):
            raise CorpusError(
                f"{path}: no file of NumPy arrays, or it holds Python objects, which are not "
                f"loaded since they can run any code; save arrays of numbers and of texts (float32 "
                f"and str)"
            ) from error
        raise CorpusError(f"{path}: cannot be read, perhaps truncated ({error})") from error
    for name, array in ids.items():
        if array.ndim != 1 or array.dtype.kind not in "SUiu":
            raise CorpusError(
                f"{path}: the array {name!r} has shape {array.shape} and type {array.dtype}, "
                f"expected a text for each row"
            )
    return {name: pd.Series(array.tolist()) for name, array in ids.items()}, values, []


def _read_columns(path: Path, order: pd.Index) -> tuple[Mapping[str, pd.Series], Any, list[str]]:
    table = read_table_file(path)
    ids = {name: table.pop(name) for name in _KEYS if name in table}
    for name, column in ids.items():
        if column.isna().any():
            row = int(column.isna().to_numpy().argmax())
            raise CorpusError(f"{path}, row {row} (from 0): the column {name!r} is empty")
    if "clip" not in map(_KEYS.get, ids):
        _check_order(table.index, path)
        if len(order) == len(table) and order.name != "line" and not order.equals(table.index):
            raise CorpusError(
                f"{path}: its index holds other numbers than that of the table of clips "
                f"({table.index[0]}, ... and {order[0]}, ...), so whose the rows are is not known; "
                f"name the clip of each row, or number both anew (with pandas: "
                f"reset_index(drop=True))"
            )
    index = (pq.read_schema(path).pandas_metadata or {}).get("index_columns", [])
    for level in index:
        name = as_text(level["name"] if isinstance(level, dict) else level)
        if name in table:
            raise CorpusError(
                f"{path}: {name!r}, a level of the index, is no dimension of an embedding; call it "
                f"'clip' or 'dataset', or leave it out (with pandas: reset_index(drop=True))"
            )
    names = list(table.columns)
    if len(names) == 1 and table.dtypes.iloc[0].kind == "O":  # a list in each row
        return ids, _frames(table[names[0]], path), []
    for name, dtype in zip(names, table.dtypes, strict=True):
        if dtype.kind not in "fiu":
            row = int(table[name].notna().to_numpy().argmax())
            raise CorpusError(
                f"{path}, row {row} (from 0): the column {name!r} holds {table[name].iloc[row]!r} "
                f"({dtype}), expected numbers; all columns but 'clip' and 'dataset' are dimensions "
                f"of the embedding"
            )
    if all(isinstance(dtype, np.dtype) for dtype in table.dtypes):
        return ids, table.to_numpy(), names
    return ids, table.to_numpy(np.float64, na_value=np.nan), names


def _frames(column: pd.Series, path: Path) -> list[NDArray[np.float64]]:
    """Return the frames in each row of a column of lists of numbers, or of lists of these."""
    rows: list[NDArray[np.float64]] = []
    for row, cell in enumerate(column):
        try:
            frames = np.atleast_2d(np.array([*cell]))
            rows.append(frames.astype(np.float64))
            fits = (
                isinstance(cell, list | np.ndarray)
                and frames.dtype.kind in "fiu"
                and frames.ndim == 2
                and 0 < frames.shape[1] == rows[0].shape[1]
            )
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise CorpusError(
                f"{path}, row {row} (from 0): the column {column.name!r} holds {cell!r}, expected "
                f"a list of numbers, as many as in the rows above, or a list of such lists (frames)"
            )
    return rows
