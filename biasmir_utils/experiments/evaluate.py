"""An evaluation: the list of its tasks (`Plan`), and what one task does (`run_task`).

A task is one subject (a label, all tags, a category, a number), one embedding, one pair of
datasets, one seed and one feature space (the embedding itself, or its random features). What its
corrections share is computed once: the training rows, the random features, the span of each
training set, each fitted correction. Corrections are fitted on training rows of both datasets,
never on test rows; recognisers are trained on corrected rows of one dataset and asked about
corrected rows of both. `run_task` is a pure function of the task and the arrays it is given.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import KFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import (
    METHODS,
    Correction,
    discover_groups,
    fit_correction,
    parse_corrections,
)
from biasmir_utils.errors import ArgumentError, BiasMIRError, did_you_mean
from biasmir_utils.experiments.metrics import best_threshold, recognition_metrics
from biasmir_utils.experiments.protocol import (
    CATEGORY,
    LABEL,
    LABELS,
    NUMBER,
    PRESENT,
    TAGS,
    DatasetClips,
    ExperimentData,
    FeatureSpace,
    Subject,
    TrainingRows,
    drawn_rows,
    own_rows,
    shared_classes,
    subject_rows,
    why_impossible,
)
from biasmir_utils.experiments.recognisers import (
    LogisticRecogniser,
    Span,
    make_recogniser,
    recogniser_names,
    recogniser_scores,
)
from biasmir_utils.experiments.results import UNLABELLED
from biasmir_utils.experiments.separability import measure_corrections

Array = NDArray[Any]
Row = dict[str, Any]
ScoreEntry = tuple[Row, dict[str, Array]]
Variant = tuple[Correction, str]
"""A correction and its mode."""

MODES = ("global", "classwise", UNLABELLED)
"""On which training rows of both datasets a correction is fitted: those that the recognisers are
trained on, matched by the labels of both; the positives of these; or rows that were drawn without
a look at any label, in which mode the recognisers, too, are trained without the other dataset's
labels, on all that their own has."""
PAPER_SEED = 42
REPORT_SEEDS = 5
"""Fewest seeds that tell how much the resampling matters."""
NO_CORRECTION = Correction("none")
N_FOLDS = 3


@dataclass(frozen=True)
class Task:
    """Parameters of a task.

    Attributes
    ----------
    embedding : str
    subject : Subject
        What is recognised; its name is a key of `DatasetClips.labels`.
    pair : tuple of str
        The two datasets.
    kernel : str or None
        Feature space: the embedding's own, or that of random Fourier features (a key of
        `corrections.names.KERNELS`).
    variants : tuple of (Correction, str)
        Corrections with their mode: `global`, `classwise`, `unlabelled`; `none` for nothing to
        fit, on the training rows of the first two.
    recogniser : str
        Name of the recogniser.
    seed : int
        Of the resampling and of the random features.
    report : bool
        Whether to judge the corrections on held-out rows and to choose thresholds.
    """

    embedding: str
    subject: Subject
    pair: tuple[str, str]
    kernel: str | None
    variants: tuple[Variant, ...]
    recogniser: str
    seed: int
    report: bool = False

    def __str__(self) -> str:
        return f"{self.embedding}, {self.subject.name}, {'/'.join(self.pair)}"


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
        Rows of `separability.measure_corrections`, if asked for.
    """

    rows: list[Row]
    scores: list[ScoreEntry]
    warnings: list[str]
    skipped: list[dict[str, Any]]
    judged: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What an evaluation will do.

    Attributes
    ----------
    data : ExperimentData
    tasks : list of Task
        In the order of the results.
    skipped : list of dict
        Labels that a pair of datasets cannot be evaluated on: `label`, `pair`, `reason`.
    parameters : dict
        As they were given, for the record.
    report : bool
        Whether the corrections are judged in full; see `Report`.
    """

    data: ExperimentData
    tasks: list[Task]
    skipped: list[dict[str, Any]]
    parameters: dict[str, Any]
    report: bool = False

    @property
    def kind(self) -> str:
        """The kind of all subjects: label, tags, category or number."""
        return self.data.subjects[0].kind

    def describe(self) -> str:
        """Return a text: the tasks, what is skipped, and last how many recognisers there are."""
        several = len(self.parameters["seeds"]) > 1
        lines = []
        for task in self.tasks:
            variants = ", ".join(
                f"{spec}{'' if mode == 'none' else ' ' + mode}" for spec, mode in task.variants
            )
            about = [task.embedding, task.subject.name, "/".join(task.pair)]
            seed = [f"seed {task.seed}"] if several else []
            lines.append("  ".join([*about, *seed, f"[{variants}]"]))
        fits = sum(2 * len(task.variants) for task in self.tasks)
        total = f"{len(self.tasks)} tasks, {fits} recognisers"
        return "\n".join([*lines, *skipped_lines(self.skipped), total])


def plan_evaluation(
    corpus: Corpus,
    embeddings: str | Sequence[str],
    corrections: str | Iterable[str | Correction] = ("none",),
    modes: str | Sequence[str] = ("global",),
    *,
    labels: Sequence[str] | None = None,
    target: str | Sequence[str] = LABELS,
    recogniser: str | None = None,
    seed: int = PAPER_SEED,
    seeds: int = 1,
    report: bool = False,
) -> Plan:
    """List the tasks of an evaluation; see `evaluate` for the parameters and errors."""
    embeddings = _unique([embeddings] if isinstance(embeddings, str) else embeddings)
    modes = _unique([modes] if isinstance(modes, str) else modes)
    specs = parse_corrections(corrections)
    for what, values in (("embedding", embeddings), ("correction", specs), ("mode", modes)):
        if not values:
            raise ArgumentError(f"at least one {what} is needed")
    for mode in modes:
        if mode not in MODES:
            raise ArgumentError(
                f"mode {mode!r}: expected one of {', '.join(MODES)}.{did_you_mean(mode, MODES)}"
            )
    if seeds < 1:
        raise ArgumentError(f"seeds must be at least 1, not {seeds}")
    if len(corpus.datasets) < 2:
        raise ArgumentError(
            f"corpus {corpus.name!r} has one dataset only; an evaluation needs two or more"
        )
    if report and NO_CORRECTION not in specs:
        # Gains and losses are measured against it.
        specs = [NO_CORRECTION, *specs]
    for spec in specs:
        _check_moves_to(spec, corpus)
    data = ExperimentData.of(corpus, embeddings, labels, target)
    kind = data.subjects[0].kind
    recogniser = recogniser_names(kind)[0] if recogniser is None else recogniser
    make_recogniser(recogniser, kind)
    if "classwise" in modes and kind != LABEL:
        raise ArgumentError(
            "the mode classwise fits corrections on a label's positives; "
            + ("tags have none" if kind == TAGS else f"a {kind} has none")
        )
    every_seed = list(range(seed, seed + seeds))
    possible, skipped = _possible(data, every_seed)
    # Nothing is fitted for `none`: what is left of a mode is the recognisers' training rows.
    plain = _unique(mode if mode == UNLABELLED else "none" for mode in modes)
    variants = [(spec, mode) for spec in specs for mode in (modes if spec.corrects else plain)]
    tasks = [
        Task(
            embedding=embedding,
            subject=subject,
            pair=pair,
            kernel=kernel,
            variants=tuple((spec, mode) for spec, mode in variants if spec.kernel == kernel),
            recogniser=recogniser,
            seed=one_seed,
            report=report,
        )
        for one_seed in every_seed
        for embedding in embeddings
        for subject, pair in possible
        for kernel in _unique(spec.kernel for spec in specs)
    ]
    parameters = {
        "corpus": corpus.name,
        "embeddings": embeddings,
        "corrections": [str(spec) for spec in specs],
        "modes": modes,
        "target": [target] if isinstance(target, str) else list(target),
        "labels": [name for subject in data.subjects for name in subject.columns],
        "recogniser": recogniser,
        "seed": seed,
        "seeds": every_seed,
    }
    return Plan(data, tasks, skipped, parameters, report)


def _check_moves_to(spec: Correction, corpus: Corpus) -> None:
    """Raise an `ArgumentError` if a correction moves rows to a dataset that there is not."""
    target = dict(spec.parameters).get("to")
    if target is None or target in corpus.datasets:
        return
    # The name of the default target is the one that the method has without the option.
    expected = [*corpus.datasets, METHODS[spec.method].make().get_params()["to"]]
    if target not in expected:
        raise ArgumentError(
            f"correction {str(spec)!r}: to must be one of {', '.join(expected)}, not {target!r}."
            f"{did_you_mean(target, expected)}"
        )


def _possible(
    data: ExperimentData, seeds: Sequence[int]
) -> tuple[list[tuple[Subject, tuple[str, str]]], list[dict[str, Any]]]:
    """Return what can be evaluated on which pairs with every seed, and what cannot, and why."""
    possible, skipped = [], []
    for subject, pair in itertools.product(data.subjects, itertools.combinations(data.datasets, 2)):
        both = [data.datasets[name] for name in pair]
        reasons = (why_impossible(subject.name, both, seed, subject.kind) for seed in seeds)
        reason = next((text for text in reasons if text is not None), None)
        if reason is None:
            possible.append((subject, pair))
        else:
            skipped.append({"label": subject.name, "pair": list(pair), "reason": reason})
    return possible, skipped


def process_count(jobs: int | None, n_tasks: int) -> int:
    """Return how many processes to use: as many as asked for, or all cores."""
    return max(1, min(joblib.cpu_count() if jobs is None else jobs, n_tasks))


def skipped_lines(skipped: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what was skipped as lines for people."""
    lines = []
    for entry in skipped:
        about = [entry[key] for key in ("embedding", "correction", "mode") if key in entry]
        what = " ".join([entry["label"], *about])
        lines.append(f"skipped {what} on {'/'.join(entry['pair'])}: {entry['reason']}")
    return lines


