"""The files that an evaluation leaves."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from biasmir_utils.experiments.evaluate import Evaluation
from biasmir_utils.experiments.report_text import report_latex, report_markdown
from biasmir_utils.experiments.results import check_table_path, write_table
from biasmir_utils.experiments.store import TaskStore
from biasmir_utils.files import atomic_path, write_json

# Table of a `Report` -> what its file is called, between the results' stem and suffix.
REPORT_TABLES = {"summary": "report", "changes": "changes", "task": "task", "shift": "shift"}


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
    report : dict of str to pathlib.Path
        The tables of a full report: `summary`, `changes`, `task`, `shift`.
    text : pathlib.Path
        The report to read.
    latex : pathlib.Path
        Its first table as LaTeX.
    figure : pathlib.Path
        Its figure.
    """

    results: Path
    record: Path
    scores: Path
    tasks: Path
    report: dict[str, Path]
    text: Path
    latex: Path
    figure: Path


def output_paths(out: str | os.PathLike[str]) -> OutputPaths:
    """Return the paths for a results table `out`, .csv or .parquet."""
    results = check_table_path(out)
    return OutputPaths(
        results=results,
        record=results.with_suffix(".json"),
        scores=results.with_suffix(".scores.parquet"),
        tasks=results.with_name(f"{results.name}.tasks"),
        report={
            table: results.with_suffix(f".{name}{results.suffix}")
            for table, name in REPORT_TABLES.items()
        },
        text=results.with_suffix(".report.md"),
        latex=results.with_suffix(".report.tex"),
        figure=results.with_suffix(".report.png"),
    )


def set_aside(evaluation: Evaluation, out: str | os.PathLike[str]) -> Path | None:
    """Rename the files of an earlier evaluation that was not this one, so that nothing is lost.

    Each gets ``.bak`` behind its name, or ``.bak2`` and so on where that is taken.

    Returns
    -------
    pathlib.Path or None
        What became of the results table; None if there is none, or it is of the same parameters
        and data.
    """
    paths = output_paths(out)
    if not paths.results.is_file():
        return None
    try:
        earlier = json.loads(paths.record.read_text(encoding="utf-8"))
        now = json.loads(json.dumps(evaluation.record))
        if all(earlier[key] == now[key] for key in ("parameters", "data")):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nobody knows what it is of
    every = [paths.results, paths.record, paths.scores, *paths.report.values()]
    files = [path for path in (*every, paths.text, paths.latex, paths.figure) if path.is_file()]
    suffixes = itertools.chain([".bak"], (f".bak{number}" for number in itertools.count(2)))
    suffix = next(
        one for one in suffixes if not any(Path(f"{path}{one}").exists() for path in files)
    )
    for path in files:
        os.replace(path, f"{path}{suffix}")
    return Path(f"{paths.results}{suffix}")


def write_evaluation(
    evaluation: Evaluation, out: str | os.PathLike[str], tasks: Iterable[str] | None = None
) -> list[Path]:
    """Write results, record, scores and report, and remove the finished tasks that were kept.

    The figure of a report is drawn by whoever calls this, before.

    Parameters
    ----------
    evaluation : Evaluation
    out : path
    tasks : iterable of str, optional
        Keys of the tasks to remove; default: all that are kept beside `out`.

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
    if evaluation.report is not None:
        for table, path in paths.report.items():
            write_table(getattr(evaluation.report, table), path)
            written.append(path)
        figure = paths.figure.name if paths.figure.is_file() else None
        of_report = (evaluation.report, evaluation.record)
        texts = {paths.text: report_markdown(*of_report, figure)}
        texts[paths.latex] = report_latex(*of_report)
        for path, text in texts.items():
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            written.append(path)
    write_json(paths.record, evaluation.record)
    write_table(evaluation.results, paths.results)
    TaskStore(paths.tasks).remove(tasks)
    return [*written, paths.results]
