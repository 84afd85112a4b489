"""How well a recogniser does on a test set: one table of metrics.

A `Metric` is a row of the table: name, heading, the kinds of targets that it is for, whether larger
is better, its range, and how it is computed from `Answers`, what a recogniser answered about the
clips of a test set, under any weighting of these. Columns of results, reports and figures follow
from the table, so that a new metric is one more row::

    register_metric(Metric("youden", "Youden's J", (LABEL, TAGS),
                           lambda a: a.recall + a.specificity - 1, range=(-1, 1)))

Unweighted, each clip counts once. Under many weightings, as a bootstrap draws them, a clip with
weight 2 counts like the clip there twice.

Conventions
-----------
- `y_true` holds 0 (absent) and 1 (present), of a category the class, of a number the number.
- `score` is a decision value, any real number; larger means more likely present. Present is
  predicted where it exceeds 0, which for a logistic recogniser is a probability above 0.5. Of a
  category the class with the largest score is predicted; of a number it is the estimate itself.
- `probability` lies in [0, 1].
- Metrics of a category are those of each class against the rest, mean over the classes that occur
  (all classes for the Brier score).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.protocol import CATEGORY, LABEL, NUMBER, TAGS

Array = NDArray[Any]
FloatArray = NDArray[np.float64]


def ratio(numerator: FloatArray, denominator: ArrayLike) -> FloatArray:
    """Divide, where the denominator is positive; elsewhere NaN."""
    below = np.asarray(denominator, dtype=np.float64)
    empty = np.full(np.broadcast_shapes(numerator.shape, below.shape), np.nan)
    return np.divide(numerator, below, out=empty, where=below > 0)


class Answers:
    """What a recogniser answered about a label, a class or a number, under many weightings.

    Attributes
    ----------
    truth : ndarray, (n_clips,)
        Whether the label or class is present; of a number the number.
    score, probability : ndarray, (n_clips,)
    said : ndarray of bool, (n_clips,)
        Whether the label or class was predicted.
    right : ndarray of bool, (n_clips,)
        Whether the answer for the clip is right; of a class, whether the clip's own class was
        predicted.
    said_at_rate : ndarray of bool, (n_clips,), or None
        Whether the label was predicted for as many of the test set's clips as the recogniser's
        training clips have it: those with the largest scores. No label of the test set is used.
    threshold : float
        Score above which the label is taken for present that was best on the source's training
        clips; NaN where none was chosen.
    weights : ndarray, (n_weightings, n_clips)
        Not negative. Each result has a value for each weighting, (n_weightings,).
    """

    def __init__(
        self,
        kind: str,
        arrays: Mapping[str, ArrayLike],
        threshold: float = float("nan"),
        weights: ArrayLike | None = None,
    ) -> None:
        truth = np.asarray(arrays["y_true"])
        self.truth: Array = truth.astype(np.float64) if kind == NUMBER else truth == 1
        self.score = np.asarray(arrays["score"], dtype=np.float64)
        self.probability = np.asarray(arrays.get("probability", np.nan), dtype=np.float64)
        self.said: Array = np.asarray(arrays.get("said", self.score > 0))
        self.right: Array = np.asarray(arrays.get("right", self.said == self.truth))
        self.said_at_rate: Array | None = arrays.get("said_at_rate")  # type: ignore[assignment]
        self.threshold = threshold
        self.weights = np.asarray(
            np.ones((1, len(truth))) if weights is None else weights, dtype=np.float64
        )

    def mean(self, values: FloatArray) -> FloatArray:
        """Return the weighted mean of values, (n_clips,)."""
        return ratio((self.weights * values).sum(axis=1), self.weights.sum(axis=1))

    def share(self, which: Array, among: Array) -> FloatArray:
        """Return the share of some clips among others; NaN where these have no weight."""
        return ratio(self.weights @ (which & among), self.weights @ among)

    @property
    def recall(self) -> FloatArray:
        """Share of the positive clips that are predicted present."""
        return self.share(self.said, self.truth)

    @property
    def specificity(self) -> FloatArray:
        """Share of the negative clips that are not predicted present."""
        return self.share(~self.said, ~self.truth)

    @property
    def precision(self) -> FloatArray:
        """Share of the clips predicted present that are positive; 0 if none is predicted."""
        return np.nan_to_num(self.share(self.truth, self.said))

    @cached_property
    def ranked(self) -> tuple[FloatArray, FloatArray, FloatArray, Array]:
        """Weights by falling score; equal scores cannot be told apart and stand in one column.

        Of each score that positive clips have, (n_weightings, n_columns): the weight of these, of
        all clips with it, and of all with it or a higher one. And which of the scores these are.
        """
        order = np.argsort(-self.score, kind="stable")
        first = np.flatnonzero(np.r_[True, np.diff(self.score[order]) != 0])
        weights, truth = self.weights[:, order], self.truth[order]
        positive = weights[:, truth]
        if len(first) < len(order):
            of_positive = np.add.reduceat(weights * truth, first, axis=1)
            weights = np.add.reduceat(weights, first, axis=1)
            truth = np.logical_or.reduceat(truth, first)
            positive = of_positive[:, truth]
        return positive, weights[:, truth], np.cumsum(weights, axis=1)[:, truth], truth

    @cached_property
    def spread(self) -> tuple[FloatArray, FloatArray]:
        """Deviation of truth and of estimates from their mean, (n_weightings, n_clips)."""
        truth, estimate = (
            values - self.mean(values)[:, np.newaxis] for values in (self.truth, self.score)
        )
        return truth, estimate

    def sum_of_products(self, one: FloatArray, other: FloatArray) -> FloatArray:
        """Return the weighted sum of products of two rows, or of two rows for each weighting."""
        shape = self.weights.shape
        one, other = (np.broadcast_to(rows, shape) for rows in (one, other))
        sums: FloatArray = ((self.weights * one)[:, np.newaxis] @ other[..., np.newaxis])[:, 0, 0]
        return sums


def _roc_auc(a: Answers) -> FloatArray:
    # The Mann-Whitney statistic: ties count half.
    positive, same, above, _ = a.ranked
    n_negative = a.weights @ ~a.truth
    higher = above - np.cumsum(positive, axis=1) - (same - positive) / 2
    wins = np.einsum("ij,ij->i", positive, n_negative[:, np.newaxis] - higher)
    return ratio(wins, positive.sum(axis=1) * n_negative)


def _average_precision(a: Answers) -> FloatArray:
    # The mean of the precisions at each step of recall, without interpolation.
    positive, _, above, where = a.ranked
    steps = np.zeros((len(positive), len(where)))
    precision = np.cumsum(positive, axis=1) / np.maximum(above, np.finfo(np.float64).tiny)
    steps[:, where] = positive * precision
    return ratio(steps.sum(axis=1), positive.sum(axis=1))


def _balanced(a: Answers, said: Array) -> FloatArray:
    return (a.share(said, a.truth) + a.share(~said, ~a.truth)) / 2


def _at_source(a: Answers) -> FloatArray:
    return np.where(np.isnan(a.threshold), np.nan, _balanced(a, a.score > a.threshold))


def _at_rate(a: Answers) -> FloatArray:
    if a.said_at_rate is None:
        return np.full(len(a.weights), np.nan)
    return _balanced(a, a.said_at_rate)


def _f1(a: Answers) -> FloatArray:
    precision, recall = a.precision, a.recall
    return np.nan_to_num(ratio(2 * precision * recall, precision + recall))


def _f1_of_class(a: Answers) -> FloatArray:
    positive, said = a.weights @ a.truth, a.weights @ a.said
    hits = a.weights @ (a.truth & a.said)
    return np.where(positive > 0, ratio(2 * hits, positive + said), np.nan)


def _brier(a: Answers) -> FloatArray:
    return a.mean((a.probability - a.truth) ** 2)


def _r2(a: Answers) -> FloatArray:
    error, (spread, _) = a.score - a.truth, a.spread
    return 1 - ratio(a.sum_of_products(error, error), a.sum_of_products(spread, spread))


def _rmse(a: Answers) -> FloatArray:
    return np.sqrt(a.mean((a.score - a.truth) ** 2))


def _correlation(a: Answers) -> FloatArray:
    truth, estimate = a.spread
    squares = a.sum_of_products(truth, truth) * a.sum_of_products(estimate, estimate)
    return ratio(a.sum_of_products(truth, estimate), np.sqrt(squares))


@dataclass(frozen=True)
class Metric:
    """A row of the table of metrics.

    Attributes
    ----------
    name : str
        Its column in tables; of one meaning everywhere.
    heading : str
        For readers.
    kinds : tuple of {'label', 'tags', 'category', 'number'}
        The kinds of targets that it is for.
    compute : callable
        Takes `Answers`, of a category those of one class, and returns a value for each weighting;
        NaN where it is not defined.
    larger_is_better : bool
    range : (float, float)
        Smallest and largest possible value; what has no largest is in the unit of the number.
    in_results, in_report : bool
        Whether tables of results, and full reports with their bootstrap, have it.
    """

    name: str
    heading: str
    kinds: tuple[str, ...]
    compute: Callable[[Answers], FloatArray]
    larger_is_better: bool = True
    range: tuple[float, float] = (0.0, 1.0)
    in_results: bool = True
    in_report: bool = True

    @property
    def has_unit(self) -> bool:
        """Whether it is in the unit of the number, so that means over numbers say nothing."""
        return bool(np.isinf(self.range[1]))


_YES_OR_NO, _PRESENCE = (LABEL, TAGS), (LABEL, TAGS, CATEGORY)
_of_results, _of_report = partial(Metric, in_report=False), partial(Metric, in_results=False)
_error = partial(Metric, larger_is_better=False, range=(0.0, np.inf))
METRICS: list[Metric] = [
    Metric("roc_auc", "ROC-AUC", _PRESENCE, _roc_auc),
    Metric("average_precision", "average precision", _PRESENCE, _average_precision),
    _of_results(
        "balanced_accuracy", "balanced accuracy", _YES_OR_NO, lambda a: _balanced(a, a.said)
    ),
    Metric("balanced_accuracy", "balanced accuracy", (CATEGORY,), lambda a: a.recall),
    _of_report(
        "balanced_accuracy_source", "balanced accuracy (source's threshold)", _YES_OR_NO, _at_source
    ),
    _of_report("balanced_accuracy_rate", "balanced accuracy (source's rate)", _YES_OR_NO, _at_rate),
    _of_results("precision", "precision", _YES_OR_NO, lambda a: a.precision),
    _of_results("recall", "recall", _YES_OR_NO, lambda a: a.recall),
    _of_results("f1", "F1", _YES_OR_NO, _f1),
    _of_results("macro_f1", "macro F1", (CATEGORY,), _f1_of_class),
    _of_results(
        "accuracy", "accuracy", _PRESENCE, lambda a: a.share(a.right, np.ones_like(a.right))
    ),
    Metric("brier", "Brier", _PRESENCE, _brier, larger_is_better=False),
    Metric("r2", "R2", (NUMBER,), _r2, range=(-np.inf, 1.0)),
    _error("mae", "MAE", (NUMBER,), lambda a: a.mean(np.abs(a.score - a.truth))),
    _error("rmse", "RMSE", (NUMBER,), _rmse, in_report=False),
    _of_results("correlation", "correlation", (NUMBER,), _correlation, range=(-1.0, 1.0)),
]


def register_metric(metric: Metric) -> None:
    """Add a row to the table; its column comes last.

    Raises
    ------
    ArgumentError
        If a metric of that name is there for one of its kinds.
    """
    for other in METRICS:
        if other.name == metric.name and set(other.kinds) & set(metric.kinds):
            raise ArgumentError(f"there is a metric {metric.name!r} for {', '.join(other.kinds)}")
    METRICS.append(metric)


def metrics_of(kind: str, *, report: bool = False) -> list[Metric]:
    """Return the metrics for a kind of target, of results or of reports, the main one first."""
    return [
        one
        for one in METRICS
        if kind in one.kinds and (one.in_report if report else one.in_results)
    ]


def metric_named(name: str) -> Metric:
    """Return the first metric of a name; what is told of it holds for all kinds."""
    return next(one for one in METRICS if one.name == name)


def recognition_metrics(
    y_true: ArrayLike,
    score: ArrayLike,
    probability: ArrayLike = np.nan,
    kind: str = LABEL,
) -> dict[str, float]:
    """Return all metrics that a table of results has, for one test set.

    Parameters
    ----------
    y_true : array-like, (n_clips,)
        0 or 1; of a category the class, 0 to n_classes - 1; of a number the number.
    score, probability : array-like, (n_clips,), of a category (n_clips, n_classes)
        See the module. Of a number the estimates, and no probability.
    kind : {'label', 'tags', 'category', 'number'}

    Returns
    -------
    dict of str to float

    Raises
    ------
    ArgumentError
        If shapes differ, or a score is not finite (of a number, is NaN); of labels, if one is
        neither 0 nor 1, or one of the two classes is absent.
    """
    truth, scores = validate(y_true, score, kind)
    if kind == CATEGORY:
        recognised, P = scores.argmax(axis=1), np.asarray(probability)
        told: list[Mapping[str, ArrayLike]] = [
            {
                "y_true": truth == k,
                "score": scores[:, k],
                "probability": P[:, k],
                "said": recognised == k,
                "right": recognised == truth,
            }
            for k in range(scores.shape[1])
        ]
    else:
        told = [{"y_true": truth, "score": scores, "probability": probability}]
    answers = [Answers(kind, arrays) for arrays in told]
    values = {m.name: np.array([m.compute(one)[0] for one in answers]) for m in metrics_of(kind)}
    return {
        name: float(ratio(np.nansum(one), (~np.isnan(one)).sum())) for name, one in values.items()
    }


def weighted_metric(
    name: str,
    y_true: ArrayLike,
    score: ArrayLike,
    weights: ArrayLike,
    probability: ArrayLike = np.nan,
) -> FloatArray:
    """Return a metric of a label under many weightings of the clips.

    Parameters
    ----------
    name : str
        A metric of labels that results have, such as `roc_auc` or `balanced_accuracy`.
    y_true, score, probability : array-like, (n_clips,)
    weights : array-like, (n_weightings, n_clips)
        Not negative. A matrix of how often a bootstrap drew each clip gives a value for each draw.

    Returns
    -------
    ndarray, (n_weightings,)
        NaN where a class that the metric needs has no weight, and where all scores are NaN, as
        those of a gap are (see `DatasetClips.gaps`).

    Raises
    ------
    ArgumentError
        As of `recognition_metrics`, or if the metric is unknown.
    """
    known = {metric.name: metric for metric in metrics_of(LABEL)}
    if name not in known:
        raise ArgumentError(f"metric {name!r}: expected one of {', '.join(known)}")
    if np.isnan(np.asarray(score, dtype=np.float64)).all():
        return np.full(len(np.asarray(weights)), np.nan)
    truth, scores = validate(y_true, score)
    arrays = {"y_true": truth, "score": scores, "probability": probability}
    return known[name].compute(Answers(LABEL, arrays, weights=weights))


def alike(weights: Array, cells: ArrayLike) -> FloatArray:
    """Return weights of the clips in which every cell has the same share, under each weighting.

    Where clips of two test sets are ranked together, a metric would otherwise reward a recogniser
    for scoring the dataset with more positives higher, which tells nothing of a clip.

    Parameters
    ----------
    weights : ndarray, (n_weightings, n_clips)
        Not negative.
    cells : array-like of int, (n_clips,)
        The cell of each clip, such as its dataset and whether it is positive; 0 and up.

    Returns
    -------
    ndarray, (n_weightings, n_clips)
        Those of a cell sum to 1, or to 0 where it has no weight.
    """
    shares = np.zeros(np.shape(weights))
    for cell in np.unique(cells):
        own = np.asarray(cells) == cell
        total = weights[:, own].sum(axis=1, keepdims=True, dtype=np.float64)
        shares[:, own] = np.divide(weights[:, own], total, out=shares[:, own], where=total > 0)
    return shares


def validate(y_true: ArrayLike, score: ArrayLike, kind: str = LABEL) -> tuple[Array, FloatArray]:
    """Check what is true and the scores of one test set, and return them as arrays.

    Raises
    ------
    ArgumentError
        See `recognition_metrics`.
    """
    truth, scores = np.asarray(y_true), np.asarray(score, dtype=np.float64)
    of_classes = kind == CATEGORY
    if scores.ndim != 1 + of_classes or scores.shape[:1] != truth.shape or not len(truth):
        raise ArgumentError(
            "y_true and score must be vectors of one length"
            + " (score: with a column for each class)" * of_classes
            + f", found shapes {truth.shape} and {scores.shape}"
        )
    wrong = np.isnan(scores) if kind == NUMBER else ~np.isfinite(scores)
    if wrong.any():
        row = int(np.argwhere(wrong)[0, 0])
        raise ArgumentError(f"score holds NaN or infinite values, the first in row {row}")
    if kind in (CATEGORY, NUMBER):
        return truth, scores
    if not np.isin(truth, (0, 1)).all():
        raise ArgumentError("y_true must hold only 0 and 1")
    positive = truth == 1
    if not positive.any() or positive.all():
        raise ArgumentError(
            f"both classes must occur, found {positive.sum()} positive of {len(truth)} clips"
        )
    return positive, scores


def roc_auc(y_true: ArrayLike, score: ArrayLike) -> float:
    """Return the area under the ROC curve.

    It is the share of pairs of a positive and a negative clip in which the positive one has the
    larger score; ties count half (the Mann-Whitney statistic).
    """
    positive, scores = validate(y_true, score)
    return float(column_roc_auc(positive, scores[:, np.newaxis])[0])


def column_roc_auc(positive: NDArray[np.bool_], scores: FloatArray) -> FloatArray:
    """Return the ROC-AUC of each column of `scores`, (n_clips, n_columns); NaN for one class."""
    n_positive = int(positive.sum())
    pairs = n_positive * (len(positive) - n_positive)
    if not pairs:
        return np.full(scores.shape[1], np.nan)
    ranks = rankdata(scores, axis=0)
    smallest = n_positive * (n_positive + 1) / 2
    return (ranks[positive].sum(axis=0) - smallest) / pairs


def best_threshold(y_true: ArrayLike, score: ArrayLike) -> float:
    """Return the threshold with the largest balanced accuracy: present is what lies above it.

    Thresholds lie halfway between neighbouring scores; of equally good ones the middle one is
    taken, the lower of two.
    """
    positive, scores = validate(y_true, score)
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    cuts = np.flatnonzero(np.diff(ordered) > 0)
    if not len(cuts):
        return float(ordered[0])
    # Behind position k: recall is what lies above, specificity what lies at or below.
    below = np.cumsum(positive[order])[cuts]
    recall = 1 - below / positive.sum()
    specificity = (cuts + 1 - below) / (~positive).sum()
    balanced = recall + specificity
    best = np.flatnonzero(balanced >= balanced.max() - 1e-12)
    k = cuts[best[(len(best) - 1) // 2]]
    return float((ordered[k] + ordered[k + 1]) / 2)
