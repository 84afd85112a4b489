"""`biasmir evaluate`."""

from __future__ import annotations

from pathlib import Path

import click

from biasmir_utils.cli._options import SeveralCommand, SeveralOption, scheduler_option
from biasmir_utils.cli._stopping import stoppable


@click.command(cls=SeveralCommand)
@click.argument("corpus", type=click.Path(path_type=Path))
@click.option("--embedding", "embeddings", cls=SeveralOption, required=True, help="To compare.")
@click.option(
    "--correction",
    "corrections",
    cls=SeveralOption,
    default=("none",),
    show_default="none",
    help="NAME[:option=value,...], such as none lda mlda k klda mklda lda:alpha=0.5.",
)
@click.option(
    "--mode",
    "modes",
    cls=SeveralOption,
    default=("global",),
    show_default="global",
    help="global: fit corrections on all training rows; classwise: on positives only.",
)
@click.option("--labels", "labels", cls=SeveralOption, help="Default: all labels of the corpus.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Results table, .csv or .parquet; the record of the run goes beside it as .json.",
)
@click.option("--scores", is_flag=True, help="Also write the score of every test clip.")
@click.option(
    "--recogniser",
    default="logistic",
    show_default=True,
    help="logistic, or logistic-liblinear (scikit-learn's: exact to the last digit, slow).",
)
@click.option("--seed", default=42, show_default=True, help="Of all random choices.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes; default: all cores.")
@scheduler_option
@click.option("--dry-run", is_flag=True, help="Print the tasks and an estimate, and stop.")
def evaluate(
    corpus: Path,
    embeddings: tuple[str, ...],
    corrections: tuple[str, ...],
    modes: tuple[str, ...],
    labels: tuple[str, ...],
    out: Path,
    scores: bool,
    recogniser: str,
    seed: int,
    jobs: int | None,
    scheduler: str | None,
    dry_run: bool,
) -> None:
    """Train and test recognisers inside and across the datasets of CORPUS.

    A stopped run goes on where it was when it is called again in the same way: finished tasks
    are kept beside the results table until that is written.
    """
    from biasmir_utils.corpus import Corpus
    from biasmir_utils.experiments.evaluate import plan_evaluation, run_plan
    from biasmir_utils.experiments.output import output_paths, write_evaluation

    paths = output_paths(out)
    plan = plan_evaluation(
        Corpus.load(corpus),
        embeddings,
        corrections,
        modes,
        labels=labels or None,
        recogniser=recogniser,
        seed=seed,
    )
    if dry_run:
        click.echo(plan.describe(jobs))
        return

    def stopped() -> str:
        kept = len(list(paths.tasks.glob("*.json")))
        return (
            f"Stopped with {kept} of {len(plan.tasks)} tasks kept in {paths.tasks}; "
            f"the same command goes on from there."
        )

    with stoppable(stopped):
        evaluation = run_plan(
            plan,
            scores=scores,
            jobs=jobs,
            progress=True,
            resume=paths.tasks,
            scheduler=scheduler,
        )
    written = write_evaluation(evaluation, out)
    click.echo(evaluation.summary())
    click.echo(f"Written: {', '.join(str(path) for path in written)}")
