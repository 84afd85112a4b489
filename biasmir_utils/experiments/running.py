"""The tasks of a plan, done here, in several processes or on a cluster."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from typing import Any

import joblib
import numpy as np

from biasmir_utils.cluster import WorkersDied, connect
from biasmir_utils.errors import ClusterError
from biasmir_utils.experiments.cost import SECONDS_TO_START
from biasmir_utils.experiments.data import DatasetClips, array_sum
from biasmir_utils.experiments.planning import Plan, process_count
from biasmir_utils.experiments.store import TaskStore
from biasmir_utils.experiments.tasks import TaskResult, run_task
from biasmir_utils.files import versions

Features = dict[tuple[str, str], np.ndarray]
Numbered = tuple[int, TaskResult]
"""The position of a task in its plan, and what it found."""
PACKAGES = ("numpy", "scipy", "scikit-learn")
"""Packages whose versions decide the numbers."""


def run_tasks(
    plan: Plan,
    *,
    scores: bool = False,
    jobs: int | None = None,
    progress: bool = False,
    store: TaskStore | None = None,
    scheduler: str | None = None,
) -> list[TaskResult]:
    """Do the tasks of a plan, and return their results in its order.

    Parameters
    ----------
    plan : Plan
    scores : bool
        Whether to return the score of every test clip.
    jobs : int, optional
        Processes; default all cores. The numbers do not depend on it.
    progress : bool
        Whether to show a progress bar on stderr.
    store : TaskStore, optional
        Where results are kept as they come, and looked for before a task is done.
    scheduler : str, optional
        Address of a Dask scheduler whose workers do the tasks, or `local`; see
        `biasmir_utils.cluster.connect`.
    """
    from tqdm import tqdm

    features = _features(plan)
    done: dict[int, TaskResult] = {}
    keys = _task_keys(plan, features) if store is not None else []
    for number, key in enumerate(keys):
        kept = store.load(key, scores) if store is not None else None
        if kept is not None:
            done[number] = kept
    waiting = [number for number in range(len(plan.tasks)) if number not in done]
    # The longest first, so that no worker is left alone with one in the end.
    seconds = plan.task_seconds()
    waiting.sort(key=lambda number: -seconds[number])
    bar = tqdm(
        total=len(plan.tasks), initial=len(done), disable=not progress, unit="task", smoothing=0
    )
    if scheduler is None:
        n_jobs = process_count(jobs, len(waiting))
        if jobs is None and sum(seconds[number] for number in waiting) < 2 * SECONDS_TO_START:
            n_jobs = 1  # workers would still be starting when one process is done
        finished = _with_joblib(plan, waiting, features, scores, n_jobs)
    else:
        finished = _with_dask(plan, waiting, features, scores, jobs, scheduler)
    with bar, closing(finished):
        for number, result in finished:
            done[number] = result
            if store is not None:
                store.save(keys[number], result)
            bar.update()
    return [done[number] for number in range(len(plan.tasks))]


def task_keys(plan: Plan) -> list[str]:
    """Return the key of each task of a plan, under which a `TaskStore` keeps its result."""
    return _task_keys(plan, _features(plan))


def _features(plan: Plan) -> Features:
    return {
        (embedding, dataset): plan.data.features(embedding, dataset)
        for embedding in plan.parameters["embeddings"]
        for dataset in plan.data.datasets
    }


def _with_joblib(
    plan: Plan, numbers: Sequence[int], features: Features, scores: bool, n_jobs: int
) -> Generator[Numbered, None, None]:
    """Yield each result as it comes, from this process or from several of this machine."""
    calls = (
        joblib.delayed(_numbered)(number, *arguments, scores)
        for number, arguments in _arguments(plan, numbers, features, _as_it_is)
    )
    with joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered") as parallel:
        yield from parallel(calls)


def _with_dask(
    plan: Plan,
    numbers: Sequence[int],
    features: Features,
    scores: bool,
    jobs: int | None,
    scheduler: str,
) -> Generator[Numbered, None, None]:
    """Yield each result as it comes from the workers of a cluster, to which data go once."""
    if not numbers:
        return
    held: dict[Hashable, Any] = {}
    with connect(scheduler, jobs, PACKAGES) as cluster:

        def hold(name: Hashable, value: Any) -> Any:
            if name not in held:
                held[name] = cluster.hold(value)
            return held[name]

        calls = (
            (number, (*arguments, scores))
            for number, arguments in _arguments(plan, numbers, features, hold)
        )
        for number, result in cluster.run(run_task, calls):
            if isinstance(result, WorkersDied):
                task = plan.tasks[number]
                raise ClusterError(
                    f"scheduler {scheduler}: several workers ended during the task "
                    f"{task.embedding}, {task.label}, {'/'.join(task.pair)}; have they enough "
                    f"memory? What is finished is kept"
                )
            yield number, result


def _arguments(
    plan: Plan,
    numbers: Sequence[int],
    features: Features,
    hold: Callable[[Hashable, Any], Any],
) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield the number of each task, and what it needs: the task, and arrays given to `hold`."""
    groups = {name: plan.data.group_names(name) for name in plan.data.datasets}
    for number in numbers:
        task = plan.tasks[number]
        clips = {name: _only(plan.data.datasets[name], task.label) for name in task.pair}
        yield (
            number,
            (
                task,
                {name: hold(("clips", name, task.label), clips[name]) for name in task.pair},
                {
                    name: hold(("features", task.embedding, name), features[task.embedding, name])
                    for name in task.pair
                },
                {name: hold(("groups", name), groups[name]) for name in task.pair},
            ),
        )


def _as_it_is(name: Hashable, value: Any) -> Any:
    return value


def _numbered(number: int, *arguments: Any) -> Numbered:
    return number, run_task(*arguments)


def _only(clips: DatasetClips, label: str) -> DatasetClips:
    """Return the clips with one label, which is all that a task needs."""
    return replace(clips, labels={label: clips.labels[label]})


def _task_keys(plan: Plan, features: Features) -> list[str]:
    """Return a name for each task that changes with everything its result depends on."""
    sums = {name: array_sum(array) for name, array in features.items()}
    keys = []
    for task in plan.tasks:
        content = {
            "task": asdict(task),
            "versions": versions(*PACKAGES),
            "features": [sums[task.embedding, name] for name in task.pair],
            "clips": [
                array_sum(c.clips, c.tracks, c.groups, c.is_train, c.labels[task.label])
                for c in (plan.data.datasets[name] for name in task.pair)
            ],
        }
        text = json.dumps(content, sort_keys=True, default=str)
        keys.append(hashlib.sha256(text.encode()).hexdigest()[:24])
    return keys
