"""`biasmir extract`."""

from __future__ import annotations

from pathlib import Path

import click

from biasmir_utils.cli._options import SeveralCommand, SeveralOption, scheduler_option
from biasmir_utils.cli._stopping import stoppable

STEP = 5


class _WithEmbeddings(SeveralCommand):
    """A command whose help ends with the embeddings."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what `--embedding` knows; imported for the help only."""
        from biasmir_utils.embeddings import available

        with formatter.section("Embeddings"):
            formatter.write_dl(
                [
                    (name, f"{one.summary}; {one.dimension:,}-d, licence: {one.licence}")
                    for name, one in available().items()
                ]
            )


@click.command(
    cls=_WithEmbeddings, short_help="Embed the clips of a corpus with pre-trained networks."
)
@click.argument("corpus", type=click.Path(path_type=Path))
@click.option(
    "--embedding",
    "embeddings",
    cls=SeveralOption,
    required=True,
    metavar="NAME",
    help="One or more of those listed below.",
)
@click.option(
    "--model",
    metavar="PATH_OR_URL",
    help="A local model, or an address, instead of the embedding's own; with one NAME.",
)
@click.option("--download", is_flag=True, help="Allow a model to be downloaded.")
@click.option(
    "--hop", type=float, help="Seconds from frame to frame, where it can be chosen (openl3)."
)
@click.option(
    "--jobs",
    type=click.IntRange(min=0),
    help=(
        "Processes that decode and resample beside the network; default: all cores but one, or "
        "all where there is no network. With --scheduler local: workers; default: all cores."
    ),
)
@scheduler_option
@click.option("--pool", is_flag=True, help="Keep the mean over frames of each clip only.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="How features are stored.",
)
@click.option("--retry", is_flag=True, help="Try clips again that were left out before.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def extract(
    corpus: Path,
    embeddings: tuple[str, ...],
    model: str | None,
    download: bool,
    hop: float | None,
    jobs: int | None,
    scheduler: str | None,
    pool: bool,
    dtype: str,
    retry: bool,
    quiet: bool,
) -> None:
    """Embed the clips of a corpus with pre-trained networks.

    CORPUS is a folder with corpus.json. Clips that are unreadable, empty or too short are
    left out with their reason. Started again, the command embeds only what is missing, also
    after it was killed.
    """
    from biasmir_utils.embeddings import available
    from biasmir_utils.embeddings import extract as run
    from biasmir_utils.errors import ArgumentError, did_you_mean

    for name in embeddings:
        if name not in available():
            known = ", ".join(available())
            raise ArgumentError(
                f"unknown embedding {name!r}; expected one or more of {known}."
                f"{did_you_mean(name, available())}"
            )
    if (model is not None or hop is not None) and len(embeddings) > 1:
        raise ArgumentError(
            f"--model and --hop go with one embedding, found {len(embeddings)}; run the command "
            f"once for each"
        )
    for name in dict.fromkeys(embeddings):
        with stoppable(
            lambda: "Stopped; finished parts are kept, and the same command goes on from there."
        ):
            report = run(
                corpus,
                name,
                model=model,
                download=download,
                hop=hop,
                jobs=jobs,
                pool=pool,
                dtype=dtype,
                retry=retry,
                progress=not quiet,
                scheduler=scheduler,
            )
        click.echo(report.summary())
