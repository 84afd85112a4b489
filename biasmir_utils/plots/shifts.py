"""Shifts between datasets: groups, directions and their spectra, a shift that is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from biasmir_utils.plots.style import (
    INK,
    MUTED,
    Look,
    Order,
    check_table,
    dots,
    key,
    legend_below,
    list_rows,
    looks,
    mark,
    new_axes,
    number_grid,
    order_of,
    panels,
    placed,
    plane,
    side_by_side,
    signed_text,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@style()
def group_shares(
    table: pd.DataFrame, *, order: Order = None, datasets: Order = None, ax: Axes | None = None
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
    check_table(table, ["dataset", "group"], "share")
    rows, kinds = order_of(table, "group", order), looks(order_of(table, "dataset", datasets))
    ax = new_axes(ax, height=1.6 + 0.3 * len(kinds) * len(rows))
    for name, look, part, heights in placed(table, "group", rows, "dataset", kinds, 0.8):
        fill: dict[str, Any] = {"color": look.colour, "hatch": look.hatch, "edgecolor": INK}
        fill |= {"linewidth": 0.8, "label": str(name)}
        ax.barh(heights, part["share"], 0.8 / len(kinds), **fill)
    list_rows(ax, rows)
    ax.set(xlabel="share of clips")
    legend_below(ax)
    return ax


@style()
def label_by_group(
    table: pd.DataFrame, *, labels: Order = None, groups: Order = None, datasets: Order = None
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
    check_table(table, ["dataset", "label", "group"], "clips")
    rows, columns = order_of(table, "label", labels), order_of(table, "group", groups)
    sets = order_of(table, "dataset", datasets)
    figure, axes = panels(len(sets), 2.4 + 0.4 * len(rows), sharey=True)
    for ax, dataset in zip(axes, sets, strict=True):
        own = table[table["dataset"] == dataset]
        counts = own.pivot(index="label", columns="group", values="clips")
        counts = counts.reindex(index=rows, columns=columns).fillna(0)
        shares = counts.div(counts.sum(axis=1).replace(0, 1), axis=0)
        number_grid(ax, shares, counts.map("{:.0f}".format), "Blues", (0, 1), fontsize=11)
        ax.set_title(str(dataset))
        ax.set_xticklabels([str(name).replace("_", " ") for name in columns], rotation=90)
    return figure


@style()
def cosine_similarities(
    table: pd.DataFrame, *, chance: Mapping[str, float], ax: Axes | None = None
) -> Axes:
    """Draw the absolute cosine between dataset and label directions, a row for each embedding.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `embedding`, `label`, `train_set` and `cosine` in [-1, 1], one row for each
        combination; its absolute value is drawn, on a logarithmic axis.
    chance : mapping of str to float
        For each embedding, the mean absolute cosine of two random directions, drawn as a
        stroke.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Axes
        With one line of markers for each training set, in the order of the table's rows.
    """
    check_table(table, ["embedding", "label", "train_set"], "cosine")
    rows, kinds = order_of(table, "embedding"), looks(order_of(table, "train_set"))
    ax = new_axes(ax, height=1.6 + 0.62 * len(rows))
    handles: list[Any] = []
    for (name, look), offset in zip(kinds.items(), side_by_side(len(kinds), 0.7), strict=True):
        part = table[table["train_set"] == name]
        heights = part["embedding"].map(rows.index) + offset
        handles += mark(ax, part["cosine"].abs(), heights, look, name, alpha=0.75, zorder=2)
    stroke, text = Look(INK, "|"), "two random directions"
    wide = {"markersize": 34, "markeredgewidth": 2.4, "zorder": 2}
    mark(ax, [chance[name] for name in rows], range(len(rows)), stroke, text, **wide)
    handles.append(key(stroke, text, markersize=14, markeredgewidth=2.4))
    ax.set(xlabel="absolute cosine similarity", xscale="log")
    list_rows(ax, rows)
    legend_below(ax, handles, columns=3)
    return ax


@style()
def transfer_grids(table: pd.DataFrame) -> Figure:
    """Draw how well the direction of one group tells the datasets apart in each group.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `embedding`, `fitted_on`, `tested_on` and `roc_auc`, as `direction_transfer` gives
        them.

    Returns
    -------
    matplotlib Figure
        A heat map for each embedding, tinted from 0.5, chance, to 1.
    """
    check_table(table, ["embedding", "fitted_on", "tested_on"], "roc_auc")
    rows, names = order_of(table, "fitted_on"), order_of(table, "embedding")
    words = [str(name).replace("_", " ") for name in rows]
    down = -(-len(names) // 2)
    figure, axes = panels(len(names), 1.8 + 2.2 * down, across=2, sharex=True, sharey=True)
    for ax, name in zip(axes, names, strict=True):
        own = table[table["embedding"] == name]
        wide = own.pivot(index="fitted_on", columns="tested_on", values="roc_auc")
        wide = wide.reindex(index=rows, columns=rows)
        number_grid(ax, wide, wide.map("{:.2f}".format), "Blues", (0.5, 1), fontsize=11)
        ax.set_title(str(name))
        ax.set_xticklabels(words, rotation=90)
        ax.set_yticklabels(words)
    figure.supxlabel("tested on the clips of")
    figure.supylabel("direction from the clips of")
    return figure


@style()
def shift_arrows(
    shifts: Mapping[str, ArrayLike], category: ArrayLike, *, order: Order = None
) -> Figure:
    """Draw the shift of each piece as an arrow from one origin, a panel for each embedding.

    Parameters
    ----------
    shifts : mapping of str to array-like, (n, 2)
        For each embedding the shifts of the same pieces in a plane, in a unit that is meant to
        be compared: all panels have the same limits, and a thin circle at length 1.
    category : array-like, (n,)
        Genre or instrument of each piece: colour of its arrow, and marker at its tip.
    order : sequence, optional
        Categories to draw, in the order of the legend.

    Returns
    -------
    matplotlib Figure
        Each panel with a quiver for each category, then one for the mean shift.
    """
    from matplotlib.patches import Circle

    kinds = np.asarray(category)
    ends = {name: plane(part, kinds) for name, part in shifts.items()}
    kept = looks(order_of(pd.DataFrame({"category": kinds}), "category", order))
    figure, axes = panels(len(ends), 1.2 + 2.8 * -(-len(ends) // 2), 2, sharex=True, sharey=True)
    drawn: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1}
    thick: dict[str, Any] = {"color": INK, "width": 0.02, "zorder": 4, "label": "mean shift"}
    thick |= {"headwidth": 2.6, "headlength": 2.6, "headaxislength": 2.6}
    handles: list[Any] = []
    for ax, (name, steps) in zip(axes, ends.items(), strict=True):
        ax.add_patch(Circle((0, 0), 1, fill=False, color=MUTED, linewidth=1.0, linestyle="--"))
        handles = []
        for kind, look in kept.items():
            step, at = steps[kinds == kind].T, np.zeros((2, int((kinds == kind).sum())))
            ax.quiver(*at, *step, color=look.colour, alpha=0.6, width=0.006, label=kind, **drawn)
            small = {"markersize": 4.5, "markeredgewidth": 0.5, "zorder": 2}
            handles += mark(ax, step[0], step[1], look, kind, **small)
        ax.quiver(0, 0, *steps.mean(axis=0), **thick, **drawn)
        ax.set(title=str(name), xticks=[], yticks=[])
        ax.set_aspect("equal", adjustable="box")
    reach = np.concatenate([*ends.values(), [[0, -1], [1, 1]]])
    low, high = reach.min(axis=0) - 0.1, reach.max(axis=0) + 0.1
    axes[0].set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    bold = key(Look(INK, ""), "mean shift", linestyle="-", linewidth=5)
    legend_below(axes[0], [*handles, bold], columns=3)
    return figure


@style()
def factor_bars(
    table: pd.DataFrame,
    *,
    order: Order = None,
    parts: Order = None,
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
    check_table(table, ["embedding", "part"], "value")
    rows, kinds = order_of(table, "embedding", order), looks(order_of(table, "part", parts), skip=2)
    ax = new_axes(ax, height=1.5 + 0.55 * len(rows))
    wide = table.pivot(index="part", columns="embedding", values="value")[rows].fillna(0)
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    left = np.zeros(len(rows))
    for name, look in kinds.items():
        widths = wide.loc[[name]].to_numpy()[0]
        fill: dict[str, Any] = {"color": look.colour, "hatch": look.hatch, "edgecolor": "white"}
        bars = ax.barh(range(len(rows)), widths, 0.7, left, label=str(name), **fill)
        texts = [f"{100 * width:.0f}" if width >= 0.05 else "" for width in widths]
        for text in ax.bar_label(bars, texts, label_type="center", fontsize=12):
            if text.get_text():
                text.set_bbox(ground)
        left += np.maximum(widths, 0)
    ax.set(xlabel=xlabel, xlim=(0, max(1.0, left.max())))
    list_rows(ax, rows)
    legend_below(ax, columns=3)
    return ax


@style()
def cosine_grid(
    table: pd.DataFrame, *, order: Order = None, columns: Order = None, ax: Axes | None = None
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
    check_table(table, ["group", "embedding"], "cosine", "chance_low")
    rows, across = order_of(table, "group", order), order_of(table, "embedding", columns)
    wide, floor = (
        table.pivot(index="group", columns="embedding", values=name).loc[rows, across]
        for name in ("cosine", "chance_low")
    )
    ax = new_axes(ax, height=1.2 + 0.36 * len(rows))
    below = (wide < floor).to_numpy()
    texts = wide.map(lambda cosine: signed_text(f"{cosine:.2f}"))
    texts = texts.mask(below, texts + "*")
    # The darker half of the tints would hide the numbers.
    number_grid(ax, wide, texts, "Blues", (0, 2), fontsize=12, color=INK)
    for text, star in zip(ax.texts, below.ravel(), strict=True):
        text.set_fontweight("bold" if star else "normal")
    ax.set_yticklabels([str(name).replace("_", " ") for name in rows])
    # Names that would overlap have been turned below, and stand above.
    turned = max((name.get_rotation() for name in ax.get_xticklabels()), default=0)
    ax.tick_params(axis="x", labeltop=True, labelbottom=False, rotation=turned)
    return ax


@style()
def found_and_lost(table: pd.DataFrame, *, order: Order = None, by_order: Order = None) -> Figure:
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
    titles = {"mean_removed": "of the true shift", "task_removed": "of the instruments"}
    table = table[table["quantity"].isin(list(titles))]
    check_table(table, ["correction", "embedding", "quantity"], "value")
    rows = order_of(table, "correction", order)
    kinds = looks(order_of(table, "embedding", by_order))
    height = 1.6 + (0.13 * len(kinds) + 0.14) * len(rows)
    figure, axes = panels(2, height, sharey=True)
    for ax, (quantity, title) in zip(axes, titles.items(), strict=True):
        own = table[table["quantity"] == quantity]
        shown = placed(own, "correction", rows, "embedding", kinds, 0.75)
        dots(ax, shown, "value", 1.2, markersize=6.5)
        for level in (0, 1):
            ax.axvline(level, color=MUTED, linestyle="--", linewidth=1.2, zorder=1)
        ax.set(title=title, xlabel="share taken away")
        list_rows(ax, rows, bins=4)
    legend_below(axes[0], columns=4)
    return figure


@style()
def closing_gap(
    table: pd.DataFrame, *, ceiling: str, order: Order = None, embeddings: Order = None
) -> Figure:
    """Draw balanced accuracies at home and away after each correction, a panel for each embedding.

    Those without correction are lines through all rows, which need no row of their own.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `embedding`, `correction`, `metric`, `quantity` (of which `home` and `away` are
        drawn), `value`, and `low` and `high` if there are intervals.
    ceiling : str
        One of the corrections, whose score away is a dotted line.
    order, embeddings : sequence, optional
        Corrections from top to bottom, panels.

    Returns
    -------
    matplotlib Figure
        Each panel with a line of markers for `away` and one for `home`.
    """
    table = table.query("metric == 'balanced_accuracy' and quantity in ['home', 'away']")
    check_table(table, ["embedding", "correction", "quantity"], "value")
    rows, names = order_of(table, "correction", order), order_of(table, "embedding", embeddings)
    height = 1.0 + (0.8 + 0.27 * len(rows)) * -(-len(names) // 2)
    figure, axes = panels(len(names), height, across=2, sharey=True, sharex=True)
    table = table.replace({"quantity": {"home": "at home"}})
    sides = looks(["at home", "away"])
    for ax, embedding in zip(axes, names, strict=True):
        own = table[table["embedding"] == embedding]
        score = own.set_index(["correction", "quantity"])["value"]
        shown = placed(own, "correction", rows, "quantity", sides, 0.6)
        dots(ax, shown, "value", 1.2, markersize=6.5)
        for side, look in sides.items():
            without = {"color": look.colour, "linestyle": look.line, "linewidth": 1.6, "zorder": 1}
            ax.axvline(score["none", side], **without)
        ax.axvline(score[ceiling, "away"], color=INK, linestyle=":", linewidth=1.6, zorder=1)
        ax.set(title=str(embedding))
        list_rows(ax, rows, bins=4)
    for ax in figure.axes[-min(len(names), 2) :]:
        ax.set_xlabel("balanced accuracy")
    legend_below(axes[0])
    return figure
