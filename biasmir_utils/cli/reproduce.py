"""`biasmir reproduce`."""

from __future__ import annotations

from typing import Any

import click

from biasmir_utils.cli import _edge, _options

STEP = 10


@_options.command(short_help="Do all of the paper: fetch, prepare, evaluate, compare.")
@_options.root
@click.option(
    "--out",
    type=_options.FOLDER,
    help="Folder of what is made.  [default: reproduction in the root]",
)
@click.option("--offline", is_flag=True, help="Fetch nothing; everything is in the root.")
@_options.base_url
@_options.from_dir
@_options.several(
    "--embedding",
    "embeddings",
    help="Of vggish, openl3, yamnet.  [default: all that were published]",
)
@_options.several(
    "--mode",
    "modes",
    default=("global", "classwise"),
    show_default="global classwise",
    help="How corrections are fitted.",
)
@click.option(
    "--scores",
    is_flag=True,
    help="Keep the score of every test clip, and resample tracks for the intervals.",
)
@_options.jobs
@_options.scheduler
@click.option("--quiet", is_flag=True, help="No progress bar.")
def reproduce(quiet: bool, **options: Any) -> None:
    """Do the paper: fetch its data, prepare the corpus, evaluate its grid, compare.

    Each step is skipped when it is done. A download or an evaluation that was interrupted goes on
    where it was when the command is repeated.
    """
    from biasmir_utils.experiments import reproduce as run

    _edge.when_stopped(lambda: "Stopped; the same command goes on from there.")
    found = run(progress=not quiet, say=_edge.echo, **options)
    _edge.echo(f"\n{found.text}\nWritten: {found.results}, {found.comparison}, {found.report}")
