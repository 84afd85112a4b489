"""`biasmir prepare`."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def prepare() -> None:
    """Write a corpus from the files of the paper."""


@prepare.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder with paper/ (embeddings and IRMAS split) and openmic-2018/ (the archive).",
)
def paper(out: Path, root: Path) -> None:
    """Make the corpus of the paper in OUT: IRMAS and OpenMIC-2018, published embeddings."""
    from biasmir_utils.sources.paper import prepare_paper

    click.echo(prepare_paper(root, out).summary())
