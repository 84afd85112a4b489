"""The work of an experiment as independent tasks.

A task is one subject (a label, all tags, a category, a number), one embedding, one pair of
datasets and one feature space (the embedding itself, or its random features). What its
corrections share is computed once: the training rows, the random features, the span of each
training set, each fitted correction. `run_task` is a pure function of the task and the arrays it
is given.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from biasmir_utils.corrections.grammar import Correction
from biasmir_utils.errors import BiasMIRError
from biasmir_utils.experiments.data import DatasetClips
from biasmir_utils.experiments.feature_space import FeatureSpace
from biasmir_utils.experiments.fitting import fit_corrections
from biasmir_utils.experiments.judging import judge_corrections
from biasmir_utils.experiments.outcomes import Row, ScoreEntry, Tested, outcomes
from biasmir_utils.experiments.resampling import TrainingRows
from biasmir_utils.experiments.results import UNLABELLED
from biasmir_utils.experiments.span import Span
from biasmir_utils.experiments.targets import CATEGORY, LABEL
from biasmir_utils.experiments.trained import Trained, train_recognisers
from biasmir_utils.experiments.training import (
    ChosenRows,
    drawn_rows,
    own_rows,
    shared_classes,
    subject_rows,
)

Array = NDArray[Any]
Rows = Sequence[TrainingRows | ChosenRows]
Variants = tuple[tuple[Correction, str], ...]


@dataclass(frozen=True)
class Task:
    """Parameters of a task.

    Attributes
    ----------
    embedding : str
    label : str
        The name of what is recognised, a key of `DatasetClips.labels`.
    pair : tuple of str
        The two datasets.
    kernel : str or None
        Feature space: the embedding's own, or that of random Fourier features (a key of
        `corrections.grammar.KERNELS`).
    variants : tuple of (Correction, str)
        Corrections with their mode: `global`, `classwise`, `unlabelled`; `none` for nothing to
        fit, on the training rows of the first two.
    recogniser : str
        Name of the recogniser.
    seed : int
        Of the resampling and of the random features.
    kind : {'label', 'tags', 'category', 'number'}
    names : tuple of str
        The tags, or all classes of the category.
    report : bool
        Whether to judge the corrections on held-out rows and to choose thresholds.
    """

    embedding: str
    label: str
    pair: tuple[str, str]
    kernel: str | None
    variants: Variants
    recogniser: str
    seed: int
    kind: str = LABEL
    names: tuple[str, ...] = ()
    report: bool = False


@dataclass(frozen=True)
class TaskResult:
    """What a task found.

    Attributes
    ----------
    rows : list of dict
        Rows of the results table, without the column `corpus`.
    scores : list of (dict, dict)
        For each row (of a category each class), if asked for: its key with the `threshold`
        chosen on the source, and arrays `clip`, `track`, `group`, `y_true`, `score`,
        `probability` over the test clips.
    warnings : list of str
    skipped : list of dict
        Corrections that could not be fitted: `label`, `pair`, `embedding`, `correction`,
        `mode`, `reason`.
    judged : list of dict
        Rows of `judging.judge_corrections`, if asked for.
    """

    rows: list[dict[str, Any]]
    scores: list[tuple[dict[str, Any], dict[str, Array]]]
    warnings: list[str]
    skipped: list[dict[str, Any]]
    judged: list[dict[str, Any]] = field(default_factory=list)


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
        work = _Work(task, [datasets[name] for name in task.pair], features, groups)
        result = TaskResult([], [], [], work.skipped)
        for row, scores in work.outcomes():
            result.rows.append(row)
            if keep_scores:
                result.scores.extend(scores)
        if task.report:
            result.judged.extend(work.judged())
    where = f"{task.embedding}, {task.label}, {'/'.join(task.pair)}"
    texts = dict.fromkeys(str(warning.message) for warning in caught)
    result.warnings.extend(f"{where}: {text}" for text in texts)
    return result


@dataclass(frozen=True)
class _Part:
    """Variants that share training rows and a feature space.

    Attributes
    ----------
    rows : sequence of TrainingRows or ChosenRows
        What the recognisers of each dataset are trained on.
    space : FeatureSpace
    corrections : dict
        Fitted on rows of both datasets; see `fit_corrections`.
    """

    rows: Rows
    space: FeatureSpace
    corrections: dict[tuple[Correction, str], Any]


class _Work:
    """The rows of a task, its feature spaces and its fitted corrections."""

    def __init__(
        self,
        task: Task,
        pair: list[DatasetClips],
        features: Mapping[str, Array],
        groups: Mapping[str, Array],
    ) -> None:
        self.task, self.pair, self.groups = task, pair, groups
        self.X = [features[clips.name] for clips in pair]
        self.skipped: list[dict[str, Any]] = []
        self.names = task.names
        self.truth = [clips.labels[task.label] for clips in pair]
        self.test_rows = [clips.test_rows(task.label) for clips in pair]
        if task.kind == CATEGORY:
            codes = shared_classes(task.label, pair)
            self.names = tuple(task.names[code] for code in codes)
            self.truth = [_position(truth, codes) for truth in self.truth]
            self.test_rows = [
                rows[truth[rows] >= 0]
                for rows, truth in zip(self.test_rows, self.truth, strict=True)
            ]
        parts = [
            self._part(tuple(v for v in task.variants if (v[1] == UNLABELLED) is unlabelled))
            for unlabelled in (False, True)
            if any((mode == UNLABELLED) is unlabelled for _, mode in task.variants)
        ]
        self.parts = [part for part in parts if part is not None]

    def _part(self, variants: Variants) -> _Part | None:
        """Fit corrections that are fitted on the same rows; note those that cannot be.

        None where these rows have no such feature space, so that nothing can be trained.
        """
        task = self.task
        what = (task.label, task.kind, self.pair, task.seed)
        if any(mode == UNLABELLED for _, mode in variants):
            rows: Rows = own_rows(*what)
            chosen: Rows = drawn_rows(self.pair, task.seed)
        else:
            rows = chosen = subject_rows(*what)
        raw = [X[rows.all] for X, rows in zip(self.X, chosen, strict=True)]
        try:
            space = FeatureSpace(raw, Correction("none", kernel=task.kernel).feature_map(task.seed))
        except BiasMIRError as error:
            for variant in variants:
                self._skip(
                    variant,
                    f"the training clips give no random features; is the embedding the same for "
                    f"most of them? ({error})",
                )
            return None
        X_train = [space.train(X, side) for side, X in enumerate(raw)]
        fitted = fit_corrections(
            variants, self.pair, chosen, X_train, self.groups, task.seed, task.label
        )
        for variant, outcome in fitted.items():
            if isinstance(outcome, BiasMIRError):
                self._skip(variant, str(outcome))
        kept = {key: c for key, c in fitted.items() if not isinstance(c, BiasMIRError)}
        return _Part(rows, space, kept)

    def _skip(self, variant: tuple[Correction, str], reason: str) -> None:
        task, (spec, mode) = self.task, variant
        about = {"embedding": task.embedding, "correction": str(spec), "mode": mode}
        self.skipped.append(
            {"label": task.label, "pair": list(task.pair), **about, "reason": reason}
        )

    def outcomes(self) -> Iterator[tuple[Row, list[ScoreEntry]]]:
        """Yield the rows of the results with the scores behind them."""
        task = self.task
        for train in (0, 1):
            for part in self.parts:
                rows = part.rows[train]
                spans: dict[str, Span] = {}
                trained = train_recognisers(
                    task.recogniser,
                    task.kind,
                    part.corrections,
                    part.space.train(self.X[train][rows.all], train),
                    self.truth[train][rows.all],
                    self.pair[train].name,
                    spans=spans,
                    seed=task.seed,
                    thresholds=task.report,
                )
                tested = [self._tested(part, trained, train, test) for test in (0, 1)]
                for number, (spec, mode) in enumerate(part.corrections):
                    for test in (0, 1):
                        key = {
                            "embedding": task.embedding,
                            **_setting(spec, mode),
                            "label": task.label,
                            "train_set": self.pair[train].name,
                            "test_set": self.pair[test].name,
                            "partner": self.pair[1 - train].name,
                            "recogniser": task.recogniser,
                            "seed": task.seed,
                            "n_train": len(rows.all),
                            "C": getattr(trained[number].recogniser, "C_", np.nan),
                        }
                        yield from outcomes(
                            task.kind,
                            self.names,
                            key,
                            tested[test][number],
                            trained[number].thresholds,
                        )

    def _tested(self, part: _Part, trained: list[Trained], train: int, test: int) -> list[Tested]:
        """Return a test set with the scores of each recogniser."""
        rows, clips = self.test_rows[test], self.pair[test]
        X = part.space.test(self.X[test][rows], train)
        return [
            Tested(
                clips.clips[rows],
                clips.tracks[rows],
                self.groups[clips.name][rows],
                self.truth[test][rows],
                *one.scores(X, clips.name),
            )
            for one in trained
        ]

    def judged(self) -> Iterator[dict[str, Any]]:
        """Yield what is left of the datasets' difference on test rows, and what was changed."""
        task = self.task
        about = {
            "embedding": task.embedding,
            "label": task.label,
            "pair": "/".join(task.pair),
            "seed": task.seed,
        }
        for part in self.parts:
            for (spec, mode), row in judge_corrections(
                part.space, part.corrections, self.pair, self.X, task.seed
            ):
                yield {**about, **_setting(spec, mode), **row}


def _setting(spec: Correction, mode: str) -> dict[str, Any]:
    alpha = spec.alpha if spec.corrects else np.nan
    return {"correction": spec.name, "mode": mode, "alpha": alpha}


def _position(codes: Array, chosen: list[int]) -> Array:
    """Return the position of each code among those chosen, -1 for others."""
    position = np.full(max([-1, *codes, *chosen]) + 2, -1)
    position[chosen] = np.arange(len(chosen))
    found: Array = position[codes]
    return found
