"""An evaluation as a list of tasks, before any of them is done."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import joblib

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections.grammar import Correction, parse_corrections
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.cost import SECONDS_TO_START, Speed, duration, task_seconds
from biasmir_utils.experiments.data import ExperimentData
from biasmir_utils.experiments.tasks import RECOGNISERS, Task
from biasmir_utils.experiments.training import why_impossible

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
        n_jobs = process_count(jobs, len(self.tasks))
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
        lines.extend(skipped_lines(self.skipped))
        fits = sum(2 * len(task.variants) for task in self.tasks)
        total = max([sum(seconds) / n_jobs, *seconds]) + SECONDS_TO_START
        lines.append(
            f"{len(self.tasks)} tasks, {fits} recognisers: {duration(total)} with "
            f"{n_jobs} process(es), if nothing else runs"
        )
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
