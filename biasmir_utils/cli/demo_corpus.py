"""`biasmir demo-corpus`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from biasmir_utils.cli._options import SEED
from biasmir_utils.cli._stopping import stoppable

CLIPS = 1800
"""Clips in each of the two datasets, unless told otherwise."""


@click.command("demo-corpus")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--clips", type=int, help="Clips in each dataset. [default: 1800; counterfactual: 400]"
)
@click.option(
    "--counterfactual",
    is_flag=True,
    help="Four datasets of the same pieces instead: band in all combinations of SoundFont and "
    "production chain.",
)
@click.option("--seed", type=SEED, default=1, show_default=True, help="Of every random choice.")
@click.option("--jobs", default=-1, show_default=True, help="Processes; -1: one on each core.")
@click.option(
    "--soundfonts",
    type=click.Path(path_type=Path),
    help="Folder with the SoundFonts, if they are not installed. [env: BIASMIR_SOUNDFONTS]",
)
@click.option("--quiet", is_flag=True, help="No progress bar.")
def demo_corpus(
    out: Path,
    clips: int | None,
    counterfactual: bool,
    seed: int,
    jobs: int,
    soundfonts: Path | None,
    quiet: bool,
) -> None:
    """Render the two demonstration datasets, solo and band, into the folder OUT.

    With --counterfactual, render the same pieces of band in all four combinations of SoundFont and
    production chain instead.

    An interrupted rendering goes on where it stopped when the command is repeated. The same seed
    gives the same audio, whatever the number of jobs.
    """
    from biasmir_utils.demo.counterfactual import PIECES, render_counterfactual
    from biasmir_utils.demo.render import render_corpus

    how: dict[str, Any] = {"seed": seed, "jobs": jobs, "soundfonts": soundfonts}
    with stoppable(
        lambda: (
            f"Stopped; finished clips are kept in {out}, and the same command goes on from there."
        )
    ):
        if counterfactual:
            pieces = PIECES if clips is None else clips
            corpus = render_counterfactual(out, pieces=pieces, progress=not quiet, **how)
        else:
            corpus = render_corpus(
                out, clips=CLIPS if clips is None else clips, progress=not quiet, **how
            )
    click.echo(corpus.summary())
