"""How long an evaluation will take: a count of its arithmetic, and a timing of this machine.

The counts follow the code: the span of a training set costs its inner products and an
eigenproblem, a correction the inner products of both datasets' rows, a recogniser some
thousand products of a vector with its rows. The result is right within a factor of two.

From the scores of test clips to rows of the results, for each kind of target.

Corrections fitted on the training rows of both datasets, never on test rows.

Recognisers behind corrections: trained on corrected rows, asked about corrected rows.

The work of an experiment as independent tasks.

A task is one subject (a label, all tags, a category, a number), one embedding, one pair of
datasets and one feature space (the embedding itself, or its random features). What its
corrections share is computed once: the training rows, the random features, the span of each
training set, each fitted correction. `run_task` is a pure function of the task and the arrays it
is given.

An evaluation as a list of tasks, before any of them is done.
"""

from __future__ import annotations

import itertools
import time
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
    ChosenRows,
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
    DEFAULTS,
    LogisticRecogniser,
    SharedLogistic,
    Span,
    make_recogniser,
    recogniser_scores,
)
from biasmir_utils.experiments.results import UNLABELLED
from biasmir_utils.experiments.separability import MAX_CLIPS, measure_corrections

# Random features are 8 for each dimension, padded to a power of two; a cosine and a sine each.
FEATURES_PER_DIMENSION = 8
SECONDS_PER_FEATURE = 12e-9
# Products of a vector with the rows, for all values of C and all folds; random features are
# better conditioned.
PRODUCTS = 2500
PRODUCTS_RANDOM = 1200
SECONDS_PER_RECOGNISER = 0.03
# Multiply-adds of an eigenproblem, over the cube of its size; and how many a correction solves.
EIGENPROBLEM = 10
EIGENPROBLEMS = {"coral": 4, "gaussian_ot": 6}
# A correction judged: chance, means, kernels. The bootstrap of a label's six test sets.
SECONDS_PER_JUDGED = 0.15
SECONDS_PER_BOOTSTRAP = 0.06
# Groups looked for in the rows of a fit, for each row.
SECONDS_PER_SEARCH = 1.5e-4
SECONDS_PER_LIBLINEAR_CELL = 1.1e-7
SECONDS_PER_LIBLINEAR_FIT = 1e-3
# Starting a worker process means importing the libraries again.
SECONDS_TO_START = 3.0


@dataclass(frozen=True)
class Speed:
    """Multiply-adds a second of one core.

    Attributes
    ----------
    double : float
        In double precision, in products of matrices.
    single : float
        In single precision, in products of matrices.
    """

    double: float = 2e10
    single: float = 4e10

    @classmethod
    def measure(cls, size: int = 512) -> Speed:
        """Time a small product of matrices on one thread; the fastest of a few counts.

        What else runs on the machine slows some of them down, and an estimate is for a machine
        that does nothing else.
        """
        rates = []
        with threadpool_limits(1):
            for dtype in (np.float64, np.float32):
                matrix = np.ones((size, size), dtype)
                seconds = []
                for _ in range(8):
                    start = time.perf_counter()
                    matrix @ matrix
                    seconds.append(time.perf_counter() - start)
                rates.append(size**3 / min(seconds))
        return cls(*rates)


def task_seconds(
    task: Task, datasets: Mapping[str, DatasetClips], dimension: int, speed: Speed
) -> float:
    """Return about how long a task takes on one core.

    Parameters
    ----------
    task : Task
    datasets : mapping of str to DatasetClips
    dimension : int
        Of the task's embedding.
    speed : Speed
    """
    pair = [datasets[name] for name in task.pair]
    seconds = 0.0
    for unlabelled, rows_of in ((False, subject_rows), (True, own_rows)):
        variants = tuple(v for v in task.variants if (v[1] == UNLABELLED) is unlabelled)
        if variants:
            rows = rows_of(task.label, task.kind, pair, task.seed)
            seconds += _part_seconds(replace(task, variants=variants), rows, pair, dimension, speed)
    return seconds


