"""`biasmir prepare`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

STEP = 3


@click.group(short_help="Write a corpus from the files of the paper.")
def prepare() -> None:
    """Write a corpus from the files that `biasmir fetch` brings, or others in their layout."""


_OUT = click.argument("out", type=click.Path(path_type=Path))


def _root(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--root",
        type=click.Path(path_type=Path),
        help=f"Folder with {what}.  [default: where `biasmir fetch` puts files]",
    )


@prepare.command()
@_OUT
@_root("paper/ (embeddings and IRMAS split) and openmic-2018/ (the archive)")
@click.option(
    "--from-audio",
    is_flag=True,
    help="With the audio of both, in place (also IRMAS-TrainingData/), instead of embeddings.",
)
def paper(out: Path, root: Path | None, from_audio: bool) -> None:
    """Make the corpus of the paper in OUT: IRMAS and OpenMIC-2018, published embeddings."""
    from biasmir_utils.datasets import default_root, prepare_paper

    corpus = prepare_paper(root or default_root(), out, from_audio=from_audio)
    click.echo(corpus.summary())


@prepare.command()
@_OUT
@_root("openmic-2018/ (the archive)")
def openmic(out: Path, root: Path | None) -> None:
    """Make a corpus of OpenMIC-2018 in OUT, whose audio is used in place."""
    from biasmir_utils.datasets import default_root, prepare_openmic

    click.echo(prepare_openmic(root or default_root(), out).summary())


@prepare.command()
@_OUT
@_root("IRMAS-TrainingData/ (the archive) and paper/ (the split)")
def irmas(out: Path, root: Path | None) -> None:
    """Make a corpus of the IRMAS training part in OUT, whose audio is used in place."""
    from biasmir_utils.datasets import default_root, prepare_irmas

    click.echo(prepare_irmas(root or default_root(), out).summary())
