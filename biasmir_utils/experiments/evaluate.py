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
from functools import cache
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import KFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from biasmir_utils.cluster import end_with_parent
from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import (
    METHODS,
    Correction,
    discover_groups,
    fit_correction,
    parse_corrections,
)
from biasmir_utils.errors import ArgumentError, BiasMIRError, by_kind, did_you_mean
from biasmir_utils.experiments import fewshot, protocol, recognisers
from biasmir_utils.experiments.metrics import best_threshold, metrics_of, recognition_metrics
from biasmir_utils.experiments.protocol import CATEGORY, LABEL, DatasetClips
from biasmir_utils.experiments.recognisers import LogisticRecogniser
from biasmir_utils.experiments.results import UNLABELLED
from biasmir_utils.experiments.separability import measure_corrections

Array = NDArray[Any]
Row = dict[str, Any]
# A correction and its mode.
Variant = tuple[Correction, str]
# What is behind a row of the results: keys, and arrays over the test clips.
Scores = list[tuple[Row, dict[str, Array]]]

# On which training rows of both datasets a correction is fitted: those that the recognisers are
# trained on, matched by the labels of both; the positives of these; or rows that were drawn without
# a look at any label, in which mode the recognisers, too, are trained without the other dataset's
# labels, on all that their own has.
MODES = ("global", "classwise", UNLABELLED)
PAPER_SEED = 42
# Fewest seeds that tell how much the resampling matters.
REPORT_SEEDS = 5
NO_CORRECTION = Correction("none")
UNEQUAL = 1.25
"""From which ratio of effective numbers of tracks on it is said that they differ."""
PARTNER = "partner"
"""As the dataset that others are moved to: the one that the recogniser is not trained on."""
N_FOLDS = 3
# Of more labels, embeddings or corrections that are skipped for one reason the rest is counted.
MOST_NAMES = 12


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
    variants : tuple of (Correction, str)
        Corrections of one feature space with their mode: `global`, `classwise`, `unlabelled`;
        `none` for nothing to fit, on the training rows of the first two.
    recogniser : str
        Name of the recogniser.
    seed : int
        Of the resampling and of the random features.
    report : bool
        Whether to judge the corrections on held-out rows and to choose thresholds.
    match : {'clips', 'tracks'}
        What the training rows of both datasets have as many of.
    few : tuple of (int, int)
        Numbers of labelled clips of the target to train with, too, each with the number of a
        draw; see `fewshot`.
    """

    embedding: str
    subject: protocol.Subject
    pair: tuple[str, str]
    variants: tuple[Variant, ...]
    recogniser: str
    seed: int
    report: bool = False
    match: str = protocol.CLIPS
    few: tuple[tuple[int, int], ...] = ()

    @property
    def kernel(self) -> str | None:
        """Kernel of the random features, a key of `KERNELS`; None for the embedding itself."""
        return self.variants[0][0].kernel

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
        Corrections that could not be fitted, or with which the recognisers failed: `label`,
        `pair`, `embedding`, `correction`, `mode`, `reason`.
    judged : list of dict
        Rows of `separability.measure_corrections`, if asked for.
    few : list of dict
        Rows of the table `few`, if asked for; see `fewshot`.
    failed : bool
        Whether a recogniser failed: it may be anybody's, so another try may do better.
    """

    rows: list[Row] = field(default_factory=list)
    scores: Scores = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    skipped: list[Row] = field(default_factory=list)
    judged: list[Row] = field(default_factory=list)
    few: list[Row] = field(default_factory=list)
    failed: bool = False


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
    warnings : list of str
        Where the training clips that are matched come from unequal numbers of tracks.
    """

    data: protocol.ExperimentData
    tasks: list[Task]
    skipped: list[Row]
    parameters: dict[str, Any]
    report: bool = False
    warnings: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """The kind of all subjects: label, tags, category or number."""
        return self.data.subjects[0].kind

    def describe(self) -> str:
        """Return a text: the tasks, what is skipped, and last how many recognisers there are."""
        several = len(self.parameters["seeds"]) > 1
        lines = []
        for task in self.tasks:
            variants = [
                str(spec) if mode == "none" else f"{spec} {mode}" for spec, mode in task.variants
            ]
            about = [task.embedding, task.subject.name, "/".join(task.pair)]
            seed = [f"seed {task.seed}"] if several else []
            lines.append("  ".join([*about, *seed, f"[{', '.join(variants)}]"]))
        fits = sum(2 * len(task.variants) for task in self.tasks)
        total = f"{len(self.tasks)} tasks, {fits} recognisers"
        total += ", and those with labels of the target" if self.tasks and self.tasks[0].few else ""
        lines += [*protocol.left_out_lines(self.data.left_out), *skipped_lines(self.skipped)]
        return "\n".join([*lines, *self.warnings, total])


def plan_evaluation(
    corpus: Corpus,
    embeddings: str | Sequence[str],
    corrections: str | Iterable[str | Correction] = ("none",),
    modes: str | Sequence[str] = ("global",),
    *,
    labels: Sequence[str] | None = None,
    target: str | Sequence[str] = protocol.LABELS,
    recogniser: str | None = None,
    seed: int = PAPER_SEED,
    seeds: int = 1,
    report: bool = False,
    match: str = protocol.CLIPS,
    few_labels: Sequence[int] | None = None,
    draws: int = fewshot.FEW_DRAWS,
) -> Plan:
    """List the tasks of an evaluation.

    Only clips that have all of the embeddings take part, so that embeddings are compared on
    the same clips. With more than two datasets, every pair of them is evaluated.

    Parameters
    ----------
    corpus, embeddings, corrections, modes
        As in `evaluate`, which does what is planned.
    labels, target, recogniser, seed, seeds, report, match, few_labels, draws
        As in `evaluate`, too.

    Returns
    -------
    Plan

    Raises
    ------
    ArgumentError
        If a name is unknown or there is nothing to choose from; a label that cannot be evaluated
        is among what the plan skips, with the reason.
    """
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
    if match not in (protocol.CLIPS, protocol.TRACKS):
        raise ArgumentError(f"match {match!r}: expected {protocol.CLIPS} or {protocol.TRACKS}")
    if seeds < 1:
        raise ArgumentError(f"seeds must be at least 1, not {seeds}")
    if len(corpus.datasets) < 2:
        raise ArgumentError(
            f"corpus {corpus.name!r} has one dataset only; an evaluation needs two or more"
        )
    if (report or few_labels) and NO_CORRECTION not in specs:
        # Gains and losses are measured against it.
        specs = [NO_CORRECTION, *specs]
    for spec in specs:
        _check_moves_to(spec, corpus)
    data = protocol.ExperimentData.of(corpus, embeddings, labels, target)
    kind = data.subjects[0].kind
    recogniser = recognisers.recogniser_names(kind)[0] if recogniser is None else recogniser
    recognisers.make_recogniser(recogniser, kind)
    if "classwise" in modes and kind != LABEL:
        raise ArgumentError(
            f"the mode classwise fits corrections on a label's positives; there are none of {kind}"
        )
    every_seed = list(range(seed, seed + seeds))
    possible, skipped = _possible(data, every_seed, match, UNLABELLED in modes)
    few = fewshot.few_draws(few_labels, draws, report, kind)
    # Nothing is fitted for `none`: what is left of a mode is the recognisers' training rows.
    plain = _unique(mode if mode == UNLABELLED else "none" for mode in modes)
    spaces: dict[str | None, list[Variant]] = {}
    for spec in specs:
        own = modes if spec.corrects else plain
        spaces.setdefault(spec.kernel, []).extend((spec, mode) for mode in own)
    wanted = [
        Task(embedding, subject, pair, tuple(variants), recogniser, one_seed, report, match, few)
        for one_seed in every_seed
        for embedding in embeddings
        for subject, pair in possible
        for variants in spaces.values()
    ]
    tasks, unfit = _fitting(wanted, data)
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
        "match": match,
    } | ({"few_labels": sorted({n for n, _ in few}), "draws": draws} if few else {})
    warned = [] if match == protocol.TRACKS else _unequal_tracks(data, possible, seed)
    return Plan(data, tasks, [*skipped, *unfit], parameters, report, warned)


def _unequal_tracks(
    data: protocol.ExperimentData,
    possible: Sequence[tuple[protocol.Subject, tuple[str, str]]],
    seed: int,
) -> list[str]:
    """Return for which pairs of datasets equally many clips come from unequally many tracks."""
    found: dict[tuple[str, str], list[list[float]]] = {}
    for subject, names in possible:
        pair = [data.datasets[name] for name in names]
        rows = protocol.subject_rows(subject.name, subject.kind, pair, seed)
        chosen = [own.positives if subject.kind == LABEL else own.all for own in rows]
        found.setdefault(names, []).append(
            [protocol.effective_tracks(c.tracks[own]) for c, own in zip(pair, chosen, strict=True)]
        )
    texts, what = [], "the positives" if data.subjects[0].kind == LABEL else "them"
    for (one, other), numbers in found.items():
        (few, many), n = np.sort(numbers, axis=1).T, np.mean(numbers, axis=0)
        if n_differ := int((many > UNEQUAL * few).sum()):
            texts.append(
                f"{one}/{other}: the training clips are of unequal numbers of tracks (for "
                f"{n_differ} of {len(few)} targets by more than a quarter; effective tracks "
                f"of {what}, on average: {n[0]:.0f} in {one} and {n[1]:.0f} in {other}). "
                "A fall on one test set holds this difference, too, the mean over both hardly; "
                "--match tracks draws as many tracks"
            )
    return texts


def _possible(
    data: protocol.ExperimentData, seeds: Sequence[int], match: str, blindly: bool
) -> tuple[list[tuple[protocol.Subject, tuple[str, str]]], list[Row]]:
    """Return what can be evaluated on which pairs with every seed, and what cannot, and why."""
    possible, skipped = [], []
    for subject, pair in itertools.product(data.subjects, itertools.combinations(data.datasets, 2)):
        both = [data.datasets[name] for name in pair]
        reasons = (
            protocol.why_impossible(
                *(subject.name, both, seed, subject.kind, match, blindly), tags=subject.names
            )
            for seed in seeds
        )
        if reason := next(filter(None, reasons), None):
            skipped.append({"label": subject.name, "pair": list(pair), "reason": reason})
        else:
            possible.append((subject, pair))
    reason = "no score: all test clips of a class are of tracks that are in the training part, too"
    for subject, name in dict.fromkeys((one, name) for one, pair in possible for name in pair):
        gaps = data.datasets[name].gaps(subject)
        skipped += [{"label": gap, "pair": [name, name], "reason": reason} for gap in gaps]
    return possible, skipped


def _check_moves_to(spec: Correction, corpus: Corpus) -> None:
    """Raise an `ArgumentError` if a correction moves rows to a dataset that there is not."""
    target = dict(spec.parameters).get("to", PARTNER)
    # The name of the default target is the one that the method has without the option.
    default = METHODS[spec.method].make().get_params().get("to")
    expected = [*corpus.datasets, PARTNER, default]
    if target not in expected:
        raise ArgumentError(
            f"correction {str(spec)!r}: to must be one of {', '.join(expected)}, not {target!r}."
            f"{did_you_mean(target, expected)}"
        )


def in_processes(jobs: int | None, n_calls: int, **options: Any) -> joblib.Parallel:
    """Return what makes calls in processes: as many as asked for, or all cores."""
    n_jobs = max(1, min(joblib.cpu_count() if jobs is None else jobs, n_calls))
    return joblib.Parallel(n_jobs, initializer=end_with_parent, **options)


def skipped_lines(skipped: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what was skipped as lines for people, one for each kind of reason."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in skipped:
        groups.setdefault(("/".join(entry["pair"]), entry.get("embedding", "")), []).append(entry)
    lines = []
    for (pair, embedding), entries in groups.items():
        for reason, members in by_kind(entry["reason"] for entry in entries).items():
            labels = _unique(entries[k]["label"] for k in members)
            variants = _unique(
                f"{entries[k]['correction']} {entries[k]['mode']}".removesuffix(" none")
                for k in members
                if "correction" in entries[k]
            )
            told = filter(None, (_few_of(labels), embedding, _few_of(variants)))
            n_all = len(labels) * max(1, len(variants))
            counted = f" ({len(members)} of these)" if len(members) < n_all else ""
            lines.append(f"skipped {' '.join(told)} on {pair}{counted}: {reason}")
    return lines


def _few_of(names: Sequence[str]) -> str:
    """Return a list of names, of a long one how many more there are."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _unique(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