def _part_seconds(
    task: Task,
    rows: Sequence[TrainingRows | ChosenRows],
    pair: Sequence[DatasetClips],
    dimension: int,
    speed: Speed,
) -> float:
    """Return how long the variants of a task take that share their training rows."""
    n = max(len(r.all) for r in rows)
    n_test = sum(len(clips.test_rows(task.label)) for clips in pair)
    width = dimension
    seconds = 0.0
    if task.kernel:
        width = FEATURES_PER_DIMENSION * 2 ** int(np.ceil(np.log2(dimension)))
        seconds += (4 * n + 2 * n_test) * width * SECONDS_PER_FEATURE
    rank = min(n, width + 1)
    span = (n * rank * width + EIGENPROBLEM * rank**3) / speed.double
    n_fits = 2 * len(task.variants)
    if task.recogniser == "logistic":
        n_spans = 1 + 2 * sum(not spec.is_low_rank for spec, _ in task.variants)
        outputs = max(1, len(task.names))
        products = (PRODUCTS_RANDOM if task.kernel else PRODUCTS) * 2 * n * rank / speed.single
        seconds += n_spans * span + n_fits * (outputs * products + SECONDS_PER_RECOGNISER)
    elif task.recogniser == "logistic-liblinear":
        cells = n * width * SECONDS_PER_LIBLINEAR_CELL + SECONDS_PER_LIBLINEAR_FIT
        seconds += n_fits * 37 * cells
    else:
        # Others fit once, and three times more to choose a threshold. How long a recogniser of
        # the user's own takes is not known; it is counted like a support vector machine.
        once = {"ridge": span, "knn": n * n_test * width / speed.double}
        each = once.get(task.recogniser, n * (n + n_test) * width / speed.double)
        seconds += n_fits * (4 if task.report else 1) * (each + SECONDS_PER_RECOGNISER)
    sizes = [len(r.positives) / len(r.all) for r in rows if isinstance(r, TrainingRows)]
    share_positive = max(sizes, default=1.0)
    fitted = {(spec.method, spec.groups, spec.parameters, mode) for spec, mode in task.variants}
    for method, groups, _, mode in fitted:
        if method != "none":
            both = 2 * n * (share_positive if mode == "classwise" else 1)
            inner = both * min(both, width) * width * (0.3 if groups else 0.6)
            eigenproblems = EIGENPROBLEMS.get(method, 0) * EIGENPROBLEM * min(both, width) ** 3
            seconds += (inner + eigenproblems) / speed.double
            seconds += SECONDS_PER_SEARCH * both if groups == "auto" else 0.0
    if task.report:
        seconds += _judging_seconds(task, pair, width, speed)
    return seconds


def _judging_seconds(task: Task, pair: Sequence[DatasetClips], width: int, speed: Speed) -> float:
    """Return how long the probes of a task take, and its share of the bootstrap."""
    n = sum(min(int((~clips.is_train).sum()), MAX_CLIPS) for clips in pair)
    probe = n**2 * width + EIGENPROBLEM * n**3
    each = 3 * probe / speed.double + 5 * n * width * SECONDS_PER_FEATURE + SECONDS_PER_JUDGED
    sides = 2 if task.kernel else 1
    bootstrap = max(1, len(task.names)) * SECONDS_PER_BOOTSTRAP
    # Rows without correction are judged in any case.
    n_judged = 1 + sum(spec.corrects for spec, _ in task.variants)
    return n_judged * sides * each + len(task.variants) * bootstrap


def duration(seconds: float) -> str:
    """Return a duration in words that promise no more than an estimate can."""
    if seconds < 90:
        return f"about {max(5, 5 * round(seconds / 5))} seconds"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} minutes"
    return f"about {seconds / 3600:.1f} hours"


Array = NDArray[Any]
Row = dict[str, Any]
ScoreEntry = tuple[Row, dict[str, Array]]


