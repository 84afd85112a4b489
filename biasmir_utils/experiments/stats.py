"""How sure a figure is: draws of tracks and of labels, intervals, and tests over labels.

Three questions, three ways to draw again.

- *Would other recordings have given the same?* `bootstrap_scores` draws the tracks of each test set
  (`TrackDraws`), not its clips: clips of one track are alike, and intervals over clips would be too
  narrow. All rows on one test set share the draws, so differences between them are paired.
- *Would the method, with other training clips and seeds?* The draws above are of the recognisers
  that there are. `refit_scores` fits everything anew, too: to halves of the training tracks, and to
  all of them with other seeds.
- *Would other labels?* `interval_over_labels` and `Samples.of_results` draw the labels of a table.
  There are few, and the percentiles of so few values are too close together: they are stretched
  (`small_sample_stretch`).

Any figure that is computed from what was drawn gets an interval: compute it for all draws
(`interval`).

References
----------
B. Efron and C. Stein, "The jackknife estimate of variance", Annals of Statistics 9, 1981 (what
samples of a sample tell of its variance, and of how much of that is of the second order).
B. Efron and R. J. Tibshirani, An introduction to the bootstrap, 1993 (percentile intervals).
T. C. Hesterberg, "What teachers should know about the bootstrap: resampling in the undergraduate
statistics curriculum", The American Statistician 69, 2015 (why few values need wider ones).
F. Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1, 1945.
S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
Statistics 6, 1979.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata, t as student_t, wilcoxon

from biasmir_utils.corpus import Corpus
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.metrics import FloatArray, metric_named, ratio, weighted_metric
from biasmir_utils.experiments.results import KEY_COLUMNS, SETTING, changes, falls

FEW_LABELS = 5
"""Below so many labels, resampling them tells little."""
MOST_UNDEFINED = 0.01
"""Share of draws without a value (no clip of a class) up to which intervals are given."""


def draw_counts(n: int, n_replicates: int, seed: int | Sequence[int]) -> FloatArray:
    """Return how often each of n things counts: first once each, then as often as it was drawn.

    Parameters
    ----------
    n : int
        Things, of which n are drawn with replacement.
    n_replicates : int
        Draws, at least 1.
    seed : int or sequence of int

    Returns
    -------
    ndarray, (1 + n_replicates, n)
    """
    if n_replicates < 1:
        raise ArgumentError(f"n_replicates must be at least 1, found {n_replicates}")
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_replicates)
    return np.concatenate([np.ones((1, n)), drawn])


class TrackDraws:
    """How often each track of each test set is drawn, shared by all that is tested on the set.

    Tracks are in sorted order, and each set has a generator of its own, so that the draws depend
    neither on the order of clips nor on other test sets.

    Parameters
    ----------
    tracks : mapping of str to array-like
        The tracks of each test set, each once or more.
    n_replicates : int
        Draws, at least 1.
    seed : int
    shared : bool
        Whether a track of one name is the same track in all test sets (`Corpus.shared_tracks`);
        then these share the draws, too.
    """

    def __init__(
        self,
        tracks: Mapping[str, ArrayLike],
        n_replicates: int,
        seed: int = 0,
        shared: bool = False,
    ) -> None:
        names = {name: np.unique(np.asarray(own).astype(str)) for name, own in tracks.items()}
        if shared:
            names = dict.fromkeys(names, np.unique(np.concatenate(list(names.values()))))
        self.n_replicates = n_replicates
        self._names = names
        self._counts = {
            name: draw_counts(len(own), n_replicates, [seed] if shared else [seed, *name.encode()])
            for name, own in names.items()
        }

    def weights(self, test_set: str, track: ArrayLike) -> FloatArray:
        """Return how often each clip counts: first once each, then as its track was drawn.

        Parameters
        ----------
        test_set : str
        track : array-like, (n_clips,)
            Track of each clip: of all of the test set, or of some.

        Returns
        -------
        ndarray, (1 + n_replicates, n_clips)
        """
        positions = np.searchsorted(self._names[test_set], np.asarray(track).astype(str))
        return self._counts[test_set][:, positions]


def track_weights(track: ArrayLike, n_replicates: int, seed: int) -> FloatArray:
    """Return how often each clip of one test set counts, (1 + n_replicates, n_clips).

    Parameters
    ----------
    track : array-like, (n_clips,)
        Track of each clip.
    n_replicates, seed : int
        As for `TrackDraws`.
    """
    return TrackDraws({"": track}, n_replicates, seed).weights("", track)


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


def interval(
    draws: NDArray[Any], level: float = 0.95, n_values: int | None = None
) -> tuple[float, float]:
    """Return the percentile interval of a figure from its draws; NaN where these are too few.

    There is none where more than `MOST_UNDEFINED` of the draws of tracks have no value. Of one
    label that is so where a class has fewer than about five tracks, of which 1 draw in 150 has
    none; its interval would hold the truth three times out of four instead of 95 times out of 100.

    Parameters
    ----------
    draws : ndarray, (1 + n_draws,)
        The figure, first as measured, then for each draw; NaN does not count.
    level : float
        Coverage, in (0, 1).
    n_values : int, optional
        Where few values were drawn from, their number: the interval is stretched about what was
        measured, see `small_sample_stretch`.
    """
    if not 0 < level < 1:
        raise ArgumentError(f"level must lie between 0 and 1, found {level}")
    again = draws[1:][~np.isnan(draws[1:])]
    enough = n_values is not None or len(again) >= (1 - MOST_UNDEFINED) * len(draws[1:])
    if not (len(again) and enough):
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    ends = np.quantile(again, [tail, 1 - tail])
    if n_values is not None:
        ends = draws[0] + small_sample_stretch(n_values, level) * (ends - draws[0])
    return float(ends[0]), float(ends[1])


def with_intervals(
    statistics: Mapping[str, FloatArray],
    bounds: Mapping[str, tuple[float, float]] | None = None,
    centred: bool = True,
) -> pd.DataFrame:
    """Make a table of statistics: the first value of each is the estimate, the rest replicates.

    Parameters
    ----------
    statistics : mapping of str to ndarray, (1 + n_replicates,)
        The estimate, then its replicates. Those that are not finite count as draws without a
        value, of which `interval` allows one in a hundred.
    bounds : mapping of str to tuple of float, optional
        Smallest and largest value that is possible of some statistics; estimates and intervals
        end there.
    centred : bool
        Whether quantiles are moved by the difference between the estimate and the mean of the
        replicates. Not for ratios and roots: where their parts are biased in the replicates, to
        move the result is too late, and where these are unbiased, there is no need.

    Returns
    -------
    pandas.DataFrame
        Columns `quantity`, `value`, `low`, `high`.
    """
    rows = []
    for name, values in statistics.items():
        again = pd.Series(values[1:]).where(np.isfinite(values[1:]) & np.isfinite(values[0]))
        moved = again + (values[0] - again.mean() if centred else 0)
        ends = (bounds or {}).get(name, (-np.inf, np.inf))
        rows.append([name, *np.clip([values[0], *interval(np.r_[values[0], moved])], *ends)])
    return pd.DataFrame(rows, columns=["quantity", "value", "low", "high"])


@dataclass(frozen=True)
class Draws:
    """A metric of each recogniser and test set, or what was computed from it, drawn again.

    Attributes
    ----------
    cells : pandas.DataFrame
        The key columns of each cell, and `value`, the estimate from all clips.
    replicates : ndarray, (n_cells, n_replicates)
        NaN where a draw had no clip of one of the classes.
    halves : ndarray, (n_cells, n_refits)
        What recognisers make of it that were fitted to halves of the training tracks, the two
        halves of each deal one after the other: see `refit_scores`. Else there are none.
    seeds : ndarray, (n_cells, n_seeds)
        What recognisers make of it that were fitted to the whole corpus with further seeds.
    bounds : (float, float)
        Smallest and largest possible value.
    """

    cells: pd.DataFrame
    replicates: FloatArray
    halves: FloatArray = field(default_factory=lambda: np.empty((0, 0)))
    seeds: FloatArray = field(default_factory=lambda: np.empty((0, 0)))
    bounds: tuple[float, float] = (-np.inf, np.inf)

    def of(self, keys: pd.DataFrame, values: FloatArray) -> Draws:
        """Return the draws of other cells, from what was made of `values`, a row for each."""
        cells = keys.reset_index(drop=True).assign(value=values[:, 0])
        ends = np.cumsum([1, self.replicates.shape[1], self.halves.shape[1]])
        _, drawn, halves, seeds = np.split(values, ends, axis=1)
        return replace(self, cells=cells, replicates=drawn, halves=halves, seeds=seeds)

    @property
    def values(self) -> FloatArray:
        """What was measured and drawn, (n_cells, 1 + n_replicates + n_refits + n_seeds)."""
        refits = [part for part in (self.halves, self.seeds) if part.size]
        return np.column_stack([self.cells["value"], self.replicates, *refits])

    def where(self, **conditions: Any) -> Draws:
        """Return the cells whose columns have the given values: ``where(label="piano")``."""
        self._check_columns(*conditions)
        chosen = (self.cells[list(conditions)] == pd.Series(conditions)).all(axis=1).to_numpy()
        return self.of(self.cells[chosen].drop(columns="value"), self.values[chosen])

    def mean_over(self, *columns: str) -> Draws:
        """Average over the cells that differ only in some columns, replicate by replicate.

        By default that is `label`. A replicate that is NaN in one of the cells is left out of the
        mean. A refit is not: the mean would be one of other cells, and has no value.
        """
        columns = columns or ("label",)
        self._check_columns(*columns)
        keys = self.cells.drop(columns=[*columns, "value"])
        codes = keys.groupby(list(keys), sort=False, dropna=False).ngroup().to_numpy()
        first, values = np.unique(codes, return_index=True)[1], self.values
        is_refit, means = np.arange(values.shape[1]) > self.replicates.shape[1], []
        for code in range(len(first)):
            part = values[codes == code]
            known = ~np.where(is_refit, np.isnan(part[:, :1]), np.isnan(part))
            means.append(ratio(np.where(known, part, 0).sum(axis=0), known.sum(axis=0)))
        return self.of(keys.iloc[first], np.array(means))

    def falls(self) -> Draws:
        """Return in-domain minus cross-dataset on one test set: see `results.falls`.

        Cells keep the columns of the cross-dataset recogniser.
        """
        table = falls(self.cells.assign(row=np.arange(len(self.cells))), "row")
        return self._difference(table["in_domain"], table["cross"], table["cross"])

    def changes(self, baseline: str = "none") -> Draws:
        """Return each correction minus a baseline, all else equal: see `results.changes`."""
        table = changes(self.cells.assign(row=np.arange(len(self.cells))), baseline, "row")
        return self._difference(table["corrected"], table["baseline"], table["corrected"])

    def intervals(self, level: float = 0.95) -> pd.DataFrame:
        """Return the cells with percentile intervals, wider by what refits change.

        The two halves of a deal differ by 2 d and are m on average. Over the deals, the mean of
        d^2 less the variance of m is the variance that training tracks bring to what all of them
        give, in as far as that is made of terms of single tracks and of pairs of them: d^2 alone
        would count pairs twice. The luck of a half's seed is in both and cancels; what seeds bring
        is the variance over those of the whole corpus. The root of each, times its quantile of
        Student's t, is added to either side as the square root of the sum of squares. Intervals end
        where the metric does.

        Parameters
        ----------
        level : float
            Coverage, in (0, 1).

        Returns
        -------
        pandas.DataFrame
            `cells` with `low`, `high`, and `undefined`, the share of replicates without a value.
        """
        value = self.cells["value"].to_numpy()[:, np.newaxis]
        measured = np.column_stack([value, self.replicates])
        ends = np.reshape([interval(draws, level) for draws in measured], (-1, 2))
        if self.halves.size:
            one, other = self.halves[:, ::2], self.halves[:, 1::2]
            variance = ((one - other) ** 2 / 4).mean(axis=1)
            variance = np.maximum(variance - ((one + other) / 2).var(axis=1, ddof=1), 0)
            of_seeds = self.seeds.var(axis=1, ddof=1)
            parts = ((variance, one.shape[1]), (of_seeds, self.seeds.shape[1]))
            squares = sum(v * student_t.ppf((1 + level) / 2, n - 1) ** 2 for v, n in parts)
            # By how much the distance grows: an end beyond the value stays where it is without.
            side = np.abs(ends - value)
            ends = ends + [-1, 1] * (np.sqrt(side**2 + squares[:, np.newaxis]) - side)
            ends = ends.clip(*self.bounds)
        undefined = np.isnan(self.replicates).mean(axis=1)
        return self.cells.assign(low=ends[:, 0], high=ends[:, 1], undefined=undefined)

    def _check_columns(self, *columns: str) -> None:
        keys = [str(name) for name in self.cells if name != "value"]
        for column in columns:
            if column not in keys:
                raise ArgumentError(f"no column {column!r}; there are {', '.join(keys)}")

    def _difference(self, plus: pd.Series, minus: pd.Series, kept: pd.Series) -> Draws:
        """Subtract rows, where both are there; the columns of one of them are kept."""
        there = (plus.notna() & minus.notna()).to_numpy()
        a, b, rows = (part[there].to_numpy(dtype=np.intp) for part in (plus, minus, kept))
        low, high = self.bounds
        drawn = self.of(self.cells.iloc[rows], self.values[a] - self.values[b])
        return replace(drawn, bounds=(low - high, high - low))


def bootstrap_scores(
    scores: pd.DataFrame,
    metric: str = "roc_auc",
    n_replicates: int = 1000,
    seed: int = 0,
    *,
    shared_tracks: bool = False,
) -> Draws:
    """Resample the tracks of each test set.

    Parameters
    ----------
    scores : pandas.DataFrame
        The table of scores of an evaluation (`results.SCORE_COLUMNS`), of labels.
    metric : str
        A metric of labels that results have, such as `roc_auc`, `balanced_accuracy`, `brier`.
    n_replicates : int
        Draws, at least 1.
    seed : int
    shared_tracks : bool
        Whether a track of one name is the same track in all test sets: `Corpus.shared_tracks`.

    Returns
    -------
    Draws
        A cell for each recogniser and test set. Cells with one test set share the draws, those
        with different test sets are drawn independently; with `shared_tracks` all share them.

    Raises
    ------
    ArgumentError
        If a column is missing or the metric is unknown.
    """
    keys = list(KEY_COLUMNS)
    _need_columns(scores, "scores", (*keys, "track", "y_true", "score"))
    tracks = {str(name): part.to_numpy() for name, part in scores.groupby("test_set")["track"]}
    draws = TrackDraws(tracks, n_replicates, seed, shared_tracks)
    rows, values = [], []
    for members in scores.groupby(keys, sort=False, dropna=False).indices.values():
        part = scores.iloc[members]
        weights = draws.weights(str(part["test_set"].iloc[0]), part["track"])
        rows.append(members[0])
        answers = (part["y_true"], part["score"], weights, part.get("probability", np.nan))
        values.append(weighted_metric(metric, *answers))
    found, cells = np.array(values), scores.iloc[rows][keys].reset_index(drop=True)
    bounds = metric_named(metric).range
    return Draws(cells.assign(value=found[:, 0]), found[:, 1:], bounds=bounds)


def refit_scores(
    corpus: Corpus,
    run: Callable[[Corpus, int], pd.DataFrame],
    metric: str = "roc_auc",
    n_refits: int = 40,
    n_replicates: int = 1000,
    seed: int = 42,
    n_seeds: int = 5,
) -> Draws:
    """Draw test tracks, and beside them training tracks and seeds, with everything fitted anew.

    Intervals of `bootstrap_scores` are of the recognisers that there are, those of these draws of
    the method: they also hold what other training clips and seeds would have changed. `run` is
    called with the whole corpus, with the two halves of its training tracks, dealt anew each time,
    and with the whole corpus again, each time with another seed. Nothing is drawn twice, so that no
    fold trains on copies of what it is tested on.

    Parameters
    ----------
    corpus : Corpus
    run : callable
        Takes a corpus and a seed, and returns the table of scores of an evaluation
        (`results.SCORE_COLUMNS`), of labels.
    metric : str
        As for `bootstrap_scores`.
    n_refits : int
        How often to fit to a half, an even number from 4 on.
    n_replicates : int
        Draws of the test tracks.
    seed : int
        What `run` first gets for the whole corpus; of the draws, too. Its other seeds are thousands
        apart, so that it may count on from each.
    n_seeds : int
        How often to fit to the whole corpus with another seed, at least 2. Where seeds matter, few
        of them make the interval wide.

    Returns
    -------
    Draws
        With `halves` and `seeds`, and without the column `seed`. A cell that a half does not have,
        as it has too few clips of a label, has no interval, nor has a mean that it is part of.

    Examples
    --------
    What `leace` gains across datasets, over labels and both directions:

    >>> def across(part, seed):  # doctest: +SKIP
    ...     found = evaluate(part, "mfcc", ["none", "leace"], seed=seed, scores=True).scores
    ...     return found[found["train_set"] != found["test_set"]]
    >>> both = ("label", "train_set", "test_set", "partner")  # doctest: +SKIP
    >>> refit_scores(corpus, across).changes().mean_over(*both).intervals()  # doctest: +SKIP
    """
    if n_refits < 4 or n_refits % 2:
        raise ArgumentError(f"n_refits must be an even number from 4 on, found {n_refits}")
    if n_seeds < 2:
        raise ArgumentError(f"n_seeds must be at least 2, found {n_seeds}")

    def drawn(part: Corpus, number: int, n: int = 1) -> Draws:
        again, shared = seed + 1000 * number, {"shared_tracks": corpus.shared_tracks}
        return bootstrap_scores(run(part, again), metric, n, again, **shared).mean_over("seed")

    whole = drawn(corpus, 0, n_replicates)
    keys = whole.cells.drop(columns="value")
    dealt = (half for k in range(1, n_refits, 2) for half in _halves(corpus, seed + k))
    refits = np.column_stack(
        [
            keys.merge(drawn(part, number).cells, how="left")["value"]
            for number, part in enumerate(chain(dealt, repeat(corpus, n_seeds)), 1)
        ]
    )
    return replace(whole, halves=refits[:, :n_refits], seeds=refits[:, n_refits:])


def _halves(corpus: Corpus, seed: int) -> Iterator[Corpus]:
    """Yield a corpus twice, with each half of every dataset's training tracks; tests stay whole."""
    clips, rng = corpus.clips, np.random.default_rng(seed)
    keys = ["track"] if corpus.shared_tracks else ["dataset", "track"]
    tracks = clips.loc[clips["split"] == "train", keys].drop_duplicates().sort_values(keys)
    of_dataset = tracks.get("dataset", pd.Series("", tracks.index))
    place = tracks.groupby(of_dataset)["track"].transform(lambda own: rng.permutation(len(own)))
    for k in (0, 1):
        left_out = pd.MultiIndex.from_frame(tracks[place % 2 == k])
        kept = (clips["split"] != "train") | ~pd.MultiIndex.from_frame(clips[keys]).isin(left_out)
        half = Corpus(corpus.path, corpus.description)
        half.clips = clips[kept].reset_index(drop=True)
        yield half


