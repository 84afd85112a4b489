"""What can be predicted: which columns of a user's table are labels, categories or numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from biasmir_utils.corpus import Target
from biasmir_utils.datasets.user_table import UserTable, first, to_numbers, to_texts
from biasmir_utils.errors import CorpusError, did_you_mean

RESERVED = ("dataset", "clip", "track", "split", "group", "audio")
# A text column with more values than this is a remark, not a category.
MOST_CATEGORIES = 50


def find_targets(
    table: UserTable,
    labels: Sequence[str] = (),
    categories: Sequence[str] = (),
    numbers: Sequence[str] = (),
    labels_from: str | None = None,
) -> tuple[UserTable, list[Target], list[str]]:
    """Decide which columns are targets, and bring them into their form.

    If none is named, the columns that are not reserved are taken for what they look like:
    numbers in [0, 1] for a label, other numbers for a number, a text with a few values that
    repeat for a category. All other columns are metadata.

    Parameters
    ----------
    table : UserTable
    labels, categories, numbers : sequence of str
        Columns; with any of them (or `labels_from`) nothing is guessed.
    labels_from : str, optional
        A column that names what is in the clip, one or more names parted by semicolons: each
        name becomes a label, 1 where it is named and 0 elsewhere; an empty cell leaves all of
        them unobserved.

    Returns
    -------
    table : UserTable
    targets : list of Target
        In the order of the table's columns; labels from `labels_from` last, sorted.
    notes : list of str
        What was guessed, in words; and for a column of numbers that was not taken for one, the
        first cell that holds something else.

    Raises
    ------
    CorpusError
        Naming the column, and the line of a cell that cannot be used.
    """
    named = {"label": labels, "category": categories, "number": numbers}
    kinds: dict[str, str] = {}
    for kind, columns in named.items():
        check_columns(table, columns)
        for column in columns:
            if kinds.setdefault(column, kind) != kind:
                raise CorpusError(
                    f"{table.path}: the column {column!r} cannot be a {kinds[column]} and a {kind}"
                )
    notes: list[str] = []
    if not kinds and labels_from is None:
        kinds, notes = _guess(table)
    rows = table.rows.copy()
    targets = [Target(str(name), kinds[name]) for name in rows.columns if name in kinds]
    for target in targets:
        if target.kind == "category":
            rows[target.name] = to_texts(rows[target.name])
        else:
            rows[target.name] = table.numbers(target.name)
        if target.kind == "label":
            outside = ~(rows[target.name].between(0, 1) | rows[target.name].isna())
            if outside.any():
                row = first(outside)
                raise table.error(
                    row,
                    target.name,
                    f"{rows[target.name].iloc[row]:g}, expected a likelihood in [0, 1], or "
                    f"nothing where the label was not observed",
                )
    if labels_from is not None:
        check_columns(table, [labels_from])
        made = _one_column_each(table, labels_from)
        targets += [Target(str(name), "label") for name in made.columns]
        rows = pd.concat([rows, made], axis=1)
    return table.with_rows(rows), targets, notes


def check_columns(table: UserTable, columns: Sequence[str]) -> None:
    """Raise `CorpusError` unless all of these columns are there, and can be targets."""
    for column in columns:
        if column in RESERVED:
            raise CorpusError(f"{table.path}: the column {column!r} has a meaning, it is no target")
        if column not in table.rows.columns:
            found = [str(name) for name in table.rows.columns]
            raise CorpusError(
                f"{table.path}: the column {column!r} is missing (found: {', '.join(found)})."
                f"{did_you_mean(column, [name for name in found if name not in RESERVED])}"
            )


def check_spelling(table: UserTable, targets: Sequence[str]) -> None:
    """Raise `CorpusError` for a column like `Dataset`, which would pass for a target or metadata.

    A column may be called so if it is asked for as a target, or if the reserved name is there too.
    """
    for column in table.rows.columns:
        plain = "".join(str(column).split()).lower()
        if plain in RESERVED and plain not in table.rows.columns and column not in targets:
            raise CorpusError(
                f"{table.path}: the column {column!r} would mean nothing; did you mean {plain!r}? "
                f"Rename it to that, or to something else"
            )


def _guess(table: UserTable) -> tuple[dict[str, str], list[str]]:
    kinds: dict[str, str] = {}
    metadata = []
    for column in table.rows.columns:
        if column in RESERVED:
            continue
        kind = _looks_like(table.rows[column])
        if kind is None:
            metadata.append(column)
        else:
            kinds[column] = kind
    notes = []
    words = {"label": "labels", "category": "categories", "number": "numbers"}
    for kind, word in words.items():
        found = [column for column in kinds if kinds[column] == kind]
        if found:
            notes.append(f"taken for {word}: {', '.join(found)}")
    if metadata:
        notes.append(f"kept as metadata: {', '.join(metadata)}")
    for column in [*kinds, *metadata]:
        if kinds.get(column) in (None, "category"):
            notes.extend(_stray_cells(table, column, kinds.get(column, "metadata")))
    return kinds, notes


def _stray_cells(table: UserTable, column: str, taken_for: str) -> list[str]:
    """Tell which cell keeps a column, most of whose cells are numbers, from being one."""
    values, wrong = to_numbers(table.rows[column])
    n_wrong, n_present = int(wrong.sum()), int(table.rows[column].notna().sum())
    if not 0 < n_wrong < n_present / 2:
        return []
    row = first(wrong)
    looks = "a label" if values.dropna().between(0, 1).all() else "a number"
    others = f", and {n_wrong - 1} more such cell(s)" if n_wrong > 1 else ""
    kept = "was kept as metadata" if taken_for == "metadata" else f"was taken for a {taken_for}"
    return [
        f"note: {column!r} would be {looks}, but {table.places[row]} holds "
        f"{table.rows[column].iloc[row]!r}{others}; so it {kept}. Leave a cell empty where nothing "
        f"is known"
    ]


def _looks_like(column: pd.Series) -> str | None:
    present = column[column.notna()]
    if not len(present):
        return None
    values, wrong = to_numbers(present)
    if not wrong.any():
        return "label" if values.between(0, 1).all() else "number"
    n_values = to_texts(present).nunique()
    repeats = 2 <= n_values <= min(MOST_CATEGORIES, len(present) // 2)
    return "category" if repeats else None


def _one_column_each(table: UserTable, column: str) -> pd.DataFrame:
    """Return a column of 0, 1 and NaN for each name that a column of names holds."""
    cells = to_texts(table.rows[column])
    named = [
        None if pd.isna(cell) else {name.strip() for name in cell.split(";")} - {""}
        for cell in cells
    ]
    names = sorted(set().union(*(one for one in named if one is not None)))
    if not names:
        raise CorpusError(f"{table.path}: the column {column!r} names nothing in any row")
    for name in names:
        if name in table.rows.columns or name in RESERVED:
            row = next(r for r, one in enumerate(named) if one is not None and name in one)
            raise table.error(row, column, f"{name!r} would be a label, but is a column already")
    return pd.DataFrame(
        {name: [np.nan if one is None else float(name in one) for one in named] for name in names}
    )
