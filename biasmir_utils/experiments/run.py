"""Runs an evaluation: here, in several processes or on a cluster; joins several runs.

What is finished is kept.

The experiment is that of Wang, Richard and McFee, ISMIR 2023: recognisers trained on one dataset,
tested on both. For each label, embedding, correction and training set there is one recogniser.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from biasmir_utils.cluster import connect
from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import Correction
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.evaluate import (
    PAPER_SEED,
    Plan,
    Task,
    TaskResult,
    in_processes,
    plan_evaluation,
    run_task,
    skipped_lines,
)
from biasmir_utils.experiments.fewshot import FEW_COLUMNS, FEW_DRAWS
from biasmir_utils.experiments.protocol import (
    CLIPS,
    LABELS,
    DatasetClips,
    array_sum,
    left_out_lines,
)
from biasmir_utils.experiments.report import (
    Report,
    build_report,
    report_latex,
    report_markdown,
    report_summary,
)
from biasmir_utils.experiments.results import (
    KEY_COLUMNS,
    SCORE_COLUMNS,
    SETTING,
    check_table_outputs,
    check_table_path,
    falls,
    read_table,
    result_columns,
    summarise,
    write_table,
)
from biasmir_utils.experiments.stats import FEW_LABELS, interval_over_labels
from biasmir_utils.files import atomic_path, json_object, versions, write_json

# Packages whose versions decide the numbers.
PACKAGES = ("numpy", "scipy", "scikit-learn")
# Recognisers times clips from which it is worth to start other processes, which takes seconds.
WORTH_PROCESSES = 20_000
# Pattern of the keys of tasks; what else lies in a folder of theirs is somebody else's.
ANY_KEY = "[0-9a-f]" * 24


class TaskStore:
    """A folder with a file for each finished task: its scores as arrays, all else as JSON.

    Parameters
    ----------
    folder : pathlib.Path
        Made when the first task is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, key: str, with_scores: bool) -> TaskResult | None:
        """Return the result kept under a key, None if it is absent, damaged or lacks scores."""
        try:
            with np.load(self.folder / f"{key}.npz", allow_pickle=False) as kept:
                about = json.loads(str(kept["about"]))
                keys = about.pop("scores")
                tables: list[dict[str, np.ndarray]] = [{} for _ in keys]
                for name in kept.files if with_scores else ():
                    number, _, column = name.partition(" ")
                    if column:
                        values = kept[name]
                        if values.dtype.kind == "U":
                            values = np.where(values == "", None, values.astype(object))
                        tables[int(number)][column] = values
            if with_scores and not keys:
                return None
            return TaskResult(**about, scores=list(zip(keys, tables, strict=True)))
        except Exception:  # Whatever is wrong with it, the task can be done again.
            return None

    def save(self, key: str, result: TaskResult) -> None:
        """Keep a result."""
        about = asdict(replace(result, scores=[])) | {"scores": [own for own, _ in result.scores]}
        arrays = {
            f"{number} {column}": np.array(
                ["" if value is None else value for value in values], str
            )
            if values.dtype == object
            else values
            for number, (_, table) in enumerate(result.scores)
            for column, values in table.items()
        }
        with atomic_path(self.folder / f"{key}.npz") as temporary:
            np.savez_compressed(temporary, allow_pickle=False, about=json.dumps(about), **arrays)

    def keys(self) -> set[str]:
        """Return the keys of finished tasks."""
        return {path.stem for path in self.folder.glob(f"{ANY_KEY}.npz")}

    def remove(self, keys: Iterable[str] | None = None) -> None:
        """Remove what was kept under some keys, or everything; the folder goes when empty."""
        for key in (ANY_KEY,) if keys is None else keys:
            for path in (*self.folder.glob(f"{key}.npz"), *self.folder.glob(f".{key}.*.npz")):
                path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()


