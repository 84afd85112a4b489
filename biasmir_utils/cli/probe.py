"""`biasmir probe`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import click

from biasmir_utils.cli import _edge, _options

STEP = 6
FAR_BELOW = 0.02
"""How far below the least of chance a probe is explained; 0.5 where chance was not measured."""


@_options.command(short_help="Tell how well the dataset can be read from an embedding.")
@_options.corpus
@_options.embeddings
@_options.several(
    "--kind",
    "kinds",
    default=("linear",),
    show_default="linear",
    help="linear, rbf (after random features), or both.",
)
@click.option("--leaked", is_flag=True, help="Add folds that part the clips of a track.")
@click.option(
    "--permutations",
    "n_permutations",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="To measure chance with; 0: not at all.",
)
@_options.seed("Of all random choices.")
@click.option("--out", type=_options.PATH, help="Also a table, .csv or .parquet.")
def probe(
    corpus: Path, embeddings: tuple[str, ...], out: Path | None, n_permutations: int, **how: Any
) -> None:
    """Tell how well the dataset of a clip can be read from its embedding in CORPUS.

    ROC-AUC of a probe of the dataset, by 5-fold cross-validation that keeps the clips of a
    track together; chance is the same with the datasets of the tracks permuted.
    """
    from biasmir_utils.corpus import Corpus
    from biasmir_utils.experiments import check_table_outputs, probe as run, write_table

    if out is not None:
        check_table_outputs(out, ["embedding", "folds", "chance"])
    loaded = Corpus.load(corpus)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        names = embeddings or loaded.embedding_names
        table = run(loaded, names, n_permutations=n_permutations, **how)
    if out is not None:
        write_table(table, out)
    without = [] if n_permutations else ["chance", "chance_min", "chance_max"]
    shown = table.drop(columns=["corpus", *without]).fillna({"dataset": "(mean)"})
    _edge.echo(shown.to_string(index=False, float_format="{:.3f}".format))
    below = table[table["roc_auc"] < table["chance_min"].fillna(0.5) - FAR_BELOW]
    for row in below.itertuples():
        _edge.echo(
            f"Note: {row.embedding}, {row.kind} probe: {row.roc_auc:.3f} is below chance, which "
            f"does not mean that the dataset can be read. Where its mean is the same for both over "
            f"these very clips, as after a correction that was fitted to them, what differs in "
            f"some folds is turned round in the others; clips that the correction was not fitted "
            f"to show what is left."
        )
    for warning in caught:
        _edge.echo(f"Note: {warning.message}", err=True)
    if out is not None:
        _edge.echo(f"Written: {out}")
