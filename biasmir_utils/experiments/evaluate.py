"""The experiment: recognisers trained on one dataset, tested on both.

Source: Wang, Richard and McFee, ISMIR 2023. For each label, embedding, correction and training
set there is one recogniser; see `tasks` for the work and `resampling` for the training rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections.grammar import Correction
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.planning import (
    PAPER_SEED,
    Plan,
    plan_evaluation,
    skipped_lines,
)
from biasmir_utils.experiments.report import Report, build_report
from biasmir_utils.experiments.report_text import report_summary
from biasmir_utils.experiments.results import (
    KEY_COLUMNS,
    SCORE_COLUMNS,
    result_columns,
    summarise,
)
from biasmir_utils.experiments.running import run_tasks
from biasmir_utils.experiments.store import TaskStore
from biasmir_utils.experiments.targets import LABELS
from biasmir_utils.files import versions


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes
    ----------
    results : pandas.DataFrame
        The columns of `results.RESULT_COLUMNS` (for a category or a number of
        `results.CLASS_COLUMNS`, `NUMBER_COLUMNS`): a row for each label, embedding, correction,
        mode, ordered pair of datasets and seed.
    scores : pandas.DataFrame or None
        The columns of `results.SCORE_COLUMNS`: a row for each test clip of each of those rows.
    record : dict
        Parameters, versions, sums of the data, clips left out, labels skipped, warnings.
    report : Report or None
        The full report, if it was asked for.
    """

    results: pd.DataFrame
    scores: pd.DataFrame | None
    record: dict[str, Any] = field(repr=False)
    report: Report | None = field(default=None, repr=False)

    def summary(self) -> str:
        """Return the table that `biasmir evaluate` prints, and what to know about it."""
        if self.report is None:
            lines = [summarise(self.results)]
        else:
            lines = [report_summary(self.report, self.record), ""]
        for dataset, n in self.record["left_out"].items():
            if n:
                lines.append(f"{n} clip(s) of {dataset} left out: they lack one of the embeddings")
        lines.extend(skipped_lines(self.record["skipped"]))
        warned = self.record["warnings"]
        if warned:
            lines.append(f"{len(warned)} warning(s), all in the record; the first: {warned[0]}")
        return "\n".join(lines)


def evaluate(
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
    scores: bool = False,
    jobs: int | None = None,
    progress: bool = False,
    scheduler: str | None = None,
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
        On which rows of both datasets corrections are fitted. `global`: the training rows of
        the recognisers, positives and negatives, which the paper's resampling chose by their
        labels; `classwise`: the positives of these; `unlabelled`: training rows drawn without
        a look at any label, with recognisers that are trained on all that their own dataset has,
        not on as many clips as the other one can match.
    labels : sequence of str, optional
        Default: all labels of the corpus.
    target : str or sequence of str
        What is recognised: `labels`, one recogniser for each; `tags`, one model for all of
        them; or targets of the corpus (or `group`), see `targets`.
    recogniser : str, optional
        A name of `recognisers.RECOGNISERS` or the dotted path of a scikit-learn estimator. The
        default is `logistic`, for a number `ridge`.
    seed : int
        Of the resampling and the random features; 42 in the paper.
    seeds : int
        How many seeds to run, from `seed` on.
    report : bool
        Whether to judge the corrections in full; see `report`. Adds the correction `none`.
    scores : bool
        Whether to keep the score of every test clip.
    jobs : int, optional
        Processes; default all cores. The numbers do not depend on it.
    progress : bool
        Whether to show a progress bar on stderr.
    scheduler : str, optional
        Address of a Dask scheduler whose workers do the tasks, or `local` to start some here;
        the numbers are the same.

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
        corpus,
        embeddings,
        corrections,
        modes,
        labels=labels,
        target=target,
        recogniser=recogniser,
        seed=seed,
        seeds=seeds,
        report=report,
    )
    return run_plan(plan, scores=scores, jobs=jobs, progress=progress, scheduler=scheduler)


def run_plan(
    plan: Plan,
    *,
    scores: bool = False,
    jobs: int | None = None,
    progress: bool = False,
    resume: Path | None = None,
    scheduler: str | None = None,
) -> Evaluation:
    """Do the tasks of a plan.

    Parameters
    ----------
    plan : Plan
    scores, jobs, progress, scheduler
        As in `evaluate`.
    resume : pathlib.Path, optional
        Folder in which finished tasks are kept, and looked for before they are done; removed
        in the end by whoever has saved the result (see `TaskStore.remove`).
    """
    if not plan.tasks:
        reasons = "; ".join(f"{s['label']}: {s['reason']}" for s in plan.skipped[:5])
        raise ArgumentError(f"no label can be evaluated: {reasons}")
    found = run_tasks(
        plan,
        scores=scores or plan.report,
        jobs=jobs,
        progress=progress,
        store=TaskStore(resume) if resume else None,
        scheduler=scheduler,
    )
    name = plan.data.corpus.name
    rows = [{"corpus": name, **row} for result in found for row in result.rows]
    results = pd.DataFrame(rows, columns=list(result_columns(plan.kind)))
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
    report = build_report(plan, found, jobs=jobs) if plan.report else None
    return Evaluation(results, table, record, report)
