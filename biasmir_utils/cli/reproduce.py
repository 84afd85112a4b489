"""`biasmir reproduce`."""

from __future__ import annotations

from pathlib import Path

import click

from biasmir_utils.cli._options import SeveralCommand, SeveralOption, scheduler_option
from biasmir_utils.cli._stopping import stoppable

STEP = 10


@click.command(
    cls=SeveralCommand, short_help="Do all of the paper: fetch, prepare, evaluate, compare."
)
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the fetched files.  [default: where `biasmir fetch` puts them]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of what is made.  [default: reproduction in the root]",
)
@click.option("--offline", is_flag=True, help="Fetch nothing; everything is in the root.")
@click.option("--base-url", metavar="URL", help="Mirror; see `biasmir fetch`.")
@click.option(
    "--from",
    "from_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder that has the files already.",
)
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
@click.option("--jobs", type=click.IntRange(min=1), help="Processes; default: all cores.")
@scheduler_option
@click.option("--quiet", is_flag=True, help="No progress bar.")
def reproduce(
    root: Path | None,
    out: Path | None,
    offline: bool,
    base_url: str | None,
    from_dir: Path | None,
    embeddings: tuple[str, ...],
    modes: tuple[str, ...],
    scores: bool,
    jobs: int | None,
    scheduler: str | None,
    quiet: bool,
) -> None:
    """Do the paper: fetch its data, prepare the corpus, evaluate its grid, compare.

    Each step is skipped when it is done. A download or an evaluation that was interrupted goes on
    where it was when the command is repeated.
    """
    from biasmir_utils.experiments import reproduce as run

    with stoppable(lambda: "Stopped; the same command goes on from there."):
        found = run(
            root,
            out,
            offline=offline,
            base_url=base_url,
            from_dir=from_dir,
            embeddings=embeddings,
            modes=modes,
            scores=scores,
            jobs=jobs,
            progress=not quiet,
            scheduler=scheduler,
            say=click.echo,
        )
    click.echo(f"\n{found.text}\nWritten: {found.results}, {found.comparison}, {found.report}")