@dataclass(frozen=True)
class Tested:
    """A test set with the scores of a recogniser.

    Attributes
    ----------
    clips : ndarray of object, (n,)
    tracks : ndarray of object, (n,)
    groups : ndarray of object, (n,)
    truth : ndarray, (n,) or (n, n_tags)
        As `targets.Subject.codes` gives it; of a category the position among the trained classes.
    score : ndarray, (n,) or (n, n_columns)
    probability : ndarray, (n,) or (n, n_columns)
    """

    clips: Array
    tracks: Array
    groups: Array
    truth: Array
    score: Array
    probability: Array

    def column(self, k: int, chosen: Array, truth: Array) -> Tested:
        """Return one column of the scores, for some of the clips."""
        return Tested(
            self.clips[chosen],
            self.tracks[chosen],
            self.groups[chosen],
            truth[chosen],
            self.score[chosen, k],
            self.probability[chosen, k],
        )

    def arrays(self, **more: Array) -> dict[str, Array]:
        """Return the columns of a table of scores."""
        return {
            "clip": self.clips,
            "track": self.tracks,
            "group": self.groups,
            "y_true": self.truth,
            "score": self.score,
            "probability": self.probability,
            **more,
        }


def outcomes(
    kind: str, names: tuple[str, ...], key: Row, tested: Tested, thresholds: Array
) -> Iterator[tuple[Row, list[ScoreEntry]]]:
    """Yield the rows of the results, each with the scores behind it.

    Parameters
    ----------
    kind : {'label', 'tags', 'category', 'number'}
    names : tuple of str
        The tags, or the trained classes.
    key : dict
        The key columns, and `n_train` and `C`.
    tested : Tested
    thresholds : ndarray, (1,) or (n_tags,)

    Yields
    ------
    row : dict
        A row of the results; of tags one for each.
    scores : list of (dict, dict)
        Key and columns. A category has an entry for each class, called ``category=class``, with
        the column `said`, whether this class was the one that was recognised.
    """
    if kind == LABEL:
        yield _label(key, tested, thresholds[0])
    elif kind == TAGS:
        for k, name in enumerate(names):
            truth = tested.truth[:, k]
            part = tested.column(k, np.flatnonzero(truth >= 0), truth)
            yield _label({**key, "label": name}, part, thresholds[k])
    elif kind == CATEGORY:
        yield _category(names, key, tested)
    else:
        assert kind == NUMBER
        found = recognition_metrics(tested.truth, tested.score, kind=NUMBER)
        row = {**key, "n_test": len(tested.truth), **found}
        yield row, [({**_identity(key), "threshold": np.nan}, tested.arrays())]


def _identity(key: Row) -> Row:
    return {name: value for name, value in key.items() if name not in ("n_train", "C")}


def _label(key: Row, tested: Tested, threshold: float) -> tuple[Row, list[ScoreEntry]]:
    row = {
        **key,
        "n_test": len(tested.truth),
        "n_pos_test": int(tested.truth.sum()),
        **recognition_metrics(tested.truth, tested.score, tested.probability),
    }
    return row, [({**_identity(key), "threshold": float(threshold)}, tested.arrays())]


def _category(names: tuple[str, ...], key: Row, tested: Tested) -> tuple[Row, list[ScoreEntry]]:
    row = {
        **key,
        "n_test": len(tested.truth),
        "n_classes": len(names),
        **recognition_metrics(tested.truth, tested.score, tested.probability, CATEGORY),
    }
    said = tested.score.argmax(axis=1)
    everyone = np.arange(len(tested.truth))
    entries = []
    for k, name in enumerate(names):
        part = tested.column(k, everyone, (tested.truth == k).astype(np.int8))
        own = {**_identity(key), "label": f"{key['label']}={name}", "threshold": np.nan}
        entries.append((own, part.arrays(said=said == k)))
    return row, entries


