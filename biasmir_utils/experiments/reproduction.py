"""The paper from beginning to end: fetch, prepare, evaluate, compare.

Each step leaves its product under one folder, and is skipped when that product is there and was
made from what is there now. An interrupted download or evaluation goes on where it was. Results of
other parameters or data are kept under another name (``.bak``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biasmir_utils.corpus import Corpus
from biasmir_utils.errors import ArgumentError, CorpusError
from biasmir_utils.experiments.compare import compare, write_comparison
from biasmir_utils.experiments.comparison_text import comparison_text
from biasmir_utils.experiments.evaluate import Plan, plan_evaluation, run_plan
from biasmir_utils.experiments.output import (
    OutputPaths,
    output_paths,
    set_aside,
    write_evaluation,
)
from biasmir_utils.experiments.published import EMBEDDINGS, MODES
from biasmir_utils.experiments.results import read_table
from biasmir_utils.experiments.running import task_keys
from biasmir_utils.experiments.store import TaskStore
from biasmir_utils.files import atomic_path, sha256, versions
from biasmir_utils.sources.fetch import default_root, fetch
from biasmir_utils.sources.paper import prepare_paper
from biasmir_utils.sources.registry import Registry

SOURCES = ("paper-split", "paper-embeddings", "openmic")
CORRECTIONS = ("paper",)


@dataclass(frozen=True)
class Reproduction:
    """Where the products are, and what the comparison says.

    Attributes
    ----------
    corpus : pathlib.Path
        The corpus folder.
    results : pathlib.Path
        Table of results, with a .json beside it.
    comparison : pathlib.Path
        Table of the comparison, with a .json beside it.
    report : pathlib.Path
        The report as a text file.
    text : str
        The report.
    """

    corpus: Path
    results: Path
    comparison: Path
    report: Path
    text: str


def reproduce(
    root: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    offline: bool = False,
    base_url: str | None = None,
    from_dir: str | os.PathLike[str] | None = None,
    registry: Registry | None = None,
    embeddings: Sequence[str] = (),
    modes: Sequence[str] = MODES,
    scores: bool = False,
    jobs: int | None = None,
    progress: bool = False,
    scheduler: str | None = None,
    say: Callable[[str], object] = print,
) -> Reproduction:
    """Do the paper's experiment on its data, and put the results beside the published ones.

    Parameters
    ----------
    root : path, optional
        Folder of the fetched files; default as for `fetch`.
    out : path, optional
        Folder of what is made; default `reproduction` in `root`.
    offline : bool
        Whether to leave out the fetching, because everything is there.
    base_url, from_dir, registry
        As for `fetch`.
    embeddings : sequence of str
        Of `published.EMBEDDINGS`; default those that the published file has.
    modes : sequence of str
        `global`, `classwise` or both.
    scores : bool
        Whether to keep the score of every test clip, and to resample tracks for the intervals.
    jobs : int, optional
        Processes of the evaluation; default all cores.
    progress : bool
        Whether to show a progress bar of the evaluation.
    scheduler : str, optional
        Dask scheduler whose workers do the evaluation, or `local`; see `evaluate`.
    say : callable
        Receives each line meant for the user.

    Returns
    -------
    Reproduction

    Raises
    ------
    DownloadError, CorpusError, ArgumentError
        Naming the file or argument; what was finished stays, and the next call goes on.
    """
    place = (Path(root).expanduser() if root is not None else default_root()).absolute()
    made = Path(out).absolute() if out is not None else place / "reproduction"
    for embedding in embeddings:
        if embedding not in EMBEDDINGS:
            raise ArgumentError(
                f"embedding {embedding!r}: published were {', '.join(EMBEDDINGS)}; for others, use "
                f"`biasmir evaluate`"
            )
    if offline:
        say("1/4 fetch: left out")
    else:
        say(f"1/4 fetch: {', '.join(SOURCES)}")
        fetch(SOURCES, place, base_url=base_url, from_dir=from_dir, registry=registry, say=say)
    corpus = _prepared(place, made / "corpus", say)
    paths = output_paths(made / "results.csv")
    table, report = made / "comparison.csv", made / "report.txt"
    aside = _evaluated(corpus, paths, embeddings, modes, scores, jobs, progress, scheduler, say)
    text = _compared(paths, table, report, scores, aside, say)
    return Reproduction(corpus.path, paths.results, table, report, text)


def _prepared(root: Path, folder: Path, say: Callable[[str], object]) -> Corpus:
    if not folder.exists():
        say(f"2/4 prepare: the corpus of the paper, in {folder}")
        with atomic_path(folder) as temporary:
            prepare_paper(root, temporary)
        return Corpus.load(folder)
    advice = f"remove the folder {folder} and start again"
    try:
        corpus = Corpus.load(folder)
    except CorpusError as error:
        raise CorpusError(f"{error}; or {advice}") from error
    for name, made_from in corpus.description.provenance.get("sources", {}).items():
        if not (root / name).is_file() or sha256(root / name) != made_from:
            raise CorpusError(f"{folder}: made from another file than {root / name}; {advice}")
    embeddings = [Path(entry.path) for entry in corpus.description.embedding_files]
    if embeddings != [(root / "paper" / "embeddings.h5").resolve()]:
        raise CorpusError(f"{folder}: made with other embeddings than those in {root}; {advice}")
    say(f"2/4 prepare: done before, {folder}")
    return corpus


def _evaluated(
    corpus: Corpus,
    paths: OutputPaths,
    embeddings: Sequence[str],
    modes: Sequence[str],
    scores: bool,
    jobs: int | None,
    progress: bool,
    scheduler: str | None,
    say: Callable[[str], object],
) -> str:
    """Evaluate unless it is done; return what is behind the names of older files, if any."""
    chosen = list(embeddings) or [e for e in EMBEDDINGS if e in corpus.embedding_names]
    if not chosen:
        raise CorpusError(
            f"{corpus.path}: none of {', '.join(EMBEDDINGS)} is among its embeddings "
            f"({', '.join(corpus.embedding_names)})"
        )
    plan = plan_evaluation(corpus, chosen, CORRECTIONS, list(modes))
    if _is_done(plan, paths, scores):
        say(f"3/4 evaluate: done before, {paths.results}")
        return ""
    say(f"3/4 evaluate: {plan.describe(jobs).splitlines()[-1]}")
    found = run_plan(
        plan,
        scores=scores,
        jobs=jobs,
        progress=progress,
        resume=paths.tasks,
        scheduler=scheduler,
    )
    if aside := set_aside(found, paths.results):
        say(
            f"  the earlier {paths.results} was of other parameters or data; it is kept as "
            f"{aside}, and so are the files beside it"
        )
    write_evaluation(found, paths.results, task_keys(plan))
    if others := len(TaskStore(paths.tasks).keys()):
        say(f"  {paths.tasks} still has {others} finished task(s) of a call with other parameters")
    for warning in found.record["warnings"][:1]:
        n = len(found.record["warnings"])
        say(f"  {n} warning(s), all in {paths.record}; the first: {warning}")
    return aside.suffix if aside else ""


def _is_done(plan: Plan, paths: OutputPaths, scores: bool) -> bool:
    """Tell whether the results are there, of these parameters and these data."""
    if not paths.results.is_file() or (scores and not paths.scores.is_file()):
        return False
    record = _read_json(paths.record)
    return bool(
        record.get("parameters") == plan.parameters
        and record.get("versions", {}).get("biasmir_utils") == versions()["biasmir_utils"]
        and record.get("data") == plan.data.corpus.data_sums()
    )


def _compared(
    paths: OutputPaths,
    table: Path,
    report: Path,
    scores: bool,
    aside: str,
    say: Callable[[str], object],
) -> str:
    files = [paths.results, *([paths.scores] if scores else [])]
    made_from = {
        "results": {path.name: sha256(path) for path in files},
        "biasmir_utils": versions()["biasmir_utils"],
    }
    record = _read_json(table.with_suffix(".json"))
    if report.is_file() and table.is_file() and record.get("made_from") == made_from:
        say(f"4/4 compare: done before, {table}")
        return report.read_text(encoding="utf-8")
    say(f"4/4 compare: {table}")
    for path in (table, table.with_suffix(".json"), report) if aside else ():
        if path.is_file():
            os.replace(path, f"{path}{aside}")
    found = compare(read_table(paths.results), read_table(paths.scores) if scores else None)
    text = comparison_text(found) + "\n"
    with atomic_path(report) as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_comparison(found, table, made_from=made_from)
    return text


def _read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
