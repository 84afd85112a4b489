"""The clip table, a row for each clip; and the one way in which tables are read and checked."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from biasmir_utils.corpus.description import Description, as_text, compose
from biasmir_utils.errors import CorpusError, did_you_mean

FILE_NAMES = ("clips.parquet", "clips.csv")
REQUIRED = ("dataset", "clip", "split")
TEXT_COLUMNS = ("dataset", "clip", "track", "split", "group", "audio")
SPLITS = ("train", "test")
MOST_SHOWN = 50
"""Columns of a table that a message lists."""
MISSING_WORDS = frozenset(
    ("", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "none", "\\n", "-", "?", ".")
)
"""What R, pandas, SQL and spreadsheets write, in letters of any case, where nothing is known."""


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
        columns are as they are stored, after the levels of the index, if these have names; the
        index is numbers then, in any order.

    Raises
    ------
    CorpusError
        Naming the file, and the line or column that cannot be read.
    """
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise CorpusError(f"{path}: expected a table, {' or '.join(readers)}")
    if not path.is_file():
        raise CorpusError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}, not a table")
    return _check_columns(readers[path.suffix.lower()](path), path, columns)


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8; `CorpusError` names the line of what is none."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        raise CorpusError(
            f"{path}, line {line}: not UTF-8 ({error}); save it anew, in UTF-8"
        ) from error


def _read_csv(path: Path) -> pd.DataFrame:
    text = read_text(path)
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
    first = next(iter(rows), 1)
    header = rows.pop(first, [])
    if header and header[0].lower().startswith(("#", "sep=")):
        raise CorpusError(
            f"{path}, line {first}: {header[0]!r} is a remark, not the name of a column; take the "
            f"line out, or the sign where names follow"
        )
    if len(header) == 1 and any(sign in header[0] for sign in ";\t|"):
        raise CorpusError(
            f"{path}: the columns seem parted by semicolons, tabs or bars; save it with commas"
        )
    for line, cells in rows.items():
        if len(cells) != len(header):
            raise CorpusError(
                f"{path}, line {line}: {len(cells)} cells, but the header has {len(header)}; "
                f"a cell that holds a comma has to stand in double quotes"
            )
    texts = [[compose(cell) or np.nan for cell in cells] for cells in rows.values()]
    return pd.DataFrame(texts, pd.Index(rows, name="line"), header, dtype=object)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
        levels = table.index.to_frame(index=False)
    except Exception as error:
        why = " ".join(str(error).split())
        raise CorpusError(f"{path}: cannot be read as a table ({why}); make it anew") from error
    if table.index.names == [None] and pd.api.types.is_integer_dtype(table.index):
        return table
    if None in table.index.names:
        raise CorpusError(
            f"{path}: its index, which begins with {list(table.index[:1])}, has no name; give it "
            f"one, such as 'clip' (with pandas: rename_axis), or leave it out (index=False)"
        )
    table = table.reset_index(drop=True)
    repeated = [name for name in levels if name in table and levels[name].equals(table[name])]
    return pd.concat([levels.drop(columns=repeated), table], axis=1)


def _check_columns(table: pd.DataFrame, where: object, columns: Iterable[str]) -> pd.DataFrame:
    """Return a table with its columns named as `as_text` does, all of these among them."""
    if not len(table):
        raise CorpusError(f"{where}: the table has no rows; a corpus needs at least one clip")
    try:
        table = table.set_axis([as_text(name) for name in table.columns], axis="columns")
    except ValueError as error:
        raise CorpusError(f"{where}, name of a column: {error}") from error
    for number, name in enumerate(table.columns, start=1):
        if re.fullmatch(r"|Unnamed: \d+", name):  # the second is what pandas makes of the first
            raise CorpusError(
                f"{where}: column {number} has no name; give it one, or leave it out (with pandas: "
                f"index=False)"
            )
    if table.columns.duplicated().any():
        name = table.columns[table.columns.duplicated()][0]
        raise CorpusError(f"{where}: two columns are called {name!r}; rename one of them")
    for name in columns:
        if name not in table.columns:
            found = [*table.columns[:MOST_SHOWN], "..."][: len(table.columns)]
            raise CorpusError(
                f"{where}: the column {name!r} is missing (found: {', '.join(found)})."
                f"{did_you_mean(name, table.columns)}"
            )
    return table


def row_place(table: pd.DataFrame | pd.Series, row: int) -> str:
    """Return a row as a person finds it in the file: of a CSV the line, with the header as 1.

    Parameters
    ----------
    table : pandas.DataFrame or pandas.Series
        As `read_table_file` gives it, or a column of that, or any other.
    row : int
        Counted from 0, without the header.
    """
    if table.index.name == "line":
        return f"line {table.index[row]}"
    return f"row {row + 1} (counting from 1)"


