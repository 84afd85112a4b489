"""The experiment: recognisers trained on one dataset, tested on both.

Source: Wang, Richard and McFee, ISMIR 2023. For each label, embedding, correction and training
set there is one recogniser; see `tasks` for the work and `resampling` for the training rows.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections.grammar import Correction, parse_corrections
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.cost import SECONDS_TO_START, Speed, duration, task_seconds
from biasmir_utils.experiments.data import DatasetClips, ExperimentData, array_sum
from biasmir_utils.experiments.results import (
    KEY_COLUMNS,
    RESULT_COLUMNS,
    SCORE_COLUMNS,
    summarise,
)
from biasmir_utils.experiments.store import TaskStore
from biasmir_utils.experiments.tasks import (
    RECOGNISERS,
    Task,
    TaskResult,
    run_task,
)
from biasmir_utils.experiments.training import why_impossible
from biasmir_utils.files import versions

MODES = ("global", "classwise")
PAPER_SEED = 42


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
    """

    data: ExperimentData
    tasks: list[Task]
    skipped: list[dict[str, Any]]
    parameters: dict[str, Any]

    def task_seconds(self, speed: Speed | None = None) -> list[float]:
        """Return about how long each task takes on one core."""
        speed = speed or Speed()
        dimension = self.data.corpus.dimension
        return [
            task_seconds(task, self.data.datasets, dimension(task.embedding), speed)
            for task in self.tasks
        ]

    def describe(self, jobs: int | None = None) -> str:
        """Return a text: the tasks, how many recognisers they fit, and how long it may take."""
        n_jobs = _n_jobs(jobs, len(self.tasks))
        seconds = self.task_seconds(Speed.measure())
        lines = []
        for task, estimate in zip(self.tasks, seconds, strict=True):
            variants = ", ".join(
                f"{spec}{'' if mode == 'none' else ' ' + mode}" for spec, mode in task.variants
            )
            lines.append(
                f"{task.embedding}  {task.label}  {'/'.join(task.pair)}  [{variants}]  "
                f"{estimate:.1f} s"
            )
        lines.extend(_skipped_lines(self.skipped))
        fits = sum(2 * len(task.variants) for task in self.tasks)
        total = max([sum(seconds) / n_jobs, *seconds]) + SECONDS_TO_START
        lines.append(
            f"{len(self.tasks)} tasks, {fits} recognisers: {duration(total)} with "
            f"{n_jobs} process(es), if nothing else runs"
        )
        return "\n".join(lines)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes
    ----------
    results : pandas.DataFrame
        The columns of `results.RESULT_COLUMNS`: a row for each label, embedding, correction,
        mode and ordered pair of datasets.
    scores : pandas.DataFrame or None
        The columns of `results.SCORE_COLUMNS`: a row for each test clip of each of those rows.
    record : dict
        Parameters, versions, sums of the data, clips left out, labels skipped, warnings.
    """

    results: pd.DataFrame
    scores: pd.DataFrame | None
    record: dict[str, Any] = field(repr=False)

    def summary(self) -> str:
        """Return the table that `biasmir evaluate` prints, and what to know about it."""
        lines = [summarise(self.results)]
        for dataset, n in self.record["left_out"].items():
            if n:
                lines.append(f"{n} clip(s) of {dataset} left out: they lack one of the embeddings")
        lines.extend(_skipped_lines(self.record["skipped"]))
        warned = self.record["warnings"]
        if warned:
            lines.append(f"{len(warned)} warning(s), all in the record; the first: {warned[0]}")
        return "\n".join(lines)


def plan_evaluation(
    corpus: Corpus,
    embeddings: str | Sequence[str],
    corrections: str | Iterable[str | Correction] = ("none",),
    modes: str | Sequence[str] = ("global",),
    *,
    labels: Sequence[str] | None = None,
    recogniser: str = "logistic",
    seed: int = PAPER_SEED,
) -> Plan:
    """List the tasks of an evaluation; see `evaluate` for the parameters and errors."""
    embeddings = _unique([embeddings] if isinstance(embeddings, str) else embeddings)
    modes = _unique([modes] if isinstance(modes, str) else modes)
    specs = parse_corrections(corrections)
    labels = list(corpus.labels if labels is None else _unique(labels))
    for what, values in (
        ("embedding", embeddings),
        ("correction", specs),
        ("mode", modes),
        ("label", labels),
    ):
        if not values:
            raise ArgumentError(f"at least one {what} is needed")
    for mode in modes:
        if mode not in MODES:
            raise ArgumentError(f"mode {mode!r}: expected {' or '.join(MODES)}")
    if recogniser not in RECOGNISERS:
        raise ArgumentError(f"recogniser {recogniser!r}: expected one of {', '.join(RECOGNISERS)}")
    if len(corpus.datasets) < 2:
        raise ArgumentError(
            f"corpus {corpus.name!r} has one dataset only; an evaluation needs two or more"
        )
    data = ExperimentData.of(corpus, embeddings, labels)
    pairs = list(itertools.combinations(data.datasets, 2))
    skipped, possible = [], []
    for label, pair in itertools.product(labels, pairs):
        reason = why_impossible(label, [data.datasets[name] for name in pair], seed)
        if reason is None:
            possible.append((label, pair))
        else:
            skipped.append({"label": label, "pair": list(pair), "reason": reason})
    variants = [(spec, mode) for spec in specs for mode in (modes if spec.corrects else ("none",))]
    kernels = list(dict.fromkeys(spec.kernel for spec in specs))
    tasks = [
        Task(
            embedding=embedding,
            label=label,
            pair=pair,
            kernel=kernel,
            variants=tuple((s, mode) for s, mode in variants if s.kernel == kernel),
            recogniser=recogniser,
            seed=seed,
        )
        for embedding in embeddings
        for label, pair in possible
        for kernel in kernels
    ]
    parameters = {
        "corpus": corpus.name,
        "embeddings": embeddings,
        "corrections": [str(spec) for spec in specs],
        "modes": modes,
        "labels": labels,
        "recogniser": recogniser,
        "seed": seed,
    }
    return Plan(data, tasks, skipped, parameters)


def evaluate(
    corpus: Corpus,
    embeddings: str | Sequence[str],
    corrections: str | Iterable[str | Correction] = ("none",),
    modes: str | Sequence[str] = ("global",),
    *,
    labels: Sequence[str] | None = None,
    recogniser: str = "logistic",
    seed: int = PAPER_SEED,
    scores: bool = False,
    jobs: int | None = None,
    progress: bool = False,
) -> Evaluation:
    """Train and test recognisers inside and across the datasets of a corpus.

    Only clips that have all of the embeddings take part, so that embeddings are compared on
    the same clips. With more than two datasets, every pair of them is evaluated.

    Parameters
    ----------
    corpus : Corpus
    embeddings : str or sequence of str
    corrections : str, or iterable of str or Correction
        See `corrections.grammar`; default none.
    modes : str or sequence of str
        `global` fits corrections on positives and negatives, `classwise` on positives only.
    labels : sequence of str, optional
        Default: all labels of the corpus.
    recogniser : str
        `logistic` (fast) or `logistic-liblinear` (scikit-learn's, the authors' numbers to the
        last digit; slow).
    seed : int
        Of the resampling and the random features; 42 in the paper.
    scores : bool
        Whether to keep the score of every test clip.
    jobs : int, optional
        Processes; default all cores. The numbers do not depend on it.
    progress : bool
        Whether to show a progress bar on stderr.

    Returns
    -------
    Evaluation

    Raises
    ------
    ArgumentError
        If a name is unknown or nothing can be evaluated; each label that cannot be, is skipped
        with the reason in `record["skipped"]`.
    """
    plan = plan_evaluation(
        corpus, embeddings, corrections, modes, labels=labels, recogniser=recogniser, seed=seed
    )
    return run_plan(plan, scores=scores, jobs=jobs, progress=progress)


def run_plan(
    plan: Plan,
    *,
    scores: bool = False,
    jobs: int | None = None,
    progress: bool = False,
    resume: Path | None = None,
) -> Evaluation:
    """Do the tasks of a plan.

    Parameters
    ----------
    plan : Plan
    scores, jobs, progress
        As in `evaluate`.
    resume : pathlib.Path, optional
        Folder in which finished tasks are kept, and looked for before they are done; removed
        in the end by whoever has saved the result (see `TaskStore.remove`).
    """
    if not plan.tasks:
        reasons = "; ".join(f"{s['label']}: {s['reason']}" for s in plan.skipped[:5])
        raise ArgumentError(f"no label can be evaluated: {reasons}")
    found = _do_tasks(plan, scores, jobs, progress, TaskStore(resume) if resume else None)
    name = plan.data.corpus.name
    rows = [{"corpus": name, **row} for result in found for row in result.rows]
    results = pd.DataFrame(rows, columns=list(RESULT_COLUMNS))
    table = None
    if scores:
        parts = [
            pd.DataFrame({"corpus": name, **{k: key[k] for k in KEY_COLUMNS[1:]}, **arrays})
            for result in found
            for key, arrays in result.scores
        ]
        table = pd.concat(parts, ignore_index=True)[list(SCORE_COLUMNS)]
    record = {
        "parameters": plan.parameters,
        "versions": versions("numpy", "scipy", "scikit-learn", "pandas", "joblib"),
        "data": plan.data.corpus.data_sums(),
        "left_out": plan.data.left_out,
        "skipped": [*plan.skipped, *(entry for result in found for entry in result.skipped)],
        "warnings": list(dict.fromkeys(text for result in found for text in result.warnings)),
    }
    return Evaluation(results, table, record)


def _do_tasks(
    plan: Plan, scores: bool, jobs: int | None, progress: bool, store: TaskStore | None
) -> list[TaskResult]:
    from tqdm import tqdm

    data = plan.data
    features: dict[str, dict[str, np.ndarray]] = {}
    for embedding in plan.parameters["embeddings"]:
        features[embedding] = {name: data.features(embedding, name) for name in data.datasets}
    groups = {name: data.group_names(name) for name in data.datasets}
    sums = {
        (embedding, name): array_sum(array)
        for embedding, arrays in features.items()
        for name, array in arrays.items()
    }
    keys = [_task_key(task, plan, sums) for task in plan.tasks]
    done: dict[int, TaskResult] = {}
    if store is not None:
        for number, key in enumerate(keys):
            kept = store.load(key, scores)
            if kept is not None:
                done[number] = kept
    waiting = [number for number in range(len(plan.tasks)) if number not in done]
    # The longest first, so that no worker is left alone with one in the end.
    seconds = plan.task_seconds()
    waiting.sort(key=lambda number: -seconds[number])
    calls = (
        joblib.delayed(_numbered)(
            number,
            plan.tasks[number],
            {
                name: _only(data.datasets[name], plan.tasks[number].label)
                for name in plan.tasks[number].pair
            },
            {
                name: features[plan.tasks[number].embedding][name]
                for name in plan.tasks[number].pair
            },
            {name: groups[name] for name in plan.tasks[number].pair},
            scores,
        )
        for number in waiting
    )
    n_jobs = _n_jobs(jobs, len(waiting))
    if jobs is None and sum(seconds[number] for number in waiting) < 2 * SECONDS_TO_START:
        n_jobs = 1  # workers would still be starting when one process is done
    bar = tqdm(
        total=len(plan.tasks), initial=len(done), disable=not progress, unit="task", smoothing=0
    )
    with bar, joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered") as parallel:
        for number, result in parallel(calls):
            done[number] = result
            if store is not None:
                store.save(keys[number], result)
            bar.update()
    return [done[number] for number in range(len(plan.tasks))]


def _n_jobs(jobs: int | None, n_tasks: int) -> int:
    return max(1, min(joblib.cpu_count() if jobs is None else jobs, n_tasks))


def _skipped_lines(skipped: Iterable[Mapping[str, Any]]) -> list[str]:
    lines = []
    for entry in skipped:
        about = [entry[key] for key in ("embedding", "correction", "mode") if key in entry]
        what = " ".join([entry["label"], *about])
        lines.append(f"skipped {what} on {'/'.join(entry['pair'])}: {entry['reason']}")
    return lines


def _numbered(number: int, *arguments: Any) -> tuple[int, TaskResult]:
    return number, run_task(*arguments)


def _only(clips: DatasetClips, label: str) -> DatasetClips:
    """Return the clips with one label, which is all that a task needs."""
    return replace(clips, labels={label: clips.labels[label]})


def _task_key(task: Task, plan: Plan, sums: dict[tuple[str, str], str]) -> str:
    """Return a name for a task that changes with everything its result depends on."""
    clips = [plan.data.datasets[name] for name in task.pair]
    content = {
        "task": asdict(task),
        "versions": versions("numpy", "scipy", "scikit-learn"),
        "features": [sums[task.embedding, name] for name in task.pair],
        "clips": [
            array_sum(c.clips, c.tracks, c.groups, c.is_train, c.labels[task.label]) for c in clips
        ],
    }
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
