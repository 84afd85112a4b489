"""The files that an evaluation leaves."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from biasmir_utils.experiments.evaluate import Evaluation
from biasmir_utils.experiments.results import check_table_path, write_table
from biasmir_utils.experiments.store import TaskStore
from biasmir_utils.files import write_json


@dataclass(frozen=True)
class OutputPaths:
    """Where the files of one evaluation go.

    Attributes
    ----------
    results : pathlib.Path
        The results table.
    record : pathlib.Path
        Parameters, versions and sums, beside it.
    scores : pathlib.Path
        Scores clip by clip, if they are asked for.
    tasks : pathlib.Path
        Folder of finished tasks while the evaluation runs.
    """

    results: Path
    record: Path
    scores: Path
    tasks: Path


def output_paths(out: str | os.PathLike[str]) -> OutputPaths:
    """Return the paths for a results table `out`, .csv or .parquet."""
    results = check_table_path(out)
    return OutputPaths(
        results=results,
        record=results.with_suffix(".json"),
        scores=results.with_suffix(".scores.parquet"),
        tasks=results.with_name(f"{results.name}.tasks"),
    )


def write_evaluation(evaluation: Evaluation, out: str | os.PathLike[str]) -> list[Path]:
    """Write results, record and scores, and remove the finished tasks that were kept.

    Returns
    -------
    list of pathlib.Path
        The files written. The results table comes last.
    """
    paths = output_paths(out)
    written = [paths.record]
    if evaluation.scores is not None:
        write_table(evaluation.scores, paths.scores)
        written.append(paths.scores)
    write_json(paths.record, evaluation.record)
    write_table(evaluation.results, paths.results)
    TaskStore(paths.tasks).remove()
    return [*written, paths.results]
