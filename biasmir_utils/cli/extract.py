"""`biasmir extract`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from biasmir_utils.cli import _edge, _options

STEP = 5


def _list_embeddings(formatter: click.HelpFormatter) -> None:
    from biasmir_utils.embeddings import available

    with formatter.section("Embeddings"):
        formatter.write_dl(
            [
                (name, f"{one.summary}; {one.dimension:,}-d, licence: {one.licence}")
                for name, one in available().items()
            ]
        )


@_options.command(
    listing=_list_embeddings, short_help="Embed the clips of a corpus with pre-trained networks."
)
@_options.corpus
@_options.several(
    "--embedding",
    "embeddings",
    required=True,
    metavar="NAME",
    help="One or more of those listed below; or package.module:Name, a callable, an object with a "
    "method embed, or load_model of a HEAR module: its code is run.",
)
@click.option(
    "--model",
    metavar="PATH_OR_URL",
    help="A local model, or an address, instead of the embedding's own; with one NAME. "
    "A SavedModel (yamnet, vggish) is a program: give only one you trust.",
)
@click.option("--download", is_flag=True, help="Allow a model to be downloaded.")
@click.option(
    "--hop", type=float, help="Seconds from frame to frame, where it can be chosen (openl3)."
)
@click.option(
    "--jobs",
    type=click.IntRange(min=0),
    help="Processes that decode and resample beside the network; default: all cores but one, or "
    "all where there is no network. With --scheduler local: workers; default: all cores.",
)
@_options.scheduler
@click.option("--pool", is_flag=True, help="Keep the mean over frames of each clip only.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="How features are stored.",
)
@click.option("--retry", is_flag=True, help="Try all clips again that were left out before.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def extract(corpus: Path, embeddings: tuple[str, ...], quiet: bool, **options: Any) -> None:
    """Embed the clips of a corpus with pre-trained networks.

    CORPUS is a folder with corpus.json. Clips that are unreadable, empty, too short or too long
    are left out with their reason. Started again, the command embeds only what is missing, or has
    changed since it was left out, also after it was killed.
    """
    from biasmir_utils.embeddings import check_known, extract as run
    from biasmir_utils.errors import ArgumentError

    for name in embeddings:
        check_known(name)
    if len(embeddings) > 1 and (options["model"] is not None or options["hop"] is not None):
        raise ArgumentError(
            f"--model and --hop go with one embedding, found {len(embeddings)}; run the command "
            f"once for each"
        )
    _edge.when_stopped(
        lambda: "Stopped; finished parts are kept, and the same command goes on from there."
    )
    for name in dict.fromkeys(embeddings):
        report = run(corpus, name, progress=not quiet, **options)
        _edge.echo(report.summary())