def _run_tasks(
    plan: Plan,
    scores: bool,
    jobs: int | None,
    progress: bool,
    store: TaskStore | None,
    scheduler: str | None,
) -> list[TaskResult]:
    """Do the tasks of a plan that are not kept yet; return all results in its order."""
    from tqdm import tqdm

    features = _features(plan)
    keys = task_keys(plan) if store else []
    kept = {number: store.load(key, scores) for number, key in enumerate(keys) if store}
    done = {number: result for number, result in kept.items() if result}
    waiting = [number for number in range(len(plan.tasks)) if number not in done]
    # The longest first, so that no worker is left alone with one in the end.
    waiting.sort(key=lambda k: (plan.tasks[k].kernel is None, -len(plan.tasks[k].variants)))

    def arguments(number: int) -> tuple[Any, ...]:
        task = plan.tasks[number]
        name, pair = task.subject.name, [plan.data.datasets[dataset] for dataset in task.pair]
        # Of the clips only the label that is recognised. Features are arguments of their own:
        # that is how workers of a cluster get them once.
        own = [replace(clips, labels={name: clips.labels[name]}) for clips in pair]
        return number, scores, task, own, *(features[task.embedding, one] for one in task.pair)

    calls = map(arguments, waiting)
    size = sum(2 * len(plan.tasks[number].variants) for number in waiting)
    alone = jobs is None and size * len(plan.data.corpus.clips) < WORTH_PROCESSES
    with ExitStack() as stack:
        if scheduler is not None and waiting:
            workers = stack.enter_context(connect(scheduler, jobs, PACKAGES))
            finished = workers.results(_numbered, calls, list(features.values()))
        else:
            how = {"return_as": "generator_unordered", "batch_size": 1}
            parallel = in_processes(1 if alone else jobs, len(waiting), **how)
            stack.enter_context(parallel)
            finished = parallel(joblib.delayed(_numbered)(*call) for call in calls)
        bar = tqdm(
            total=len(plan.tasks), initial=len(done), disable=not progress, unit="task", smoothing=0
        )
        stack.enter_context(bar)
        stack.enter_context(closing(finished))
        for number, result in finished:
            done[number] = result
            if store and not result.failed:
                store.save(keys[number], result)
            bar.update()
    return [done[number] for number in range(len(plan.tasks))]


def _numbered(
    number: int, scores: bool, task: Task, pair: Sequence[DatasetClips], *features: np.ndarray
) -> tuple[int, TaskResult]:
    """Do a task, and tell which it was."""
    return number, run_task(task, pair, features, scores)


def _features(plan: Plan) -> dict[tuple[str, str], np.ndarray]:
    return {
        (embedding, dataset): plan.data.features(embedding, dataset)
        for embedding in plan.parameters["embeddings"]
        for dataset in plan.data.datasets
    }


