"""Scores with their intervals: of labels, of train-test pairs, of changes, of corrections judged.

Tables are tidy, as `biasmir evaluate` writes them: a row for each label, embedding and ordered
pair of datasets. Intervals are two columns, `low` and `high`, beside the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from biasmir_utils.errors import ArgumentError
from biasmir_utils.plots.style import (
    INK,
    MUTED,
    REFERENCE,
    WIDTH,
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
    round_ticks,
    side_by_side,
    signed_text,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@style()
def dots_and_whiskers(
    table: pd.DataFrame,
    *,
    value: str = "roc_auc",
    row: str = "label",
    by: str | None = None,
    order: Order = None,
    by_order: Order = None,
    reference: float | None = 0.5,
    reference_name: str = "chance",
    baseline: str | None = None,
    baseline_name: str = "baseline",
    xlabel: str = "ROC-AUC",
    legend: str | None = None,
    skip: int = 0,
    missing: str = "no score",
    again: Sequence[pd.DataFrame] = (),
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
        Its name in the legend.
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
    missing : str
        What stands where there is no value (NaN): the reason, such as "one session only".
    again : sequence of pandas.DataFrame
        Tables with the same columns, of another split: small open marks on the same lines.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Axes
        With one line of markers for each category, labelled with its name.
    """
    keys = [row] if by is None else [row, by]
    check_table(table, keys, value, *([baseline] if baseline else []))
    rows = order_of(table, row, order)
    kinds = looks([value] if by is None else order_of(table, by, by_order), skip)
    pitch = 0.34 if len(kinds) == 1 else 0.2 * len(kinds) + 0.16
    ax = new_axes(ax, height=1.5 + pitch * len(rows))
    shown = list(placed(table, row, rows, by, kinds, 0.8))
    handles = dots(ax, shown, value, 1.6)
    for _, look, part, heights in shown:
        for height in heights[part[value].isna()]:  # in colour: one sees whose gap it is
            place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center"}
            ax.annotate(missing, (0.01, height), **place, color=look.colour)
    open_mark: dict[str, Any] = {"markersize": 6, "markerfacecolor": "white", "zorder": 4}
    for other in again:
        for _, look, part, heights in placed(other, row, rows, by, kinds, 0.8):
            mark(ax, part[value], heights, look, "_again", **open_mark)
    if by is None and not baseline:  # then the axis tells what the dots are
        handles = []
    if again:
        handles.append(key(Look(INK, "o"), "another split", markersize=6, markerfacecolor="white"))
    stroke = {"markersize": 11, "markeredgewidth": 2.4, "zorder": 2}
    for _, _, part, heights in shown if baseline else ():
        handles += mark(ax, part[baseline], heights, Look(INK, "|"), baseline_name, **stroke)
    if reference is not None:
        handles.append(ax.axvline(reference, **REFERENCE, label=reference_name))
    ax.set(xlabel=xlabel)
    list_rows(ax, rows, bins=5)
    unique = {handle.get_label(): handle for handle in handles}
    legend_below(ax, list(unique.values()), title=legend)
    return ax


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
    words = {"reference_name": "no fall", "xlabel": "fall of ROC-AUC, test set held fixed"}
    return dots_and_whiskers(table, **{"value": "fall", "reference": 0.0, **words, **options})


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
    words = {"reference_name": "no change", "xlabel": "change of mean ROC-AUC"}
    columns = {"value": "change", "row": "correction"}
    return dots_and_whiskers(table, **{**columns, "reference": 0.0, **words, **options})


