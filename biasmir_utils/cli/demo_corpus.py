"""`biasmir demo-corpus`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("demo-corpus")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--clips", default=1800, show_default=True, help="Clips in each of the two datasets.")
@click.option("--seed", default=1, show_default=True, help="Seed of every random choice.")
@click.option("--jobs", default=-1, show_default=True, help="Processes; -1: one on each core.")
@click.option(
    "--soundfonts",
    type=click.Path(path_type=Path),
    help="Folder with the SoundFonts, if they are not installed. [env: BIASMIR_SOUNDFONTS]",
)
@click.option("--quiet", is_flag=True, help="No progress bar.")
def demo_corpus(
    out: Path, clips: int, seed: int, jobs: int, soundfonts: Path | None, quiet: bool
) -> None:
    """Render the two demonstration datasets, solo and band, into the folder OUT.

    An interrupted rendering goes on where it stopped when the command is repeated. The same seed
    gives the same audio, whatever the number of jobs.
    """
    from biasmir_utils.demo.render import render_corpus

    corpus = render_corpus(
        out, clips=clips, seed=seed, jobs=jobs, soundfonts=soundfonts, progress=not quiet
    )
    click.echo(corpus.summary())
