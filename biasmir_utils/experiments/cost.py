"""How long an evaluation will take: a count of its arithmetic, and a timing of this machine.

The counts follow the code: the span of a training set costs its inner products and an
eigenproblem, a correction the inner products of both datasets' rows, a recogniser some
thousand products of a vector with its rows. The result is right within a factor of two.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from biasmir_utils.experiments.data import DatasetClips
from biasmir_utils.experiments.judging import MAX_CLIPS
from biasmir_utils.experiments.resampling import TrainingRows
from biasmir_utils.experiments.results import UNLABELLED
from biasmir_utils.experiments.tasks import Task
from biasmir_utils.experiments.training import ChosenRows, own_rows, subject_rows

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
