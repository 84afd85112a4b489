"""`biasmir compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from biasmir_utils.cli import _edge, _options

STEP = 9


@click.command(short_help="Put results beside the published ones.")
@click.argument("results", type=_options.PATH)
@click.option(
    "--scores",
    type=_options.PATH,
    help="Table of scores of the same evaluation: resample tracks instead of labels.",
)
@click.option(
    "--out",
    type=_options.PATH,
    help="Also all figures as a table, .csv or .parquet; claims and record beside it as .json.",
)
@click.option("--level", default=0.95, show_default=True, help="Coverage of the intervals.")
@click.option(
    "--replicates",
    "n_replicates",
    type=click.IntRange(min=1),
    help="Draws.  [default: 10,000 of labels, 1,000 of tracks]",
)
@_options.seed("Of the draws.")
def compare(results: Path, scores: Path | None, out: Path | None, **draws: Any) -> None:
    """Put the table RESULTS of `biasmir evaluate` beside the published one.

    Rows are matched by embedding, correction, mode and train-test pair. Each claim of the paper
    that can be checked is said to hold or not, with an interval.
    """
    from biasmir_utils import experiments
    from biasmir_utils.files import sha256

    if out is not None:
        experiments.check_table_outputs(out, ["ours", "published"], out.with_suffix(".json"))
    given = [path for path in (results, scores) if path is not None]
    comparison = experiments.compare(*map(experiments.read_table, given), **draws)
    text = experiments.comparison_text(comparison)
    if out is not None:
        sums = {path.name: sha256(path) for path in given}
        written = experiments.write_comparison(comparison, out, results=sums)
        text += f"\n\nWritten: {', '.join(map(str, written))}"
    _edge.echo(text)
