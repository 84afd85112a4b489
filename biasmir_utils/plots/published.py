"""The published results as figures, and ours on top of them where there are some.

Published means are filled markers, ours hollow ones with their intervals. Tables are those of
`experiments.compare.Comparison.quantity`: columns `embedding`, `correction`, `mode`, `train_set`,
`test_set`, `published`, and `ours`, `low`, `high`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from biasmir_utils.errors import ArgumentError
from biasmir_utils.plots.pairs import train_test_pairs
from biasmir_utils.plots.style import (
    INK,
    MUTED,
    WIDTH,
    check_table,
    legend_below,
    looks,
    order_of,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KEYS = ["embedding", "correction", "mode", "train_set", "test_set"]
_MODES = {"none": "nothing to fit", "global": "global", "classwise": "classwise"}


@styled
def published_pairs(
    published: pd.DataFrame,
    ours: pd.DataFrame | None = None,
    *,
    order: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
) -> Figure:
    """Draw the published means without correction as slopes, the test set held fixed.

    Parameters
    ----------
    published : pandas.DataFrame
        Columns `embedding`, `train_set`, `test_set`, `published`, one row for each
        combination, in units of ROC-AUC.
    ours : pandas.DataFrame, optional
        The same with `ours`, `low`, `high`; embeddings that were not published are left out.
    order : sequence, optional
        Embeddings in the order of the legend.
    datasets : sequence, optional
        Two datasets in the order of the panels.

    Returns
    -------
    matplotlib Figure
        Two axes with a line of two filled points for each embedding, and with `ours` also one of
        two hollow points.
    """
    keys = ["embedding", "train_set", "test_set"]
    check_table(published, [*keys, "published"], unique=keys)
    figure: Figure = train_test_pairs(
        published, value="published", order=order, datasets=datasets, ylabel="mean ROC-AUC"
    )
    kinds = looks(order_of(published, "embedding", order))
    if ours is None:
        return figure
    check_table(ours, [*keys, "ours", "low", "high"], unique=keys)
    sets = order_of(published, "test_set", datasets)
    for ax, test_set, other in zip(figure.axes, sets, sets[::-1], strict=False):
        for position, (name, look) in enumerate(kinds.items()):
            # Beside the published point of the same embedding, which is shifted too.
            shift = 0.05 * (position - (len(kinds) - 1) / 2) + 0.025
            found = ours[(ours["embedding"] == name) & (ours["test_set"] == test_set)]
            for x, train in enumerate((test_set, other)):
                row = found[found["train_set"] == train]
                if row.empty:
                    continue
                _hollow(
                    ax,
                    (x + shift, row["ours"].iloc[0]),
                    (row["low"].iloc[0], row["high"].iloc[0]),
                    look,
                    upright=True,
                )
    _say_which(figure)
    return figure


@styled
def published_changes(
    table: pd.DataFrame,
    *,
    corrections: Sequence[str] | None = None,
    names: dict[str, str] | None = None,
    pairs: Sequence[tuple[str, str]] | None = None,
    xlabel: str = "change, points",
) -> Figure:
    """Draw what each correction changes across datasets, in both modes.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `embedding`, `correction`, `mode`, `train_set`, `test_set`, `published` (a
        change in units of ROC-AUC); with `ours`, `low`, `high` these are drawn too.
    corrections : sequence, optional
        In the order to draw, from the top; as they appear without it.
    names : dict, optional
        What to call the embeddings.
    pairs : sequence of (train_set, test_set), optional
        A panel for each; without it all pairs of two different datasets.
    xlabel : str
        A point is 0.01 of ROC-AUC.

    Returns
    -------
    matplotlib Figure
        An axes for each pair; rows are corrections, grouped by embedding.
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    check_table(table, [*_KEYS, "published"], unique=_KEYS)
    found = dict.fromkeys(zip(table["train_set"], table["test_set"], strict=True))
    shown = list(pairs or [pair for pair in found if pair[0] != pair[1]])
    if not shown:
        raise ArgumentError("the table has no rows of two different datasets")
    methods = order_of(table, "correction", corrections)
    ticks: list[tuple[float, str]] = []
    rows: dict[tuple[Any, Any], float] = {}
    height = 0.0
    for embedding in order_of(table, "embedding"):
        ticks.append((height, (names or {}).get(embedding, str(embedding))))
        for method in methods:
            height += 1
            ticks.append((height, f"{method}  "))
            rows[embedding, method] = height
        height += 1.4
    kinds = {mode: look for mode, look in looks(_MODES).items() if mode in set(table["mode"])}
    with_ours = {"ours", "low", "high"} <= set(table.columns)
    # Published above, ours below the middle of a row, and the two modes apart in either.
    middle = -0.2 if with_ours else 0.0
    apart = 0.1 if with_ours else 0.16
    offsets = {"none": middle, "global": middle - apart, "classwise": middle + apart}
    figure, axes = plt.subplots(
        1,
        len(shown),
        figsize=(WIDTH, 1.9 + (0.44 if with_ours else 0.31) * len(ticks)),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for ax, (train, test) in zip(axes[0], shown, strict=True):
        part = table[(table["train_set"] == train) & (table["test_set"] == test)]
        ax.axvline(0, color=MUTED, linestyle="--", linewidth=1.6, zorder=1)
        for mode, look in kinds.items():
            chosen = part[(part["mode"] == mode) & part["correction"].isin(methods)]
            keys = zip(chosen["embedding"], chosen["correction"], strict=True)
            places = np.array([rows[key] for key in keys]) + offsets[mode]
            ax.plot(
                100 * chosen["published"],
                places,
                linestyle="none",
                marker=look.marker,
                color=look.colour,
                markeredgecolor=INK,
                label=_MODES[mode],
                zorder=3,
            )
            if with_ours:
                for place, (_, row) in zip(places, chosen.iterrows(), strict=True):
                    at = (100 * row["ours"], place + 0.4)
                    _hollow(ax, at, (100 * row["low"], 100 * row["high"]), look, upright=False)
        ax.set(title=f"{train} to {test}", xlabel=xlabel)
        ax.grid(axis="y", visible=False)
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes[0][0].set(ylim=(height - 0.6, -0.8))
    axes[0][0].set_yticks([place for place, _ in ticks], [text for _, text in ticks])
    handles = axes[0][0].get_legend_handles_labels()[0]
    legend_below(axes[0][0], handles, columns=3)
    if with_ours:
        _say_which(figure)
    return figure


def _hollow(
    ax: Axes, at: tuple[float, float], ends: tuple[float, float], look: Any, upright: bool
) -> None:
    """Draw a figure of ours with its interval."""
    x, y = at
    if upright:
        ax.vlines(x, *ends, color=look.colour, linewidth=1.4, zorder=4)
    else:
        ax.hlines(y, *ends, color=look.colour, linewidth=1.4, zorder=4)
    ax.plot(
        [x],
        [y],
        linestyle="none",
        marker=look.marker,
        markerfacecolor="white",
        markeredgecolor=look.colour,
        markeredgewidth=1.8,
        zorder=5,
    )


def _say_which(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    plain: dict[str, Any] = {"linestyle": "none", "marker": "o", "markeredgecolor": INK}
    handles = [
        Line2D([], [], color=MUTED, label="published", **plain),
        Line2D([], [], markerfacecolor="white", label="ours, with interval", **plain),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
