"""`biasmir import`; the module has another name because `import` is a word of Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from biasmir_utils.cli import _edge, _options

STEP = 4


@_options.command(
    "import", short_help="Write a corpus from a table, audio or embeddings of one's own."
)
@click.argument("out", type=_options.PATH)
@click.option(
    "--clips",
    type=_options.PATH,
    required=True,
    help="Table with a row for each clip, .csv or .parquet.",
)
@_options.several(
    "--features",
    type=_options.PATH,
    help="Matrix of an embedding, .npy, .npz or .parquet; may be given several times.",
)
@_options.several(
    "--embedding", "embeddings", type=_options.NAME, help="Name of each matrix, in the same order."
)
@click.option(
    "--audio-root",
    type=_options.PATH,
    help="Folder of the audio, which stays there.  [default: the table's, if it has paths]",
)
@click.option("--name", help="Short name of the corpus.  [default: that of the folder OUT]")
@click.option("--title", help="Its name for people.")
@click.option("--dataset", help="Dataset of all clips, if the table has no such column.")
@_options.several("--label", "labels", help="Columns of likelihoods in [0, 1].")
@_options.several("--category", "categories", help="Columns of names.")
@_options.several("--number", "numbers", help="Columns of numbers.")
@click.option(
    "--labels-from",
    metavar="COLUMN",
    help="Column of names parted by semicolons, or of lists of names; each becomes a label.",
)
@click.option(
    "--test-share",
    default=0.25,
    show_default=True,
    help="Share of tracks drawn for the test part, if the table has no column split.",
)
@_options.seed("Of that draw.")
@click.option(
    "--shared-tracks",
    is_flag=True,
    help="Tracks of one name in several datasets are the same, such as one recording in two "
    "encodings.",
)
@click.option(
    "--allow-table-columns",
    is_flag=True,
    help="Let columns of the table be dimensions of an embedding, too.",
)
@click.option("--licence", help="Licence of the data, for the record.")
def import_corpus(
    out: Path,
    clips: Path,
    features: tuple[Path, ...],
    embeddings: tuple[str, ...],
    licence: str | None,
    **options: Any,
) -> None:
    """Write a corpus in OUT from a table, a folder of audio and matrices of embeddings.

    Columns of the table with a meaning: dataset, clip, track (the recording that a clip was cut
    from), split (train or test), group (genre), audio (path). The others are targets: those that
    are named here, or else what they look like, which is printed.
    """
    from biasmir_utils.datasets import import_corpus as run
    from biasmir_utils.errors import ArgumentError

    if len(features) != len(embeddings) or len(set(embeddings)) != len(embeddings):
        raise ArgumentError(
            f"--features and --embedding go in pairs, each name once; found {len(features)} "
            f"matrices and {len(set(embeddings))} names"
        )
    matrices = dict(zip(embeddings, features, strict=True))
    licences = [{"what": "everything", "licence": licence}] if licence else []
    corpus = run(out, clips, features=matrices, licences=licences, **options)
    notes = corpus.description.provenance["notes"]
    for note in notes:
        _edge.echo(note)
    _edge.echo(("\n" if notes else "") + corpus.summary())
