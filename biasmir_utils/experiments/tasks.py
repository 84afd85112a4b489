"""The work of an experiment as independent tasks.

A task is one label, one embedding, one pair of datasets and one feature space (the embedding
itself, or its random features). What its corrections share is computed once: the resampled
training rows, the random features, the span of each training set, each fitted correction.
`run_task` is a pure function of the task and the arrays it is given.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from biasmir_utils.corrections.grammar import Correction
from biasmir_utils.errors import BiasMIRError
from biasmir_utils.experiments.data import ABSENT, PRESENT, DatasetClips
from biasmir_utils.experiments.feature_space import FeatureSpace
from biasmir_utils.experiments.metrics import recognition_metrics
from biasmir_utils.experiments.recogniser import LogisticRecogniser
from biasmir_utils.experiments.resampling import TrainingRows, match_training_rows
from biasmir_utils.experiments.span import Span

Array = NDArray[Any]

# A recogniser needs as many clips of each class as the cross-validation has folds.
MIN_CLIPS = 3


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


def training_rows(label: str, datasets: list[DatasetClips], seed: int) -> list[TrainingRows]:
    """Return the protocol's training rows of each of the datasets for a label."""
    return match_training_rows(
        [clips.train_rows(label, PRESENT) for clips in datasets],
        [clips.train_rows(label, ABSENT) for clips in datasets],
        [clips.groups for clips in datasets],
        seed,
    )


def why_impossible(label: str, pair: list[DatasetClips], seed: int) -> str | None:
    """Return why a label cannot be evaluated on a pair of datasets, None if it can."""
    for clips in pair:
        for value, word in ((PRESENT, "positive"), (ABSENT, "negative")):
            n = len(clips.train_rows(label, value))
            if n < MIN_CLIPS:
                return (
                    f"{clips.name} has {n} {word} training clips, at least {MIN_CLIPS} are needed"
                )
            if not (clips.labels[label][clips.test_rows(label)] == value).any():
                return f"{clips.name} has no {word} test clips"
    for clips, rows in zip(pair, training_rows(label, pair, seed), strict=True):
        n = min(len(rows.positives), len(rows.negatives))
        if n < MIN_CLIPS:
            return f"the resampling leaves {n} training clips of one class in {clips.name}"
    return None


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
        both = training_rows(task.label, pair, task.seed)
        result = TaskResult([], [], [], [])
        outcomes = _outcomes(task, pair, both, features, groups, result.skipped)
        for key, y, test, score, probability in outcomes:
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
    both: list[TrainingRows],
    features: Mapping[str, Array],
    groups: Mapping[str, Array],
    skipped: list[dict[str, Any]],
) -> Iterator[tuple[dict[str, Any], Array, Array, Array, Array]]:
    """Yield key, labels, test rows, scores and probabilities for each row of the results."""
    space = FeatureSpace(
        [features[clips.name][rows.all] for clips, rows in zip(pair, both, strict=True)],
        [features[clips.name][clips.test_rows(task.label)] for clips in pair],
        Correction("none", kernel=task.kernel).feature_map(task.seed),
    )
    X_train = [space.train(side) for side in (0, 1)]
    corrections = _fit_corrections(task, pair, both, X_train, groups)
    for (spec, mode), correction in corrections.items():
        if isinstance(correction, BiasMIRError):
            about = {"embedding": task.embedding, "correction": str(spec), "mode": mode}
            skipped.append(
                {"label": task.label, "pair": list(task.pair), **about, "reason": str(correction)}
            )
    for train in (0, 1):
        X_test = [space.test(train, test) for test in (0, 1)]
        span: Span | None = None
        for (spec, mode), correction in corrections.items():
            if isinstance(correction, BiasMIRError):
                continue
            recogniser = make_recogniser(task.recogniser)
            by_span = task.recogniser == "logistic" and (correction is None or spec.is_projection)
            if by_span:
                # One span serves the uncorrected rows and all their projections.
                span = span or Span.of(X_train[train])
                recogniser.fit_span(_projected(span, correction), both[train].y)
                _fold_in(recogniser, correction)
            else:
                X = _corrected(correction, X_train[train], pair[train].name)
                recogniser.fit(X, both[train].y)
            for test in (0, 1):
                X = X_test[test]
                if not by_span:
                    X = _corrected(correction, X, pair[test].name)
                key = {
                    "embedding": task.embedding,
                    "correction": spec.name,
                    "mode": mode,
                    "alpha": spec.alpha if spec.corrects else np.nan,
                    "label": task.label,
                    "train_set": pair[train].name,
                    "test_set": pair[test].name,
                    "partner": pair[1 - train].name,
                    "recogniser": task.recogniser,
                    "seed": task.seed,
                    "n_train": len(both[train].y),
                    "C": getattr(recogniser, "C_", np.nan),
                }
                rows = pair[test].test_rows(task.label)
                y = pair[test].labels[task.label][rows]
                score = recogniser.decision_function(X)
                yield key, y, rows, score, recogniser.predict_proba(X)[:, 1]


