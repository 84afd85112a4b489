"""How well a recogniser does on a test set.

Conventions
-----------
- `y_true` holds 0 (absent) and 1 (present), shape (n_clips,).
- `score` is a decision value, any real number; larger means more likely present. Present is
  predicted where it exceeds 0, which for a logistic recogniser is a probability above 0.5.
- `probability` lies in [0, 1].
- `LOWER_IS_BETTER` names the metrics that are better when smaller. All lie in [0, 1] but those of
  numbers: R2 is at most 1, the correlation lies in [-1, 1], the errors have the number's unit.
- `balanced_accuracy` is taken where a probability exceeds one half (of a category: for the class
  with the largest score), `balanced_accuracy_source` at the threshold that was best on the
  source's training clips.

The metrics: `roc_auc`, `weighted_roc_auc` and `weighted_balanced_accuracy` (many weightings at
once, for bootstraps), and `recognition_metrics` (all that a results table holds). Of several
classes, each with a column of scores: `class_metrics`. Of numbers: `number_metrics`.

Metrics of one test set under many weightings of its clips: the arithmetic of a bootstrap.

A weighting says how often each clip was drawn; the first is all ones, the test set as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.protocol import CATEGORY, NUMBER

METRICS = (
    "roc_auc",
    "average_precision",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1",
    "accuracy",
    "brier",
)
CLASS_METRICS = (
    "roc_auc",
    "average_precision",
    "balanced_accuracy",
    "macro_f1",
    "accuracy",
    "brier",
)
NUMBER_METRICS = ("r2", "mae", "rmse", "correlation")
LOWER_IS_BETTER = ("brier", "mae", "rmse")


def validate(y_true: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Check labels and scores of one test set, and return them as arrays.

    Raises
    ------
    ArgumentError
        If the lengths differ, a label is neither 0 nor 1, a score is NaN or infinite, or one of
        the two classes is absent.
    """
    labels = np.asarray(y_true)
    scores = np.asarray(score, dtype=np.float64)
    if labels.ndim != 1 or scores.shape != labels.shape:
        raise ArgumentError(
            f"y_true and score must be vectors of one length, found shapes {labels.shape} and "
            f"{scores.shape}"
        )
    if not np.isin(labels, (0, 1)).all():
        raise ArgumentError("y_true must hold only 0 and 1")
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ArgumentError(f"score holds NaN or infinite values, the first in row {row}")
    positive = labels == 1
    if not positive.any() or positive.all():
        raise ArgumentError(
            f"both classes must occur, found {int(positive.sum())} positive of {len(labels)} clips"
        )
    return positive, scores


def roc_auc(y_true: ArrayLike, score: ArrayLike) -> float:
    """Return the area under the ROC curve.

    It is the share of pairs of a positive and a negative clip in which the positive one has the
    larger score; ties count half (the Mann-Whitney statistic).
    """
    positive, scores = validate(y_true, score)
    return float(column_roc_auc(positive, scores[:, np.newaxis])[0])