def as_texts(column: pd.Series, where: object = "the table") -> pd.Series:
    """Return a column as Python texts (see `as_text`), NaN where there is none.

    Parameters
    ----------
    column : pandas.Series
        Of a table that was read, or made.
    where : object
        The file that error messages name.

    Raises
    ------
    CorpusError
        Naming file, row and column of a cell that is no text.
    """
    texts: list[str | float] = []
    try:
        for cell, missing in zip(column.astype(object), column.isna(), strict=True):
            texts.append((not missing and as_text(cell)) or np.nan)
    except ValueError as error:
        place = f"{where}, {row_place(column, len(texts))}, column {column.name!r}"
        raise CorpusError(f"{place}: {error}") from error
    return pd.Series(texts, column.index, object, column.name)


def as_numbers(column: pd.Series) -> tuple[pd.Series, NDArray[np.bool_]]:
    """Return a column as float64, and which of its cells hold something but no finite number.

    The words true and false count as 1 and 0, `MISSING_WORDS` as nothing. Dates and durations are
    no numbers.
    """
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        # A column that is float64 already stays: there may be thousands of them.
        values = column if column.dtype == np.float64 else column.astype(np.float64)
        wrong = np.isinf(values.to_numpy())
    else:
        words = {"true": 1.0, "false": 0.0, **dict.fromkeys(MISSING_WORDS, np.nan)}

        def plain(cell: Any) -> Any:
            text = str(cell).strip().lower()
            other = text if isinstance(cell, str) else "no number"
            return cell if isinstance(cell, Real | Decimal) else words.get(text, other)

        cells = zip(column, column.isna(), strict=True)
        plains = [np.nan if missing else plain(cell) for cell, missing in cells]
        column = pd.Series(plains, column.index, object, column.name)
        values = pd.to_numeric(column, errors="coerce").astype("float64")
        wrong = ((values.isna() & column.notna()) | np.isinf(values)).to_numpy()
    return values, wrong


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
    table = _check_columns(table, where, [*REQUIRED, *targets])
    none = pd.Series(np.nan, table.index)
    checked = {name: as_texts(table.get(name, none), where) for name in TEXT_COLUMNS}
    others = table.drop(columns=[*TEXT_COLUMNS, *targets], errors="ignore")
    rows = pd.DataFrame(checked)
    for name in REQUIRED:
        if rows[name].isna().any():
            place = row_place(rows, int(rows[name].isna().to_numpy().argmax()))
            raise CorpusError(f"{where}, {place}: the column {name!r} is empty")
    known = {"dataset": description.datasets, "split": SPLITS, "group": description.groups}
    for name, names in known.items():
        wrong = (rows[name].notna() & ~rows[name].isin(names)).to_numpy()
        _check_cells(rows, rows[name], wrong, f"one of {', '.join(names) or 'none'}", where)
    duplicate = rows.duplicated(["dataset", "clip"])
    if duplicate.any():
        row = int(duplicate.to_numpy().argmax())
        raise CorpusError(
            f"{where}, {row_place(rows, row)}: dataset {rows['dataset'].iloc[row]!r} has the "
            f"clip {rows['clip'].iloc[row]!r} twice; clip names are unique within a dataset"
        )
    checked["track"] = rows["track"].fillna(rows["clip"])
    for target in description.targets:
        cells = table[target.name]
        if target.kind == "category":
            checked[target.name] = as_texts(cells, where)
            continue
        values, wrong = as_numbers(cells)
        _check_cells(rows, cells, wrong, "a finite number or nothing", where)
        checked[target.name] = values
        if target.kind == "label":
            expected = "a likelihood in [0, 1], or nothing where the label was not observed"
            outside = (values.to_numpy() < 0) | (values.to_numpy() > 1)
            _check_cells(rows, values, outside, expected, where)
    return pd.concat([pd.DataFrame(checked), others], axis=1).reset_index(drop=True)


def _check_cells(
    rows: pd.DataFrame, cells: pd.Series, wrong: NDArray[np.bool_], expected: str, where: object
) -> None:
    if wrong.any():
        row = int(wrong.argmax())
        dataset, clip, cell = rows["dataset"].iloc[row], rows["clip"].iloc[row], cells.iloc[row]
        shown = repr(cell) if isinstance(cell, str) else cell
        raise CorpusError(
            f"{where}, {row_place(rows, row)} (dataset {dataset!r}, clip {clip!r}): column "
            f"{cells.name!r} is {shown}, expected {expected}"
        )