def _unique(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


# One task


def run_task(
    task: Task,
    pair: Sequence[DatasetClips],
    features: Sequence[Array],
    groups: Sequence[Array],
    keep_scores: bool = False,
) -> TaskResult:
    """Fit and test the recognisers of a task.

    Linear algebra runs on one thread: tasks are the unit of parallel work, and the numbers must
    not depend on how many run at once.

    Parameters
    ----------
    task : Task
    pair : sequence of DatasetClips
        The two datasets.
    features : sequence of ndarray, (n_clips, D)
        The embedding of each.
    groups : sequence of ndarray of object, (n_clips,)
        Group of each clip, None where it has none.
    keep_scores : bool
        Whether to return the scores of the test clips.

    Returns
    -------
    TaskResult
    """
    with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        work = _Work(task, pair, features, groups)
        result = TaskResult([], [], [], work.skipped)
        for row, scores in work.outcomes():
            result.rows.append(row)
            if keep_scores:
                result.scores.extend(scores)
        if task.report:
            result.judged.extend(work.judged())
    texts = dict.fromkeys(str(warning.message) for warning in caught)
    result.warnings.extend(f"{task}: {text}" for text in texts)
    return result


@dataclass(frozen=True)
class _Part:
    """Variants that share training rows and a feature space.

    Attributes
    ----------
    rows : sequence of TrainingRows
        What the recognisers of each dataset are trained on.
    X_train : sequence of ndarray
        These rows in the feature space.
    space : FeatureSpace
    corrections : dict
        For each variant the fitted transformer; None for nothing to correct.
    """

    rows: Sequence[TrainingRows]
    X_train: Sequence[Array]
    space: FeatureSpace
    corrections: dict[Variant, Any]


class _Work:
    """The rows of a task, its feature spaces and its fitted corrections."""

    def __init__(
        self,
        task: Task,
        pair: Sequence[DatasetClips],
        features: Sequence[Array],
        groups: Sequence[Array],
    ) -> None:
        self.task, self.pair, self.X, self.groups = task, pair, features, groups
        self.skipped: list[dict[str, Any]] = []
        name = task.subject.name
        self.names = task.subject.names
        self.truth = [clips.labels[name] for clips in pair]
        self.test_rows = [clips.test_rows(name) for clips in pair]
        if task.subject.kind == CATEGORY:
            codes = shared_classes(name, pair)
            self.names = tuple(self.names[code] for code in codes)
            # The position of a class among those that both datasets have, -1 for others.
            position = np.full(len(task.subject.names) + 1, -1)
            position[codes] = np.arange(len(codes))
            self.truth = [position[truth] for truth in self.truth]
            self.test_rows = [
                rows[truth[rows] >= 0]
                for rows, truth in zip(self.test_rows, self.truth, strict=True)
            ]
        split = {
            unlabelled: [v for v in task.variants if (v[1] == UNLABELLED) is unlabelled]
            for unlabelled in (False, True)
        }
        parts = [self._part(variants) for variants in split.values() if variants]
        self.parts = [part for part in parts if part is not None]

    def _part(self, variants: Sequence[Variant]) -> _Part | None:
        """Fit corrections that are fitted on the same rows; note those that cannot be.

        None where these rows have no such feature space, so that nothing can be trained.
        """
        task = self.task
        unlabelled = variants[0][1] == UNLABELLED
        rows = (own_rows if unlabelled else subject_rows)(
            task.subject.name, task.subject.kind, self.pair, task.seed
        )
        drawn = drawn_rows(self.pair, task.seed) if unlabelled else rows
        raw = [X[chosen.all] for X, chosen in zip(self.X, drawn, strict=True)]
        try:
            space = FeatureSpace(raw, Correction("none", kernel=task.kernel).feature_map(task.seed))
        except BiasMIRError as error:
            reason = (
                f"the training clips give no random features; is the embedding the same for "
                f"most of them? ({error})"
            )
            for variant in variants:
                self._skip(variant, reason)
            return None
        X_drawn = X_train = [space.train(X, side) for side, X in enumerate(raw)]
        if unlabelled:
            X_train = [
                space.train(X[own.all], side)
                for side, (X, own) in enumerate(zip(self.X, rows, strict=True))
            ]
        fitted: dict[Variant, Any] = {}
        for spec, mode in variants:
            # Doses of one correction share a fit.
            whole = replace(spec, alpha=1.0), mode
            if whole not in fitted:
                fitted[whole] = self._fit(spec, mode, drawn, X_drawn) if spec.corrects else None
        corrections = {}
        for spec, mode in variants:
            found = fitted[replace(spec, alpha=1.0), mode]
            if isinstance(found, BiasMIRError):
                self._skip((spec, mode), str(found))
                continue
            corrections[spec, mode] = correction = copy(found)
            if correction is not None:
                correction.alpha = spec.alpha
        return _Part(rows, X_train, space, corrections)

    def _fit(
        self, spec: Correction, mode: str, drawn: Sequence[TrainingRows], X_drawn: Sequence[Array]
    ) -> Any:
        """Return a fitted correction, or the `BiasMIRError` that says why there is none."""
        parts = [
            np.asarray(rows.y) == PRESENT if mode == "classwise" else slice(None) for rows in drawn
        ]
        X = np.concatenate([X[part] for X, part in zip(X_drawn, parts, strict=True)])
        chosen = [rows.all[part] for rows, part in zip(drawn, parts, strict=True)]
        domain = np.repeat([clips.name for clips in self.pair], [len(rows) for rows in chosen])
        group = np.concatenate(
            [names[rows] for names, rows in zip(self.groups, chosen, strict=True)]
        )
        # Every label and seed has a random subspace of its own, so that means over labels are
        # means over that many draws of the control.
        entropy = [self.task.seed, *self.task.subject.name.encode()]
        draw = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        if spec.needs_groups and all(name is None for name in group):
            # As one group the rows would give the ungrouped correction under another name.
            datasets = " or ".join(clips.name for clips in self.pair)
            advice = "" if spec.given == "group" else "; with groups=auto they are looked for"
            return ArgumentError(f"no training clip of {datasets} has a group{advice}")
        try:
            if spec.groups == "auto":
                # Found here, so that what is fitted has a dose that can be set afterwards.
                group = discover_groups(X, domain, random_state=self.task.seed)
                spec = replace(spec, groups="group")
            return fit_correction(
                replace(spec, kernel=None),  # the rows have been mapped
                X,
                _labels(drawn, parts) if spec.needs_labels else None,
                sample_domain=domain,
                sample_group=group,
                draw=draw,
            )
        except BiasMIRError as error:
            return error

    def _skip(self, variant: Variant, reason: str) -> None:
        task, (spec, mode) = self.task, variant
        about = {"embedding": task.embedding, "correction": str(spec), "mode": mode}
        where = {"label": task.subject.name, "pair": list(task.pair)}
        self.skipped.append({**where, **about, "reason": reason})

    def outcomes(self) -> Iterator[tuple[Row, list[ScoreEntry]]]:
        """Yield the rows of the results with the scores behind them."""
        subject = self.task.subject
        for train, part in itertools.product((0, 1), self.parts):
            tests = [
                part.space.test(X[rows], train)
                for X, rows in zip(self.X, self.test_rows, strict=True)
            ]
            trained = self._train(part, train)
            for (variant, one), test in itertools.product(trained.items(), (0, 1)):
                key = {
                    "embedding": self.task.embedding,
                    **_setting(*variant),
                    "label": subject.name,
                    "train_set": self.pair[train].name,
                    "test_set": self.pair[test].name,
                    "partner": self.pair[1 - train].name,
                    "recogniser": self.task.recogniser,
                    "seed": self.task.seed,
                    "n_train": len(part.rows[train].all),
                    "C": getattr(one.recogniser, "C_", np.nan),
                }
                rows, clips = self.test_rows[test], self.pair[test]
                score, probability = one.scores(tests[test], clips.name)
                columns = {
                    "clip": clips.clips[rows],
                    "track": clips.tracks[rows],
                    "group": self.groups[test][rows],
                    "y_true": self.truth[test][rows],
                    "score": score,
                    "probability": probability,
                }
                yield from _outcomes(subject.kind, self.names, key, columns, one.thresholds)

    def _train(self, part: _Part, side: int) -> dict[Variant, _Trained]:
        """Train a recogniser on the rows of a dataset after each correction."""
        task, dataset = self.task, self.pair[side].name
        kind = task.subject.kind
        X, y = part.X_train[side], self.truth[side][part.rows[side].all]
        told = f"recogniser {task.recogniser!r}, {len(X)} clips of {dataset}"
        span: Span | None = None
        trained = {}
        for variant, correction in part.corrections.items():
            recogniser = make_recogniser(task.recogniser, kind, task.seed)
            if (
                isinstance(recogniser, LogisticRecogniser)
                and recogniser.solver == "newton"
                and (correction is None or variant[0].is_low_rank)
            ):
                # One span serves the uncorrected rows and all thin maps of them.
                span = Span.of(X) if span is None else span
                _fit_span(recogniser, span, correction, y)
                out_of_fold = recogniser.cv_decision_
                correction = None
            else:
                rows, complete = _corrected(correction, X, dataset), _complete(recogniser, y, told)
                with _telling(f"{told}: could not be trained"):
                    recogniser.fit(rows, complete)
                if task.report and kind in (LABEL, TAGS):
                    with _telling(f"{told}: could not be trained on folds, to choose a threshold"):
                        out_of_fold = _out_of_fold(recogniser, rows, complete, kind)
            thresholds = np.full(y.shape[1] if y.ndim == 2 else 1, np.nan)
            if task.report and kind in (LABEL, TAGS):
                columns = (array.reshape(len(y), -1).T for array in (y, out_of_fold))
                for k, (truth, score) in enumerate(zip(*columns, strict=True)):
                    thresholds[k] = best_threshold(truth[truth >= 0], score[truth >= 0])
            trained[variant] = _Trained(recogniser, correction, kind, thresholds, told)
        return trained

    def judged(self) -> Iterator[dict[str, Any]]:
        """Yield what is left of the datasets' difference on test rows, and what was changed."""
        task = self.task
        about = {
            "embedding": task.embedding,
            "label": task.subject.name,
            "pair": "/".join(task.pair),
            "seed": task.seed,
        }
        for part in self.parts:
            for variant, row in measure_corrections(
                part.space, part.corrections, self.pair, self.X, task.seed, task.subject.name
            ):
                yield {**about, **_setting(*variant), **row}


def _setting(spec: Correction, mode: str) -> dict[str, Any]:
    alpha = spec.alpha if spec.corrects else np.nan
    return {"correction": spec.name, "mode": mode, "alpha": alpha}


def _labels(drawn: Sequence[TrainingRows], parts: Sequence[Any]) -> Array:
    """Return the labels of the rows, of tags as a matrix of what is present."""
    found = []
    for rows, part in zip(drawn, parts, strict=True):
        if rows.y is None:
            raise ArgumentError(
                "given=label needs the labels of both datasets, at which the mode unlabelled "
                "does not look; use the mode global, or given=group"
            )
        found.append(rows.y[part])
    y = np.concatenate(found)
    return (y == PRESENT).astype(np.float64) if y.ndim == 2 else y


@dataclass(frozen=True)
class _Trained:
    """A recogniser with the correction of the rows that it takes.

    Attributes
    ----------
    recogniser : estimator
    correction : transformer, or None
        None: it takes rows as they are.
    kind : {'label', 'tags', 'category', 'number'}
    thresholds : ndarray, (1,) or (n_tags,)
        Score above which a label is taken for present such that the balanced accuracy is best on
        the source's training rows, each scored by the fold that did not train on it; NaN where
        it was not asked for.
    told : str
        What it is, for messages.
    """

    recogniser: Any
    correction: Any
    kind: str
    thresholds: Array
    told: str

    def scores(self, X: Array, dataset: str) -> tuple[Array, Array]:
        """Return scores and probabilities of a dataset's rows; see `recogniser_scores`."""
        rows = _corrected(self.correction, X, dataset)
        with _telling(f"{self.told}: could not score {len(rows)} clips of {dataset}"):
            return recogniser_scores(self.recogniser, rows, self.kind)


def _corrected(correction: Any, X: Array, dataset: str) -> Array:
    """Return a dataset's rows after a correction, None being no correction."""
    if correction is None:
        return X
    found: Array = correction.transform(X, sample_domain=np.full(len(X), dataset))
    return found


def _fit_span(recogniser: LogisticRecogniser, span: Span, correction: Any, y: Array) -> None:
    """Fit to the rows after a thin map, and make the recogniser take rows before it."""
    if correction is None:
        recogniser.fit_span(span, y)
        return
    thin, alpha = correction.thin_map, correction.alpha
    recogniser.fit_span(span.move(thin, alpha), y)
    # w'(x - a R'L (x - c)) = (w - a L'R w)'x + a w'R'L c.
    along = alpha * (recogniser.coef_ @ thin.right.T)
    recogniser.coef_ -= along @ thin.left
    if thin.center is not None:
        recogniser.intercept_ += along @ (thin.left @ thin.center)


@contextmanager
def _telling(what: str) -> Iterator[None]:
    """Say which recogniser, which may be anybody's, failed, and what it could not do."""
    try:
        yield
    except BiasMIRError:
        raise
    except Exception as error:
        raise ArgumentError(
            f"{what} ({type(error).__name__}: {error}); choose another recogniser or embedding"
        ) from error


def _complete(recogniser: Any, y: Array, told: str) -> Array:
    """Return tags without gaps for a recogniser that knows of none: not observed is absent."""
    if y.ndim == 1 or isinstance(recogniser, LogisticRecogniser):
        return y
    unknown = int((y < 0).sum())
    if unknown:
        warnings.warn(
            f"{told}: of {y.size} tags of clips {unknown} were not observed; this recogniser "
            "learns them as absent, and may find too few. logistic leaves them out",
            stacklevel=2,
        )
    filled: Array = np.maximum(y, 0)
    return filled


def _out_of_fold(recogniser: Any, X: Array, y: Array, kind: str) -> Array:
    """Return the score of each row by a recogniser that was not trained on it."""
    if hasattr(recogniser, "cv_decision_"):
        kept: Array = recogniser.cv_decision_
        return kept
    folds = KFold(N_FOLDS).split(X) if y.ndim == 2 else StratifiedKFold(N_FOLDS).split(X, y)
    found = np.empty(y.shape)
    for train, held_out in folds:
        model = clone(recogniser).fit(X[train], y[train])
        found[held_out] = recogniser_scores(model, X[held_out], kind)[0]
    return found


def _outcomes(
    kind: str, names: tuple[str, ...], key: Row, columns: dict[str, Array], thresholds: Array
) -> Iterator[tuple[Row, list[ScoreEntry]]]:
    """Yield the rows of the results (of tags one for each), each with the scores behind it.

    `names` are the tags, or the trained classes. A category has an entry of scores for each class,
    called ``category=class``, with the column `said`, whether this class was recognised.
    """
    truth, score, probability = (columns[name] for name in ("y_true", "score", "probability"))
    identity = {name: value for name, value in key.items() if name not in ("n_train", "C")}
    row = {**key, "n_test": len(truth)}
    if kind == TAGS:
        for k, name in enumerate(names):
            own = _one_column(columns, k, truth[:, k])
            seen = {column: values[truth[:, k] >= 0] for column, values in own.items()}
            yield from _outcomes(LABEL, (), {**key, "label": name}, seen, thresholds[k : k + 1])
    elif kind == LABEL:
        row |= {"n_pos_test": int(truth.sum()), **recognition_metrics(truth, score, probability)}
        yield row, [({**identity, "threshold": float(thresholds[0])}, columns)]
    elif kind == CATEGORY:
        row |= {"n_classes": len(names), **recognition_metrics(truth, score, probability, CATEGORY)}
        said = score.argmax(axis=1)
        entries = []
        for k, name in enumerate(names):
            about = {**identity, "label": f"{key['label']}={name}", "threshold": np.nan}
            own = _one_column(columns, k, (truth == k).astype(np.int8))
            entries.append((about, {**own, "said": said == k}))
        yield row, entries
    else:
        assert kind == NUMBER
        row |= recognition_metrics(truth, score, kind=NUMBER)
        yield row, [({**identity, "threshold": np.nan}, columns)]


def _one_column(columns: dict[str, Array], k: int, truth: Array) -> dict[str, Array]:
    """Return the scores of one tag or class, as those of a label are."""
    own = {name: columns[name][:, k] for name in ("score", "probability")}
    return {**columns, **own, "y_true": truth}