@style()
def joined_runs(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw what each model of several runs reaches in-domain and across, and the dataset probe.

    Parameters
    ----------
    table : pandas.DataFrame
        As of `biasmir_utils.experiments.join_runs`. Fall and dimension stand under the names.
    """
    check_table(table, ["run", "embedding", "correction", "mode", "alpha", "pair"], "across")
    size = table["dimension"].map(lambda n: "" if pd.isna(n) else f", {n:,.0f} dimensions")
    text = table["run"] + ": " + table["embedding"] + ", " + _correction_names(table) + "\n"
    text += (table["pair"] + ", " if table["pair"].nunique() > 1 else "") + "fall "
    table = table.assign(text=text + table["fall"].map("{:.3f}".format).map(signed_text) + size)
    names = {"in_domain": "in-domain", "across": "across", "probe": "dataset probe"}
    long = table.rename(columns=names).melt("text", list(names.values()), "what")
    how: dict[str, Any] = {"row": "text", "by": "what", "missing": "no probe", "skip": 2}
    return dots_and_whiskers(long.dropna(), value="value", **how, ax=ax)


@style()
def change_by_label(table: pd.DataFrame, *, labels: Order = None, ax: Axes | None = None) -> Axes:
    """Draw the change of each label under each correction, as numbers on a tinted grid.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `label`, `correction` and `change`, in units of ROC-AUC, one row for each
        combination; written in thousandths, with its sign.
    labels : sequence, optional
        Labels, the rows, in the order to draw.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Axes
        A heat map; tints are symmetric around zero.
    """
    check_table(table, ["label", "correction"], "change")
    columns, rows = order_of(table, "correction"), order_of(table, "label", labels)
    wide = 1000 * table.pivot(index="label", columns="correction", values="change")
    wide = wide.loc[rows, columns]
    texts = wide.map(lambda value: signed_text(f"{round(value):+d}").replace("+0", "0"), "ignore")
    limit = 1.6 * max(float(np.nanmax(np.abs(wide.to_numpy()))), 1e-9)
    ax = new_axes(ax, height=1.7 + 0.42 * len(rows))
    number_grid(ax, wide, texts, "RdBu", (-limit, limit), color=INK, fontsize=12)
    ax.set(xlabel="change of ROC-AUC, in thousandths")
    ax.tick_params(rotation=0)
    return ax


@style()
def score_distributions(
    scores: Mapping[str, ArrayLike], *, threshold: float, ax: Axes | None = None
) -> Axes:
    """Draw the distribution of a recogniser's scores, for positives and negatives.

    Parameters
    ----------
    scores : mapping of str to array-like
        Scores by name, for instance `negative` and `positive`.
    threshold : float
        Where the recogniser says yes, a vertical line.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Axes
        One set of bars for each name; each set's heights sum to 1.
    """
    from matplotlib.patches import Patch

    ax = new_axes(ax, height=3.4)
    parts = {name: np.asarray(part, dtype=float) for name, part in scores.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(parts.values())), bins=30)
    handles: list[Any] = []
    for name, look in looks(parts).items():
        heights = np.histogram(parts[name], edges)[0] / max(len(parts[name]), 1)
        fill: dict[str, Any] = {"facecolor": look.colour, "hatch": look.hatch, "alpha": 0.55}
        fill |= {"edgecolor": INK, "label": str(name)}
        ax.bar(edges[:-1], heights, np.diff(edges), align="edge", linewidth=0.6, **fill)
        handles.append(Patch(**fill))
    line: dict[str, Any] = {"color": INK, "linestyle": "--", "linewidth": 2}
    handles.append(ax.axvline(threshold, **line, label="threshold"))
    ax.set(xlabel="score of the recogniser", ylabel="share of clips")
    ax.grid(axis="x", visible=False)
    legend_below(ax, handles, columns=3)
    return ax


@style()
def train_test_pairs(
    table: pd.DataFrame,
    *,
    value: str = "roc_auc",
    order: Order = None,
    datasets: Order = None,
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
    keys = ["test_set", "train_set", "embedding"]
    check_table(table, keys, value, unique=False)
    sets = order_of(table, "test_set", datasets)
    if len(sets) != 2:
        raise ArgumentError(f"expected results on two test sets, found {sets}")
    kinds = looks(order_of(table, "embedding", order))
    whole = {"low", "high"} <= set(table.columns) and not table.duplicated(keys).any()
    means = table.groupby(keys)[[value, *(["low", "high"] if whole else [])]].mean()
    # A little aside, so that no line hides another.
    shifts = side_by_side(len(kinds), 0.05 * len(kinds))
    figure, axes = panels(2, 4.6, sharey=True)
    for ax, test_set, other in zip(axes, sets, sets[::-1], strict=True):
        for (name, look), shift in zip(kinds.items(), shifts, strict=True):
            ends = means.loc[[(test_set, train, name) for train in (test_set, other)]]
            x = np.array([0, 1]) + shift
            if whole:
                ax.vlines(x, ends["low"], ends["high"], color=INK, linewidth=1.4, zorder=2)
            mark(ax, x, ends[value], look, name, linestyle=look.line)
        ax.set(title=f"tested on {test_set}", xlim=(-0.35, 1.35), xlabel="trained on")
        ax.set_xticks([0, 1], [str(test_set), str(other)])
        ax.grid(axis="x", visible=False)
    axes[0].set_ylabel(ylabel)
    legend_below(axes[0])
    return figure


@style()
def ranking(
    table: pd.DataFrame, *, pairs: Sequence[tuple[str, str]], ax: Axes | None = None
) -> Axes:
    """Draw the rank of each embedding in each train-test pair, with its mean value.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `embedding`, `train_set`, `test_set` and `roc_auc`; the labels are averaged.
    pairs : sequence of (train_set, test_set)
        Pairs from left to right.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Axes
        With a line for each embedding; 1 is the best rank, on top.
    """
    keys = ["train_set", "test_set", "embedding"]
    check_table(table, keys, "roc_auc", unique=False)
    means = table.groupby(keys)["roc_auc"].mean()
    wide = pd.DataFrame({pair: means.loc[pair] for pair in pairs})
    ranks = wide.rank(ascending=False, method="min")
    kinds = looks(order_of(table, "embedding"))
    ax = new_axes(ax, height=1.9 + 0.62 * len(kinds))
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
    below: dict[str, Any] = {"xytext": (0, -11), "textcoords": "offset points", "va": "top"}
    below |= {"ha": "center", "fontsize": 12, "bbox": ground, "zorder": 4}
    for name, look in kinds.items():
        heights, scores = ranks.T[name].to_numpy(), wide.T[name]
        mark(ax, range(len(pairs)), heights, look, name, linestyle=look.line, markersize=11)
        for place, score in zip(enumerate(heights), scores, strict=True):
            ax.annotate(f"{score:.3f}", place, **below)
    ax.set(ylim=(len(kinds) + 0.6, 0.6), xlim=(-0.4, len(pairs) - 0.6), ylabel="rank")
    ax.set_yticks(range(1, len(kinds) + 1))
    names = [f"{train}\n\N{DOWNWARDS ARROW}\n{test}" for train, test in pairs]
    ax.set_xticks(range(len(pairs)), names)
    ax.grid(visible=False)
    legend_below(ax, [key(look, name, linestyle=look.line) for name, look in kinds.items()])
    return ax


MODE_NAMES = {"none": "nothing to fit", "global": "global", "classwise": "classwise"}


@style()
def published_pairs(
    published: pd.DataFrame,
    ours: pd.DataFrame | None = None,
    *,
    order: Order = None,
    datasets: Order = None,
) -> Figure:
    """Draw the published means without correction as slopes, and ours as hollow markers.

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
    check_table(published, keys, "published")
    figure: Figure = train_test_pairs(published, value="published", order=order, datasets=datasets)
    if ours is None:
        return figure
    check_table(ours, keys, "ours", "low", "high")
    sets = order_of(published, "test_set", datasets)
    kinds = looks(order_of(published, "embedding", order))
    for ax, test_set in zip(figure.axes, sets, strict=True):
        # The published lines, a point for each training set: ours stand beside them.
        for line, (name, look) in zip(ax.get_lines(), kinds.items(), strict=True):
            own = ours[(ours["embedding"] == name) & (ours["test_set"] == test_set)]
            own = own[own["train_set"].isin(sets)]
            x = own["train_set"].ne(test_set) + np.asarray(line.get_xdata())[0] + 0.025
            ax.vlines(x, own["low"], own["high"], color=look.colour, linewidth=1.4, zorder=4)
            _hollow(ax, x, own["ours"], look)
    _say_which(figure)
    return figure


@style()
def published_changes(
    table: pd.DataFrame,
    *,
    corrections: Order = None,
    names: dict[str, str] | None = None,
) -> Figure:
    """Draw what each correction changes across datasets, in both modes, as published and by us.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `embedding`, `correction`, `mode`, `train_set`, `test_set`, `published` (a
        change in units of ROC-AUC); with `ours`, `low`, `high` these are drawn too.
    corrections : sequence, optional
        In the order to draw, from the top; as they appear without it.
    names : dict, optional
        What to call the embeddings.

    Returns
    -------
    matplotlib Figure
        An axes for each pair; rows are corrections, grouped by embedding.
    """
    check_table(table, ["embedding", "correction", "mode", "train_set", "test_set"], "published")
    found = dict.fromkeys(zip(table["train_set"], table["test_set"], strict=True))
    shown = [pair for pair in found if pair[0] != pair[1]]
    if not shown:
        raise ArgumentError("the table has no rows of two different datasets")
    methods = order_of(table, "correction", corrections)
    # Each embedding has a line with its name, and then a row for each correction.
    ticks: dict[float, str] = {}
    rows: dict[tuple[Any, Any], float] = {}
    height = 0.0
    for embedding in order_of(table, "embedding"):
        ticks[height] = (names or {}).get(embedding, str(embedding))
        for method in methods:
            height += 1
            ticks[height] = f"{method}  "
            rows[embedding, method] = height
        height += 1.4
    kinds = {mode: look for mode, look in looks(MODE_NAMES).items() if mode in set(table["mode"])}
    with_ours = {"ours", "low", "high"} <= set(table.columns)
    # Published above, ours below the middle of a row, and the two modes apart in either.
    middle, apart = (-0.2, 0.1) if with_ours else (0.0, 0.16)
    offsets = {"none": middle, "global": middle - apart, "classwise": middle + apart}
    inches = 1.9 + (0.44 if with_ours else 0.31) * len(ticks)
    figure, axes = panels(len(shown), inches, sharex=True, sharey=True)
    figures = ["published", "ours", "low", "high"] if with_ours else ["published"]
    points = table.assign(**{name: 100 * table[name] for name in figures})
    for ax, (train, test) in zip(axes, shown, strict=True):
        part = points[(points["train_set"] == train) & (points["test_set"] == test)]
        ax.axvline(0, **REFERENCE)
        for mode, look in kinds.items():
            chosen = part[(part["mode"] == mode) & part["correction"].isin(methods)]
            both = zip(chosen["embedding"], chosen["correction"], strict=True)
            places = np.array([rows[one] for one in both]) + offsets[mode]
            mark(ax, chosen["published"], places, look, MODE_NAMES[mode])
            if with_ours:
                ends = chosen["low"], chosen["high"]
                ax.hlines(places + 0.4, *ends, color=look.colour, linewidth=1.4, zorder=4)
                _hollow(ax, chosen["ours"], places + 0.4, look)
        ax.set(title=f"{train} to {test}", xlabel="change, points")
        ax.grid(axis="y", visible=False)
        round_ticks(ax, 5)
    axes[0].set(ylim=(height - 0.6, -0.8))
    axes[0].set_yticks(list(ticks), list(ticks.values()))
    legend_below(axes[0], columns=3)
    if with_ours:
        _say_which(figure)
    return figure


def _hollow(ax: Axes, x: Any, y: Any, look: Look) -> None:
    """Draw figures of ours, on top of the published ones."""
    edge = {"markeredgecolor": look.colour, "markeredgewidth": 1.8}
    mark(ax, x, y, look, "_ours", markerfacecolor="white", zorder=5, **edge)


def _say_which(figure: Figure) -> None:
    """Tell filled markers from hollow ones, above the axes."""
    plain = Look(MUTED, "o")
    hollow = key(plain, "ours, with interval", markerfacecolor="white")
    handles = [key(plain, "published"), hollow]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)


