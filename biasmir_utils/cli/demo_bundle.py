"""`biasmir demo-bundle`."""

from __future__ import annotations

from pathlib import Path

import click

from biasmir_utils.cli._options import SeveralCommand, SeveralOption


@click.command("demo-bundle", cls=SeveralCommand)
@click.argument("rendered", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--embedding", "embeddings", cls=SeveralOption, help="To keep. Default: all.")
@click.option(
    "--examples",
    default=3,
    show_default=True,
    help="Listening examples of each instrument in each dataset.",
)
@click.option(
    "--pieces",
    type=int,
    help="For a counterfactual corpus, instead: pieces to listen to, each in all datasets.",
)
@click.option("--quiet", is_flag=True, help="No progress bar.")
def demo_bundle(
    rendered: Path,
    out: Path,
    embeddings: tuple[str, ...],
    examples: int,
    pieces: int | None,
    quiet: bool,
) -> None:
    """Make the small corpus in data/demo, or data/counterfactual, from a rendered one.

    RENDERED is a folder made by demo-corpus, with embeddings made by extract. OUT gets the clip
    table, the embeddings clip by clip in half precision, and listening examples as MP3.
    """
    from biasmir_utils.corpus import Corpus
    from biasmir_utils.demo.bundle import write_bundle

    bundle = write_bundle(
        Corpus.load(rendered),
        out,
        embeddings=embeddings,
        per_instrument=examples,
        pieces=pieces,
        progress=not quiet,
    )
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    click.echo(f"{bundle.summary()}\n\n{size / 1e6:.2f} MB in {out}")
