"""`biasmir evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from biasmir_utils.cli import _edge, _options

STEP = 7


def _list_corrections(formatter: click.HelpFormatter) -> None:
    from biasmir_utils.corrections import ALIASES, METHODS, NOT_IN_SETS, SETS

    with formatter.section("Corrections"):
        formatter.write_text(", ".join(METHODS))
        formatter.write_dl(list(ALIASES.items()))
        formatter.write_paragraph()
        formatter.write_text(
            "placebo:NAME is the control for a correction: fitted with the datasets of whole "
            "tracks permuted. to=partner moves rows to the dataset that a recogniser is not "
            "trained on."
        )
    with formatter.section("Sets of them"):
        formatter.write_dl([(name, " ".join(members)) for name, members in SETS.items()])
        formatter.write_paragraph()
        formatter.write_text(
            f"No set has the options {', '.join(NOT_IN_SETS)}: ask for them one by one, as in "
            f"--correction all leace:groups=auto lda:alpha=0.5."
        )


@_options.command(
    listing=_list_corrections, short_help="Train and test recognisers inside and across datasets."
)
@_options.corpus
@_options.embeddings
@_options.several(
    "--correction",
    "corrections",
    type=_options.NAME,
    default=("none",),
    show_default="none",
    help="NAME[:option=value,...], such as none lda mlda leace lda:alpha=0.5, or a set of them: "
    "paper, standard, all. The names are listed below.",
)
@_options.several(
    "--mode",
    "modes",
    default=("global",),
    show_default="global",
    help="global: fit corrections on all training rows, chosen by their labels as in the paper; "
    "classwise: on positives only; unlabelled: without the other dataset's labels: recognisers "
    "trained on all clips of their own dataset, corrections fitted on clips of both drawn blindly.",
)
@click.option(
    "--match",
    type=click.Choice(["clips", "tracks"]),
    default="clips",
    show_default=True,
    help="What the training clips of two datasets have as many of: clips, as in the paper, or "
    "tracks, and as many clips of each.",
)
@_options.several(
    "--labels", "labels", type=_options.NAME, help="Default: all labels of the corpus."
)
@_options.several(
    "--target",
    "target",
    type=_options.NAME,
    default=("labels",),
    show_default="labels",
    help="labels: one recogniser for each; tags: one model for all labels; or names of the "
    "corpus, all of one kind: categories (such as group; multi-class) or numbers (regression).",
)
@click.option(
    "--out",
    type=_options.PATH,
    default="results.csv",
    show_default=True,
    help="Results table, .csv or .parquet; the record of the run goes beside it as .json.",
)
@click.option(
    "--report",
    type=click.Choice(["results", "full"]),
    default="results",
    show_default=True,
    help="full: judge the corrections, too. Tables, a text and a figure go beside the results: "
    "gained, lost, left, damaged, what was seen, how sure it is.",
)
@_options.several(
    "--few-labels",
    "few_labels",
    type=click.IntRange(min=1),
    help="Also train with so many labelled clips of the target dataset, and tell what each "
    "correction is worth in such labels.  [default: 10 50 200 in a full report on labels]",
)
@click.option("--draws", type=click.IntRange(1), default=2, help="Of these clips.  [default: 2]")
@click.option("--scores", is_flag=True, help="Also write the score of every test clip.")
@click.option(
    "--recogniser",
    show_default="logistic, for a number ridge",
    help="logistic (the paper's), logistic:intercept=free (blind to where the origin lies), "
    "logistic-liblinear (scikit-learn's: exact to the last digit, slow), ridge, svm, knn, mlp, or "
    "the dotted path of a scikit-learn estimator (package.module:Name), whose code is run.",
)
@_options.seed("Of all random choices.", default=42)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many seeds to run, from --seed on; five tell how much the resampling matters.",
)
@_options.jobs
@_options.scheduler
@click.option("--dry-run", is_flag=True, help="Print the tasks, and stop.")
def evaluate(
    corpus: Path,
    embeddings: tuple[str, ...],
    labels: tuple[str, ...],
    few_labels: tuple[int, ...],
    out: Path,
    report: str,
    scores: bool,
    jobs: int | None,
    scheduler: str | None,
    dry_run: bool,
    **options: Any,
) -> None:
    """Train and test recognisers inside and across the datasets of CORPUS.

    A stopped run goes on where it was when it is called again in the same way: finished tasks
    are kept beside the results table until that is written.
    """
    from biasmir_utils import experiments
    from biasmir_utils.corpus import Corpus
    from biasmir_utils.plots import gain_and_loss

    if few_labels and report != "full":
        raise click.UsageError("--few-labels is told of in a full report; add --report full.")
    paths = experiments.OutputPaths(out)
    paths.check()
    loaded = Corpus.load(corpus)
    plan = experiments.plan_evaluation(
        loaded,
        embeddings or loaded.embedding_names,
        labels=labels or None,
        few_labels=few_labels or None,
        report=report == "full",
        **options,
    )
    store = experiments.TaskStore(paths.tasks)
    there = store.keys()
    own = set(experiments.task_keys(plan)) if there else set()
    kept = [key for key in own if store.load(key, scores or plan.report) is not None]
    if dry_run:
        _edge.echo(plan.describe())
        if kept:
            _edge.echo(
                f"{len(kept)} of them are finished and kept in {paths.tasks}, so less is left"
            )
        return
    if others := len(there - own):
        _edge.echo(
            f"Note: {paths.tasks} has {others} finished task(s) of another command with this "
            f"--out (or of other data or versions). They stay there for it; delete the folder "
            f"if it is not to go on.",
            err=True,
        )

    _edge.when_stopped(
        lambda: (
            f"Stopped with {len(store.keys())} of {len(plan.tasks)} tasks kept in "
            f"{paths.tasks}; the same command goes on from there."
        )
    )
    evaluation = experiments.run_plan(
        plan, scores=scores, jobs=jobs, progress=True, resume=paths.tasks, scheduler=scheduler
    )
    written = experiments.write_evaluation(evaluation, out, own or None)
    if evaluation.report is not None and evaluation.report.has_figure:
        report_of = evaluation.report
        _edge.write_figure(paths.figure, gain_and_loss, report_of.summary, metric=report_of.heading)
        written.insert(-1, paths.figure)
    _edge.echo(evaluation.summary())
    _edge.echo(f"Written: {', '.join(str(path) for path in written)}")
