"""Means over labels with their uncertainty: cells of a results table, drawn again many times.

A *cell* is one embedding, correction, mode, training and test set. `Samples` holds the ROC-AUC of
each label in each cell as measured (draw 0), and as many draws of it as were asked for, so that
any figure that is computed from means over labels gets an interval: compute it for all draws.
All cells share the draws, so that differences between them are paired.

Two ways to draw, see `bootstrap`: the labels of a results table, or the tracks of a table of
scores.

Intervals by the bootstrap: how sure is a mean, a fall, a change.

Two questions, two ways to resample.

- *Would other recordings have given the same?* `bootstrap_scores` resamples the tracks of each
  test set, not its clips: clips of one track are alike, and intervals over clips would be too
  narrow. All rows on one test set share the draws, so differences between them are paired.
- *Would other labels?* `interval_over_labels` resamples the labels of a table of differences. There
  are few labels, and the percentiles of so few values are too close together: they are stretched
  (`small_sample_stretch`).

Recognisers are not fitted anew, so that the intervals hold for the recognisers at hand.

References
----------
B. Efron and R. J. Tibshirani, An introduction to the bootstrap, 1993 (percentile intervals).
T. C. Hesterberg, "What teachers should know about the bootstrap: resampling in the undergraduate
statistics curriculum", The American Statistician 69, 2015 (why few values need wider ones).

Statistics of paired embeddings under many weightings of the pieces, for bootstraps by track.

A weighting says how often each piece counts. All functions take weightings as the rows of a
matrix, the first of them the pieces themselves (`track_weights`), and return one value for each.

Tests of paired differences, and what to do when there are many of them.

References
----------
F. Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1, 1945.
S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
Statistics 6, 1979.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata, wilcoxon
from scipy.stats import t as student_t

from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.metrics import (
    draw_counts,
    shared_track_weights,
    weighted_balanced_accuracy,
    weighted_roc_auc,
)
from biasmir_utils.experiments.results import KEY_COLUMNS, SETTING, UNLABELLED

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


FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Bootstrap:
    """Replicates of a metric, or of what was computed from it.

    Attributes
    ----------
    cells : pandas.DataFrame
        The key columns of each cell, and `value`, the estimate from all clips.
    replicates : ndarray, (n_cells, n_replicates)
        NaN where a draw had no clip of one of the classes.
    """

    cells: pd.DataFrame
    replicates: FloatArray

    def where(self, **conditions: Any) -> Bootstrap:
        """Return the cells whose columns have the given values: ``where(label="piano")``."""
        chosen = np.ones(len(self.cells), dtype=bool)
        for column, value in conditions.items():
            self._check_column(column)
            chosen &= (self.cells[column] == value).to_numpy()
        return self._take(np.flatnonzero(chosen))

    def mean_over(self, column: str = "label") -> Bootstrap:
        """Average over the cells that differ only in a column, replicate by replicate.

        A replicate that is NaN in one of the cells is left out of the mean.
        """
        self._check_column(column)
        keys = self._keys(without=(column,))
        codes = self.cells.groupby(keys, sort=False, dropna=False).ngroup().to_numpy()
        _, first = np.unique(codes, return_index=True)
        values = self.cells["value"].to_numpy()[:, np.newaxis]
        cells = self.cells.iloc[first][keys].reset_index(drop=True)
        members = [codes == code for code in range(len(cells))]
        cells["value"] = [float(_mean_without_nan(values[chosen])[0]) for chosen in members]
        means = [_mean_without_nan(self.replicates[chosen]) for chosen in members]
        return Bootstrap(cells, np.reshape(means, (len(cells), self.replicates.shape[1])))

    def falls(self) -> Bootstrap:
        """Return in-domain minus cross-dataset, with the test set held fixed.

        Cells keep the cross-dataset recogniser's `train_set` and the `test_set`. The in-domain
        recogniser is the one whose resampling had that training set as its partner.
        """
        same = (self.cells["train_set"] == self.cells["test_set"]).to_numpy()
        keys = self._keys(without=("train_set", "partner"))
        other = self.cells["partner"].where(same, self.cells["train_set"])
        return self._difference(self.cells[keys].assign(other=other), same, ~same)

    def changes(self, baseline: str = "none") -> Bootstrap:
        """Return each correction minus the baseline correction, all else equal.

        Parameters
        ----------
        baseline : str
            Name of a correction; it has to be there once for each of the other keys. In the mode
            `unlabelled` it is that mode's, as in `results.changes`.
        """
        is_baseline = (self.cells["correction"] == baseline).to_numpy()
        if not is_baseline.any():
            names = ", ".join(dict.fromkeys(self.cells["correction"]))
            raise ArgumentError(f"no cells have the correction {baseline!r}; there are {names}")
        keys = self.cells[self._keys(without=("correction", "mode", "alpha"))]
        if "mode" in self.cells:
            keys = keys.assign(unlabelled=self.cells["mode"] == UNLABELLED)
        return self._difference(keys, ~is_baseline, is_baseline, keep_first=True)

    def intervals(self, level: float = 0.95) -> pd.DataFrame:
        """Return the cells with percentile intervals.

        Parameters
        ----------
        level : float
            Coverage, in (0, 1).

        Returns
        -------
        pandas.DataFrame
            `cells` with `low`, `high`, and `undefined`, the share of replicates without a value.
        """
        if not 0 < level < 1:
            raise ArgumentError(f"level must lie between 0 and 1, found {level}")
        undefined = np.isnan(self.replicates)
        low, high = np.full((2, len(self.cells)), np.nan)
        some = ~undefined.all(axis=1)
        if some.any():
            tail = (1 - level) / 2
            low[some], high[some] = np.nanquantile(self.replicates[some], [tail, 1 - tail], axis=1)
        return self.cells.assign(low=low, high=high, undefined=undefined.mean(axis=1))

    def _check_column(self, column: str) -> None:
        if column not in self.cells or column == "value":
            raise ArgumentError(
                f"no column {column!r}; there are {', '.join(self._keys(without=()))}"
            )

    def _keys(self, without: Sequence[str]) -> list[str]:
        return [str(name) for name in self.cells if name not in (*without, "value")]

    def _take(self, rows: NDArray[np.intp]) -> Bootstrap:
        return Bootstrap(self.cells.iloc[rows].reset_index(drop=True), self.replicates[rows])

    def _difference(
        self,
        keys: pd.DataFrame,
        minuend: NDArray[np.bool_],
        subtrahend: NDArray[np.bool_],
        keep_first: bool = False,
    ) -> Bootstrap:
        """Subtract cells with equal keys; the others' columns are kept unless `keep_first`."""
        names = list(keys)
        first = keys[minuend].assign(first=np.flatnonzero(minuend))
        second = keys[subtrahend].assign(second=np.flatnonzero(subtrahend))
        if (first if not keep_first else second).duplicated(names).any():
            raise ArgumentError("the cells to compare with are there more than once; select some")
        leading, other = (first, second) if keep_first else (second, first)
        pairs = leading.merge(other, on=names, how="inner", validate="many_to_one")
        a, b = pairs["first"].to_numpy(), pairs["second"].to_numpy()
        kept = self._take(a if keep_first else b)
        values = self.cells["value"].to_numpy()
        return replace(
            kept,
            cells=kept.cells.assign(value=values[a] - values[b]),
            replicates=self.replicates[a] - self.replicates[b],
        )


