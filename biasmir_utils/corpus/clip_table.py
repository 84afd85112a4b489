"""The clip table, a row for each clip; and the one way in which tables are read and checked."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.corpus.description import Description
from biasmir_utils.errors import CorpusError, did_you_mean

FILE_NAMES = ("clips.parquet", "clips.csv")
REQUIRED = ("dataset", "clip", "split")
TEXT_COLUMNS = ("dataset", "clip", "track", "split", "group", "audio")
SPLITS = ("train", "test")


def find_clip_table(folder: Path) -> Path:
    """Return the path of the clip table in `folder`; exactly one format may be there."""
    found = [folder / name for name in FILE_NAMES if (folder / name).is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        raise CorpusError(f"{folder}: both {' and '.join(FILE_NAMES)} are there; keep one of them")
    raise CorpusError(f"{folder}: no clip table, expected {' or '.join(FILE_NAMES)}")


def read_table_file(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table strictly; all tables, ours and a user's, come through here.

    Parameters
    ----------
    path : pathlib.Path
        A CSV (UTF-8, commas, a header) or Parquet file.
    columns : sequence of str
        Those that it has to have.

    Returns
    -------
    pandas.DataFrame
        Of a CSV all cells are texts, so that a clip named 007 or a genre named "None" stays as it
        is, NaN where a cell is empty; its index holds the lines (see `row_place`). Of Parquet the
        columns are as they are stored.

    Raises
    ------
    CorpusError
        Naming the file, and the line or column that cannot be read.
    """
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise CorpusError(f"{path}: expected a table, {' or '.join(readers)}")
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; it should hold a table")
    table = readers[path.suffix.lower()](path)
    table.columns = pd.Index([str(name).strip() for name in table.columns])
    _check_columns(table, path, columns)
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 ({error}); save it as CSV in UTF-8") from error
    csv.field_size_limit(2**31 - 1)  # a remark may be long
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: dict[int, list[str]] = {}  # by the line where it begins
    line = 1
    try:
        for cells in reader:
            if len(cells) > 1 or "".join(cells).strip():  # else an empty line
                rows[line] = cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise CorpusError(f"{path}, line {line}: cannot be read as CSV ({error})") from error
    header = rows.pop(next(iter(rows))) if rows else []
    if len(header) == 1 and any(sign in header[0] for sign in ";\t"):
        raise CorpusError(
            f"{path}: the columns seem to be parted by semicolons or tabs; save it with commas"
        )
    for line, cells in rows.items():
        if len(cells) != len(header):
            raise CorpusError(
                f"{path}, line {line}: {len(cells)} cells, but the header has {len(header)}; "
                f"a cell that holds a comma has to stand in double quotes"
            )
    cells_or_nan = [[cell or np.nan for cell in cells] for cells in rows.values()]
    return pd.DataFrame(cells_or_nan, pd.Index(rows, name="line"), header, dtype=object)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path).reset_index(drop=True)
    except Exception as error:
        raise CorpusError(f"{path}: cannot be read as a table ({error}); make it anew") from error


def _check_columns(table: pd.DataFrame, where: object, columns: Iterable[str]) -> None:
    if not len(table):
        raise CorpusError(f"{where}: the table has no rows; a corpus needs at least one clip")
    for number, name in enumerate(table.columns, start=1):
        if name == "":
            raise CorpusError(
                f"{where}: column {number} has no name; give it one, or leave it out (with pandas: "
                f"index=False)"
            )
    if table.columns.duplicated().any():
        name = table.columns[table.columns.duplicated()][0]
        raise CorpusError(f"{where}: two columns are called {name!r}; rename one of them")
    for name in columns:
        if name not in table.columns:
            found = [str(column) for column in table.columns]
            raise CorpusError(
                f"{where}: the column {name!r} is missing (found: {', '.join(found)})."
                f"{did_you_mean(name, found)}"
            )


def row_place(table: pd.DataFrame, row: int) -> str:
    """Return a row as a person finds it in the file: of a CSV the line, with the header as 1.

    Parameters
    ----------
    table : pandas.DataFrame
        As `read_table_file` gives it, or any other.
    row : int
        Counted from 0, without the header.
    """
    if table.index.name == "line":
        return f"line {table.index[row]}"
    return f"row {row + 1} (counting from 1)"


