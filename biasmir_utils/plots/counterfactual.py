"""Pictures of a shift that is known: arrows, its parts, who finds it, what that is good for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from biasmir_utils.errors import ArgumentError
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
def shift_arrows(
    home: ArrayLike,
    away: ArrayLike,
    category: ArrayLike | None = None,
    *,
    order: Sequence[Any] | None = None,
    names: tuple[str, str] = ("first component", "second component"),
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the shift of each piece as an arrow, and beside them that of their mean.

    Parameters
    ----------
    home, away : array-like, (n, 2)
        The two renderings of the same pieces.
    category : array-like, (n,), optional
        Genre or instrument of each piece: colour of its arrow, and marker at its foot.
    order : sequence, optional
        Categories to draw, in the order of the legend.
    names : tuple of str
        Labels of the axes.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        With a quiver for each category, then one for the mean shift, drawn from the mean.
    """
    from matplotlib.lines import Line2D

    start, end = np.asarray(home, dtype=float), np.asarray(away, dtype=float)
    if start.ndim != 2 or start.shape[1] != 2 or start.shape != end.shape:
        raise ArgumentError(
            f"home and away: expected one shape (n, 2), found {start.shape} and {end.shape}"
        )
    kinds = np.full(len(start), "pieces") if category is None else np.asarray(category)
    if len(kinds) != len(start):
        raise ArgumentError(f"expected a category for each of {len(start)} pieces")
    ax = new_axes(ax, height=5.4)
    handles: list[Any] = []
    drawn: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1}
    table = pd.DataFrame({"category": kinds})
    for name, look in looks(order_of(table, "category", order)).items():
        chosen = kinds == name
        at, step = start[chosen], (end - start)[chosen]
        ax.quiver(*at.T, *step.T, color=look.colour, alpha=0.65, width=0.004, label=name, **drawn)
        handles += ax.plot(
            *at.T,
            linestyle="none",
            marker=look.marker,
            color=look.colour,
            markeredgecolor=INK,
            markeredgewidth=0.5,
            markersize=5,
            label=str(name),
        )
    mean, step = start.mean(axis=0), (end - start).mean(axis=0)
    head: dict[str, Any] = {"headwidth": 2.6, "headlength": 2.6, "headaxislength": 2.6}
    ax.quiver(*mean, *step, color=INK, width=0.012, zorder=4, label="mean shift", **head, **drawn)
    handles = handles if category is not None else []
    handles.append(Line2D([], [], color=INK, linewidth=5, label="mean shift"))
    both = np.concatenate([start, end])
    margin = 0.05 * np.ptp(both, axis=0)
    low, high = both.min(axis=0) - margin, both.max(axis=0) + margin
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel=names[0], ylabel=names[1])
    ax.set(xticks=[], yticks=[], title=title or "")
    ax.set_aspect("equal", adjustable="box")
    legend_below(ax, handles, columns=3)
    return ax


@styled
def factor_bars(
    table: pd.DataFrame,
    *,
    row: str = "embedding",
    part: str = "part",
    value: str = "value",
    order: Sequence[Any] | None = None,
    parts: Sequence[Any] | None = None,
    xlabel: str = "share",
    ax: Axes | None = None,
) -> Axes:
    """Draw shares that sum to one as stacked bars, with each share of 5 % or more written in it.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `row`, `part`, `value`; one row for each combination.
    row, part, value : str
        What is listed from top to bottom, what is stacked, the share.
    order, parts : sequence, optional
        Values of `row` and `part` in the order to draw.
    xlabel : str
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        With one container of bars for each part.
    """
    check_table(table, [row, part, value], unique=[row, part])
    rows, kinds = order_of(table, row, order), looks(order_of(table, part, parts), skip=2)
    ax = new_axes(ax, height=1.5 + 0.55 * len(rows))
    left = np.zeros(len(rows))
    for name, look in kinds.items():
        widths = table[table[part] == name].set_index(row)[value].reindex(rows).fillna(0)
        bars = ax.barh(
            range(len(rows)),
            widths,
            left=left,
            height=0.7,
            color=look.colour,
            hatch=look.hatch,
            edgecolor="white",
            label=str(name),
        )
        for bar, width in zip(bars, widths, strict=True):
            if width >= 0.05:
                ax.text(
                    bar.get_x() + width / 2,
                    bar.get_y() + bar.get_height() / 2,
                    f"{100 * width:.0f}",
                    ha="center",
                    va="center",
                    fontsize=12,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
                )
        left += np.maximum(widths.to_numpy(), 0)
    ax.set(xlabel=xlabel, ylabel="", ylim=(len(rows) - 0.5, -0.5), xlim=(0, max(1.0, left.max())))
    ax.set_yticks(range(len(rows)), [str(name) for name in rows])
    ax.grid(axis="y", visible=False)
    legend_below(ax, list(ax.containers), columns=3)
    return ax


