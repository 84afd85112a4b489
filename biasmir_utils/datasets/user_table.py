"""A table of clips that a user made: read strictly, with the place of each row for messages."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.corpus import csv_rows
from biasmir_utils.errors import CorpusError

SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True)
class UserTable:
    """A table and where each of its rows stands in the file.

    Attributes
    ----------
    path : pathlib.Path
    rows : pandas.DataFrame
        From CSV, all cells are texts; NaN where one is empty.
    places : sequence of str
        For each row `line 7` (CSV) or `row 6` (Parquet, counted from 1).
    """

    path: Path
    rows: pd.DataFrame
    places: Sequence[str]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> UserTable:
        """Read a CSV or Parquet file.

        Raises
        ------
        CorpusError
            Naming the file, and the line that has too many or too few cells.
        """
        path = Path(path)
        if path.suffix.lower() not in SUFFIXES:
            raise CorpusError(f"{path}: expected a table, {' or '.join(SUFFIXES)}")
        if not path.is_file():
            raise CorpusError(f"{path}: no such file; it should hold the table of clips")
        found = _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)
        names = [str(name).strip() for name in found.rows.columns]
        for name in names:
            if not name:
                raise CorpusError(
                    f"{path}: column {names.index(name) + 1} has no name; give it one, or leave it "
                    f"out (with pandas: index=False)"
                )
            if names.count(name) > 1:
                raise CorpusError(f"{path}: two columns are called {name!r}; rename one of them")
        found.rows.columns = pd.Index(names)
        if not len(found.rows):
            raise CorpusError(f"{path}: the table has no rows; a corpus needs at least one clip")
        return found

    def with_rows(self, rows: pd.DataFrame) -> UserTable:
        """Return the same places with other columns."""
        return replace(self, rows=rows)

    def error(self, row: int, column: str, problem: str) -> CorpusError:
        """Return an error about a cell."""
        return CorpusError(f"{self.path}, {self.places[row]}, column {column!r}: {problem}")

    def numbers(self, column: str) -> pd.Series:
        """Return a column as float64, NaN where a cell is empty.

        The words true and false count as 1 and 0.

        Raises
        ------
        CorpusError
            Naming the first cell that holds no finite number.
        """
        values, wrong = to_numbers(self.rows[column])
        if wrong.any():
            row = first(wrong)
            value = self.rows[column].iloc[row]
            raise self.error(row, column, f"{value!r}, expected a finite number or nothing")
        return values


def to_numbers(column: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return the finite numbers of a column, and which of its cells hold something else."""
    words = {"true": 1.0, "false": 0.0}
    cells = column.map(lambda cell: words.get(str(cell).strip().lower(), cell))
    values = pd.to_numeric(cells, errors="coerce").astype("float64")
    wrong = (values.isna() & column.notna()) | np.isinf(values)
    return values, wrong


def to_texts(column: pd.Series) -> pd.Series:
    """Return a column as Python texts, NaN where there is none."""
    cells = column.astype(object)
    texts = cells.map(_text, na_action="ignore").astype(object)
    return texts.where(texts.notna() & (texts != ""), np.nan)


def first(mask: Any) -> int:
    """Return the position of the first true value."""
    return int(np.flatnonzero(np.asarray(mask))[0])


def _text(cell: Any) -> str:
    # A whole number that pandas stores as a float, because others are missing, is a name too.
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return cell.decode() if isinstance(cell, bytes) else str(cell)


def _read_csv(path: Path) -> UserTable:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 ({error}); save it as CSV in UTF-8") from error
    rows = csv_rows(path, io.StringIO(text, newline=""), strict=True)
    cells, places = [], []
    _, header = next(rows, (1, []))
    if len(header) == 1 and any(sign in header[0] for sign in ";\t"):
        raise CorpusError(
            f"{path}: the columns seem to be parted by semicolons or tabs; save it with commas"
        )
    for line, row in rows:
        if len(row) != len(header):
            raise CorpusError(
                f"{path}, line {line}: {len(row)} cells, but the header has {len(header)}; "
                f"a cell that holds a comma has to stand in double quotes"
            )
        cells.append([cell or np.nan for cell in row])
        places.append(f"line {line}")
    return UserTable(path, pd.DataFrame(cells, columns=header, dtype=object), places)


def _read_parquet(path: Path) -> UserTable:
    try:
        rows = pd.read_parquet(path)
    except Exception as error:
        raise CorpusError(f"{path}: cannot be read as a table ({error}); make it anew") from error
    rows = rows.reset_index(drop=True)
    return UserTable(path, rows, [f"row {number}" for number in range(1, len(rows) + 1)])
