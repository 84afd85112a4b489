"""Pictures of the bias itself: groups, directions, spectra of directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from biasmir_utils.plots.style import (
    INK,
    MUTED,
    WIDTH,
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
def group_shares(
    table: pd.DataFrame,
    *,
    value: str = "share",
    row: str = "group",
    order: Sequence[Any] | None = None,
    datasets: Sequence[str] | None = None,
    xlabel: str = "share of clips",
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of each group (genre), or of each instrument, in each dataset.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `dataset`, `row` and the value, one row for each combination.
    value : str
        Column to draw, in [0, 1].
    row : str
        Column listed from top to bottom.
    order, datasets : sequence, optional
        Rows and datasets in the order to draw.
    xlabel : str
        What the value is.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        One container of bars for each dataset, with its hatch.
    """
    import seaborn as sns

    check_table(table, ["dataset", row, value], unique=["dataset", row])
    rows, kinds = order_of(table, row, order), looks(order_of(table, "dataset", datasets))
    ax = new_axes(ax, height=1.6 + 0.3 * len(kinds) * len(rows))
    sns.barplot(
        data=table,
        x=value,
        y=row,
        hue="dataset",
        order=rows,
        hue_order=list(kinds),
        palette=[look.colour for look in kinds.values()],
        saturation=1,
        edgecolor=INK,
        linewidth=0.8,
        errorbar=None,
        legend=False,
        orient="h",
        ax=ax,
    )
    handles: list[Any] = []
    for container, (name, look) in zip(ax.containers, kinds.items(), strict=True):
        for bar in container:
            bar.set_hatch(look.hatch)
        container.set_label(str(name))
        handles.append(container)
    ax.set(xlabel=xlabel, ylabel="")
    legend_below(ax, handles)
    return ax


@styled
def label_by_group(
    table: pd.DataFrame,
    *,
    value: str = "clips",
    labels: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None,
    datasets: Sequence[str] | None = None,
) -> Figure:
    """Draw how many clips of each label each group has, a panel for each dataset.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `dataset`, `label`, `group` and the value (a count), one row for each
        combination; a combination that is absent counts as zero.
    value : str
        Column to write into the cells.
    labels, groups, datasets : sequence, optional
        Rows, columns and panels in the order to draw.

    Returns
    -------
    matplotlib Figure
        One heat map for each dataset. Tints show the share within the label (row).
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    keys = ["dataset", "label", "group"]
    check_table(table, [*keys, value], unique=keys)
    rows, columns = order_of(table, "label", labels), order_of(table, "group", groups)
    sets = order_of(table, "dataset", datasets)
    figure, axes = plt.subplots(
        1, len(sets), figsize=(WIDTH, 2.4 + 0.4 * len(rows)), sharey=True, squeeze=False
    )
    for ax, dataset in zip(axes[0], sets, strict=True):
        counts = (
            table[table["dataset"] == dataset]
            .pivot(index="label", columns="group", values=value)
            .reindex(index=rows, columns=columns)
            .fillna(0)
        )
        shares = counts.div(counts.sum(axis=1).replace(0, 1), axis=0)
        sns.heatmap(
            shares,
            annot=counts,
            fmt=".0f",
            cmap="Blues",
            vmin=0,
            vmax=1,
            linewidths=1,
            cbar=False,
            annot_kws={"fontsize": 11},
            ax=ax,
        )
        ax.set(title=str(dataset), xlabel="", ylabel="")
        ax.set_xticklabels([str(name).replace("_", " ") for name in columns])
        ax.tick_params(axis="x", rotation=90, length=0)
        ax.tick_params(axis="y", rotation=0, length=0)
    return figure


@styled
def cosine_similarities(
    table: pd.DataFrame,
    *,
    value: str = "cosine",
    by: str = "train_set",
    chance: Mapping[str, float] | None = None,
    order: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the absolute cosine between dataset and label directions, a row for each embedding.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `embedding`, `label`, `by` and the value in [-1, 1], one row for each
        combination; its absolute value is drawn.
    value : str
        Column to draw.
    by : str
        Column told apart by colour and marker.
    chance : mapping of str to float, optional
        For each embedding, the mean absolute cosine of two random directions, drawn as a
        stroke.
    order : sequence, optional
        Embeddings from top to bottom.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        With one line of markers for each category of `by`, in the order of the table's rows.
    """
    from matplotlib.lines import Line2D

    keys = ["embedding", "label", by]
    check_table(table, [*keys, value], unique=keys)
    rows, kinds = order_of(table, "embedding", order), looks(order_of(table, by))
    at = {name: position for position, name in enumerate(rows)}
    ax = new_axes(ax, height=1.6 + 0.62 * len(rows))
    offsets = (np.arange(len(kinds)) - (len(kinds) - 1) / 2) * 0.7 / len(kinds)
    handles: list[Any] = []
    for (name, look), offset in zip(kinds.items(), offsets, strict=True):
        part = table[(table[by] == name) & table["embedding"].isin(rows)]
        handles += ax.plot(
            part[value].abs(),
            part["embedding"].map(at) + offset,
            linestyle="none",
            marker=look.marker,
            color=look.colour,
            markeredgecolor=INK,
            alpha=0.75,
            label=str(name),
        )
    if chance:
        handles += ax.plot(
            [chance[name] for name in rows],
            range(len(rows)),
            linestyle="none",
            marker="|",
            markersize=34,
            markeredgewidth=2.4,
            color=INK,
            label="two random directions",
        )
        handles[-1] = Line2D([], [], marker="|", markersize=14, markeredgewidth=2.4, color=INK)
        handles[-1].set(linestyle="none", label="two random directions")
    ax.set(xlabel="absolute cosine similarity", ylabel="", ylim=(len(rows) - 0.5, -0.5))
    ax.set_xlim(left=0)
    ax.set_yticks(range(len(rows)), rows)
    ax.grid(axis="y", visible=False)
    legend_below(ax, handles, columns=3)
    return ax


@styled
def singular_values(
    values: Mapping[str, ArrayLike], *, ylabel: str = "singular value", ax: Axes | None = None
) -> Axes:
    """Draw the singular values of stacked unit directions, a line for each embedding.

    Parameters
    ----------
    values : mapping of str to array-like
        Descending singular values. The squares of G unit directions sum to G: G equal values
        of 1 are G directions at right angles, one value of the root of G and else zeros are
        one direction G times.
    ylabel : str
        What the values are.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        With a line for each embedding.
    """
    ax = new_axes(ax, height=4.2)
    most = 0
    for name, look in looks(values).items():
        heights = np.asarray(values[name], dtype=float)
        most = max(most, len(heights))
        ax.plot(
            range(1, len(heights) + 1),
            heights,
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
            markeredgecolor=INK,
            label=str(name),
        )
    line = ax.axhline(1, color=MUTED, linestyle=":", linewidth=1.4, zorder=1)
    line.set_label("all at right angles")
    ax.set(xlabel="position", ylabel=ylabel, xticks=range(1, most + 1))
    ax.set_ylim(bottom=0)
    legend_below(ax, ax.get_lines())
    return ax
