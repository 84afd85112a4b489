"""The clip table: a row for each clip, checked column by column."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.corpus.description import Description
from biasmir_utils.errors import CorpusError

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


def read_clip_table(path: Path, description: Description) -> pd.DataFrame:
    """Read and check a clip table.

    Parameters
    ----------
    path : pathlib.Path
        `clips.parquet` or `clips.csv`; both give the same table.
    description : Description
        Names the datasets, the groups and the targets.

    Returns
    -------
    pandas.DataFrame
        See `check_clip_table`.
    """
    try:
        if path.suffix == ".csv":
            # Read as text first: a clip named 007 or a genre named "None" must stay as it is.
            table = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
        else:
            table = pd.read_parquet(path)
    except Exception as error:
        raise CorpusError(f"{path}: cannot be read as a table ({error}); make it anew") from error
    return check_clip_table(table, description, path)


def check_clip_table(table: pd.DataFrame, description: Description, where: Any) -> pd.DataFrame:
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
    missing = [name for name in (*REQUIRED, *targets) if name not in table.columns]
    if missing:
        raise CorpusError(f"{where}: the column {missing[0]!r} is missing (found: {_list(table)})")
    if not len(table):
        raise CorpusError(f"{where}: the table has no rows; a corpus needs at least one clip")
    if table.columns.duplicated().any():
        name = table.columns[table.columns.duplicated()][0]
        raise CorpusError(f"{where}: the column {name!r} is there twice; rename one of them")

    table = table.reset_index(drop=True)
    for name in TEXT_COLUMNS:
        given = table[name] if name in table.columns else pd.Series(np.nan, table.index)
        table[name] = _as_text(given)
    for name in REQUIRED:
        absent = table[name].isna()
        if absent.any():
            row = int(np.flatnonzero(absent)[0])
            raise CorpusError(f"{_place(where, row)}: the column {name!r} is empty")
    _check_values(table, "dataset", description.datasets, where)
    _check_values(table, "split", SPLITS, where)
    _check_values(table, "group", description.groups, where)
    duplicate = table.duplicated(["dataset", "clip"])
    if duplicate.any():
        row = int(np.flatnonzero(duplicate)[0])
        first = table.iloc[row]
        raise CorpusError(
            f"{_place(where, row)}: dataset {first['dataset']!r} has the clip {first['clip']!r} "
            f"twice; clip names are unique within a dataset"
        )
    table["track"] = table["track"].where(table["track"].notna(), table["clip"])
    for target in description.targets:
        if target.kind == "category":
            table[target.name] = _as_text(table[target.name])
        else:
            table[target.name] = _as_numbers(table, target.name, where)
        if target.kind == "label":
            _check_likelihoods(table, target.name, where)
    leading = [*TEXT_COLUMNS, *targets]
    return table[[*leading, *(name for name in table.columns if name not in leading)]]


def tracks_on_both_sides(table: pd.DataFrame, shared_tracks: bool = False) -> pd.DataFrame:
    """Return the tracks (columns `dataset`, `track`) with clips in `train` and in `test`.

    With `shared_tracks`, a track of one name is the same in all datasets, and all of these count.
    """
    keys = ["track"] if shared_tracks else ["dataset", "track"]
    both = table.groupby(keys, sort=False)["split"].transform("nunique") > 1
    return table.loc[both, ["dataset", "track"]].drop_duplicates(ignore_index=True)


def csv_rows(
    path: Path, lines: Iterable[str], *, strict: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row of a CSV file, and the line where it begins, counted from 1.

    A cell in quotes may go over several lines; empty lines, and lines of blanks, are no rows.

    Parameters
    ----------
    path : pathlib.Path
        For messages.
    lines : iterable of str
        The file opened with ``newline=""``.
    strict : bool
        Whether quotes in the wrong place are an error.

    Raises
    ------
    CorpusError
        Naming the line that cannot be read.
    """
    line, last = 1, ""

    def noted() -> Iterator[str]:
        nonlocal last
        for text in lines:
            last = text
            yield text

    reader = csv.reader(noted(), strict=strict)
    try:
        for cells in reader:
            if last.strip(" \t\r\n"):  # quotes around blanks make a cell
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise CorpusError(f"{path}, line {line}: cannot be read as CSV ({error})") from error


def _list(table: pd.DataFrame) -> str:
    return ", ".join(map(str, table.columns))


def _as_text(column: pd.Series) -> pd.Series:
    """Return the column as Python texts, NaN where there is none."""
    column = column.astype(object)
    present = column.notna() & (column != "")
    return column.where(present, np.nan).map(str, na_action="ignore").astype(object)


def _as_numbers(table: pd.DataFrame, name: str, where: Any) -> pd.Series:
    column = table[name]
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    wrong = (numbers.isna() & column.notna()) | np.isinf(numbers)
    if wrong.any():
        raise CorpusError(
            _cell(table, name, wrong, where) + ", expected a finite number or nothing"
        )
    return numbers


def _check_likelihoods(table: pd.DataFrame, name: str, where: Any) -> None:
    wrong = (table[name] < 0) | (table[name] > 1)
    if wrong.any():
        raise CorpusError(
            _cell(table, name, wrong, where) + ", expected a likelihood in [0, 1], or nothing "
            "where the label was not observed"
        )


def _check_values(table: pd.DataFrame, name: str, known: tuple[str, ...], where: Any) -> None:
    wrong = table[name].notna() & ~table[name].isin(known)
    if wrong.any():
        raise CorpusError(
            _cell(table, name, wrong, where) + f", expected one of {', '.join(known) or 'none'}"
        )


def _cell(table: pd.DataFrame, name: str, wrong: pd.Series, where: Any) -> str:
    row = int(np.flatnonzero(wrong)[0])
    entry = table.iloc[row]
    value = entry[name]
    shown = repr(value) if isinstance(value, str) else value
    return (
        f"{_place(where, row)} (dataset {entry['dataset']!r}, clip {entry['clip']!r}): "
        f"column {name!r} is {shown}"
    )


def row_in_file(where: Any, row: int) -> str:
    """Return a row as a person finds it in a file: in CSV the line, with the header as 1.

    Parameters
    ----------
    where : path, or any other object
        The file.
    row : int
        Counted from 0, without the header.
    """
    if isinstance(where, Path) and where.suffix.lower() == ".csv" and where.is_file():
        # What pandas reads may be too much for the csv module, as a cell of 200,000 characters.
        with open(where, encoding="utf-8", newline="") as file, suppress(CorpusError):
            for line, _ in islice(csv_rows(where, file), row + 1, None):  # after the header
                return f"line {line}"
    return f"row {row + 1} (counting from 1)"


def _place(where: Any, row: int) -> str:
    return f"{where}, {row_in_file(where, row)}"
