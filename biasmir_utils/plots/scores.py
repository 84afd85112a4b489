"""Scores with their intervals: of labels, of train-test pairs, of changes.

Tables are tidy, as `biasmir evaluate` writes them: a row for each label, embedding and ordered
pair of datasets. Intervals are two columns, `low` and `high`, beside the value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from biasmir_utils.plots.style import (
    INK,
    MUTED,
    check_table,
    legend_below,
    looks,
    new_axes,
    order_of,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@styled
def dots_and_whiskers(
    table: pd.DataFrame,
    *,
    value: str = "roc_auc",
    row: str = "label",
    by: str | None = None,
    order: Sequence[Any] | None = None,
    by_order: Sequence[Any] | None = None,
    reference: float | None = 0.5,
    reference_name: str = "chance",
    baseline: str | None = None,
    baseline_name: str = "baseline",
    xlabel: str = "ROC-AUC",
    legend: str | None = None,
    skip: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw a value with its interval for each row, and for each category beside one another.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `row`, `value`, `by` where given; `low` and `high` if there are intervals.
        One row for each combination of `row` and `by`.
    value : str
        Column to draw along the horizontal axis.
    row : str
        Column whose values are listed from top to bottom: labels, corrections, embeddings.
    by : str, optional
        Column told apart by colour and marker, for instance `test_set`.
    order, by_order : sequence, optional
        Values of `row` and `by` in the order to draw; without it as they appear.
    reference : float, optional
        A vertical line: 0.5 for ROC-AUC, 0 for a change.
    reference_name : str
        Written beneath the line's end in the legend.
    baseline : str, optional
        A further column, drawn as a short vertical stroke in each row.
    baseline_name : str
        Its name in the legend.
    xlabel : str
        What the value is, with its unit.
    legend : str, optional
        Title of the legend.
    skip : int
        Number of looks to leave out, for categories that must not be taken for the datasets of
        other figures.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        With one line of markers for each category, labelled with its name.
    """
    from matplotlib.ticker import MaxNLocator

    keys = [row] if by is None else [row, by]
    check_table(table, [*keys, value, *([baseline] if baseline else [])], unique=keys)
    rows = order_of(table, row, order)
    kinds = looks([value] if by is None else order_of(table, by, by_order), skip)
    pitch = 0.34 if len(kinds) == 1 else 0.2 * len(kinds) + 0.16
    ax = new_axes(ax, height=1.5 + pitch * len(rows))
    offsets = (np.arange(len(kinds)) - (len(kinds) - 1) / 2) * 0.8 / len(kinds)
    handles: list[Any] = []
    for (name, look), offset in zip(kinds.items(), offsets, strict=True):
        part = table if by is None else table[table[by] == name]
        part = part.set_index(row).reindex(rows)
        heights = np.arange(len(rows)) + offset
        if {"low", "high"} <= set(part.columns):
            ax.hlines(heights, part["low"], part["high"], color=INK, linewidth=1.6, zorder=2)
        handles += ax.plot(
            part[value],
            heights,
            linestyle="none",
            marker=look.marker,
            color=look.colour,
            markeredgecolor=INK,
            markersize=8,
            label=str(name),
            zorder=3,
        )
        if baseline:
            strokes = ax.plot(
                part[baseline],
                heights,
                linestyle="none",
                marker="|",
                color=INK,
                markersize=11,
                markeredgewidth=2.4,
                label=baseline_name,
                zorder=2,
            )
    if baseline:
        handles += strokes
    if reference is not None:
        line = ax.axvline(reference, color=MUTED, linestyle="--", linewidth=1.6, zorder=1)
        line.set_label(reference_name)
        handles.append(line)
    ax.set(xlabel=xlabel, ylabel="", ylim=(len(rows) - 0.5, -0.5))
    ax.set_yticks(range(len(rows)), [str(name) for name in rows])
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.grid(axis="y", visible=False)
    for boundary in np.arange(len(rows) - 1) + 0.5:
        ax.axhline(boundary, color="#e8e8e8", linewidth=0.8, zorder=0)
    legend_below(ax, handles if by or baseline else handles[1:], title=legend)
    return ax


def label_scores(table: pd.DataFrame, **options: Any) -> Axes:
    """Draw ROC-AUC for each label with its interval, chance and an optional baseline.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `label`, `roc_auc`; `low` and `high`; a column for `by` where given.
    **options
        See `dots_and_whiskers`.
    """
    return dots_and_whiskers(table, **{"xlabel": "ROC-AUC", **options})


