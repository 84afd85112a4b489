"""The work of an experiment as independent tasks.

A task is one label, one embedding, one pair of datasets and one feature space (the embedding
itself, or its random features). What its corrections share is computed once: the resampled
training rows, the random features, the span of each training set, each fitted correction.
`run_task` is a pure function of the task and the arrays it is given.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from biasmir_utils.corrections.grammar import Correction
from biasmir_utils.errors import BiasMIRError
from biasmir_utils.experiments.data import DatasetClips
from biasmir_utils.experiments.feature_space import FeatureSpace
from biasmir_utils.experiments.fitting import fit_corrections
from biasmir_utils.experiments.metrics import recognition_metrics
from biasmir_utils.experiments.recogniser import LogisticRecogniser
from biasmir_utils.experiments.span import Span
from biasmir_utils.experiments.training import training_rows

Array = NDArray[Any]


@dataclass(frozen=True)
class Task:
    """Parameters of a task.

    Attributes
    ----------
    embedding, label : str
    pair : tuple of str
        The two datasets.
    kernel : str or None
        Feature space: the embedding's own, or that of random Fourier features (a key of
        `corrections.grammar.KERNELS`).
    variants : tuple of (Correction, str)
        Corrections with their mode: `global`, `classwise`, or `none` for nothing to fit.
    recogniser : str
        Name of the recogniser.
    seed : int
        Of the resampling and of the random features.
    """

    embedding: str
    label: str
    pair: tuple[str, str]
    kernel: str | None
    variants: tuple[tuple[Correction, str], ...]
    recogniser: str
    seed: int


@dataclass(frozen=True)
class TaskResult:
    """What a task found.

    Attributes
    ----------
    rows : list of dict
        Rows of the results table, without the column `corpus`.
    scores : list of (dict, dict)
        For each row, if asked for: its key, and arrays `clip`, `track`, `group`, `y_true`,
        `score`, `probability` over the test clips.
    warnings : list of str
    skipped : list of dict
        Corrections that could not be fitted: `label`, `pair`, `embedding`, `correction`,
        `mode`, `reason`.
    """

    rows: list[dict[str, Any]]
    scores: list[tuple[dict[str, Any], dict[str, Array]]]
    warnings: list[str]
    skipped: list[dict[str, Any]]


def run_task(
    task: Task,
    datasets: Mapping[str, DatasetClips],
    features: Mapping[str, Array],
    groups: Mapping[str, Array],
    keep_scores: bool = False,
) -> TaskResult:
    """Fit and test the recognisers of a task.

    Linear algebra runs on one thread: tasks are the unit of parallel work, and the numbers must
    not depend on how many run at once.

    Parameters
    ----------
    task : Task
    datasets : mapping of str to DatasetClips
    features : mapping of str to ndarray, (n_clips, D)
        The embedding of each dataset of the pair.
    groups : mapping of str to ndarray of object, (n_clips,)
        Group of each clip, None where it has none.
    keep_scores : bool
        Whether to return the scores of the test clips.

    Returns
    -------
    TaskResult
    """
    with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pair = [datasets[name] for name in task.pair]
        result = TaskResult([], [], [], [])
        outcomes = _outcomes(task, pair, groups, features, result.skipped)
        for key, test, y, score, probability in outcomes:
            n_train, C = key.pop("n_train"), key.pop("C")
            result.rows.append(
                {
                    **key,
                    "n_train": n_train,
                    "n_test": len(y),
                    "n_pos_test": int(y.sum()),
                    "C": C,
                    **recognition_metrics(y, score, probability),
                }
            )
            if keep_scores:
                clips = datasets[key["test_set"]]
                arrays = {
                    "clip": clips.clips[test],
                    "track": clips.tracks[test],
                    "group": groups[key["test_set"]][test],
                    "y_true": y,
                    "score": score,
                    "probability": probability,
                }
                result.scores.append((key, arrays))
    where = f"{task.embedding}, {task.label}, {'/'.join(task.pair)}"
    texts = dict.fromkeys(str(warning.message) for warning in caught)
    result.warnings.extend(f"{where}: {text}" for text in texts)
    return result


def make_recogniser(name: str) -> Any:
    """Return an unfitted recogniser by its name."""
    return clone(RECOGNISERS[name])


RECOGNISERS: dict[str, Any] = {
    "logistic": LogisticRecogniser(),
    "logistic-liblinear": LogisticRecogniser(solver="liblinear"),
}


def _outcomes(
    task: Task,
    pair: list[DatasetClips],
    groups: Mapping[str, Array],
    features: Mapping[str, Array],
    skipped: list[dict[str, Any]],
) -> Iterator[tuple[dict[str, Any], Array, Array, Array, Array]]:
    """Yield key, test rows, labels, scores and probabilities for each row of the results."""
    both = training_rows(task.label, pair, task.seed)
    test_rows = [clips.test_rows(task.label) for clips in pair]
    space = FeatureSpace(
        [features[clips.name][rows.all] for clips, rows in zip(pair, both, strict=True)],
        [features[clips.name][rows] for clips, rows in zip(pair, test_rows, strict=True)],
        Correction("none", kernel=task.kernel).feature_map(task.seed),
    )
    X_train = [space.train(side) for side in (0, 1)]
    corrections = fit_corrections(task.variants, pair, both, X_train, groups, task.seed)
    for (spec, mode), outcome in corrections.items():
        if isinstance(outcome, BiasMIRError):
            about = {"embedding": task.embedding, "correction": str(spec), "mode": mode}
            skipped.append(
                {"label": task.label, "pair": list(task.pair), **about, "reason": str(outcome)}
            )
    usable = {k: c for k, c in corrections.items() if not isinstance(c, BiasMIRError)}
    for train in (0, 1):
        y_train, name = both[train].y, pair[train].name
        trained = _train(task.recogniser, usable, X_train[train], y_train, name)
        scores = [_score(trained, space.test(train, test), pair[test].name) for test in (0, 1)]
        for number, (spec, mode) in enumerate(usable):
            for test in (0, 1):
                key = {
                    "embedding": task.embedding,
                    "correction": spec.name,
                    "mode": mode,
                    "alpha": spec.alpha if spec.corrects else np.nan,
                    "label": task.label,
                    "train_set": name,
                    "test_set": pair[test].name,
                    "partner": pair[1 - train].name,
                    "recogniser": task.recogniser,
                    "seed": task.seed,
                    "n_train": len(y_train),
                    "C": getattr(trained[number].recogniser, "C_", np.nan),
                }
                y = pair[test].labels[task.label][test_rows[test]]
                yield key, test_rows[test], y, *scores[test][number]


@dataclass(frozen=True)
class _Trained:
    """A recogniser, and the correction of the rows that it takes (None: rows as they are)."""

    recogniser: Any
    correction: Any


def _train(
    recogniser_name: str,
    corrections: Mapping[tuple[Correction, str], Any],
    X: Array,
    y: Array,
    dataset: str,
) -> list[_Trained]:
    """Train a recogniser on the rows of a dataset after each of the corrections."""
    span: Span | None = None
    trained = []
    for (spec, _), correction in corrections.items():
        recogniser = make_recogniser(recogniser_name)
        if recogniser_name == "logistic" and (correction is None or spec.is_low_rank):
            # One span serves the uncorrected rows and all thin maps of them.
            span = span or Span.of(X)
            if correction is None:
                recogniser.fit_span(span, y)
            else:
                thin, alpha = correction.thin_map, correction.alpha
                recogniser.fit_span(span.move(thin, alpha), y)
                # From now on it takes uncorrected rows:
                # w'(x - a R'L (x - c)) = (w - a L'R w)'x + a w'R'L c.
                along = alpha * (recogniser.coef_ @ thin.right.T)
                recogniser.coef_ -= along @ thin.left
                if thin.center is not None:
                    recogniser.intercept_ += along @ (thin.left @ thin.center)
            trained.append(_Trained(recogniser, None))
        else:
            recogniser.fit(_corrected(correction, X, dataset), y)
            trained.append(_Trained(recogniser, correction))
    return trained


def _score(trained: list[_Trained], X: Array, dataset: str) -> list[tuple[Array, Array]]:
    """Return scores and probabilities of test rows under each of the recognisers."""
    found: list[tuple[Array, Array]] = []
    for one in trained:
        rows = _corrected(one.correction, X, dataset)
        if isinstance(one.recogniser, LogisticRecogniser):
            coef, intercept = one.recogniser.coef_[0], one.recogniser.intercept_[0]
            score = (rows @ coef.astype(rows.dtype)).astype(np.float64) + intercept
            found.append((score, expit(score)))
        else:
            score = one.recogniser.decision_function(rows)
            found.append((score, one.recogniser.predict_proba(rows)[:, 1]))
    return found


def _corrected(correction: Any, X: Array, dataset: str) -> Array:
    if correction is None:
        return X
    corrected: Array = correction.transform(X, sample_domain=np.full(len(X), dataset))
    return corrected
