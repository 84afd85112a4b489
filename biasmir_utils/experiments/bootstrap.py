"""Intervals by the bootstrap: how sure is a mean, a fall, a change.

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
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from scipy.stats import t as student_t

from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.metrics import weighted_balanced_accuracy, weighted_roc_auc
from biasmir_utils.experiments.resampled import draw_counts
from biasmir_utils.experiments.results import KEY_COLUMNS, SETTING, UNLABELLED

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
