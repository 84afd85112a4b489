"""`biasmir info`."""

from __future__ import annotations

from pathlib import Path

import click

from biasmir_utils.cli import _edge, _options

STEP = 1


@click.command(short_help="Summarise a corpus.")
@_options.corpus
def info(corpus: Path) -> None:
    """Summarise a corpus: clips, tracks, targets, groups, embeddings and warnings."""
    from biasmir_utils.corpus import Corpus

    _edge.echo(Corpus.load(corpus).summary())
