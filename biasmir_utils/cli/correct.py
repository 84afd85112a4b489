"""`biasmir correct`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from biasmir_utils.cli import _edge, _options

STEP = 8


@_options.command(
    short_help="Write a corpus with corrected embeddings.",
    context_settings={"allow_extra_args": True},
)
@_options.corpus
@click.option(
    "--correction",
    type=_options.NAME,
    metavar="NAME[:option=value,...]",
    help="Fitted to CORPUS, such as leace, mlda, leace:groups=auto, klda, coral:unseen=own.",
)
@_options.several(
    "--load",
    "saved",
    type=_options.PATH,
    help="Saved corrections instead: files, or the folder of a corrected corpus.",
)
@_options.embeddings
@click.option(
    "--fit-split",
    type=click.Choice(["train", "all"]),
    default="train",
    show_default=True,
    help="Fit to the training clips, or to all.",
)
@click.option("--label", type=_options.NAME, help="The label that given=label conditions on.")
@_options.seed("Of random features and found groups.")
@click.option("--out", type=_options.PATH, required=True, help="Folder of the new corpus.")
@click.pass_context
def correct(
    ctx: click.Context,
    corpus: Path,
    correction: str | None,
    saved: tuple[Path, ...],
    embeddings: tuple[str, ...],
    out: Path,
    **fit: Any,
) -> None:
    """Write a corpus in OUT whose embeddings are those of CORPUS, corrected.

    The correction is fitted to the training clips of all datasets, applied to all clips, and saved
    in OUT/corrections, from where --load applies it to another corpus. CORPUS stays as it is.
    """
    from biasmir_utils.corpus import Corpus
    from biasmir_utils.corrections import apply_to_corpus, correct_corpus
    from biasmir_utils.errors import ArgumentError

    if ctx.args and correction is None:
        ctx.fail(f"Got unexpected extra arguments ({' '.join(ctx.args)})")
    if ctx.args:
        ctx.fail(
            f"Got unexpected extra argument(s): {', '.join(ctx.args)}. --correction takes one "
            f"correction here, found {correction}; for several, call the command once for each, "
            f"with an --out of its own"
        )
    if (correction is None) == (not saved):
        raise ArgumentError("give either --correction, to fit one, or --load, to apply saved ones")
    if saved and (fit["label"] is not None or fit["fit_split"] != "train"):
        raise ArgumentError("--label and --fit-split are for a fit; with --load leave them out")
    source = Corpus.load(corpus)
    if correction is None:
        found = apply_to_corpus(source, saved, out, embeddings=embeddings)
    else:
        fit["random_state"] = fit.pop("seed")
        found = correct_corpus(source, correction, out, embeddings=embeddings, **fit)
    for note in found.description.provenance["notes"]:
        _edge.echo(note)
    for name in found.embedding_names:
        _edge.echo(
            f"{name}: {int(found.complete([name]).sum())} clips of {found.dimension(name)} "
            f"dimensions, {found.path / 'corrections' / name}.npz"
        )
