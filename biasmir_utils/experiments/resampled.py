"""Metrics of one test set under many weightings of its clips: the arithmetic of a bootstrap.

A weighting says how often each clip was drawn; the first is all ones, the test set as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.experiments.targets import CATEGORY, NUMBER

Array = NDArray[Any]
FloatArray = NDArray[np.float64]

LABEL_METRICS = ("roc_auc", "average_precision", "balanced_accuracy", "brier")
NUMBER_METRICS = ("r2", "mae")


def metrics_of(kind: str) -> tuple[str, ...]:
    """Return the metrics of a report for a kind of target, the main one first."""
    return NUMBER_METRICS if kind == NUMBER else LABEL_METRICS


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


def weighted_metrics(
    kind: str, arrays: Mapping[str, Array], threshold: float, weights: NDArray[np.float32]
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


def _number(truth: FloatArray, score: FloatArray, weights: NDArray[np.float32]) -> FloatArray:
    total = weights.sum(axis=1, dtype=np.float64)
    error = weights @ (score - truth) ** 2
    mean = (weights @ truth) / total
    spread = weights @ truth**2 - total * mean**2
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = np.where(spread > 0, 1 - error / spread, np.nan)
    return np.array([r2, (weights @ np.abs(score - truth)) / total])
