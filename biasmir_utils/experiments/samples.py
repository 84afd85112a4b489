"""Means over labels with their uncertainty: cells of a results table, drawn again many times.

A *cell* is one embedding, correction, mode, training and test set. `Samples` holds the ROC-AUC of
each label in each cell as measured (draw 0), and as many draws of it as were asked for, so that
any figure that is computed from means over labels gets an interval: compute it for all draws.
All cells share the draws, so that differences between them are paired.

Two ways to draw, see `bootstrap`: the labels of a results table, or the tracks of a table of
scores.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.bootstrap import bootstrap_scores, small_sample_stretch
from biasmir_utils.experiments.resampled import draw_counts

Draws = NDArray[np.float64]
# Largest difference between the ROC-AUC of a results table and that of its scores.
_ROUNDING = 1e-6


class Cell(NamedTuple):
    """What tells one mean of a results table from another."""

    embedding: str
    correction: str
    mode: str
    train_set: str
    test_set: str


@dataclass(frozen=True)
class Samples:
    """ROC-AUC of each label in each cell, measured and drawn again.

    Attributes
    ----------
    cells : tuple of Cell
    labels : tuple of str
    values : ndarray, (n_draws or 1, n_labels, n_cells)
        The first is what was measured; NaN where a label has no value. With one only, all draws
        share it.
    weights : ndarray, (n_draws, n_labels)
        How often each label is counted; the first row is 1.
    resampled : str
        `labels`, `tracks`, or `nothing`.
    """

    cells: tuple[Cell, ...]
    labels: tuple[str, ...]
    values: NDArray[np.float64]
    weights: NDArray[np.float64]
    resampled: str

    @classmethod
    def of_results(cls, results: pd.DataFrame, n_replicates: int = 0, seed: int = 0) -> Samples:
        """Draw the labels of a results table.

        Parameters
        ----------
        results : pandas.DataFrame
            See `results.RESULT_COLUMNS`. Rows of another dose than 1 are left out; rows that
            differ in the seed or the partner are averaged.
        n_replicates : int
            Draws; with 0, or with one label only, there are no intervals.
        seed : int

        Raises
        ------
        ArgumentError
            If columns are missing, or the table has more than one corpus or recogniser.
        """
        table = _one_kind(results, "results", [*Cell._fields, "label", "alpha", "roc_auc"])
        wide = table.pivot_table("roc_auc", "label", list(Cell._fields), sort=False)
        labels = tuple(str(label) for label in wide.index)
        weights = np.ones((1, len(labels)))
        if n_replicates and len(labels) > 1:
            weights = np.concatenate([weights, draw_counts(len(labels), n_replicates, seed)])
        cells = tuple(Cell(*map(str, key)) for key in wide.columns)
        values = wide.to_numpy(dtype=np.float64)[np.newaxis]
        return cls(cells, labels, values, weights, "labels" if len(weights) > 1 else "nothing")

    @classmethod
    def of_scores(
        cls, scores: pd.DataFrame, results: pd.DataFrame, n_replicates: int = 1000, seed: int = 0
    ) -> Samples:
        """Draw the tracks of each test set.

        Parameters
        ----------
        scores : pandas.DataFrame
            See `results.SCORE_COLUMNS`.
        results : pandas.DataFrame
            The results table of the same evaluation.
        n_replicates, seed : int

        Raises
        ------
        ArgumentError
            As `of_results`; and if the scores give another ROC-AUC than the results table has.
        """
        measured = cls.of_results(results)
        table = _one_kind(scores, "scores", [*Cell._fields, "label", "alpha"])
        drawn = bootstrap_scores(table, n_replicates=n_replicates, seed=seed)
        shape = (1 + n_replicates, len(measured.labels), len(measured.cells))
        total, count = np.zeros(shape), np.zeros(shape[1:])
        rows = {label: row for row, label in enumerate(measured.labels)}
        columns = {cell: column for column, cell in enumerate(measured.cells)}
        for key, value, replicates in zip(
            drawn.cells[["label", *Cell._fields]].itertuples(index=False, name=None),
            drawn.cells["value"],
            drawn.replicates,
            strict=True,
        ):
            row, column = rows.get(str(key[0])), columns.get(Cell(*map(str, key[1:])))
            if row is not None and column is not None:
                total[:, row, column] += np.r_[value, replicates]
                count[row, column] += 1
        values = np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)
        apart = np.abs(values[0] - measured.values[0])
        if not (apart <= _ROUNDING)[~np.isnan(measured.values[0])].all():
            raise ArgumentError(
                "the table of scores does not belong to the results table: it lacks rows of it, "
                "or gives another ROC-AUC; give the .scores.parquet that the same `biasmir "
                "evaluate --scores` wrote"
            )
        weights = np.ones((1 + n_replicates, len(measured.labels)))
        return cls(measured.cells, measured.labels, values, weights, "tracks")

    def only(self, cells: Iterable[Cell]) -> Samples:
        """Return the cells that are among some others, in their own order."""
        wanted = set(cells)
        chosen = [position for position, cell in enumerate(self.cells) if cell in wanted]
        kept = tuple(self.cells[position] for position in chosen)
        return replace(self, cells=kept, values=self.values[:, :, chosen])

    def __contains__(self, cell: Cell) -> bool:
        return cell in self._positions

    def mean(self, plus: Cell, minus: Cell | None = None) -> Draws:
        """Return the mean over labels of a cell, or of a difference of two, for each draw.

        A difference is taken label by label, over the labels that both cells have.

        Returns
        -------
        ndarray, (n_draws,)
            NaN without any label.
        """
        values = self._label_values(plus, minus)
        weights = self.weights * ~np.isnan(values)
        total = weights.sum(axis=1)
        sums = (weights * np.nan_to_num(values)).sum(axis=1)
        return np.divide(sums, total, out=np.full(len(total), np.nan), where=total > 0)

    def n_labels(self, plus: Cell, minus: Cell | None = None) -> int:
        """Return how many labels `mean` averages over."""
        return int((~np.isnan(self._label_values(plus, minus)[0])).sum())

    def interval(self, draws: Draws, level: float = 0.95) -> tuple[float, float]:
        """Return the interval of a figure from its draws; NaN without any.

        Percentiles; of draws of the labels, which are few, stretched about what was measured, see
        `bootstrap.small_sample_stretch`.

        Parameters
        ----------
        draws : ndarray, (n_draws,)
            The figure for each draw, the first as measured.
        level : float
            Coverage, in (0, 1).
        """
        again = draws[1:][~np.isnan(draws[1:])]
        if not len(again):
            return float("nan"), float("nan")
        tail = (1 - level) / 2
        ends = np.quantile(again, [tail, 1 - tail])
        if self.resampled == "labels":
            ends = draws[0] + small_sample_stretch(len(self.labels), level) * (ends - draws[0])
        low, high = ends
        return float(low), float(high)

    def names(self, field: str) -> list[str]:
        """Return the values of a field of the cells, in the order in which they appear."""
        return list(dict.fromkeys(getattr(cell, field) for cell in self.cells))

    @property
    def _positions(self) -> dict[Cell, int]:
        return {cell: position for position, cell in enumerate(self.cells)}

    def _label_values(self, plus: Cell, minus: Cell | None) -> NDArray[np.float64]:
        positions = self._positions
        values = self.values[:, :, positions[plus]]
        return values if minus is None else values - self.values[:, :, positions[minus]]


def _one_kind(table: pd.DataFrame, what: str, columns: Iterable[str]) -> pd.DataFrame:
    """Return the rows of full dose, if all are of one corpus and one recogniser."""
    for column in columns:
        if column not in table:
            raise ArgumentError(
                f"the table of {what} lacks the column {column!r} (found: "
                f"{', '.join(map(str, table.columns))}); it should come from `biasmir evaluate`"
            )
    for column in ("corpus", "recogniser"):
        if column in table and table[column].nunique() > 1:
            names = ", ".join(map(str, table[column].unique()))
            raise ArgumentError(
                f"the table of {what} has more than one {column} ({names}); select one of them"
            )
    full = table[table["alpha"].isna() | (table["alpha"] == 1)]
    if full.empty:
        raise ArgumentError(f"the table of {what} has no rows (of the full dose, alpha = 1)")
    return full