def bootstrap_scores(
    scores: pd.DataFrame,
    metric: str = "roc_auc",
    n_replicates: int = 1000,
    seed: int = 0,
    *,
    shared_tracks: bool = False,
) -> Bootstrap:
    """Resample the tracks of each test set.

    Parameters
    ----------
    scores : pandas.DataFrame
        The table of scores of an evaluation (`results.SCORE_COLUMNS`).
    metric : {'roc_auc', 'balanced_accuracy', 'brier'}
    n_replicates : int
    seed : int
    shared_tracks : bool
        Whether a track of one name is the same track in all test sets: `Corpus.shared_tracks`.

    Returns
    -------
    Bootstrap
        A cell for each recogniser and test set. Cells with one test set share the draws, those
        with different test sets are drawn independently; with `shared_tracks` all share them.

    Raises
    ------
    ArgumentError
        If a column is missing or the metric is unknown.
    """
    missing = [name for name in (*KEY_COLUMNS, "track", "y_true", "score") if name not in scores]
    if missing:
        raise ArgumentError(f"the table of scores lacks the column {missing[0]!r}")
    if metric not in _METRICS:
        raise ArgumentError(f"metric {metric!r}: expected one of {', '.join(_METRICS)}")
    if n_replicates < 1:
        raise ArgumentError(f"n_replicates must be at least 1, found {n_replicates}")
    keys = list(KEY_COLUMNS)
    compute = _METRICS[metric]
    drawn_from = np.full(len(scores), "") if shared_tracks else scores["test_set"].to_numpy(str)
    codes, draws = _draw_tracks(scores["track"].to_numpy(object), drawn_from, n_replicates, seed)
    rows, values, replicates = [], [], []
    for members in scores.groupby(keys, sort=False, dropna=False).indices.values():
        part = scores.iloc[members]
        weights = draws[drawn_from[members[0]]][:, codes[members]]
        everything = np.ones((1, len(part)))
        rows.append(members[0])
        values.append(compute(part, everything)[0])
        replicates.append(compute(part, weights))
    cells = scores.iloc[rows][keys].reset_index(drop=True)
    cells["value"] = values
    return Bootstrap(cells, np.reshape(replicates, (len(cells), n_replicates)))