def fit_corrections(
    variants: Sequence[tuple[Correction, str]],
    pair: Sequence[DatasetClips],
    both: Sequence[TrainingRows | ChosenRows],
    X_train: Sequence[Array],
    groups: Mapping[str, Array],
    seed: int = 0,
    label: str = "",
) -> dict[tuple[Correction, str], Any]:
    """Fit the corrections of a task; doses of one correction share a fit.

    Parameters
    ----------
    variants : sequence of (Correction, str)
        Corrections with their mode.
    pair : sequence of DatasetClips
        The two datasets.
    both : sequence of TrainingRows
        The training rows of each.
    X_train : sequence of ndarray, (n_rows, n_features)
        The features of these rows.
    groups : mapping of str to ndarray of object
        Group of every clip of a dataset, None where it has none.
    seed : int
        Of the search for groups, where a correction wants them found, and of random subspaces.
    label : str
        Every label and seed has a random subspace of its own, so that means over labels are means
        over that many draws of the control.

    Returns
    -------
    dict
        For each variant the fitted transformer; None for nothing to correct; a `BiasMIRError`
        for a correction that these rows do not allow.
    """
    fits: dict[tuple[Correction, str], Any] = {}
    fitted: dict[tuple[Correction, str], Any] = {}
    for spec, mode in variants:
        if not spec.corrects:
            fitted[spec, mode] = None
            continue
        key = (replace(spec, alpha=1.0), mode)
        if key not in fits:
            fits[key] = _fit_correction(spec, mode, pair, both, X_train, groups, seed, label)
        correction = copy(fits[key])
        if not isinstance(correction, BiasMIRError):
            correction.alpha = spec.alpha
        fitted[spec, mode] = correction
    return fitted


def _fit_correction(
    spec: Correction,
    mode: str,
    pair: Sequence[DatasetClips],
    both: Sequence[TrainingRows | ChosenRows],
    X_train: Sequence[Array],
    groups: Mapping[str, Array],
    seed: int,
    label: str,
) -> Any:
    # A label's training rows are positives, then negatives.
    parts = [
        slice(len(rows.positives))
        if mode == "classwise" and isinstance(rows, TrainingRows)
        else slice(None)
        for rows in both
    ]
    X = np.concatenate([X[part] for X, part in zip(X_train, parts, strict=True)])
    chosen = [rows.all[part] for rows, part in zip(both, parts, strict=True)]
    domain = np.repeat([clips.name for clips in pair], [len(rows) for rows in chosen])
    group = np.concatenate(
        [
            np.asarray(groups[clips.name], dtype=object)[rows]
            for clips, rows in zip(pair, chosen, strict=True)
        ]
    )
    draw = np.random.SeedSequence([seed, *label.encode()]).generate_state(1)[0]
    if spec.needs_groups and all(name is None for name in group):
        # As one group the rows would give the ungrouped correction under another name.
        return ArgumentError(_no_groups(spec, [clips.name for clips in pair]))
    try:
        if spec.finds_groups:
            # Found here, so that what is fitted has a dose that can be set afterwards.
            group = discover_groups(X, domain, random_state=seed)
            spec = replace(spec, groups="group")
        return fit_correction(
            replace(spec, kernel=None),  # the rows have been mapped
            X,
            _labels(both, parts) if spec.needs_labels else None,
            sample_domain=domain,
            sample_group=group,
            draw=int(draw),
        )
    except BiasMIRError as error:
        return error


def _no_groups(spec: Correction, datasets: Sequence[str]) -> str:
    reason = f"no training clip of {' or '.join(datasets)} has a group"
    return reason if spec.given == "group" else f"{reason}; with groups=auto they are looked for"


def _labels(both: Sequence[TrainingRows | ChosenRows], parts: Sequence[slice]) -> Array:
    """Return the labels of the rows, of tags as a matrix of what is present."""
    found = []
    for rows, part in zip(both, parts, strict=True):
        if rows.y is None:
            raise ArgumentError(
                "given=label needs the labels of both datasets, at which the mode unlabelled "
                "does not look; use the mode global, or given=group"
            )
        found.append(rows.y[part])
    y = np.concatenate(found)
    return (y == PRESENT).astype(np.float64) if y.ndim == 2 else y


N_FOLDS = 3


@dataclass(frozen=True)
class Trained:
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
    told: str = "recogniser"

    def scores(self, X: Array, dataset: str) -> tuple[Array, Array]:
        """Return scores and probabilities of a dataset's rows; see `recogniser_scores`.

        Raises
        ------
        ArgumentError
            If the recogniser, which may be anybody's, fails.
        """
        rows = corrected(self.correction, X, dataset)
        with _telling(f"{self.told}: could not score {len(rows)} clips of {dataset}"):
            return recogniser_scores(self.recogniser, rows, self.kind)


def train_recognisers(
    name: str,
    kind: str,
    corrections: Mapping[tuple[Correction, str], Any],
    X: Array,
    y: Array,
    dataset: str,
    *,
    spans: dict[str, Span],
    seed: int = 0,
    thresholds: bool = False,
) -> list[Trained]:
    """Train a recogniser on the rows of a dataset after each of some corrections.

    Parameters
    ----------
    name, kind : str
        See `recognisers.make_recogniser`.
    corrections : mapping
        For each variant the fitted transformer, None for nothing to correct.
    X : ndarray, (n_clips, n_features)
    y : ndarray
    dataset : str
        The domain of the rows.
    spans : dict
        The span of these rows under the dataset's name, filled in when it is first needed.
    seed : int
    thresholds : bool
        Whether to choose thresholds.

    Returns
    -------
    list of Trained
        In the order of `corrections`.

    Raises
    ------
    ArgumentError
        If a recogniser, which may be anybody's, fails.
    """
    trained = []
    told = f"recogniser {name!r}, {len(X)} clips of {dataset}"
    for (spec, _), correction in corrections.items():
        recogniser = make_recogniser(name, kind, seed)
        if _takes_spans(recogniser) and (correction is None or spec.is_low_rank):
            # One span serves the uncorrected rows and all thin maps of them.
            if dataset not in spans:
                spans[dataset] = Span.of(X)
            _fit_span(recogniser, spans[dataset], correction, y)
            found = recogniser.cv_decision_ if thresholds else None
            correction = None
        else:
            rows = corrected(correction, X, dataset)
            blank = clone(recogniser) if thresholds else None
            complete = _complete(recogniser, y, told)
            with _telling(f"{told}: could not be trained"):
                recogniser.fit(rows, complete)
            found = None
            if blank is not None:
                with _telling(f"{told}: could not be trained on folds, to choose a threshold"):
                    found = _out_of_fold(recogniser, blank, rows, complete, kind)
        chosen = np.full(y.shape[1] if y.ndim == 2 else 1, np.nan)
        if found is not None and kind in (LABEL, TAGS):
            columns = zip(y.reshape(len(y), -1).T, found.reshape(len(y), -1).T, strict=True)
            for k, (truth, score) in enumerate(columns):
                chosen[k] = best_threshold(truth[truth >= 0], score[truth >= 0])
        trained.append(Trained(recogniser, correction, kind, chosen, told))
    return trained


def corrected(correction: Any, X: Array, dataset: str) -> Array:
    """Return a dataset's rows after a correction, None being no correction."""
    if correction is None:
        return X
    found: Array = correction.transform(X, sample_domain=np.full(len(X), dataset))
    return found


def _takes_spans(recogniser: Any) -> bool:
    if isinstance(recogniser, LogisticRecogniser):
        return recogniser.solver == "newton"
    return isinstance(recogniser, SharedLogistic)


def _fit_span(recogniser: Any, span: Span, correction: Any, y: Array) -> None:
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
    """Say which recogniser it was if it fails, and what it could not do."""
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
    if y.ndim == 1 or isinstance(recogniser, SharedLogistic):
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