def column_roc_auc(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ROC-AUC of each column of `scores`, (n_clips, n_columns); NaN for one class."""
    n_positive = int(positive.sum())
    pairs = n_positive * (len(positive) - n_positive)
    if not pairs:
        return np.full(scores.shape[1], np.nan)
    ranks = rankdata(scores, axis=0)
    smallest = n_positive * (n_positive + 1) / 2
    return (ranks[positive].sum(axis=0) - smallest) / pairs


def weighted_roc_auc(
    y_true: ArrayLike, score: ArrayLike, weights: ArrayLike
) -> NDArray[np.float64]:
    """Return the ROC-AUC under many weightings of the clips.

    A clip with weight 2 counts like the clip there twice, so a matrix of how often a bootstrap
    drew each clip gives one ROC-AUC for each replicate.

    Parameters
    ----------
    y_true, score : array-like, (n_clips,)
    weights : array-like, (n_weightings, n_clips)
        Not negative.

    Returns
    -------
    ndarray, (n_weightings,)
        NaN where a weighting leaves one of the classes without weight.
    """
    positive, scores = validate(y_true, score)
    weights = np.asarray(weights)
    order = np.argsort(scores, kind="stable")
    sorted_scores, sorted_positive = scores[order], positive[order]
    present = weights[:, order[sorted_positive]].astype(np.float64)
    absent = weights[:, order[~sorted_positive]].astype(np.float64)
    below = np.zeros((len(weights), absent.shape[1] + 1))
    np.cumsum(absent, axis=1, out=below[:, 1:])
    # For each positive clip: the weight of negatives under it, and of those at most its equal.
    negatives, positives = sorted_scores[~sorted_positive], sorted_scores[sorted_positive]
    under = below[:, np.searchsorted(negatives, positives, side="left")]
    under += below[:, np.searchsorted(negatives, positives, side="right")]
    wins = 0.5 * np.einsum("ij,ij->i", present, under)
    pairs = present.sum(axis=1) * below[:, -1]
    return np.divide(wins, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def weighted_balanced_accuracy(
    y_true: ArrayLike, score: ArrayLike, weights: ArrayLike
) -> NDArray[np.float64]:
    """Return the balanced accuracy at the threshold 0 under many weightings of the clips.

    Parameters
    ----------
    y_true, score : array-like, (n_clips,)
    weights : array-like, (n_weightings, n_clips)
        As in `weighted_roc_auc`.

    Returns
    -------
    ndarray, (n_weightings,)
        NaN where one of the classes is without weight.
    """
    positive, drawn = np.asarray(y_true) == 1, np.asarray(weights)
    right = ((np.asarray(score) > 0) == positive).astype(np.float64)
    shares = []
    for chosen in (positive, ~positive):
        total = drawn[:, chosen].sum(axis=1)
        hits = drawn[:, chosen] @ right[chosen]
        shares.append(np.divide(hits, total, out=np.full(len(drawn), np.nan), where=total > 0))
    return (shares[0] + shares[1]) / 2


def average_precision(y_true: ArrayLike, score: ArrayLike) -> float:
    """Return the mean of the precisions at each step of recall, without interpolation."""
    positive, scores = validate(y_true, score)
    order = np.argsort(-scores, kind="stable")
    # Equal scores cannot be told apart, so a threshold lies only behind the last of them.
    last = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])
    hits = np.cumsum(positive[order])[last]
    precision = hits / (last + 1)
    return float(np.sum(np.diff(np.r_[0, hits]) * precision) / positive.sum())


def recognition_metrics(
    y_true: ArrayLike, score: ArrayLike, probability: ArrayLike
) -> dict[str, Any]:
    """Return all of `METRICS` for one test set.

    Parameters
    ----------
    y_true, score, probability : array-like, (n_clips,)

    Returns
    -------
    dict
        Floats. Precision is 0 where nothing is predicted present, and so is F1.
    """
    positive, scores = validate(y_true, score)
    probabilities = np.asarray(probability, dtype=np.float64)
    predicted = scores > 0
    hits = int((predicted & positive).sum())
    recall = hits / int(positive.sum())
    specificity = float((~predicted[~positive]).mean())
    precision = hits / int(predicted.sum()) if predicted.any() else 0.0
    return {
        "roc_auc": float(column_roc_auc(positive, scores[:, np.newaxis])[0]),
        "average_precision": average_precision(positive, scores),
        "balanced_accuracy": (recall + specificity) / 2,
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if hits else 0.0,
        "accuracy": float((predicted == positive).mean()),
        "brier": float(np.mean((probabilities - positive) ** 2)),
    }


def class_metrics(y_true: ArrayLike, score: ArrayLike, probability: ArrayLike) -> dict[str, Any]:
    """Return all of `CLASS_METRICS` for one test set.

    Parameters
    ----------
    y_true : array-like of int, (n_clips,)
        Class of each clip, 0 to n_classes - 1.
    score, probability : array-like, (n_clips, n_classes)
        The class with the largest score is recognised.

    Returns
    -------
    dict
        ROC-AUC and average precision: each class against the rest, mean over the classes that
        occur. Balanced accuracy: mean of their recalls. Macro F1: mean over them. Brier score: each
        class against the rest, mean over all classes (Brier's sum over their number).
    """
    truth, scores = np.asarray(y_true), np.asarray(score, dtype=np.float64)
    if scores.ndim != 2 or truth.shape != scores.shape[:1]:
        raise ArgumentError(
            f"score must have a row for each of {len(truth)} clips and a column for each class, "
            f"found the shape {scores.shape}"
        )
    probabilities = np.asarray(probability, dtype=np.float64)
    recognised = scores.argmax(axis=1)
    occurring = np.unique(truth)
    parts = []
    for k in occurring:
        own, said = truth == k, recognised == k
        hits = int((own & said).sum())
        one_class = own.all()
        parts.append(
            (
                np.nan if one_class else roc_auc(own, scores[:, k]),
                np.nan if one_class else average_precision(own, scores[:, k]),
                hits / int(own.sum()),
                2 * hits / (int(own.sum()) + int(said.sum())),
            )
        )
    one_hot = np.eye(scores.shape[1])[truth]
    values = np.mean(parts, axis=0)
    return {
        **dict(zip(CLASS_METRICS[:4], map(float, values), strict=True)),
        "accuracy": float((recognised == truth).mean()),
        "brier": float(((probabilities - one_hot) ** 2).mean()),
    }


def number_metrics(y_true: ArrayLike, prediction: ArrayLike) -> dict[str, Any]:
    """Return all of `NUMBER_METRICS` for one test set.

    Parameters
    ----------
    y_true, prediction : array-like, (n_clips,)
        Finite.

    Returns
    -------
    dict
        `r2` is 1 minus the squared error over that of the test set's mean, at most 1 and
        negative for a recogniser that does worse than this mean; `mae` and `rmse` are in the
        unit of the number; `correlation` is Pearson's, NaN where one side is constant.
    """
    truth = np.asarray(y_true, dtype=np.float64)
    predicted = np.asarray(prediction, dtype=np.float64)
    if truth.shape != predicted.shape or truth.ndim != 1 or not len(truth):
        raise ArgumentError(
            f"y_true and prediction must be vectors of one length, found shapes {truth.shape} and "
            f"{predicted.shape}"
        )
    error = predicted - truth
    spread, spread_predicted = truth - truth.mean(), predicted - predicted.mean()
    total = float(spread @ spread)
    both = np.sqrt(total * float(spread_predicted @ spread_predicted))
    return {
        "r2": 1 - float(error @ error) / total if total > 0 else float("nan"),
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "correlation": float(spread @ spread_predicted) / both if both > 0 else float("nan"),
    }


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


Array = NDArray[Any]
FloatArray = NDArray[np.float64]

LABEL_METRICS = ("roc_auc", "average_precision", "balanced_accuracy_source", "brier")
_WEIGHTED_CLASS_METRICS = ("roc_auc", "average_precision", "balanced_accuracy", "brier")
_WEIGHTED_NUMBER_METRICS = ("r2", "mae")


def metrics_of(kind: str) -> tuple[str, ...]:
    """Return the metrics of a report for a kind of target, the main one first."""
    special = {NUMBER: _WEIGHTED_NUMBER_METRICS, CATEGORY: _WEIGHTED_CLASS_METRICS}
    return special.get(kind, LABEL_METRICS)


def draw_counts(n: int, n_replicates: int, seed: Any) -> NDArray[np.int64]:
    """Return how often each of n things is drawn, (n_replicates, n): n draws with replacement.

    Parameters
    ----------
    n, n_replicates : int
    seed : int or sequence of int
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=n_replicates)


def shared_track_weights(
    names: Array, tracks: Array, n_replicates: int, seed: Any
) -> NDArray[np.float32]:
    """Return how often each clip counts when tracks are drawn with replacement.

    Parameters
    ----------
    names : ndarray of str
        All tracks of the test set, each once, sorted: the same for all its subsets, so that
        they share the draws.
    tracks : ndarray of str, (n_clips,)
        Track of each clip.
    n_replicates : int
    seed : int or sequence of int

    Returns
    -------
    ndarray, (1 + n_replicates, n_clips)
        The first row is 1.
    """
    drawn = draw_counts(len(names), n_replicates, seed)
    counts = np.concatenate([np.ones((1, len(names)), int), drawn]).astype(np.float32)
    weights: NDArray[np.float32] = counts[:, np.searchsorted(names, tracks)]
    return weights


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


def weighted_metrics(
    kind: str, arrays: Mapping[str, Array], threshold: float, weights: Array
) -> FloatArray:
    """Return the metrics of a report under each weighting.

    Parameters
    ----------
    kind : {'label', 'tags', 'category', 'number'}
    arrays : mapping
        `y_true`, `score`, `probability`, (n_clips,); of a category also `right`.
    threshold : float
        Present is what has a larger score.
    weights : ndarray, (n_weightings, n_clips)

    Returns
    -------
    ndarray, (n_metrics, n_weightings)
        In the order of `metrics_of`. For a class of a category `balanced_accuracy` is its
        recall, whose mean over the classes is the balanced accuracy. NaN where a class has no
        weight or no clip at all, but for the Brier score: that is NaN where a probability is
        missing.
    """
    truth = np.asarray(arrays["y_true"], dtype=np.float64)
    score = np.asarray(arrays["score"], dtype=np.float64)
    if kind == NUMBER:
        return _number(truth, score, weights)
    positive = truth == 1
    order = np.argsort(-score, kind="stable")
    above, below = order[positive[order]], order[~positive[order]]
    hits = np.cumsum(weights[:, above], axis=1, dtype=np.float64)
    false = np.zeros((len(weights), len(below) + 1))
    np.cumsum(weights[:, below], axis=1, out=false[:, 1:])
    # Not the last of `hits`, which has no columns where no clip is positive.
    n_positive, n_negative = weights[:, above].sum(axis=1, dtype=np.float64), false[:, -1]
    # Positives by falling score: negatives strictly above each, and those at least as high.
    falling = -score[below]
    stricter = false[:, np.searchsorted(falling, -score[above], side="left")]
    as_high = false[:, np.searchsorted(falling, -score[above], side="right")]
    # Equal scores cannot be told apart: a positive is found together with all its equals.
    last = np.searchsorted(-score[above], -score[above], side="right") - 1
    found = hits[:, last]
    with np.errstate(invalid="ignore", divide="ignore"):
        own = weights[:, above]
        wins = n_negative[:, np.newaxis] - (stricter + as_high) / 2
        roc_auc = np.einsum("ij,ij->i", own, wins) / (n_positive * n_negative)
        precision = np.where(found > 0, found / (found + as_high), 0.0)
        average_precision = np.einsum("ij,ij->i", own, precision) / n_positive
        if kind == CATEGORY:
            right = np.asarray(arrays["right"])[above]
            balanced = (own @ right) / n_positive
        else:
            k_above = int((score[above] > threshold).sum())
            k_below = int((score[below] > threshold).sum())
            recall = (hits[:, k_above - 1] if k_above else 0.0) / n_positive
            balanced = (recall + 1 - false[:, k_below] / n_negative) / 2
            if np.isnan(threshold):
                balanced = np.full(len(weights), np.nan)
        error = (np.asarray(arrays["probability"], dtype=np.float64) - positive) ** 2
        brier = (weights @ error) / weights.sum(axis=1)
    return np.array([roc_auc, average_precision, balanced, brier])


def _number(truth: FloatArray, score: FloatArray, weights: Array) -> FloatArray:
    total = weights.sum(axis=1, dtype=np.float64)
    error = weights @ (score - truth) ** 2
    mean = (weights @ truth) / total
    spread = weights @ truth**2 - total * mean**2
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = np.where(spread > 0, 1 - error / spread, np.nan)
    return np.array([r2, (weights @ np.abs(score - truth)) / total])
