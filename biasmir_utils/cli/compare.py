"""`biasmir compare`."""

from __future__ import annotations

from pathlib import Path

import click

from biasmir_utils.cli._options import SEED

STEP = 9


@click.command(short_help="Put results beside the published ones.")
@click.argument("results", type=click.Path(path_type=Path))
@click.option(
    "--scores",
    type=click.Path(path_type=Path),
    help="Table of scores of the same evaluation: resample tracks instead of labels.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Also all figures as a table, .csv or .parquet; claims and record beside it as .json.",
)
@click.option("--level", default=0.95, show_default=True, help="Coverage of the intervals.")
@click.option(
    "--replicates",
    type=click.IntRange(min=1),
    help="Draws.  [default: 10,000 of labels, 1,000 of tracks]",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the draws.")
def compare(
    results: Path,
    scores: Path | None,
    out: Path | None,
    level: float,
    replicates: int | None,
    seed: int,
) -> None:
    """Put the table RESULTS of `biasmir evaluate` beside the published one.

    Rows are matched by embedding, correction, mode and train-test pair. Each claim of the paper
    that can be checked is said to hold or not, with an interval.
    """
    from biasmir_utils.experiments import (
        check_table_path,
        comparison_text,
        read_table,
        write_comparison,
    )
    from biasmir_utils.experiments import compare as run
    from biasmir_utils.files import sha256

    if out is not None:
        check_table_path(out)
    comparison = run(
        read_table(results),
        None if scores is None else read_table(scores),
        level=level,
        n_replicates=replicates,
        seed=seed,
    )
    click.echo(comparison_text(comparison))
    if out is not None:
        sums = {path.name: sha256(path) for path in (results, scores) if path is not None}
        written = write_comparison(comparison, out, results=sums)
        click.echo(f"\nWritten: {', '.join(str(path) for path in written)}")
