"""`biasmir reproduce`."""

from __future__ import annotations

from typing import Any

import click

from biasmir_utils.cli._options import (
    FOLDER,
    SeveralCommand,
    SeveralOption,
    jobs_option,
    scheduler_option,
)
from biasmir_utils.cli._stopping import stoppable

STEP = 10


@click.command(
    cls=SeveralCommand, short_help="Do all of the paper: fetch, prepare, evaluate, compare."
)
@click.option(
    "--root",
    type=FOLDER,
    help="Folder of the fetched files.  [default: where `biasmir fetch` puts them]",
)
@click.option(
    "--out",
    type=FOLDER,
    help="Folder of what is made.  [default: reproduction in the root]",
)
@click.option("--offline", is_flag=True, help="Fetch nothing; everything is in the root.")
@click.option("--base-url", metavar="URL", help="Mirror; see `biasmir fetch`.")
@click.option("--from", "from_dir", type=FOLDER, help="Folder that has the files already.")
@click.option(
    "--embedding",
    "embeddings",
    cls=SeveralOption,
    help="Of vggish, openl3, yamnet.  [default: all that were published]",
)
@click.option(
    "--mode",
    "modes",
    cls=SeveralOption,
    default=("global", "classwise"),
    show_default="global classwise",
    help="How corrections are fitted.",
)
@click.option(
    "--scores",
    is_flag=True,
    help="Keep the score of every test clip, and resample tracks for the intervals.",
)
@jobs_option
@scheduler_option
@click.option("--quiet", is_flag=True, help="No progress bar.")
def reproduce(quiet: bool, **options: Any) -> None:
    """Do the paper: fetch its data, prepare the corpus, evaluate its grid, compare.

    Each step is skipped when it is done. A download or an evaluation that was interrupted goes on
    where it was when the command is repeated.
    """
    from biasmir_utils.experiments import reproduce as run

    with stoppable(lambda: "Stopped; the same command goes on from there."):
        found = run(progress=not quiet, say=click.echo, **options)
    click.echo(f"\n{found.text}\nWritten: {found.results}, {found.comparison}, {found.report}")