# From nothing to everything that could be seen of the target: ever darker, with markers of
# their own, so that they are told apart in grey.
INFORMATION_LOOKS = {
    "source only": Look("#ffffff", "s"),
    "unlabelled target": Look("#cfe3f5", "o"),
    "grouped target": Look("#3f90da", "D"),
    "labelled target": Look("#17344f", "h"),
}
LONGEST_NAME = 20
"""Characters of a correction's name; longer ones go on in another line."""
CLIPPED_BEYOND = 12
"""Times the usual change; what reaches further stands at the edge, with its number."""


@style()
def gain_and_loss(summary: pd.DataFrame, *, metric: str = "ROC-AUC") -> Figure:
    """Draw the gain of each correction across datasets beside its loss inside.

    Each correction has a row, so that no two can hide one another, as they would in a scatter
    plot: most corrections change little and some a lot. The axis of the loss runs backwards: in
    both halves a correction is better the further right it stands. All have the same linear
    scale, so that intervals can be compared by their lengths. Where a change reaches more than
    12 times as far from 0 as the median one (each by the furthest of its mean and the ends of its
    interval), the axes end there: a mean beyond them stands at the edge with its number, and the
    figure says so. An interval that is not seen is narrower than its marker.

    Parameters
    ----------
    summary : pandas.DataFrame
        `Report.summary`: columns `embedding`, `correction`, `information`, `gain`, `loss`, and
        for intervals `gain_low`, `gain_high`, `loss_low`, `loss_high`; with `mode` or `alpha`,
        these are named where they differ (the mode "none", of a correction with nothing to fit,
        is "global" where it stands beside "unlabelled", and is left out otherwise). Rows without
        gain (no correction) are left out.
    metric : str
        What was gained or lost.

    Returns
    -------
    matplotlib Figure
        For each embedding, and each `pair` of datasets where there is that column, an Axes with the
        gain and one with the loss. Corrections stand in one
        order in all blocks, by their mean gain, those of one correction (its doses and modes)
        next to one another; the shape and shade of a marker tell what it has seen.

    Raises
    ------
    ArgumentError
        If a column is missing, no row has a gain, or a level of information is unknown.
    """
    import matplotlib.pyplot as plt

    columns = ("embedding", "correction", "information", "gain", "loss")
    check_table(summary, columns, unique=False)
    table = summary[summary["gain"].notna()]
    if table.empty:
        raise ArgumentError("the table has no correction with a gain; evaluate more than 'none'")
    unknown = set(table["information"]) - set(INFORMATION_LOOKS)
    if unknown:
        raise ArgumentError(
            f"column 'information' has {min(unknown)!r}; expected {', '.join(INFORMATION_LOOKS)}"
        )
    blocks = list(_blocks(table.assign(name=_correction_names(table))))
    drawn = pd.concat([block for _, block in blocks])
    # Inches of a row: one for each line of the longest name.
    height = 0.1 + 0.2 * (1 + int(drawn["name"].str.count("\n").max()))
    tallest = [len(block) for _, block in blocks]
    inches = 1.75 + sum(0.95 + height * rows for rows in tallest)
    figure = plt.figure(figsize=(WIDTH, inches))
    # A part of its own, so that the legend of the figure stands below the name of the axes.
    part: Any = figure.subfigures()
    axes = part.subplots(len(blocks), 2, squeeze=False, height_ratios=tallest, sharey="row")
    low, high, clipped = _limits(drawn)
    for (gain, loss), (title, block) in zip(axes, blocks, strict=True):
        gain.set(xlim=(low, high))
        loss.set(xlim=(-low, -high))
        _block(gain, loss, title, block)
    note = "\n(what is further away stands at the edge, with its number)" if clipped else ""
    part.supxlabel(f"difference in mean {metric}; right of 0 is better{note}", fontsize=13)
    seen = set(drawn["information"])
    handles = [key(look, level) for level, look in INFORMATION_LOOKS.items() if level in seen]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, title="information used")
    return figure