def as_texts(column: pd.Series) -> pd.Series:
    """Return a column as Python texts, NaN where there is none.

    A whole number that pandas stores as a float, because others are missing, is a name too.
    """

    def text(cell: Any) -> str:
        if isinstance(cell, float) and cell.is_integer():
            return str(int(cell))
        return cell.decode() if isinstance(cell, bytes) else str(cell)

    texts = column.astype(object).map(text, na_action="ignore").astype(object)
    return texts.where(texts.notna() & (texts != ""), np.nan)


def as_numbers(column: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return a column as float64, and which of its cells hold something but no finite number.

    The words true and false count as 1 and 0.
    """
    cells = column
    if not (isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf"):
        words = {"true": 1.0, "false": 0.0}
        cells = column.map(lambda cell: words.get(str(cell).strip().lower(), cell))
    values = pd.to_numeric(cells, errors="coerce").astype("float64")
    return values, (values.isna() & column.notna()) | np.isinf(values)


def check_clip_table(table: pd.DataFrame, description: Description, where: object) -> pd.DataFrame:
    """Check a clip table and bring it into its one form.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `dataset`, `clip`, `split`; perhaps `track`, `group`, `audio`; a column for each
        target; further columns are metadata.
    description : Description
        Names the datasets, the groups and the targets.
    where : object
        The file that error messages name.

    Returns
    -------
    pandas.DataFrame
        With a fresh index, all of `dataset`, `clip`, `track`, `split`, `group`, `audio` first,
        then the targets, then the metadata. `track` falls back to the clip's own name; a
        missing group or audio file is NaN; labels and numbers are float64.

    Raises
    ------
    CorpusError
        Naming file, row, dataset, clip and column: a missing column, an unknown dataset, split
        or group, a duplicate clip, a likelihood outside [0, 1], a number that is not finite.
    """
    targets = [target.name for target in description.targets]
    _check_columns(table, where, [*REQUIRED, *targets])
    leading = [*TEXT_COLUMNS, *targets]
    texts = {
        name: as_texts(table[name] if name in table else pd.Series(np.nan, table.index))
        for name in TEXT_COLUMNS
    }
    table = table.assign(**texts)

    for name in REQUIRED:
        if table[name].isna().any():
            place = row_place(table, int(table[name].isna().to_numpy().argmax()))
            raise CorpusError(f"{where}, {place}: the column {name!r} is empty")
    known = {"dataset": description.datasets, "split": SPLITS, "group": description.groups}
    for name, names in known.items():
        wrong = table[name].notna() & ~table[name].isin(names)
        _check_cells(table, name, wrong, f"one of {', '.join(names) or 'none'}", where)
    duplicate = table.duplicated(["dataset", "clip"])
    if duplicate.any():
        row = int(duplicate.to_numpy().argmax())
        raise CorpusError(
            f"{where}, {row_place(table, row)}: dataset {table['dataset'].iloc[row]!r} has the "
            f"clip {table['clip'].iloc[row]!r} twice; clip names are unique within a dataset"
        )
    table["track"] = table["track"].fillna(table["clip"])
    for target in description.targets:
        if target.kind == "category":
            table[target.name] = as_texts(table[target.name])
            continue
        values, wrong = as_numbers(table[target.name])
        _check_cells(table, target.name, wrong, "a finite number or nothing", where)
        table[target.name] = values
        if target.kind == "label":
            expected = "a likelihood in [0, 1], or nothing where the label was not observed"
            _check_cells(table, target.name, (values < 0) | (values > 1), expected, where)
    table = table[[*leading, *(name for name in table.columns if name not in leading)]]
    return table.reset_index(drop=True)


def _check_cells(
    table: pd.DataFrame, name: str, wrong: pd.Series, expected: str, where: object
) -> None:
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        dataset, clip, cell = (table[column].iloc[row] for column in ("dataset", "clip", name))
        raise CorpusError(
            f"{where}, {row_place(table, row)} (dataset {dataset!r}, clip {clip!r}): column "
            f"{name!r} is {repr(cell) if isinstance(cell, str) else cell}, expected {expected}"
        )


def tracks_on_both_sides(table: pd.DataFrame, shared_tracks: bool) -> pd.DataFrame:
    """Return the tracks (columns `dataset`, `track`) with clips in `train` and in `test`.

    With `shared_tracks`, a track of one name is the same in all datasets, and all of these count.
    """
    keys = ["track"] if shared_tracks else ["dataset", "track"]
    both = table.groupby(keys, sort=False)["split"].transform("nunique") > 1
    return table.loc[both, ["dataset", "track"]].drop_duplicates(ignore_index=True)