def interval_over_labels(
    table: pd.DataFrame,
    column: str,
    by: Sequence[str] = (*SETTING, "train_set", "test_set"),
    *,
    n_replicates: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Resample the labels of a table with a row for each label and setting.

    Give it differences (`results.falls`, `results.changes`), and the interval is paired: both
    sides of a difference come from the same label.

    Parameters
    ----------
    table : pandas.DataFrame
    column : str
        What to average.
    by : sequence of str
        The columns that tell settings apart; those that the table lacks are ignored.
    n_replicates, level, seed
        As for `bootstrap_scores`.

    Returns
    -------
    pandas.DataFrame
        The columns of `by`, `n_labels`, `mean`, `low`, `high`; no interval, NaN, of one label.
    """
    for name in (column, "label"):
        if name not in table:
            raise ArgumentError(f"the table lacks the column {name!r}")
    keys = [name for name in by if name in table]
    rows = []
    for members in table.groupby(keys, sort=False, dropna=False).indices.values():
        part = table.iloc[members]
        per_label = part.groupby("label", sort=False)[column].mean().to_numpy()
        low, high = mean_interval(per_label, n_replicates, level, seed)
        rows.append(
            {
                **part.iloc[0][keys].to_dict(),
                "n_labels": len(per_label),
                "mean": per_label.mean(),
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(rows, columns=[*keys, "n_labels", "mean", "low", "high"])


def mean_interval(
    values: ArrayLike, n_replicates: int = 10_000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the interval of the mean of independent values: stretched percentiles.

    The percentiles' distances from the mean are multiplied by `small_sample_stretch`.

    Parameters
    ----------
    values : array-like, (n,)
    n_replicates : int
    level : float
        Coverage, in (0, 1).
    seed : int

    Returns
    -------
    low, high : float
        NaN of fewer than two values, which tell nothing of their spread.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(values), (n_replicates, len(values)))
    tail = (1 - level) / 2
    mean = values.mean()
    ends = np.quantile(values[draws].mean(axis=1), [tail, 1 - tail])
    low, high = mean + small_sample_stretch(len(values), level) * (ends - mean)
    return float(low), float(high)


def small_sample_stretch(n: int, level: float = 0.95) -> float:
    """Return by how much percentile intervals from n values are too narrow.

    Resampled means have the variance of the values divided by n, not by n - 1, and their
    percentiles are those of a normal distribution rather than of Student's t. For an interval of
    95 % the factor is ``t / 1.96 * sqrt(n / (n - 1))`` with the 97.5 % quantile t at n - 1 degrees
    of freedom: 9.2 for 2 values, 1.6 for 5, 1.2 for 10. Like Hesterberg's expanded percentiles it
    corrects the width and keeps what the percentiles tell of skewness; unlike these it does not
    end at the most extreme of the few means that there are.

    Parameters
    ----------
    n : int
        At least 2.
    level : float
        Coverage, in (0, 1).
    """
    upper = (1 + level) / 2
    return float(student_t.ppf(upper, n - 1) / norm.ppf(upper) * np.sqrt(n / (n - 1)))


def _draw_tracks(
    tracks: NDArray[Any], drawn_from: NDArray[np.str_], n_replicates: int, seed: int
) -> tuple[NDArray[np.intp], dict[str, FloatArray]]:
    """Return the track code of each row, and for each set how often its tracks are drawn.

    Tracks are in sorted order, and each set has a generator of its own, so that the draws do not
    depend on the order of the table nor on what other rows it has.
    """
    codes = np.empty(len(tracks), dtype=np.intp)
    draws = {}
    for name in np.unique(drawn_from).tolist():
        members = drawn_from == name
        names, codes[members] = np.unique(tracks[members], return_inverse=True)
        counts = draw_counts(len(names), n_replicates, [seed, *name.encode()])
        draws[name] = counts.astype(np.float64)
    return codes, draws


def _roc_auc(part: pd.DataFrame, weights: FloatArray) -> FloatArray:
    return weighted_roc_auc(part["y_true"], part["score"], weights)


def _balanced_accuracy(part: pd.DataFrame, weights: FloatArray) -> FloatArray:
    return weighted_balanced_accuracy(part["y_true"], part["score"], weights)


def _brier(part: pd.DataFrame, weights: FloatArray) -> FloatArray:
    error = part["probability"].to_numpy() - part["y_true"].to_numpy()
    return _weighted_mean(error**2, weights)


def _weighted_mean(values: NDArray[Any], weights: FloatArray) -> FloatArray:
    total = weights.sum(axis=1)
    return np.divide(weights @ values, total, out=np.full(len(weights), np.nan), where=total > 0)


def _mean_without_nan(values: FloatArray) -> FloatArray:
    defined = ~np.isnan(values)
    n = defined.sum(axis=0)
    total = np.where(defined, values, 0.0).sum(axis=0)
    return np.divide(total, n, out=np.full(values.shape[1], np.nan), where=n > 0)


_METRICS: dict[str, Callable[[pd.DataFrame, FloatArray], FloatArray]] = {
    "roc_auc": _roc_auc,
    "balanced_accuracy": _balanced_accuracy,
    "brier": _brier,
}


def track_weights(track: ArrayLike, n_replicates: int, seed: int) -> FloatArray:
    """Return how often each piece counts: first once each, then as bootstraps by track drew it.

    Returns
    -------
    ndarray, (1 + n_replicates, n_pieces)
    """
    if n_replicates < 1:
        raise ArgumentError(f"n_replicates must be at least 1, found {n_replicates}")
    tracks = np.asarray(track)
    weights = shared_track_weights(np.unique(tracks), tracks, n_replicates, seed)
    return weights.astype(np.float64)


def weighted_mean(W: FloatArray, values: FloatArray) -> FloatArray:
    """Return the mean of rows under each weighting: (n_weightings, ...)."""
    total = W.sum(axis=1)
    means: FloatArray = (W @ values) / (total[:, np.newaxis] if values.ndim > 1 else total)
    return means


def weighted_mean_of_rows(W: FloatArray, values: FloatArray) -> FloatArray:
    """Return the mean of values, (n_weightings, n_pieces), each row under its own weighting."""
    means: FloatArray = (W * values).sum(axis=1) / W.sum(axis=1)
    return means


def mean_product(W: FloatArray, one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the inner product of two mean rows under each weighting, unbiased.

    The means are of the same pieces, a row of each for a piece. Their product would be too large
    by the covariance of the rows, summed over features, / n. So it is the mean of the products of
    one row with the other rows of *different* pieces; a piece that was drawn twice is not two.
    """
    products = np.einsum("ij,ij->i", one, other)
    together = np.einsum("ij,ij->i", W @ one, W @ other) - np.square(W) @ products
    return ratio(together, np.square(W.sum(axis=1)) - np.square(W).sum(axis=1))


def squared_mean_length(W: FloatArray, rows: FloatArray) -> FloatArray:
    """Return the squared length of the mean row under each weighting: see `mean_product`."""
    return mean_product(W, rows, rows)


def products_with_others(
    W: FloatArray, rows: FloatArray, track: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return the product of each row with the mean of the other tracks' rows, and its square.

    A row that had a part in the mean would agree with it too well. And the square of a product
    with a noisy mean is too large, even when the row had none: so what is returned as the square
    is the mean, over pairs of different other tracks, of the product of the products with both.

    Parameters
    ----------
    W : ndarray, (n_weightings, n_pieces)
        Equal for the pieces of a track.
    rows : ndarray, (n_pieces, n_features)
    track : array-like, (n_pieces,)

    Returns
    -------
    products, squares : ndarray, (n_weightings, n_pieces)
        NaN where there are no other tracks, or no two.
    """
    codes, names = category_codes(track)
    _, first = np.unique(codes, return_index=True)
    drawn, sizes = W[:, first], np.bincount(codes)
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, codes, rows)
    products = rows @ sums.T
    own = W * products[np.arange(len(rows)), codes]
    own_size = W * sizes[codes]
    product = drawn @ products.T - own
    square = np.square(product) - (np.square(drawn) @ np.square(products).T - np.square(own))
    n = (drawn @ sizes)[:, np.newaxis] - own_size
    pairs = np.square(n) - (np.square(drawn) @ np.square(sizes))[:, np.newaxis]
    pairs += np.square(own_size)
    return ratio(product, n), ratio(square, pairs)


def ratio(numerator: FloatArray, denominator: ArrayLike) -> FloatArray:
    """Divide, where the denominator is positive; elsewhere NaN."""
    below = np.asarray(denominator, dtype=np.float64)
    empty = np.full(np.broadcast_shapes(numerator.shape, below.shape), np.nan)
    return np.divide(numerator, below, out=empty, where=below > 0)


def root(values: FloatArray) -> FloatArray:
    """Return the square root, of what is below zero 0."""
    roots: FloatArray = np.sqrt(np.maximum(values, 0))
    return roots


def between_variance(W: FloatArray, rows: FloatArray, category: ArrayLike) -> FloatArray:
    """Return the variance between categories' means, summed over features, noise taken off.

    The variance component of a one-way analysis of variance, (MS_between - MS_within) / n_0,
    under each weighting; NaN for a single category. As in `mean_product`, a piece that was drawn
    twice is not two: the noise of a mean of n rows is that of the different ones among them.

    References
    ----------
    S. R. Searle, G. Casella, C. E. McCulloch, Variance Components, 1992, section 3.6.
    """
    codes, names = category_codes(category)
    rows = rows - rows.mean(axis=0)
    of_means, own, effective = np.zeros((3, len(W)))
    for code in range(len(names)):
        w = W[:, codes == code]
        count = np.maximum(w.sum(axis=1), 1)
        of_means += np.square(w @ rows[codes == code]).sum(axis=1) / count
        own += np.square(w).sum(axis=1) / count
        effective += np.square(w.sum(axis=1))
    n = W.sum(axis=1)
    between = of_means - n * np.square(weighted_mean(W, rows)).sum(axis=1)
    within = W @ np.square(rows).sum(axis=1) - of_means
    noise = ratio(within, n - own)
    share = own - np.square(W).sum(axis=1) / n  # categories - 1, if all pieces count once
    return ratio(between - share * noise, n - effective / n)


def with_intervals(
    statistics: Mapping[str, FloatArray],
    level: float = 0.95,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    centred: bool = True,
) -> pd.DataFrame:
    """Make a table of statistics: the first value of each is the estimate, the rest replicates.

    Parameters
    ----------
    statistics : mapping of str to ndarray, (1 + n_replicates,)
    level : float
        Of the intervals, in (0, 1).
    bounds : tuple of float
        Smallest and largest value that is possible; estimates and intervals end there.
    centred : bool
        Whether quantiles are moved by the difference between the estimate and the mean of the
        replicates. Not for ratios and roots: where their parts are biased in the replicates, to
        move the result is too late, and where these are unbiased, there is no need.

    Returns
    -------
    pandas.DataFrame
        Columns `quantity`, `value`, `low`, `high`.
    """
    if not 0 < level < 1:
        raise ArgumentError(f"level must lie between 0 and 1, found {level}")
    tail = (1 - level) / 2
    rows = []
    for name, values in statistics.items():
        estimate, replicates = float(values[0]), values[1:][np.isfinite(values[1:])]
        low = high = float("nan")
        if len(replicates) and np.isfinite(estimate):
            moved = replicates + (estimate - replicates.mean() if centred else 0)
            ends = np.quantile(moved, [tail, 1 - tail])
            low, high = (float(end) for end in np.clip(ends, *bounds))
        value = float(np.clip(estimate, *bounds))
        rows.append({"quantity": name, "value": value, "low": low, "high": high})
    return pd.DataFrame(rows)


def category_codes(category: ArrayLike) -> tuple[NDArray[np.intp], list[str]]:
    """Return a code for each piece, and the sorted names of the codes."""
    names, codes = np.unique(np.asarray(category).astype(str), return_inverse=True)
    return codes, names.tolist()


MAX_EXACT = 50


def paired_wilcoxon(differences: ArrayLike) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test.

    Parameters
    ----------
    differences : array-like, (n_pairs,)
        NaN is left out, zeros too, as Wilcoxon did. The p-value is exact for up to 50 pairs,
        with ties as well, and an approximation by the normal distribution for more.

    Returns
    -------
    float
        1 if all differences are zero, NaN if there is none.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan")
    values = values[values != 0]
    if not len(values):
        return 1.0
    if len(values) > MAX_EXACT:
        return float(wilcoxon(values, method="approx").pvalue)
    # Ranks of tied values are halves, so twice the ranks are whole numbers. Without an effect
    # each has either sign alike: the number of ways to reach each sum of positive ranks.
    ranks = np.rint(2 * rankdata(np.abs(values))).astype(int)
    ways = np.zeros(ranks.sum() + 1)
    ways[0] = 1.0
    for rank in ranks:
        ways[rank:] = ways[rank:] + ways[: len(ways) - rank]
    ways /= ways.sum()
    reached = int(ranks[values > 0].sum())
    one_side = min(ways[: reached + 1].sum(), ways[reached:].sum())
    return float(min(1.0, 2 * one_side))


def smallest_p(n_pairs: int) -> float:
    """Return the smallest p-value that the exact test can give for a number of pairs."""
    return min(1.0, 2.0 ** (1 - n_pairs))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return Holm's adjusted p-values of a family of tests.

    The k-th smallest of m is multiplied by m - k + 1, and none is smaller than one before it.
    NaN stays NaN and does not count.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted
