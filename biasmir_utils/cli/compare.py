"""`biasmir compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from biasmir_utils.cli import _edge, _options

STEP = 9


@click.command(short_help="Put results beside the published ones, or several beside one another.")
@click.argument("results", type=_options.PATH, nargs=-1, required=True)
@click.option(
    "--scores",
    type=_options.PATH,
    help="Table of scores of the same evaluation: resample tracks instead of labels.",
)
@click.option(
    "--out",
    type=_options.PATH,
    help="Also all figures as a table, .csv or .parquet; claims and record beside it as .json, of "
    "several RESULTS a figure, too, as .png.",
)
@click.option("--level", default=0.95, show_default=True, help="Coverage of the intervals.")
@click.option(
    "--replicates",
    "n_replicates",
    type=click.IntRange(min=1),
    help="Draws.  [default: 10,000 of labels, 1,000 of tracks]",
)
@_options.seed("Of the draws.")
def compare(results: tuple[Path, ...], scores: Path | None, out: Path | None, **draws: Any) -> None:
    """Put the table RESULTS of `biasmir evaluate` beside the published one.

    Rows are matched by embedding, correction, mode and train-test pair. Each claim of the paper
    that can be checked is said to hold or not, with an interval.

    Several RESULTS are put beside one another: of each run, embedding and correction the means
    in-domain and across and the fall, over both directions and the labels that all have; how far
    it is behind the best across, with an interval from labels drawn anew; the probe of the
    dataset, where a full report tells it; and the dimension.
    """
    from biasmir_utils import experiments
    from biasmir_utils.files import sha256

    if len(results) > 1:
        if scores is not None:
            raise click.UsageError("--scores goes with one table of results")
        return _join(results, out, {k: one for k, one in draws.items() if one is not None})
    if out is not None:
        experiments.check_table_outputs(out, ["ours", "published"], out.with_suffix(".json"))
    given = [path for path in (*results, scores) if path is not None]
    comparison = experiments.compare(*map(experiments.read_table, given), **draws)
    text = experiments.comparison_text(comparison)
    if out is not None:
        sums = {path.name: sha256(path) for path in given}
        written = experiments.write_comparison(comparison, out, results=sums)
        text += f"\n\nWritten: {', '.join(map(str, written))}"
    return _edge.echo(text)


def _join(paths: Sequence[Path], out: Path | None, draws: dict[str, Any]) -> None:
    """Print several results as one table; write it, its record and its figure."""
    from biasmir_utils import experiments, files
    from biasmir_utils.plots import joined_runs

    written = [] if out is None else [out.with_suffix(".json"), out.with_suffix(".png"), out]
    if out is not None:
        experiments.check_table_outputs(out, ["run", "across"], *written)
    table, notes = experiments.join_runs(paths, **draws)
    shown = table.dropna(axis=1, how="all")
    text = shown.to_string(index=False, float_format="{:.3f}".format, na_rep="-")
    _edge.echo("\n".join([text, *(f"Note: {note}" for note in notes)]))
    if out is not None:
        record = {
            "notes": notes,
            "results": {str(path): files.sha256(path) for path in paths},
            "intervals": {"resampled": "labels", **draws},
            "files": [path.name for path in written],
            "versions": files.versions("pandas"),
        }
        files.write_json(written[0], record)
        experiments.write_table(table, out)
        _edge.write_figure(written[1], joined_runs, table)
        _edge.echo(f"Written: {', '.join(map(str, written))}")