# One task


def run_task(
    task: Task, pair: Sequence[DatasetClips], features: Sequence[Array], keep_scores: bool = False
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
    keep_scores : bool
        Whether to return the scores of the test clips.

    Returns
    -------
    TaskResult
    """
    result = TaskResult()
    with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parts = []
        for blindly in (False, True):
            variants = [v for v in task.variants if (v[1] == UNLABELLED) is blindly]
            if variants:
                parts += _fit_corrections(task, pair, features, variants, result.skipped)
        failed: dict[Variant, BiasMIRError] = {}
        outcomes = [
            (part, *outcome)
            for train, part in itertools.product((0, 1), parts)
            for outcome in _outcomes(task, pair, features, part, train, failed)
        ]
        for part, variant, row, scores in outcomes:
            if variant not in failed:
                result.rows.append(row)
                result.scores.extend(scores if keep_scores else [])
                if task.few and row["train_set"] != row["test_set"]:
                    fitted = part.corrections[variant][task.pair.index(row["train_set"])]
                    sides = list(zip(pair, features, strict=True))
                    result.few.extend(_few_label_rows(task, row, part, fitted, sides))
        result.skipped.extend(_skipped(task, *failing) for failing in failed.items())
        for part in parts if task.report else []:
            about: Row = {"embedding": task.embedding, "label": task.subject.name}
            about |= {"pair": "/".join(task.pair), "seed": task.seed}
            sound = {v: own for v, own in part.corrections.items() if v not in failed}
            second = {v: own[1] for v, own in sound.items() if own[1] is not own[0]}
            for fits in filter(None, ({v: own[0] for v, own in sound.items()}, second)):
                for variant, row in measure_corrections(
                    part.space, fits, pair, features, task.seed, task.subject.name
                ):
                    result.judged.append({**about, **_setting(*variant), **row})
    texts = dict.fromkeys(str(warning.message) for warning in caught)
    result.warnings.extend(f"{task}: {text}" for text in texts)
    return replace(result, failed=bool(failed))


def _fitting(tasks: Iterable[Task], data: protocol.ExperimentData) -> tuple[list[Task], list[Row]]:
    """Return tasks without the corrections that cannot be fitted, as far as is known, and why."""
    found: list[Task] = []
    skipped: list[Row] = []
    for task in tasks:
        pair = [data.datasets[name] for name in task.pair]
        groups = np.concatenate([clips.group_names[clips.is_train] for clips in pair])
        why = {variant: _why_not(*variant, groups, task.pair) for variant in task.variants}
        skipped += [_skipped(task, variant, reason) for variant, reason in why.items() if reason]
        fits = tuple(variant for variant, reason in why.items() if not reason)
        found += [replace(task, variants=fits)] if fits else []
    return found, skipped


def _why_not(spec: Correction, mode: str, groups: Array, pair: Sequence[str]) -> str | None:
    """Return why a correction cannot be fitted to clips of some groups, None if it can."""
    if spec.needs_labels and mode == UNLABELLED:
        return (
            f"{spec} needs the labels of both datasets, at which the mode unlabelled does not "
            "look; use the mode global, or given=group"
        )
    if spec.needs_groups and all(name is None for name in groups):
        # As one group the rows would give the ungrouped correction under another name.
        advice = "" if spec.given == "group" else "; with groups=auto they are looked for"
        return f"no training clip of {' or '.join(pair)} has a group{advice}"
    return None


def _skipped(task: Task, variant: Variant, error: BiasMIRError | str) -> Row:
    """Return what is told of a correction that gives no results."""
    about: Row = {"label": task.subject.name, "pair": list(task.pair), "embedding": task.embedding}
    return about | {"correction": str(variant[0]), "mode": variant[1], "reason": str(error)}


def _setting(spec: Correction, mode: str) -> Row:
    alpha = spec.alpha if spec.corrects else np.nan
    return {"correction": spec.name, "mode": mode, "alpha": alpha}


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
        For each variant the fitted transformer of each training set, None for nothing to correct:
        the same for both, but where rows are moved to the partner of the training set.
    """

    rows: Sequence[protocol.TrainingRows]
    X_train: Sequence[Array]
    space: protocol.FeatureSpace
    corrections: dict[Variant, list[Any]]


def _fit_corrections(
    task: Task,
    pair: Sequence[DatasetClips],
    features: Sequence[Array],
    variants: Sequence[Variant],
    skipped: list[Row],
) -> list[_Part]:
    """Fit corrections that are fitted on the same rows; note those that cannot be.

    Nothing is returned where these rows have no such feature space, so that nothing can be trained.
    """
    blindly = variants[0][1] == UNLABELLED
    rows = (protocol.own_rows if blindly else protocol.subject_rows)(
        task.subject.name, task.subject.kind, pair, task.seed, task.match
    )
    drawn = protocol.drawn_rows(pair, task.seed, task.match) if blindly else rows
    raw = [X[chosen.all] for X, chosen in zip(features, drawn, strict=True)]
    feature_map = Correction("none", kernel=task.kernel).feature_map(task.seed)
    try:
        space = protocol.FeatureSpace(raw, feature_map)
    except BiasMIRError as error:
        reason = (
            f"the training clips give no random features; is the embedding the same for most of "
            f"them? ({error})"
        )
        skipped.extend(_skipped(task, variant, reason) for variant in variants)
        return []
    X_drawn = X_train = [space.train(X, side) for side, X in enumerate(raw)]
    if blindly:
        X_train = [space.train(features[side][rows[side].all], side) for side in (0, 1)]
    fitted: dict[Variant, Any] = {}
    corrections: dict[Variant, list[Any]] = {}
    for spec, mode in variants:
        # Doses of one correction share a fit.
        whole = replace(spec, alpha=1.0), mode
        try:
            if whole not in fitted:
                fitted[whole] = [
                    _fitted(task, pair, one, mode, drawn, X_drawn) if spec.corrects else None
                    for one in _for_each_training_set(spec, task.pair)
                ]
        except BiasMIRError as error:
            fitted[whole] = error
        if isinstance(fitted[whole], BiasMIRError):
            skipped.append(_skipped(task, (spec, mode), fitted[whole]))
            continue
        dosed = [copy(one) for one in fitted[whole]]
        for correction in filter(None, dosed):
            correction.alpha = spec.alpha
        corrections[spec, mode] = (2 * dosed)[:2]
    return [_Part(rows, X_train, space, corrections)] if corrections else []


def _for_each_training_set(spec: Correction, pair: tuple[str, str]) -> list[Correction]:
    """Return what to fit: one correction, or one for each training set if that is its partner."""
    if ("to", PARTNER) not in spec.parameters:
        return [spec]
    others = dict(spec.parameters)
    return [replace(spec, parameters=tuple((others | {"to": name}).items())) for name in pair[::-1]]


def _fitted(
    task: Task,
    pair: Sequence[DatasetClips],
    spec: Correction,
    mode: str,
    drawn: Sequence[protocol.TrainingRows],
    X_drawn: Sequence[Array],
) -> Any:
    """Return a correction fitted on training rows of both datasets."""
    told = list(zip(pair, drawn, strict=True))
    y = None if mode == UNLABELLED else np.concatenate([np.asarray(rows.y) for rows in drawn])
    used = y == protocol.PRESENT if mode == "classwise" else slice(None)
    if y is not None:
        y = y[used] if y.ndim == 1 else (y == protocol.PRESENT).astype(np.float64)
    X = np.concatenate(X_drawn)[used]
    domain = np.repeat([clips.name for clips in pair], [len(rows.all) for rows in drawn])[used]
    group = np.concatenate([clips.group_names[rows.all] for clips, rows in told])[used]
    track = np.concatenate([clips.tracks[rows.all] for clips, rows in told])[used]
    if reason := _why_not(spec, mode, group, task.pair):
        raise ArgumentError(reason)
    if spec.groups == "auto":
        # Found here, so that what is fitted has a dose that can be set afterwards.
        group = discover_groups(X, domain, random_state=task.seed)
        spec = replace(spec, groups="group")
    # Every label and seed has a random subspace of its own, so that means over labels are means
    # over that many draws of the control.
    draw = np.random.SeedSequence([task.seed, *task.subject.name.encode()]).generate_state(1)[0]
    return fit_correction(
        replace(spec, kernel=None),  # the rows have been mapped
        X,
        y,
        sample_domain=domain,
        sample_group=group,
        sample_track=track,
        shared_tracks=pair[0].shared_tracks,
        draw=int(draw),
    )


def _outcomes(
    task: Task,
    pair: Sequence[DatasetClips],
    features: Sequence[Array],
    part: _Part,
    train: int,
    failed: dict[Variant, BiasMIRError],
) -> Iterator[tuple[Variant, Row, Scores]]:
    """Yield the rows of the results of one training set, with the scores behind them.

    Variants with which the recogniser fails go into `failed`, and those there are passed over.
    """
    kind, dataset = task.subject.kind, pair[train].name
    names, truth, test_rows = protocol.truth_and_tests(task.subject, pair)
    X, y = part.X_train[train], truth[train][part.rows[train].all]
    tests = [part.space.test(features[test][test_rows[test]], train) for test in (0, 1)]
    told = f"recogniser {task.recogniser!r}, {len(X)} clips of {dataset}"
    span = cache(lambda free: recognisers.span_in_range(X, free))
    gaps = pair[train].gaps(task.subject)

    def of_variant(spec: Correction, mode: str, fitted: Any) -> Iterator[tuple[Row, Scores]]:
        recogniser = recognisers.make_recogniser(task.recogniser, kind, task.seed)
        correction = fitted
        # The source's threshold, and its share of positive clips, of each label.
        thresholds = np.full((y.shape[1] if y.ndim == 2 else 1, 2), np.nan)
        if (
            isinstance(recogniser, LogisticRecogniser)
            and recogniser.solver == "newton"
            and (fitted is None or spec.is_low_rank)
        ):
            # One span serves the uncorrected rows and all thin maps of them.
            _fit_span(recogniser, span(recogniser.is_free), fitted, y)
            correction = None
        else:
            rows, complete = _corrected(fitted, X, dataset), _complete(recogniser, y, told)
            with _telling(f"{told}: could not be trained"):
                recogniser.fit(rows, complete)
        if task.report and kind in (LABEL, protocol.TAGS):
            if hasattr(recogniser, "cv_decision_"):
                out_of_fold = recogniser.cv_decision_
            else:
                with _telling(f"{told}: could not be trained on folds, to choose a threshold"):
                    out_of_fold = _out_of_fold(recogniser, rows, complete, kind)
            columns = (array.reshape(len(y), -1).T for array in (y, out_of_fold))
            for k, (own, score) in enumerate(zip(*columns, strict=True)):
                known = own >= 0
                thresholds[k] = best_threshold(own[known], score[known]), own[known].mean()
        for test, clips in enumerate(pair):
            key = {
                "embedding": task.embedding,
                **_setting(spec, mode),
                "label": task.subject.name,
                "train_set": dataset,
                "test_set": clips.name,
                "partner": pair[1 - train].name,
                "recogniser": task.recogniser,
                "seed": task.seed,
                "n_train": len(X),
                "C": getattr(recogniser, "C_", np.nan),
            }
            rows = _corrected(correction, tests[test], clips.name)
            with _telling(f"{told}: could not score {len(rows)} clips of {clips.name}"):
                score, probability = recognisers.recogniser_scores(recogniser, rows, kind)
            chosen = test_rows[test]
            table = {
                "clip": clips.clips[chosen],
                "track": clips.tracks[chosen],
                "group": clips.group_names[chosen],
                "y_true": truth[test][chosen],
                "score": score,
                "probability": probability,
            }
            for row, kept in _measured(kind, names, key, table, thresholds):
                is_gap = test == train and row["label"] in gaps
                yield _without_scores(kind, row, kept) if is_gap else (row, kept)

    for variant, fitted in part.corrections.items():
        if variant not in failed:
            try:
                yield from [(variant, *one) for one in of_variant(*variant, fitted[train])]
            except BiasMIRError as error:
                failed[variant] = error


def _few_label_rows(
    task: Task, row: Row, part: _Part, fitted: Any, clips: Sequence[tuple[DatasetClips, Array]]
) -> Iterator[Row]:
    """Yield a row of the results as one of the table `few`, and what goes with it; see `fewshot`.

    Nothing is trained for a label that has no honest score inside the target.
    """
    row = {**row, "pair": "/".join(task.pair), "n": 0, "draw": 0}
    yield {**row, "method": fewshot.PLAIN_SOURCE}
    name, k = task.subject.name, task.pair.index(row["test_set"])
    target, X_target = clips[k]
    if task.kernel is not None or target.gaps(task.subject):
        return
    X = [_corrected(fitted, part.X_train[own], task.pair[own]) for own in (1 - k, k)]
    y = [np.asarray(part.rows[own].y) for own in (1 - k, k)]
    untested = ~target.is_tested(name)[part.rows[k].all]
    X[1], y[1] = X[1][untested], y[1][untested]
    sets = [(fewshot.BOTH, len(y[1]), 0, np.concatenate(X), np.concatenate(y))]
    if fitted is None:
        sets += fewshot.few_label_sets(X[0], y[0], *clips[k], name, task.few, task.seed)
    tests = target.test_rows(name)
    test = _corrected(fitted, X_target[tests], target.name), target.labels[name][tests]
    for method, n, draw, *rows in sets:
        recogniser = recognisers.make_recogniser(task.recogniser, LABEL, task.seed)
        if isinstance(recogniser, LogisticRecogniser) and method != fewshot.TARGET:
            recogniser.Cs = (row["C"],)
        score = fewshot.score_trained(recogniser, rows, test)
        yield {**row, "method": method, "n": n, "draw": draw, "roc_auc": score}


def _without_scores(kind: str, row: Row, kept: Scores) -> tuple[Row, Scores]:
    """Return a row of the results and what is behind it as a gap, NaN wherever the scores go."""
    nothing = dict.fromkeys((metric.name for metric in metrics_of(kind)), np.nan)
    names = ("score", "probability")
    blank = [(own, table | dict.fromkeys(names, table["score"] * np.nan)) for own, table in kept]
    return row | nothing, blank


def _corrected(correction: Any, X: Array, dataset: str) -> Array:
    """Return a dataset's rows after a correction, None being no correction."""
    if correction is None:
        return X
    found: Array = correction.transform(X, sample_domain=np.full(len(X), dataset))
    return found


def _fit_span(
    recogniser: LogisticRecogniser, span: recognisers.Span, correction: Any, y: Array
) -> None:
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
    except (BiasMIRError, MemoryError, OSError):  # the last two are no fault of the recogniser
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
    folds = KFold(N_FOLDS).split(X) if y.ndim == 2 else StratifiedKFold(N_FOLDS).split(X, y)
    found = np.empty(y.shape)
    for train, held_out in folds:
        model = clone(recogniser).fit(X[train], y[train])
        found[held_out] = recognisers.recogniser_scores(model, X[held_out], kind)[0]
    return found


def _measured(
    kind: str, names: Sequence[str], key: Row, columns: dict[str, Array], thresholds: Array
) -> Iterator[tuple[Row, Scores]]:
    """Yield the rows of the results (of tags one for each), each with the scores behind it.

    `names` are the tags, or the trained classes. A category has an entry of scores for each class,
    called ``category=class``, with the column `said`, whether this class was recognised. That of a
    label has `said_at_rate` if a report is made, see `Answers`.
    """
    truth, score, probability = (columns[name] for name in ("y_true", "score", "probability"))
    identity = {name: value for name, value in key.items() if name not in ("n_train", "C")}
    row = {**key, "n_test": len(truth)}

    def one_column(k: int, own: Array) -> dict[str, Array]:
        return {**columns, "score": score[:, k], "probability": probability[:, k], "y_true": own}

    if kind == protocol.TAGS:
        for k, name in enumerate(names):
            known = truth[:, k] >= 0
            seen = {column: values[known] for column, values in one_column(k, truth[:, k]).items()}
            yield from _measured(LABEL, (), {**key, "label": name}, seen, thresholds[k : k + 1])
    elif kind == LABEL:
        row |= {"n_pos_test": int(truth.sum()), **recognition_metrics(truth, score, probability)}
        threshold, rate = thresholds[0]
        if not np.isnan(rate):
            columns = {**columns, "said_at_rate": score > np.quantile(score, 1 - rate)}
        yield row, [({**identity, "threshold": float(threshold)}, columns)]
    elif kind == CATEGORY:
        row |= {"n_classes": len(names), **recognition_metrics(truth, score, probability, CATEGORY)}
        said = score.argmax(axis=1)
        yield (
            row,
            [
                (
                    {**identity, "label": f"{key['label']}={name}", "threshold": np.nan},
                    {**one_column(k, (truth == k).astype(np.int8)), "said": said == k},
                )
                for k, name in enumerate(names)
            ],
        )
    else:
        row |= recognition_metrics(truth, score, kind=protocol.NUMBER)
        yield row, [({**identity, "threshold": np.nan}, columns)]