def falls(table: pd.DataFrame, **options: Any) -> Axes:
    """Draw how far each label's ROC-AUC falls when the training set is the other dataset.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `label`, `fall` (in-domain minus cross-dataset ROC-AUC on one test set); `low`
        and `high`; a column for `by` where given.
    **options
        See `dots_and_whiskers`.
    """
    defaults = {
        "value": "fall",
        "reference": 0.0,
        "reference_name": "no fall",
        "xlabel": "fall of ROC-AUC, test set held fixed",
    }
    return dots_and_whiskers(table, **{**defaults, **options})


def changes(table: pd.DataFrame, **options: Any) -> Axes:
    """Draw the change that each correction makes, with paired intervals.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `correction`, `change` (corrected minus uncorrected); `low` and `high`; a
        column for `by` where given.
    **options
        See `dots_and_whiskers`.
    """
    defaults = {
        "value": "change",
        "row": "correction",
        "reference": 0.0,
        "reference_name": "no change",
        "xlabel": "change of mean ROC-AUC",
    }
    return dots_and_whiskers(table, **{**defaults, **options})


@styled
def change_by_label(
    table: pd.DataFrame,
    *,
    value: str = "change",
    order: Sequence[Any] | None = None,
    labels: Sequence[Any] | None = None,
    name: str = "change of ROC-AUC",
    ax: Axes | None = None,
) -> Axes:
    """Draw the change of each label under each correction, as numbers on a tinted grid.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `label`, `correction` and the value, one row for each combination.
    value : str
        Column to draw, in units of ROC-AUC; written in thousandths, with its sign.
    order, labels : sequence, optional
        Corrections (columns) and labels (rows) in the order to draw.
    name : str
        What the value is.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        A heat map; tints are symmetric around zero.
    """
    import seaborn as sns

    check_table(table, ["label", "correction", value], unique=["label", "correction"])
    columns, rows = order_of(table, "correction", order), order_of(table, "label", labels)
    wide = table.pivot(index="label", columns="correction", values=value).loc[rows, columns]
    ax = new_axes(ax, height=1.7 + 0.42 * len(rows))
    thousandths = 1000 * wide
    limit = max(float(np.nanmax(np.abs(thousandths.to_numpy()))), 1e-9)
    texts = thousandths.map(signed)
    sns.heatmap(
        thousandths,
        annot=texts,
        fmt="",
        cmap="RdBu",
        vmin=-1.6 * limit,
        vmax=1.6 * limit,
        linewidths=1,
        cbar=False,
        annot_kws={"color": INK, "fontsize": 12},
        ax=ax,
    )
    ax.set(xlabel=f"{name}, in thousandths", ylabel="")
    ax.tick_params(axis="x", rotation=0)
    ax.tick_params(axis="y", rotation=0)
    return ax


def signed(value: float) -> str:
    """Write a number without decimals and with its sign; a true minus, and a plain zero."""
    if np.isnan(value):
        return "\N{EN DASH}"
    whole = round(value)
    if whole == 0:
        return "0"
    return f"+{whole}" if whole > 0 else f"\N{MINUS SIGN}{-whole}"


@styled
def score_distributions(
    scores: Mapping[str, Sequence[float] | np.ndarray],
    *,
    threshold: float | None = None,
    bins: int = 30,
    xlabel: str = "score of the recogniser",
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the distribution of a recogniser's scores, for positives and negatives.

    Parameters
    ----------
    scores : mapping of str to array-like
        Scores by name, for instance `negative` and `positive`.
    threshold : float, optional
        Where the recogniser says yes, a vertical line.
    bins : int
        Number of bars over the range of all scores.
    xlabel : str
        What the score is.
    title : str, optional
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        One set of bars for each name; each set's heights sum to 1.
    """
    from matplotlib.patches import Patch

    ax = new_axes(ax, height=3.4)
    everything = np.concatenate([np.asarray(part, dtype=float) for part in scores.values()])
    edges = np.linspace(everything.min(), everything.max(), bins + 1)
    handles: list[Any] = []
    for name, look in looks(scores).items():
        part = np.asarray(scores[name], dtype=float)
        heights = np.histogram(part, edges)[0] / max(len(part), 1)
        fill: dict[str, Any] = {"facecolor": look.colour, "hatch": look.hatch, "edgecolor": INK}
        ax.bar(
            edges[:-1],
            heights,
            width=np.diff(edges),
            align="edge",
            alpha=0.55,
            linewidth=0.6,
            label=str(name),
            **fill,
        )
        handles.append(Patch(alpha=0.55, label=str(name), **fill))
    if threshold is not None:
        line = ax.axvline(threshold, color=INK, linestyle="--", linewidth=2)
        line.set_label("threshold")
        handles.append(line)
    ax.set(xlabel=xlabel, ylabel="share of clips", title=title or "")
    ax.grid(axis="x", visible=False)
    legend_below(ax, handles, columns=3)
    return ax