def _out_of_fold(recogniser: Any, blank: Any, X: Array, y: Array, kind: str) -> Array | None:
    """Return the score of each row by a recogniser that was not trained on it."""
    if kind not in (LABEL, TAGS):
        return None
    if hasattr(recogniser, "cv_decision_"):
        kept: Array = recogniser.cv_decision_
        return kept
    folds: Sequence[Any] = [StratifiedKFold(N_FOLDS), KFold(N_FOLDS)]
    found = np.empty(y.shape)
    for train, held_out in folds[y.ndim - 1].split(X, y if y.ndim == 1 else None):
        model = clone(blank).fit(X[train], y[train])
        found[held_out] = recogniser_scores(model, X[held_out], kind)[0]
    return found


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
        `corrections.names.KERNELS`).
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
            for (spec, mode), row in measure_corrections(
                part.space, part.corrections, self.pair, self.X, task.seed, task.label
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


MODES = ("global", "classwise", UNLABELLED)
"""On which training rows of both datasets a correction is fitted: those that the recognisers are
trained on, matched by the labels of both; the positives of these; or rows that were drawn without
a look at any label, in which mode the recognisers, too, are trained without the other dataset's
labels, on all that their own has."""
PAPER_SEED = 42
REPORT_SEEDS = 5
"""Fewest seeds that tell how much the resampling matters."""
NO_CORRECTION = Correction("none")


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
        Whether the corrections are judged in full; see `report`.
    """

    data: ExperimentData
    tasks: list[Task]
    skipped: list[dict[str, Any]]
    parameters: dict[str, Any]
    report: bool = False

    @property
    def kind(self) -> str:
        """The kind of all subjects; see `targets`."""
        return self.data.subjects[0].kind

    def task_seconds(self, speed: Speed | None = None) -> list[float]:
        """Return about how long each task takes on one core."""
        return self._seconds(self.tasks, speed or Speed())

    def describe(self, jobs: int | None = None) -> str:
        """Return a text: the tasks, how many recognisers they fit, and how long it may take."""
        speed = Speed.measure()
        lines = []
        for task, estimate in zip(self.tasks, self.task_seconds(speed), strict=True):
            variants = ", ".join(
                f"{spec}{'' if mode == 'none' else ' ' + mode}" for spec, mode in task.variants
            )
            seed = f"seed {task.seed}  " if len(self.parameters["seeds"]) > 1 else ""
            lines.append(
                f"{task.embedding}  {task.label}  {'/'.join(task.pair)}  {seed}[{variants}]  "
                f"{estimate:.1f} s"
            )
        lines.extend(skipped_lines(self.skipped))
        lines.append(self.outlook(jobs, speed))
        return "\n".join(lines)

    def outlook(self, jobs: int | None = None, speed: Speed | None = None) -> str:
        """Return how long it may take; of a full report also what more seeds or `all` would."""
        speed = speed or Speed.measure()
        n_jobs = process_count(jobs, len(self.tasks))
        fits = sum(2 * len(task.variants) for task in self.tasks)
        text = (
            f"{len(self.tasks)} tasks, {fits} recognisers: "
            f"{self._duration(self.tasks, n_jobs, speed)} with {n_jobs} process(es), if nothing "
            "else runs"
        )
        if not self.report:
            return text
        seeds = self.parameters["seeds"]
        more = list(range(seeds[0], seeds[0] + REPORT_SEEDS))
        every = parse_corrections("all")
        given = [task for task in self.tasks if task.seed == seeds[0]]
        all_corrections = _tasks(
            [(task.label, task.pair) for task in given],
            self.data.subjects,
            self.parameters["embeddings"],
            _variants(every, self.parameters["modes"]),
            self.parameters["recogniser"],
            seeds[:1],
            True,
        )
        options = []
        if len(seeds) < REPORT_SEEDS:
            longer = given * len(more)
            options.append(f"--seeds {len(more)}: {self._duration(longer, n_jobs, speed)}")
        if len(self.parameters["corrections"]) < len(every):
            longer = all_corrections * len(seeds)
            options.append(f"--correction all: {self._duration(longer, n_jobs, speed)}")
            if len(seeds) < REPORT_SEEDS:
                longer = all_corrections * len(more)
                options.append(f"both: {self._duration(longer, n_jobs, speed)}")
        return f"{text}\n{'; '.join(options)}" if options else text

    def _seconds(self, tasks: Sequence[Task], speed: Speed) -> list[float]:
        dimension = self.data.corpus.dimension
        known: dict[Task, float] = {}
        for task in tasks:
            if task not in known:
                known[task] = task_seconds(
                    task, self.data.datasets, dimension(task.embedding), speed
                )
        return [known[task] for task in tasks]

    def _duration(self, tasks: Sequence[Task], n_jobs: int, speed: Speed) -> str:
        seconds = self._seconds(tasks, speed)
        return duration(max([sum(seconds) / n_jobs, *seconds]) + SECONDS_TO_START)


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
        _check_target(spec, corpus)
    data = ExperimentData.of(corpus, embeddings, labels, target)
    kind = data.subjects[0].kind
    recogniser = DEFAULTS[kind] if recogniser is None else recogniser
    make_recogniser(recogniser, kind)
    if "classwise" in modes and kind != LABEL:
        raise ArgumentError(
            "the mode classwise fits corrections on a label's positives; "
            + ("tags have none" if kind == TAGS else f"a {kind} has none")
        )
    every_seed = list(range(seed, seed + seeds))
    skipped, possible = [], []
    for subject, pair in itertools.product(data.subjects, itertools.combinations(data.datasets, 2)):
        both = [data.datasets[name] for name in pair]
        reasons = (why_impossible(subject.name, both, one, subject.kind) for one in every_seed)
        reason = next((text for text in reasons if text is not None), None)
        if reason is None:
            possible.append((subject.name, pair))
        else:
            skipped.append({"label": subject.name, "pair": list(pair), "reason": reason})
    tasks = _tasks(
        possible,
        data.subjects,
        embeddings,
        _variants(specs, modes),
        recogniser,
        every_seed,
        report,
    )
    parameters = {
        "corpus": corpus.name,
        "embeddings": embeddings,
        "corrections": [str(spec) for spec in specs],
        "modes": modes,
        "target": [target] if isinstance(target, str) else list(target),
        "labels": [
            name
            for subject in data.subjects
            for name in (subject.names if subject.kind == TAGS else (subject.name,))
        ],
        "recogniser": recogniser,
        "seed": seed,
        "seeds": every_seed,
    }
    return Plan(data, tasks, skipped, parameters, report)


def _check_target(spec: Correction, corpus: Corpus) -> None:
    """Raise an `ArgumentError` if a correction moves rows to a dataset that there is not."""
    target = dict(spec.parameters).get("to")
    if target is None or target in corpus.datasets:
        return
    # The name of the default target is the one that the method has without the option.
    default = METHODS[spec.method].make().get_params()["to"]
    if target == default:
        return
    expected = [*corpus.datasets, default]
    raise ArgumentError(
        f"correction {str(spec)!r}: to must be one of {', '.join(expected)}, not {target!r}."
        f"{did_you_mean(target, expected)}"
    )


def _variants(specs: Sequence[Correction], modes: Sequence[str]) -> list[tuple[Correction, str]]:
    """Return the corrections in the modes that make a difference for them."""
    # Nothing is fitted: what is left of a mode is the recognisers' training rows.
    plain = dict.fromkeys(mode if mode == UNLABELLED else "none" for mode in modes)
    return [(spec, mode) for spec in specs for mode in (modes if spec.corrects else plain)]


def _tasks(
    possible: Sequence[tuple[str, tuple[str, str]]],
    subjects: Sequence[Subject],
    embeddings: Sequence[str],
    variants: Sequence[tuple[Correction, str]],
    recogniser: str,
    seeds: Sequence[int],
    report: bool,
) -> list[Task]:
    subject_of = {subject.name: subject for subject in subjects}
    kernels = list(dict.fromkeys(spec.kernel for spec, _ in variants))
    return [
        Task(
            embedding=embedding,
            label=name,
            pair=pair,
            kernel=kernel,
            variants=tuple((s, mode) for s, mode in variants if s.kernel == kernel),
            recogniser=recogniser,
            seed=seed,
            kind=subject_of[name].kind,
            names=subject_of[name].names,
            report=report,
        )
        for seed in seeds
        for embedding in embeddings
        for name, pair in dict.fromkeys(possible)
        for kernel in kernels
    ]


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


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