def _projected(span: Span, correction: Any) -> Span:
    if correction is None:
        return span
    return span.project_out(correction.directions_, correction.alpha)


def _fold_in(recogniser: LogisticRecogniser, correction: Any) -> None:
    """Let the recogniser take uncorrected rows: w'(x - a V'V x) = (w - a V'V w)'x."""
    if correction is not None:
        V = correction.directions_
        recogniser.coef_ -= correction.alpha * (recogniser.coef_ @ V.T) @ V


def _corrected(correction: Any, X: Array, dataset: str) -> Array:
    if correction is None:
        return X
    corrected: Array = correction.transform(X, sample_domain=np.full(len(X), dataset))
    return corrected


def _fit_corrections(
    task: Task,
    pair: list[DatasetClips],
    both: list[TrainingRows],
    X_train: list[Array],
    groups: Mapping[str, Array],
) -> dict[tuple[Correction, str], Any]:
    """Return the fitted correction of each variant; doses of one correction share a fit.

    None stands for nothing to correct. A `BiasMIRError` stands for a correction that these rows
    do not allow.
    """
    fits: dict[tuple[Correction, str], Any] = {}
    fitted: dict[tuple[Correction, str], Any] = {}
    for spec, mode in task.variants:
        if not spec.corrects:
            fitted[spec, mode] = None
            continue
        key = (replace(spec, alpha=1.0), mode)
        if key not in fits:
            fits[key] = _fit_correction(spec, mode, pair, both, X_train, groups)
        correction = copy(fits[key])
        if not isinstance(correction, BiasMIRError):
            correction.alpha = spec.alpha
        fitted[spec, mode] = correction
    return fitted


def _fit_correction(
    spec: Correction,
    mode: str,
    pair: list[DatasetClips],
    both: list[TrainingRows],
    X_train: list[Array],
    groups: Mapping[str, Array],
) -> Any:
    # Training rows are positives, then negatives.
    parts = [slice(None if mode == "global" else len(rows.positives)) for rows in both]
    X = np.concatenate([X[part] for X, part in zip(X_train, parts, strict=True)])
    y = np.concatenate([rows.y[part] for rows, part in zip(both, parts, strict=True)])
    domain = [
        np.full(len(rows.y[part]), clips.name)
        for clips, rows, part in zip(pair, both, parts, strict=True)
    ]
    group = [
        np.asarray(groups[clips.name], dtype=object)[rows.all[part]]
        for clips, rows, part in zip(pair, both, parts, strict=True)
    ]
    correction = spec.transformer()
    if "singular" in correction.get_params() and "singular" not in dict(spec.parameters):
        # A group with too few rows for a direction is a warning here, as one without any is.
        correction.set_params(singular="warn")
    try:
        return correction.fit(
            X,
            y,
            sample_domain=np.concatenate(domain),
            sample_group=np.concatenate(group) if spec.needs_groups else None,
        )
    except BiasMIRError as error:
        return error