@functools.cache
def _code_sum() -> str:
    """Return a sum of this package's own source, which decides what a number means."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def task_keys(plan: Plan) -> list[str]:
    """Return a name for each task of a plan that changes with everything its result depends on.

    A `TaskStore` keeps its result under it.
    """
    sums = {name: array_sum(array) for name, array in _features(plan).items()}
    keys = []
    for task in plan.tasks:
        pair = [plan.data.datasets[name] for name in task.pair]
        content = {
            "task": asdict(task),
            "versions": versions(*PACKAGES),
            "code": _code_sum(),
            "features": [sums[task.embedding, name] for name in task.pair],
            "clips": [
                array_sum(
                    *(c.clips, c.tracks, c.groups, c.group_names, c.is_train),
                    c.labels[task.subject.name],
                )
                for c in pair
            ],
            "shared_tracks": [c.shared_tracks for c in pair],
        }
        text = json.dumps(content, sort_keys=True, default=str)
        keys.append(hashlib.sha256(text.encode()).hexdigest()[:24])
    return keys


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes
    ----------
    results : pandas.DataFrame
        The columns of `result_columns`: a row for each label, embedding, correction, mode, ordered
        pair of datasets and seed.
    scores : pandas.DataFrame or None
        The columns of `SCORE_COLUMNS`: a row for each test clip of each of those rows.
    record : dict
        Parameters, versions, sums of the data, dimensions of the embeddings, clips left out, labels
        skipped, warnings.
    report : Report or None
        The full report, if it was asked for.
    few : pandas.DataFrame
        Scores with few labels of the target: the columns `FEW_COLUMNS`, see
        `biasmir_utils.experiments.fewshot`. `label_worth` makes means of them. Empty where they
        were not asked for.
    """

    results: pd.DataFrame
    scores: pd.DataFrame | None
    record: dict[str, Any] = field(repr=False)
    report: Report | None = field(default=None, repr=False)
    few: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    def summary(self) -> str:
        """Return the table that `biasmir evaluate` prints, and what to know about it."""
        if self.report is None:
            lines = [summarise(self.results)]
        else:
            lines = [report_summary(self.report, self.record), ""]
        lines.extend(left_out_lines(self.record["left_out"]))
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
    match: str = CLIPS,
    few_labels: Sequence[int] | None = None,
    draws: int = FEW_DRAWS,
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
        See `parse_corrections`; default none.
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
        them; or targets of the corpus (or `group`), all of one kind.
    recogniser : str, optional
        A name of `RECOGNISERS` or the dotted path of a scikit-learn estimator. The
        default is `logistic`, for a number `ridge`.
    seed : int
        Of the resampling and the random features; 42 in the paper.
    seeds : int
        How many seeds to run, from `seed` on.
    report : bool
        Whether to judge the corrections in full; see `Report`. Adds the correction `none`.
    match : {'clips', 'tracks'}
        What the training rows of two datasets have as many of: clips, as in the paper, or tracks,
        with as many clips of each. Clips of one track resemble each other: from fewer tracks a
        recogniser learns less, and the fall on one test set holds that, too.
    few_labels : sequence of int, optional
        Numbers of labelled clips of the target dataset that recognisers are trained with, too, to
        tell what corrections are worth in labels; see `biasmir_utils.experiments.fewshot`. Of a
        report on labels 10, 50 and 200 unless told otherwise, else none.
    draws : int
        How often each of these numbers of clips is drawn, for each label, direction and seed.
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
        match=match,
        few_labels=few_labels,
        draws=draws,
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
        reasons = dict.fromkeys(f"{s['label']}: {s['reason']}" for s in plan.skipped)
        raise ArgumentError(f"no label can be evaluated: {'; '.join([*reasons][:5])}")
    store = TaskStore(resume) if resume else None
    found = _run_tasks(plan, scores or plan.report, jobs, progress, store, scheduler)
    corpus = plan.data.corpus
    skipped = [*plan.skipped, *(entry for result in found for entry in result.skipped)]
    rows = [{"corpus": corpus.name, **row} for result in found for row in result.rows]
    if not rows:
        raise ArgumentError("\n".join(["nothing can be evaluated", *skipped_lines(skipped)[:5]]))
    results = pd.DataFrame(rows, columns=list(result_columns(plan.kind)))
    table = None
    if scores:
        parts = [
            pd.DataFrame({"corpus": corpus.name, **{k: key[k] for k in KEY_COLUMNS[1:]}, **arrays})
            for result in found
            for key, arrays in result.scores
        ]
        table = pd.concat(parts, ignore_index=True)[list(SCORE_COLUMNS)]
    record = {
        "parameters": plan.parameters,
        "versions": versions("numpy", "scipy", "scikit-learn", "pandas", "joblib"),
        "data": corpus.data_sums(),
        "dimensions": {one: corpus.dimension(one) for one in plan.parameters["embeddings"]},
        "left_out": plan.data.left_out,
        "skipped": skipped,
        "warnings": list(
            dict.fromkeys([*plan.warnings, *(t for result in found for t in result.warnings)])
        ),
    }
    few = pd.DataFrame([row for result in found for row in result.few], columns=list(FEW_COLUMNS))
    report = build_report(plan, found, few, jobs) if plan.report else None
    return Evaluation(results, table, record, report, few)


# Table of a `Report` -> what its file is called, between the results' stem and suffix.
REPORT_TABLES = {"summary": "report", "changes": "changes", "task": "task", "shift": "shift"}
REPORT_TABLES |= {"few": "few", "worth": "worth"}


class OutputPaths:
    """Where the files of one evaluation go.

    Parameters
    ----------
    out : path
        The results table, .csv or .parquet.

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
        The tables of a full report: `summary`, `changes`, `task`, `shift`, `few`, `worth`.
    text : pathlib.Path
        The report to read.
    latex : pathlib.Path
        Its first table as LaTeX.
    figure : pathlib.Path
        Its figure.
    beside : list of pathlib.Path
        All files but the results.
    """

    def __init__(self, out: str | os.PathLike[str]) -> None:
        self.results = check_table_path(out)
        beside, suffix = self.results.with_suffix, self.results.suffix
        self.record, self.scores = beside(".json"), beside(".scores.parquet")
        self.report = {key: beside(f".{name}{suffix}") for key, name in REPORT_TABLES.items()}
        texts = [beside(f".report.{kind}") for kind in ("md", "tex", "png")]
        self.text, self.latex, self.figure = texts
        self.tasks = self.results.with_name(f"{self.results.name}.tasks")
        self.beside = [self.record, self.scores, *self.report.values(), *texts]

    def check(self) -> None:
        """Raise an `ArgumentError` if something is in the way that no evaluation wrote there."""
        check_table_outputs(self.results, KEY_COLUMNS, *self.beside, self.tasks / "task")