@styled
def cosine_grid(
    table: pd.DataFrame,
    *,
    row: str = "group",
    column: str = "embedding",
    value: str = "cosine",
    low: str = "chance_low",
    order: Sequence[Any] | None = None,
    columns: Sequence[Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a grid of cosines; those below what chance gives are written bold and with a star.

    Parameters
    ----------
    table : pandas.DataFrame
        As `group_shifts` gives it, with a column for the embedding.
    row, column, value, low : str
        What is listed down and across, the cosine in [-1, 1], and the value below which noise
        alone does not explain it.
    order, columns : sequence, optional
        Values of `row` and `column` in the order to draw.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        With the cosines as texts, row by row.
    """
    import seaborn as sns

    check_table(table, [row, column, value, low], unique=[row, column])
    rows, across = order_of(table, row, order), order_of(table, column, columns)
    wide, floor = (
        table.pivot(index=row, columns=column, values=name).reindex(index=rows, columns=across)
        for name in (value, low)
    )
    ax = new_axes(ax, height=1.2 + 0.36 * len(rows))
    texts = wide.map(lambda cosine: f"{cosine:.2f}".replace("-", "\N{MINUS SIGN}"))
    below = (wide < floor).to_numpy()
    sns.heatmap(
        wide,
        annot=texts.mask(below, texts + "*"),
        fmt="",
        cmap="Blues",
        vmin=0,
        vmax=2,  # the darker tints would hide the numbers
        linewidths=1,
        cbar=False,
        annot_kws={"fontsize": 12, "color": INK},
        ax=ax,
    )
    for text, star in zip(ax.texts, below.ravel(), strict=True):
        if star:
            text.set_fontweight("bold")
    ax.set(xlabel="", ylabel="")
    ax.set_yticklabels([str(name).replace("_", " ") for name in rows])
    ax.tick_params(axis="x", length=0, labeltop=True, labelbottom=False)
    ax.tick_params(axis="y", rotation=0, length=0)
    return ax


@styled
def found_and_lost(
    table: pd.DataFrame,
    *,
    quantities: Sequence[str] = ("mean_removed", "task_removed"),
    titles: Sequence[str] = ("of the true shift", "of the instruments"),
    order: Sequence[Any] | None = None,
    by_order: Sequence[Any] | None = None,
) -> Figure:
    """Draw what corrections take away: panels for quantities, rows for corrections.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `correction`, `embedding`, `quantity`, `value`; `low` and `high` if there are
        intervals.
    quantities, titles : sequence of str
        Panels from left to right, and what stands above them.
    order, by_order : sequence, optional
        Corrections from top to bottom, embeddings in the legend.

    Returns
    -------
    matplotlib Figure
        With one line of markers for each embedding in each panel.
    """
    import matplotlib.pyplot as plt

    table = table[table["quantity"].isin(list(quantities))]
    check_table(table, ["value"], unique=["correction", "embedding", "quantity"])
    rows = order_of(table, "correction", order)
    kinds = looks(order_of(table, "embedding", by_order))
    height = 1.6 + (0.13 * len(kinds) + 0.14) * len(rows)
    figure, axes = plt.subplots(
        1, len(quantities), figsize=(WIDTH, height), sharey=True, squeeze=False
    )
    offsets = (np.arange(len(kinds)) - (len(kinds) - 1) / 2) * 0.75 / len(kinds)
    for ax, quantity, title in zip(axes[0], quantities, titles, strict=True):
        handles: list[Any] = []
        for (name, look), offset in zip(kinds.items(), offsets, strict=True):
            part = table[(table["quantity"] == quantity) & (table["embedding"] == name)]
            part = part.set_index("correction").reindex(rows)
            handles += _dots(ax, part, np.arange(len(rows)) + offset, look, str(name))
        for level in (0, 1):
            ax.axvline(level, color=MUTED, linestyle="--", linewidth=1.2, zorder=1)
        ax.set(title=title, xlabel="share taken away")
        _rows(ax, rows)
    legend_below(axes[0, 0], handles, columns=4)
    return figure


@styled
def closing_gap(
    table: pd.DataFrame,
    *,
    metric: str = "balanced_accuracy",
    baseline: str = "none",
    order: Sequence[Any] | None = None,
    embeddings: Sequence[Any] | None = None,
    xlabel: str = "balanced accuracy",
) -> Figure:
    """Draw scores at home and away after each correction, a panel for each embedding.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `embedding`, `correction`, `metric`, `quantity` (of which `home` and `away` are
        drawn), `value`, and `low` and `high` if there are intervals.
    metric : str
    baseline : str
        The correction whose scores at home and away are drawn as lines through all rows.
    order, embeddings : sequence, optional
        Corrections from top to bottom, panels.
    xlabel : str

    Returns
    -------
    matplotlib Figure
        Each panel with a line of markers for `away` and one for `home`.
    """
    import matplotlib.pyplot as plt

    table = table[(table["metric"] == metric) & table["quantity"].isin(["home", "away"])]
    check_table(table, ["value"], unique=["embedding", "correction", "quantity"])
    rows, panels = order_of(table, "correction", order), order_of(table, "embedding", embeddings)
    sides = looks(["at home", "away"])
    down = -(-len(panels) // 2)
    figure, axes = plt.subplots(
        down,
        min(len(panels), 2),
        figsize=(WIDTH, 1.0 + (0.8 + 0.27 * len(rows)) * down),
        sharey=True,
        sharex=True,
        squeeze=False,
    )
    for ax in axes.ravel()[len(panels) :]:
        ax.set_visible(False)
    for ax, embedding in zip(axes.ravel(), panels, strict=False):
        handles: list[Any] = []
        for name, quantity in zip(sides, ("home", "away"), strict=True):
            part = table[(table["embedding"] == embedding) & (table["quantity"] == quantity)]
            part = part.set_index("correction").reindex(rows)
            heights = np.arange(len(rows)) + (-0.15 if quantity == "home" else 0.15)
            handles += _dots(ax, part, heights, sides[name], name)
            ax.axvline(
                float(part.at[baseline, "value"]),
                color=sides[name].colour,
                linestyle=sides[name].line,
                linewidth=1.6,
                zorder=1,
            )
        ax.set(title=str(embedding))
        _rows(ax, rows)
    for ax in axes[-1]:
        ax.set_xlabel(xlabel)
    legend_below(axes[0, 0], handles)
    return figure


def _dots(ax: Axes, part: pd.DataFrame, heights: np.ndarray, look: Any, label: str) -> list[Any]:
    if {"low", "high"} <= set(part.columns):
        ax.hlines(heights, part["low"], part["high"], color=INK, linewidth=1.2, zorder=2)
    return ax.plot(
        part["value"],
        heights,
        linestyle="none",
        marker=look.marker,
        color=look.colour,
        markeredgecolor=INK,
        markersize=6.5,
        label=label,
        zorder=3,
    )


def _rows(ax: Axes, rows: Sequence[Any]) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_yticks(range(len(rows)), [str(name) for name in rows])
    ax.set(ylabel="", ylim=(len(rows) - 0.5, -0.5))
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.grid(axis="y", visible=False)
    for boundary in np.arange(len(rows) - 1) + 0.5:
        ax.axhline(boundary, color="#e8e8e8", linewidth=0.8, zorder=0)
