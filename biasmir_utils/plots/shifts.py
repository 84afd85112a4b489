"""Shifts between datasets: groups, directions and their spectra, a shift that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from biasmir_utils.plots.clips import COMPONENTS
from biasmir_utils.plots.style import (
    INK,
    MUTED,
    WIDTH,
    Look,
    check_table,
    key,
    legend_below,
    list_rows,
    looks,
    mark,
    new_axes,
    order_of,
    plane,
    side_by_side,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@styled
def group_shares(
    table: pd.DataFrame,
    *,
    order: Sequence[Any] | None = None,
    datasets: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of each group (genre) in each dataset.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `dataset`, `group` and `share`, in [0, 1], one row for each combination.
    order, datasets : sequence, optional
        Groups and datasets in the order to draw.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Axes
        One container of bars for each dataset, with its hatch.
    """
    import seaborn as sns

    check_table(table, ["dataset", "group", "share"], unique=["dataset", "group"])
    rows, kinds = order_of(table, "group", order), looks(order_of(table, "dataset", datasets))
    ax = new_axes(ax, height=1.6 + 0.3 * len(kinds) * len(rows))
    sns.barplot(
        data=table,
        x="share",
        y="group",
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
    ax.set(xlabel="share of clips", ylabel="")
    legend_below(ax, handles)
    return ax


@styled
def label_by_group(
    table: pd.DataFrame,
    *,
    labels: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None,
    datasets: Sequence[str] | None = None,
) -> Figure:
    """Draw how many clips of each label each group has, a panel for each dataset.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `dataset`, `label`, `group` and `clips`, one row for each
        combination; a combination that is absent counts as zero.
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
    check_table(table, [*keys, "clips"], unique=keys)
    rows, columns = order_of(table, "label", labels), order_of(table, "group", groups)
    sets = order_of(table, "dataset", datasets)
    figure, axes = plt.subplots(
        1, len(sets), figsize=(WIDTH, 2.4 + 0.4 * len(rows)), sharey=True, squeeze=False
    )
    for ax, dataset in zip(axes[0], sets, strict=True):
        counts = (
            table[table["dataset"] == dataset]
            .pivot(index="label", columns="group", values="clips")
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
    chance: Mapping[str, float] | None = None,
    order: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the absolute cosine between dataset and label directions, a row for each embedding.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `embedding`, `label`, `train_set` and `cosine` in [-1, 1], one row for each
        combination; its absolute value is drawn.
    chance : mapping of str to float, optional
        For each embedding, the mean absolute cosine of two random directions, drawn as a
        stroke.
    order : sequence, optional
        Embeddings from top to bottom.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Axes
        With one line of markers for each training set, in the order of the table's rows.
    """
    keys = ["embedding", "label", "train_set"]
    check_table(table, [*keys, "cosine"], unique=keys)
    rows, kinds = order_of(table, "embedding", order), looks(order_of(table, "train_set"))
    at = {name: position for position, name in enumerate(rows)}
    ax = new_axes(ax, height=1.6 + 0.62 * len(rows))
    handles: list[Any] = []
    for (name, look), offset in zip(kinds.items(), side_by_side(len(kinds), 0.7), strict=True):
        part = table[(table["train_set"] == name) & table["embedding"].isin(rows)]
        heights = part["embedding"].map(at) + offset
        handles += mark(ax, part["cosine"].abs(), heights, look, name, alpha=0.75, zorder=2)
    if chance:
        stroke = Look(INK, "|", "", "-")
        text, wide = "two random directions", {"markeredgewidth": 2.4}
        means = [chance[name] for name in rows]
        mark(ax, means, range(len(rows)), stroke, text, markersize=34, zorder=2, **wide)
        handles.append(key(stroke, text, markersize=14, **wide))
    ax.set(xlabel="absolute cosine similarity")
    list_rows(ax, rows)
    ax.set_xlim(left=0)
    legend_below(ax, handles, columns=3)
    return ax


@styled
def singular_values(values: Mapping[str, ArrayLike], *, ax: Axes | None = None) -> Axes:
    """Draw the singular values of stacked unit directions, a line for each embedding.

    Parameters
    ----------
    values : mapping of str to array-like
        Descending singular values. The squares of G unit directions sum to G: G equal values
        of 1 are G directions at right angles, one value of the root of G and else zeros are
        one direction G times.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Axes
        With a line for each embedding.
    """
    ax = new_axes(ax, height=4.2)
    heights = {name: np.asarray(part, dtype=float) for name, part in values.items()}
    for name, look in looks(heights).items():
        places = range(1, len(heights[name]) + 1)
        mark(ax, places, heights[name], look, name, linestyle=look.line, zorder=2)
    line = ax.axhline(1, color=MUTED, linestyle=":", linewidth=1.4, zorder=1)
    line.set_label("all at right angles")
    ax.set(xlabel="position", ylabel="singular value")
    ax.set_xticks(range(1, max(map(len, heights.values())) + 1))
    ax.set_ylim(bottom=0)
    legend_below(ax, ax.get_lines())
    return ax


@styled
def shift_arrows(
    home: ArrayLike,
    away: ArrayLike,
    category: ArrayLike | None = None,
    *,
    order: Sequence[Any] | None = None,
    names: tuple[str, str] = COMPONENTS,
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
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Axes
        With a quiver for each category, then one for the mean shift, drawn from the mean.
    """
    kinds = np.full(len(np.asarray(home)), "pieces") if category is None else np.asarray(category)
    start, end = plane(home, kinds), plane(away, kinds)
    steps = end - start
    ax = new_axes(ax, height=5.4)
    handles: list[Any] = []
    drawn: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1}
    table = pd.DataFrame({"category": kinds})
    feet: dict[str, Any] = {"markersize": 5, "markeredgewidth": 0.5, "zorder": 2}
    for name, look in looks(order_of(table, "category", order)).items():
        at, step = start[kinds == name].T, steps[kinds == name].T
        ax.quiver(*at, *step, color=look.colour, alpha=0.65, width=0.004, label=name, **drawn)
        handles += mark(ax, at[0], at[1], look, name, **feet)
    mean, step = start.mean(axis=0), steps.mean(axis=0)
    head: dict[str, Any] = {"headwidth": 2.6, "headlength": 2.6, "headaxislength": 2.6}
    ax.quiver(*mean, *step, color=INK, width=0.012, zorder=4, label="mean shift", **head, **drawn)
    bold = key(Look(INK, "", "", "-"), "mean shift", linestyle="-", linewidth=5)
    both = np.concatenate([start, end])
    margin = 0.05 * np.ptp(both, axis=0)
    low, high = both.min(axis=0) - margin, both.max(axis=0) + margin
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel=names[0], ylabel=names[1])
    ax.set(xticks=[], yticks=[], title=title or "")
    ax.set_aspect("equal", adjustable="box")
    legend_below(ax, [*(handles if category is not None else []), bold], columns=3)
    return ax


@styled
def factor_bars(
    table: pd.DataFrame,
    *,
    order: Sequence[Any] | None = None,
    parts: Sequence[Any] | None = None,
    xlabel: str = "share",
    ax: Axes | None = None,
) -> Axes:
    """Draw shares that sum to one as stacked bars, with each share of 5 % or more written in it.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `embedding`, `part`, `value`; one row for each combination.
    order, parts : sequence, optional
        Embeddings, from top to bottom, and parts in the order to draw.
    xlabel : str
        What the value is.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Axes
        With one container of bars for each part.
    """
    check_table(table, ["embedding", "part", "value"], unique=["embedding", "part"])
    rows, kinds = order_of(table, "embedding", order), looks(order_of(table, "part", parts), skip=2)
    ax = new_axes(ax, height=1.5 + 0.55 * len(rows))
    left = np.zeros(len(rows))
    for name, look in kinds.items():
        widths = (
            table[table["part"] == name].set_index("embedding")["value"].reindex(rows).fillna(0)
        )
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
        texts = [f"{100 * width:.0f}" if width >= 0.05 else "" for width in widths]
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        for text in ax.bar_label(bars, texts, label_type="center", fontsize=12):
            if text.get_text():
                text.set_bbox(ground)
        left += np.maximum(widths.to_numpy(), 0)
    ax.set(xlabel=xlabel, xlim=(0, max(1.0, left.max())))
    list_rows(ax, rows)
    legend_below(ax, list(ax.containers), columns=3)
    return ax


@styled
def cosine_grid(
    table: pd.DataFrame,
    *,
    order: Sequence[Any] | None = None,
    columns: Sequence[Any] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a grid of cosines; those below what chance gives are written bold and with a star.

    Parameters
    ----------
    table : pandas.DataFrame
        As `group_shifts` gives it, with a column for the embedding: `group`, `embedding`,
        `cosine` in [-1, 1], and `chance_low`, below which noise alone does not explain it.
    order, columns : sequence, optional
        Groups, down, and embeddings, across, in the order to draw.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Axes
        With the cosines as texts, row by row.
    """
    import seaborn as sns

    check_table(
        table, ["group", "embedding", "cosine", "chance_low"], unique=["group", "embedding"]
    )
    rows, across = order_of(table, "group", order), order_of(table, "embedding", columns)
    wide, floor = (
        table.pivot(index="group", columns="embedding", values=name).loc[rows, across]
        for name in ("cosine", "chance_low")
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
    order: Sequence[Any] | None = None,
    by_order: Sequence[Any] | None = None,
) -> Figure:
    """Draw what corrections take away of the true shift, and of the instruments.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `correction`, `embedding`, `quantity` (of which `mean_removed` and
        `task_removed` are drawn, a panel each), `value`; `low` and `high` if there are intervals.
    order, by_order : sequence, optional
        Corrections from top to bottom, embeddings in the legend.

    Returns
    -------
    matplotlib Figure
        With one line of markers for each embedding in each panel.
    """
    import matplotlib.pyplot as plt

    titles = {"mean_removed": "of the true shift", "task_removed": "of the instruments"}
    table = table[table["quantity"].isin(list(titles))]
    check_table(table, ["value"], unique=["correction", "embedding", "quantity"])
    rows = order_of(table, "correction", order)
    kinds = looks(order_of(table, "embedding", by_order))
    height = 1.6 + (0.13 * len(kinds) + 0.14) * len(rows)
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, height), sharey=True, squeeze=False)
    offsets = side_by_side(len(kinds), 0.75)
    for ax, quantity, title in zip(axes[0], titles, titles.values(), strict=True):
        handles: list[Any] = []
        for (name, look), offset in zip(kinds.items(), offsets, strict=True):
            part = table[(table["quantity"] == quantity) & (table["embedding"] == name)]
            part = part.set_index("correction").reindex(rows)
            handles += _dots(ax, part, np.arange(len(rows)) + offset, look, name)
        for level in (0, 1):
            ax.axvline(level, color=MUTED, linestyle="--", linewidth=1.2, zorder=1)
        ax.set(title=title, xlabel="share taken away")
        list_rows(ax, rows, bins=4)
    legend_below(axes[0, 0], handles, columns=4)
    return figure