def write_evaluation(
    evaluation: Evaluation, out: str | os.PathLike[str], tasks: Iterable[str] | None = None
) -> list[Path]:
    """Write results, record, scores and report, and remove the finished tasks that were kept.

    All files are written beside first and then renamed, in the place of those of an earlier
    evaluation, which its record lists; what it had and this one has not is removed. The figure of
    a report, if it `has_figure`, is drawn by whoever calls this, after: no picture is worth the
    tables.

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

    Raises
    ------
    ArgumentError
        If one of the files is there and not of an earlier evaluation; see `OutputPaths.check`.
    """
    paths = OutputPaths(out)
    report, record, folder = evaluation.report, evaluation.record, paths.results.parent
    tables: dict[Path, pd.DataFrame] = {}
    texts: dict[Path, str] = {}
    drawn: list[Path] = []
    if evaluation.scores is not None:
        tables[paths.scores] = evaluation.scores
    if report is not None:
        found = {path: getattr(report, table) for table, path in paths.report.items()}
        tables |= {path: table for path, table in found.items() if len(table.columns)}
        drawn = [paths.figure] if report.has_figure else []
        texts[paths.text] = report_markdown(report, record, *(path.name for path in drawn))
        texts[paths.latex] = report_latex(report, record)
    tables[paths.results] = evaluation.results
    written = [paths.record, *texts, *tables]
    record = {**record, "files": [path.name for path in (*written, *drawn)]}
    paths.check()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{paths.results.stem}.", dir=folder) as beside:
        place = Path(beside)
        write_json(place / paths.record.name, record)
        for path, text in texts.items():
            (place / path.name).write_text(text, encoding="utf-8")
        for path, table in tables.items():
            write_table(table, place / path.name)
        for path in written:
            os.replace(place / path.name, path)
    for path in set(paths.beside) - set(written):
        path.unlink(missing_ok=True)
    TaskStore(paths.tasks).remove(tasks)
    return written


