"""The train-test pairs: slopes with the test set held fixed, and the ranks of embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from biasmir_utils.errors import ArgumentError
from biasmir_utils.plots.style import (
    INK,
    WIDTH,
    Look,
    check_table,
    legend_below,
    looks,
    new_axes,
    order_of,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@styled
def train_test_pairs(
    table: pd.DataFrame,
    *,
    value: str = "roc_auc",
    order: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    ylabel: str = "mean ROC-AUC",
) -> Figure:
    """Draw the four train-test pairs of each embedding as slopes, the test set held fixed.

    Each panel is one test set. Its left end is the recogniser trained on the same dataset, its
    right end the one trained on the other, so that the slope is the fall.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `embedding`, `train_set`, `test_set` and the value; several rows for one
        combination (the labels) are averaged. `low` and `high` are drawn where there is one
        row for each combination.
    value : str
        Column to draw.
    order : sequence, optional
        Embeddings in the order of the legend.
    datasets : sequence, optional
        Two datasets in the order of the panels.
    ylabel : str
        What the value is.

    Returns
    -------
    matplotlib Figure
        Two axes, with a line of two points for each embedding.
    """
    import matplotlib.pyplot as plt

    check_table(table, ["embedding", "train_set", "test_set", value])
    sets = order_of(table, "test_set", datasets)
    if len(sets) != 2:
        raise ArgumentError(f"expected results on two test sets, found {sets}")
    kinds = looks(order_of(table, "embedding", order))
    keys = ["test_set", "train_set", "embedding"]
    means = table.groupby(keys)[value].mean()
    single = {"low", "high"} <= set(table.columns) and not table.duplicated(keys).any()
    ends = (
        {tuple(row[:3]): row[3:] for row in table[[*keys, "low", "high"]].to_numpy().tolist()}
        if single
        else {}
    )
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.6), sharey=True)
    for ax, test_set, other in zip(axes, sets, sets[::-1], strict=True):
        for position, (name, look) in enumerate(kinds.items()):
            shift = 0.05 * (position - (len(kinds) - 1) / 2)
            x = np.array([0, 1]) + shift
            pairs = [(test_set, train, name) for train in (test_set, other)]
            if ends:
                for at, pair in zip(x, pairs, strict=True):
                    ax.vlines(at, *ends[pair], color=INK, linewidth=1.4, zorder=2)
            ax.plot(
                x,
                [means[pair] for pair in pairs],
                color=look.colour,
                linestyle=look.line,
                marker=look.marker,
                markeredgecolor=INK,
                label=str(name),
                zorder=3,
            )
        ax.set(title=f"tested on {test_set}", xlim=(-0.35, 1.35), xlabel="trained on")
        ax.set_xticks([0, 1], [str(test_set), str(other)])
        ax.grid(axis="x", visible=False)
    axes[0].set_ylabel(ylabel)
    legend_below(axes[0], [_line(look, name) for name, look in kinds.items()])
    return figure


@styled
def ranking(
    table: pd.DataFrame,
    *,
    value: str = "roc_auc",
    pairs: Sequence[tuple[str, str]] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the rank of each embedding in each train-test pair, with its mean value.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `embedding`, `train_set`, `test_set` and the value; the labels are averaged.
    value : str
        Column to rank by, the largest first.
    pairs : sequence of (train_set, test_set), optional
        Pairs from left to right; without it first the pairs inside a dataset.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        With a line for each embedding; 1 is the best rank, on top.
    """
    check_table(table, ["embedding", "train_set", "test_set", value])
    means = table.groupby(["train_set", "test_set", "embedding"])[value].mean()
    if pairs is None:
        found = list(means.index.droplevel("embedding").unique())
        pairs = sorted(found, key=lambda pair: pair[0] != pair[1])
    wide = pd.DataFrame({pair: means.loc[pair] for pair in pairs})
    ranks = wide.rank(ascending=False, method="min")
    kinds = looks(order_of(table, "embedding"))
    ax = new_axes(ax, height=1.9 + 0.62 * len(kinds))
    for name, look in kinds.items():
        heights = ranks.loc[name].to_numpy()
        ax.plot(
            range(len(pairs)),
            heights,
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
            markeredgecolor=INK,
            markersize=11,
            label=str(name),
        )
        for x, (height, score) in enumerate(zip(heights, wide.loc[name], strict=True)):
            ax.annotate(
                f"{score:.3f}",
                (x, height),
                xytext=(0, -11),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=12,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85},
            )
    ax.set(ylim=(len(kinds) + 0.6, 0.6), xlim=(-0.4, len(pairs) - 0.6), ylabel="rank")
    ax.set_yticks(range(1, len(kinds) + 1))
    names = [f"{train}\n\N{DOWNWARDS ARROW}\n{test}" for train, test in pairs]
    ax.set_xticks(range(len(pairs)), names)
    ax.grid(visible=False)
    legend_below(ax, [_line(look, name) for name, look in kinds.items()])
    return ax


def _line(look: Look, name: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D(
        [],
        [],
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markeredgecolor=INK,
        label=str(name),
    )