@styled
def closing_gap(
    table: pd.DataFrame,
    *,
    metric: str = "balanced_accuracy",
    order: Sequence[Any] | None = None,
    embeddings: Sequence[Any] | None = None,
) -> Figure:
    """Draw scores at home and away after each correction, a panel for each embedding.

    Those without correction are lines through all rows.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `embedding`, `correction`, `metric`, `quantity` (of which `home` and `away` are
        drawn), `value`, and `low` and `high` if there are intervals.
    metric : str
        Of the column `metric`.
    order, embeddings : sequence, optional
        Corrections from top to bottom, panels.

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
                float(part.at["none", "value"]),
                color=sides[name].colour,
                linestyle=sides[name].line,
                linewidth=1.6,
                zorder=1,
            )
        ax.set(title=str(embedding))
        list_rows(ax, rows, bins=4)
    for ax in axes[-1]:
        ax.set_xlabel(metric.replace("roc_auc", "ROC-AUC").replace("_", " "))
    legend_below(axes[0, 0], handles)
    return figure


def _dots(ax: Axes, part: pd.DataFrame, heights: np.ndarray, look: Look, label: Any) -> list[Any]:
    if {"low", "high"} <= set(part.columns):
        ax.hlines(heights, part["low"], part["high"], color=INK, linewidth=1.2, zorder=2)
    return mark(ax, part["value"], heights, look, label, markersize=6.5)
