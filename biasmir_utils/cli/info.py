"""`biasmir info`."""

from __future__ import annotations

from pathlib import Path

import click

from biasmir_utils.cli._options import corpus_argument

STEP = 1


@click.command(short_help="Summarise a corpus.")
@corpus_argument
def info(corpus: Path) -> None:
    """Summarise a corpus: clips, tracks, targets, groups, embeddings and warnings."""
    from biasmir_utils.corpus import Corpus

    click.echo(Corpus.load(corpus).summary())