@style()
def worth_in_labels(worth: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw what labels of the target bring, and each correction as a line across.

    Where the curve of the source with n labelled clips of the target crosses the line of a
    correction, there stands what that correction is worth in labels.

    Parameters
    ----------
    worth : pandas.DataFrame
        Rows of `Report.worth`, or of `biasmir_utils.experiments.label_worth`, of one embedding,
        pair of datasets and choice of training clips; fewer rows show fewer corrections.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Axes
        With a line of markers for each way to use labels, with intervals of the gain against no
        label; the number of labels is on a logarithmic axis. Of the corrections the best is named.
    """
    check_table(worth, ["correction", "mode", "alpha", "method", "n"], "roc_auc", "gain")
    ax = new_axes(ax, height=5.0)
    names = {"fewshot": "source and n labels", "target only": "n labels alone"}
    names["both"] = "both datasets"
    plain = worth[worth["correction"].eq("none")].set_index("method").sort_values("n")
    for method, look in looks(names).items():
        part = plain.loc[[method]]
        low, high = (part["roc_auc"] - part["gain"] + part[end] for end in ("low", "high"))
        ax.vlines(part["n"], low, high, color=look.colour, linewidth=1.4, zorder=2)
        mark(ax, part["n"], part["roc_auc"], look, names[method], linestyle=look.line)
    lines = worth[worth["method"].eq("source only")].set_index("correction")["roc_auc"]
    best = lines.drop("none").idxmax() if len(lines) > 1 else "none"
    told = dict.fromkeys(lines.index, "_") | {best: f"best correction: {best}"}
    for name, text in (told | {"none": "no correction, no label"}).items():
        style = {"linestyle": "--"} if name == "none" else {"linewidth": 2 if name == best else 0.7}
        ax.axhline(lines[name], color=INK, zorder=1, label=text, **style)
    ax.set(xscale="log", xlabel="labelled clips of the target", ylabel="mean ROC-AUC across")
    sizes = plain["n"].drop("source only").unique()
    ax.set_xticks(sizes, [f"{n:.0f}" for n in sizes])
    ax.minorticks_off()
    legend_below(ax)
    return ax


def _blocks(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the title and the rows, from the top, of each embedding and pair of datasets."""
    order = order_of(table, "embedding")
    # Doses and modes of a correction are what one wants to compare, so they stay together.
    gain = table.groupby("correction")["gain"].transform("mean")
    table = table.assign(by=-gain, pair=table.get("pair", ""))
    table = table.sort_values(["by", "correction"], kind="stable")
    pairs = order_of(table, "pair")
    for embedding in order:
        for pair in pairs:
            own = table[(table["embedding"] == embedding) & (table["pair"] == pair)]
            if len(own):
                yield (f"{embedding}: {pair}" if len(pairs) > 1 else str(embedding)), own


def _block(gain: Axes, loss: Axes, title: str, block: pd.DataFrame) -> None:
    """Draw the rows of one block: the gain in the first Axes, the loss in the second."""
    # Over the names and both Axes.
    above: dict[str, Any] = {"xytext": (0, 23), "textcoords": "offset points", "weight": "bold"}
    at = ("figure fraction", "axes fraction")
    gain.annotate(title, (0.01, 1), xycoords=at, **above).set_in_layout(False)
    headings = ("gain across \N{RIGHTWARDS ARROW}", "\N{LEFTWARDS ARROW} loss inside")
    for ax, quantity, heading in zip((gain, loss), ("gain", "loss"), headings, strict=True):
        # The first line is that of the block's title.
        ax.set_title(f"\n{heading}", fontsize=13)
        list_rows(ax, block["name"], bins=4)
        ax.axvline(0, color=MUTED, linewidth=1.4, zorder=1)
        if {f"{quantity}_low", f"{quantity}_high"} <= set(block):
            low, high = block[f"{quantity}_low"], block[f"{quantity}_high"]
            ax.hlines(range(len(block)), low, high, color=INK, linewidth=1.6, zorder=2)
        marks = zip(block["name"], block[quantity], block["information"], strict=True)
        for row, (name, value, information) in enumerate(marks):
            _mean(ax, row, value, INFORMATION_LOOKS[information], name)
    gain.tick_params(axis="y", labelsize=12.5)


def _mean(ax: Axes, row: int, value: float, look: Look, name: str) -> None:
    """Draw a mean, at the edge of the axes with its number where it lies beyond."""
    low, high = sorted(ax.get_xlim())
    inside = float(np.clip(value, low, high))
    mark(ax, inside, row, look, name, markeredgewidth=1.2, clip_on=False)
    if inside != value:
        aside, side = (-9, "right") if (inside == high) != ax.xaxis_inverted() else (9, "left")
        place: dict[str, Any] = {"xytext": (aside, 0), "textcoords": "offset points", "ha": side}
        ax.annotate(signed_text(f"{value:.2f}"), (inside, row), va="center", fontsize=11, **place)


def _limits(table: pd.DataFrame) -> tuple[float, float, bool]:
    """Return the limits of changes for the better, and whether something lies beyond them."""
    gains, losses = (
        table[[name for name in (axis, f"{axis}_low", f"{axis}_high") if name in table]]
        for axis in ("gain", "loss")
    )
    changes = np.concatenate([gains.to_numpy(float).ravel(), -losses.to_numpy(float).ravel(), [0]])
    reaches = np.concatenate([quantity.abs().max(axis=1) for quantity in (gains, losses)])
    # What changes nothing at all says nothing about the scale.
    reaches = reaches[reaches > 0]
    if not len(reaches):
        return -0.02, 0.02, False
    furthest = CLIPPED_BEYOND * float(np.median(reaches))
    ends = np.clip([np.nanmin(changes), np.nanmax(changes)], -furthest, furthest)
    low, high = ends + 0.07 * np.ptp(ends) * np.array([-1, 1])
    return float(low), float(high), bool(reaches.max() > furthest)


def _correction_names(table: pd.DataFrame) -> pd.Series:
    """Return the name of each correction, with dose and mode where there are several."""
    names = table["correction"].astype(str)
    if "alpha" in table:
        odd = table["alpha"].notna() & (table["alpha"] != 1)
        names = names.where(~odd, names + " alpha=" + table["alpha"].map("{:g}".format))
    if "mode" in table:
        # Without anything to fit, the recogniser alone still has the clips picked by their
        # labels, or, in the mode unlabelled, has not.
        twin = "global" if "unlabelled" in set(table["mode"]) else np.nan
        modes = table["mode"].replace("none", twin)
        if modes.nunique() > 1:
            names = names + (" (" + modes.astype(str) + ")").where(modes.notna(), "")
    return names.map(_wrapped)


def _wrapped(name: str) -> str:
    """Break a long name at spaces and behind colons."""
    lines = [""]
    for piece in re.split(r"(?<=:)|(?= )", name):
        if lines[-1] and len(lines[-1] + piece) > LONGEST_NAME:
            lines.append("")
        lines[-1] += piece if lines[-1] else piece.lstrip()
    return "\n".join(lines)
