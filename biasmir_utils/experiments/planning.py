"""An evaluation as a list of tasks, before any of them is done."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import joblib

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections.grammar import Correction, parse_corrections
from biasmir_utils.corrections.registry import METHODS
from biasmir_utils.errors import ArgumentError, did_you_mean
from biasmir_utils.experiments.cost import SECONDS_TO_START, Speed, duration, task_seconds
from biasmir_utils.experiments.data import ExperimentData
from biasmir_utils.experiments.recognisers import DEFAULTS, make_recogniser
from biasmir_utils.experiments.results import UNLABELLED
from biasmir_utils.experiments.targets import LABEL, LABELS, TAGS, Subject
from biasmir_utils.experiments.tasks import Task
from biasmir_utils.experiments.training import why_impossible

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