def _need_columns(table: pd.DataFrame, what: str, columns: Iterable[str]) -> None:
    if missing := [name for name in columns if name not in table]:
        raise ArgumentError(
            f"the table of {what} lacks the column {missing[0]!r} (found: "
            f"{', '.join(map(str, table.columns))}); it should come from `biasmir evaluate`"
        )


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
    sides of a difference come from the same label. Percentiles are stretched, see `interval`.

    Parameters
    ----------
    table : pandas.DataFrame
    column : str
        What to average.
    by : sequence of str
        The columns that tell settings apart; those that the table lacks are ignored.
    n_replicates, seed : int
        As for `bootstrap_scores`.
    level : float
        Coverage, in (0, 1).

    Returns
    -------
    pandas.DataFrame
        The columns of `by`, `n_labels`, `mean`, `low`, `high`; no interval, NaN, of one label.
        A label without a value (NaN) does not count.
    """
    _need_columns(table, "results", (column, "label"))
    keys = [name for name in by if name in table]
    rows = []
    for members in table.groupby(keys, sort=False, dropna=False).indices.values():
        part = table.iloc[members]
        values = part.groupby("label", sort=False)[column].mean().dropna().to_numpy()
        n, ends = len(values), (float("nan"), float("nan"))
        if n > 1:
            drawn = np.random.default_rng(seed).integers(0, n, (n_replicates, n))
            ends = interval(np.r_[values.mean(), values[drawn].mean(axis=1)], level, n)
        rows.append([*part.iloc[0][keys], n, values.mean() if n else np.nan, *ends])
    return pd.DataFrame(rows, columns=[*keys, "n_labels", "mean", "low", "high"])


class Cell(NamedTuple):
    """What tells one mean over labels of a results table from another."""

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
    labels : tuple of str
    values : dict of Cell to ndarray, (n_draws or 1, n_labels)
        The first row is what was measured; NaN where a label has no value. With one only, all draws
        share it.
    weights : ndarray, (n_draws, n_labels)
        How often each label is counted; the first row is 1.
    resampled : str
        `labels`, `tracks`, or `nothing`.
    """

    labels: tuple[str, ...]
    values: dict[Cell, FloatArray]
    weights: FloatArray
    resampled: str

    @classmethod
    def of_results(cls, results: pd.DataFrame, n_replicates: int = 0, seed: int = 0) -> Samples:
        """Draw the labels of a results table.

        Parameters
        ----------
        results : pandas.DataFrame
            See `result_columns`. Rows of another dose than 1 are left out; rows that
            differ in the seed or the partner are averaged.
        n_replicates : int
            Draws; with 0, or with one label only, there are no intervals.
        seed : int

        Raises
        ------
        ArgumentError
            If columns are missing, or the table has more than one corpus or recogniser.
        """
        table = _one_kind(results, "results", "roc_auc")
        wide = table.pivot_table("roc_auc", "label", list(Cell._fields), sort=False)
        drawn = n_replicates and len(wide) > 1
        weights = draw_counts(len(wide), n_replicates, seed) if drawn else np.ones((1, len(wide)))
        columns = zip(wide.columns.to_list(), wide.to_numpy(np.float64).T, strict=True)
        values = {Cell(*map(str, key)): own[np.newaxis] for key, own in columns}
        resampled = "labels" if drawn else "nothing"
        return cls(tuple(map(str, wide.index)), values, weights, resampled)

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
        shape = (1 + n_replicates, len(measured.labels))
        values = {cell: np.full(shape, np.nan) for cell in measured.values}
        drawn = bootstrap_scores(_one_kind(scores, "scores"), "roc_auc", n_replicates, seed)
        keys = drawn.cells[["label", *Cell._fields]].astype(str)
        every = drawn.values
        for members in keys.groupby(list(keys)).indices.values():
            label, *key = keys.iloc[members[0]]
            if label in measured.labels and (cell := Cell(*key)) in values:
                values[cell][:, measured.labels.index(label)] = every[members].mean(axis=0)
        for cell, (known,) in measured.values.items():
            # Rounding aside, the scores give what the table has.
            if not (np.abs(values[cell][0] - known) <= 1e-6)[~np.isnan(known)].all():
                raise ArgumentError(
                    "the table of scores does not belong to the results table: it lacks rows of "
                    "it, or gives another ROC-AUC; give the .scores.parquet that the same `biasmir "
                    "evaluate --scores` wrote"
                )
        return replace(measured, values=values, weights=np.ones(shape), resampled="tracks")

    @property
    def cells(self) -> tuple[Cell, ...]:
        """What there are means of."""
        return tuple(self.values)

    def only(self, cells: Iterable[Cell]) -> Samples:
        """Return the cells that are among some others, in their own order."""
        wanted = set(cells)
        return replace(self, values={c: own for c, own in self.values.items() if c in wanted})

    def __contains__(self, cell: Cell) -> bool:
        return cell in self.values

    def mean(self, plus: Cell, minus: Cell | None = None) -> FloatArray:
        """Return the mean over labels of a cell, or of a difference of two, for each draw.

        A difference is taken label by label, over the labels that both cells have.

        Returns
        -------
        ndarray, (n_draws,)
            NaN without any label.
        """
        values = self._label_values(plus, minus)
        weights = self.weights * ~np.isnan(values)
        return ratio((weights * np.nan_to_num(values)).sum(axis=1), weights.sum(axis=1))

    def n_labels(self, plus: Cell, minus: Cell | None = None) -> int:
        """Return how many labels `mean` averages over."""
        return int((~np.isnan(self._label_values(plus, minus)[0])).sum())

    def names(self, field: str) -> list[str]:
        """Return the values of a field of the cells, in the order in which they appear."""
        return list(dict.fromkeys(getattr(cell, field) for cell in self.values))

    def _label_values(self, plus: Cell, minus: Cell | None) -> FloatArray:
        return self.values[plus] - (0.0 if minus is None else self.values[minus])


def _one_kind(table: pd.DataFrame, what: str, *columns: str) -> pd.DataFrame:
    """Return the rows of full dose, if all are of one corpus and one recogniser."""
    _need_columns(table, what, (*Cell._fields, "label", "alpha", *columns))
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