def join_runs(
    paths: Sequence[str | os.PathLike[str]], **draws: Any
) -> tuple[pd.DataFrame, list[str]]:
    """Put the results of several evaluations of labels, tags or categories into one table.

    All means of a pair of datasets are over the same labels: those that have a fall in both
    directions in every row. Seeds are averaged.

    Parameters
    ----------
    paths : sequence of path
        Tables of results. A run is called by the name of its file, where files have one name by
        that of its folder. Its record and its full report are read where they stand beside it.
    **draws
        The parameters `level`, `n_replicates` and `seed` of `interval_over_labels`.

    Returns
    -------
    table : pandas.DataFrame
        A row for each `run`, `embedding`, `correction`, `mode`, `alpha` and `pair` of datasets, of
        each pair the best across first: `in_domain`, `across` and `fall`, the mean ROC-AUC over
        both directions and `n_labels` labels, the test set held fixed; `behind`, how much less
        across that is than the pair's best, with the ends `low` and `high` of its interval over
        labels, which are drawn for both rows together (see `interval_over_labels`; no interval of
        one label, nothing for the best itself, which was chosen by the same labels, so that it
        may owe a part of its lead to them); `probe`, ROC-AUC of a linear probe of the dataset
        (NaN without a full report; over all labels of the run); `dimension`, of the embedding
        (missing if the record does not tell it).
    notes : list of str
        Which labels were left out, and in what the runs differ besides embeddings and corrections.

    Raises
    ------
    ArgumentError
        If a table has not the columns of `evaluate`, if two have one name, or if no label is left.
    """
    files = [Path(path) for path in paths]
    stems, folders = [one.stem for one in files], [one.absolute().parent.name for one in files]
    names = [b if stems.count(a) > 1 else a for a, b in zip(stems, folders, strict=True)]
    if len(set(names)) < len(names):
        raise ArgumentError(f"two runs have one name ({', '.join(names)}): rename file or folder")
    parts, facts = zip(*map(_read_run, files, names), strict=True)
    rows, keys = pd.concat(parts, ignore_index=True), ["run", *SETTING, "pair"]
    rows["row"] = rows.groupby(keys, sort=False, dropna=False).ngroup()
    known = rows.dropna(subset="fall")
    known = known[known.groupby(["row", "label"])["test_set"].transform("nunique") == 2]
    has = known.groupby(["pair", "label"])["row"].transform("nunique")
    kept = known[has == known["pair"].map(rows.groupby("pair")["row"].nunique())]
    all_labels, used = (set(zip(own["pair"], own["label"], strict=True)) for own in (rows, kept))
    left = [f"{label} ({pair})" for pair, label in sorted(all_labels - used)]
    notes = [f"left out, as not all have both falls: {', '.join(left)}"] if left else []
    if kept.empty:
        raise ArgumentError(f"the runs have no label in common; {'; '.join(notes)}")
    about = pd.DataFrame(dict(zip(names, facts, strict=True)))
    for what, values in about[about.nunique(axis=1) > 1].iterrows():
        each = "; ".join(f"{value} ({run})" for run, value in values.dropna().items())
        notes.append(f"the runs differ in {str(what).replace('_', ' ')}: {each}")
    sizes = kept.groupby(["label", "test_set"])["n_test"].nunique()
    if (sizes > 1).any():
        notes.append(f"the runs differ in test sets, as in clips of {' in '.join(sizes.idxmax())}")
    how = dict.fromkeys(keys, "first") | dict.fromkeys(["in_domain", "across", "fall"], "mean")
    how |= {"label": "nunique", "probe": "first", "dimension": "first"}
    table = kept.groupby("row").agg(how).rename(columns={"label": "n_labels"})
    best = table.groupby("pair")["across"].transform("idxmax")
    of_label = kept.pivot_table("across", "row", "label")  # the mean over directions and seeds
    lead = of_label.loc[best].set_axis(table.index) - of_label
    lead = lead.stack().rename("behind").reset_index()
    told = interval_over_labels(lead, "behind", ["row"], **draws).set_index("row")
    told = told.rename(columns={"mean": "behind"}).where(best != best.index)
    place = table.columns.get_loc("n_labels")
    for k, name in enumerate(("behind", "low", "high")):
        table.insert(place + k, name, told[name])
    few = table[table["low"].notna() & (table["n_labels"] < FEW_LABELS)]
    for pair, n_labels in few.groupby("pair")["n_labels"].first().items():
        notes.append(f"intervals from {n_labels} labels are rough ({pair})")
    table = table.sort_values(["pair", "across"], ascending=[True, False], kind="stable")
    return table.astype({"dimension": "Int64"}).reset_index(drop=True), notes


def _read_run(file: Path, name: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the falls of a run, and what may tell its results from those of others."""
    own, record = read_table(file), json_object(file.with_suffix(".json"))
    if missing := {*KEY_COLUMNS, "n_test", "roc_auc"} - set(own):
        raise ArgumentError(f"{file}: no column {min(missing)!r} as `biasmir evaluate` writes it")
    columns = ("corpus", "train_set", "recogniser", "seed")
    facts = {what: ", ".join(map(str, np.unique(own[what]))) for what in columns}
    facts["record"] = "there" if record else "missing, so that clips may differ unseen"
    for told in (record, record.get("parameters", {}), record.get("data", {})):
        beside = {"target", "match", "left_out", "clips.csv", "clips.parquet"} & set(told)
        facts |= {what: str(told[what])[:40] for what in beside}
    rows = falls(own, "roc_auc").rename(columns={"cross": "across"}).assign(run=name, probe=np.nan)
    rows = rows.merge(own.groupby(["label", "test_set"], as_index=False)["n_test"].max())
    rows["pair"] = ["/".join(sorted(two)) for two in rows[["train_set", "test_set"]].to_numpy()]
    rows["dimension"] = rows["embedding"].map(record.get("dimensions", {})).astype(float)
    if (report := file.with_suffix(f".report{file.suffix}")).is_file():
        judged = read_table(report).rename(columns={"linear_probe": "probe"})
        judged["pair"] = ["/".join(sorted(pair.split("/"))) for pair in judged["pair"]]
        rows = rows.drop(columns="probe").merge(
            judged.reindex(columns=[*SETTING, "pair", "probe"]), how="left"
        )
    return rows, facts
