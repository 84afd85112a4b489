"""Corrections judged: what each gains across datasets against what it loses inside one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from biasmir_utils.errors import ArgumentError
from biasmir_utils.plots.style import INK, MUTED, WIDTH, check_table, order_of, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# From nothing to everything that could be seen of the target: ever darker, with markers of
# their own, so that they are told apart in grey.
INFORMATION_LOOKS = {
    "source only": ("s", "#ffffff"),
    "unlabelled target": ("o", "#cfe3f5"),
    "grouped target": ("D", "#3f90da"),
    "labelled target": ("h", "#17344f"),
}
COLUMNS = ("embedding", "correction", "information", "gain", "loss")
STRIPE = "#f1f1f1"
LONGEST = 20
"""Characters of a name; longer ones go on in another line."""
LINE = 0.2
"""Height of a line of a name, in inches."""
TYPE = 12.5
"""Size of the type of names and ticks, in points."""
DECADES = 12
"""Times that the widest change exceeds the usual one where the scale is stretched."""


@styled
def gain_and_loss(
    summary: pd.DataFrame,
    *,
    embeddings: Sequence[str] | None = None,
    metric: str = "ROC-AUC",
    columns: int = 1,
) -> Figure:
    """Draw the gain of each correction across datasets beside its loss inside.

    Each correction has a row, so that no two can hide one another, as they would in a scatter
    plot: most corrections change little and some a lot. The axis of the loss runs backwards: in
    both halves a correction is better the further right it stands. All have the same scale. It
    is linear, so that intervals can be compared by their lengths, unless the widest change would
    press nearly all the others on the line at 0: unless it reaches 12 times as far from 0 as the
    median one, each by the furthest of its mean and the ends of its interval. Then it is about
    linear near 0 and logarithmic further out (inverse hyperbolic sine), and the figure says so.
    An interval that is not seen is narrower than its marker.

    Parameters
    ----------
    summary : pandas.DataFrame
        `Report.summary`: columns `embedding`, `correction`, `information`, `gain`, `loss`, and
        for intervals `gain_low`, `gain_high`, `loss_low`, `loss_high`; with `mode` or `alpha`,
        these are named where they differ (the mode "none", of a correction with nothing to fit,
        is "global" where it stands beside "unlabelled", and is left out otherwise). Rows without
        gain (no correction) are left out.
    embeddings : sequence of str, optional
        A block of rows for each, and for each `pair` of datasets, in order; default all.
    metric : str
        What was gained or lost.
    columns : int
        Blocks beside one another.

    Returns
    -------
    matplotlib Figure
        For each block an Axes with the gain and one with the loss. Corrections stand in one
        order in all blocks, by their mean gain, those of one correction (its doses and modes)
        next to one another; the shape and shade of a marker tell what it has seen.

    Raises
    ------
    ArgumentError
        If a column is missing, no row has a gain, or a level of information is unknown.
    """
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    check_table(summary, COLUMNS)
    table = summary[summary["gain"].notna()]
    if table.empty:
        raise ArgumentError("the table has no correction with a gain; evaluate more than 'none'")
    unknown = [level for level in table["information"].unique() if level not in INFORMATION_LOOKS]
    if unknown:
        raise ArgumentError(
            f"column 'information' has {unknown[0]!r}; expected {', '.join(INFORMATION_LOOKS)}"
        )
    blocks = list(_blocks(table.assign(name=_names(table)), embeddings))
    drawn = pd.concat([block for _, block in blocks])
    columns = min(columns, len(blocks))
    height = 0.1 + LINE * (1 + int(drawn["name"].str.count("\n").max()))
    tallest = [
        max(len(block) for _, block in blocks[start : start + columns])
        for start in range(0, len(blocks), columns)
    ]
    figure = plt.figure(
        figsize=(WIDTH * columns, 1.75 + sum(0.95 + height * rows for rows in tallest))
    )
    width, (low, high) = _scale(drawn)
    for column, part in enumerate(figure.subfigures(1, columns, squeeze=False)[0]):
        grid = part.subplots(len(tallest), 2, squeeze=False, height_ratios=tallest, sharey="row")
        for axes, (title, block) in zip(grid, blocks[column::columns], strict=False):
            _block(part, axes, title, block)
            for ax, ends in zip(axes, ((low, high), (-low, -high)), strict=True):
                if width is not None:
                    ax.set_xscale("asinh", linear_width=width)
                ax.set(xlim=ends)
        for ax in grid[len(blocks[column::columns]) :].flat:
            ax.set_visible(False)
        stretched = "" if width is None else "\n(both scales stretched around 0)"
        part.supxlabel(f"difference in mean {metric}; right of 0 is better{stretched}", fontsize=13)
    handles = [
        Line2D([], [], marker=marker, markerfacecolor=face, label=level, **_EDGE, linestyle="none")
        for level, (marker, face) in INFORMATION_LOOKS.items()
        if level in set(drawn["information"])
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=2 * columns,
        title="information used",
        title_fontsize=13,
    )
    # How many ticks have room is known when the names have taken theirs.
    figure.draw_without_rendering()
    _set_ticks(figure)
    return figure


_EDGE: dict[str, Any] = {"markeredgecolor": INK, "markeredgewidth": 1.2, "markersize": 8}


def _blocks(
    table: pd.DataFrame, embeddings: Sequence[str] | None
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the title and the rows, from the top, of each embedding and pair of datasets."""
    table = table[table["embedding"].isin(order := order_of(table, "embedding", embeddings))]
    # Doses and modes of a correction are what one wants to compare, so they stay together.
    gain = table.groupby("correction")["gain"].transform("mean")
    table = table.assign(by=-gain).sort_values(["by", "correction"], kind="stable")
    pairs = order_of(table, "pair") if "pair" in table else [None]
    for embedding in order:
        for pair in pairs:
            own = table["embedding"] == embedding
            if pair is not None:
                own &= table["pair"] == pair
            if own.any():
                title = f"{embedding}: {pair}" if len(pairs) > 1 else str(embedding)
                yield title, table[own]


def _block(part: SubFigure, axes: Sequence[Axes], title: str, block: pd.DataFrame) -> None:
    """Draw the rows of one block: the gain in the first Axes, the loss in the second."""
    rows = range(len(block))
    for ax, quantity, heading in zip(
        axes,
        ("gain", "loss"),
        ("gain across \N{RIGHTWARDS ARROW}", "\N{LEFTWARDS ARROW} loss inside"),
        strict=True,
    ):
        # The first line is the block's: its title runs over the names and both Axes.
        ax.set_title(f"\n{heading}", fontsize=13)
        ax.grid(axis="y", visible=False)
        for row in rows[1::2]:
            ax.axhspan(row - 0.5, row + 0.5, color=STRIPE, zorder=0)
        ax.axvline(0, color=MUTED, linewidth=1.4, zorder=1)
        for row, values in zip(rows, block.to_dict("records"), strict=True):
            _point(ax, row, values, quantity)
        ax.set(ylim=(len(block) - 0.5, -0.5), yticks=rows)
    axes[0].set_yticklabels(block["name"], linespacing=1.0, fontsize=TYPE)
    text = axes[0].annotate(
        title,
        (0.01, 1),
        xycoords=(part.transSubfigure, "axes fraction"),
        xytext=(0, 23),
        textcoords="offset points",
        weight="bold",
    )
    text.set_in_layout(False)


def _point(ax: Axes, row: int, values: dict[Any, Any], quantity: str) -> None:
    marker, face = INFORMATION_LOOKS[values["information"]]
    value = values[quantity]
    low, high = (values.get(f"{quantity}_{end}", np.nan) for end in ("low", "high"))
    known = not (np.isnan(low) or np.isnan(high))
    ax.errorbar(
        value,
        row,
        xerr=[[max(value - low, 0.0)], [max(high - value, 0.0)]] if known else None,
        marker=marker,
        markerfacecolor=face,
        **_EDGE,
        ecolor=INK,
        elinewidth=1.6,
        linestyle="none",
        label=values["name"],
        zorder=2,
    )


def _scale(table: pd.DataFrame) -> tuple[float | None, tuple[float, float]]:
    """Return up to where a stretched scale is linear, and the limits of changes for the better.

    The first is None where the whole scale is to be linear.
    """
    gains, losses = (
        table[[name for name in (axis, f"{axis}_low", f"{axis}_high") if name in table]]
        for axis in ("gain", "loss")
    )
    changes = np.concatenate([gains.to_numpy(float).ravel(), -losses.to_numpy(float).ravel()])
    changes = changes[np.isfinite(changes)]
    reaches = np.concatenate([quantity.abs().max(axis=1) for quantity in (gains, losses)])
    # What changes nothing at all is at 0 on any scale.
    reaches = reaches[reaches > 0]
    if not len(reaches):
        return None, (-0.02, 0.02)
    largest, usual = float(reaches.max()), float(np.median(reaches))
    # Some room on either side, and on both sides of 0.
    ends = np.array([min(changes.min(), 0), max(changes.max(), 0)])
    if largest <= DECADES * usual:
        low, high = ends + 0.07 * (ends[1] - ends[0]) * np.array([-1, 1])
        return None, (float(low), float(high))
    width = max(usual, largest / 40)
    room = 0.07 * np.arcsinh(largest / width)
    low, high = width * np.sinh(np.arcsinh(ends / width) + room * np.array([-1, 1]))
    return width, (float(low), float(high))


def _set_ticks(figure: Figure) -> None:
    """Mark 0 and round numbers, the same in all Axes, as many as have room for their labels.

    Where too few labels have room side by side they stand upright, and the figure grows by that.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes = [ax for ax in figure.axes if ax.get_visible()]
    # A gain; the losses have the same limits and numbers with the other sign.
    narrowest = min(axes[::2], key=lambda ax: ax.bbox.width)
    choose, enough = (
        (_even_ticks, 3) if narrowest.get_xscale() == "linear" else (_stretched_ticks, 5)
    )
    lying, standing = (choose(narrowest, upright) for upright in (False, True))
    upright = len(lying) < min(enough, len(standing))
    ticks = standing if upright else lying
    for ax in axes:
        sign = -1 if ax.xaxis_inverted() else 1
        ax.xaxis.set_major_locator(FixedLocator([sign * tick + 0.0 for tick in ticks]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(_tick))
        ax.tick_params(labelsize=TYPE)
        if upright:
            ax.tick_params(axis="x", rotation=90)
    if upright:
        longest = max(_length(tick) for tick in ticks) - TYPE
        rows = figure.subfigs[0].axes[::2]
        figure.set_figheight(figure.get_figheight() + len(rows) * longest / 72)


def _even_ticks(ax: Axes, upright: bool) -> list[float]:
    """Return the multiples of the smallest round number that all have room."""
    low, high = ax.get_xlim()
    top = int(np.ceil(np.log10(high - low)))
    ticks: list[float] = [0.0]
    for step in (factor * 10.0**power for power in (top, top - 1, top - 2) for factor in (5, 2, 1)):
        finer = [n * step for n in range(int(np.ceil(low / step)), int(high // step) + 1)]
        if len(_with_room(ax, finer, upright)) < len(finer):
            break
        ticks = finer
    return ticks


def _stretched_ticks(ax: Axes, upright: bool) -> list[float]:
    """Return 0 and on either side powers of ten and some of their multiples."""
    low, high = ax.get_xlim()
    top = int(np.floor(np.log10(max(-low, high))))
    found = []
    for factors in ((1, 3), (3, 1), (1, 2, 5)):
        sizes = [factor * 10.0**power for factor in factors for power in range(top, top - 4, -1)]
        ticks = [0.0] + [sign * size for size in sizes for sign in (-1, 1)]
        found.append(_with_room(ax, [tick for tick in ticks if low <= tick <= high], upright))
    return next((ticks for ticks in found if len(ticks) >= 5), max(found, key=len))


def _with_room(ax: Axes, ticks: Sequence[float], upright: bool) -> list[float]:
    """Return, in order of size, those whose labels leave room for the ones before."""
    chosen: dict[float, tuple[float, float]] = {}
    for tick in ticks:
        half = (1.3 * TYPE if upright else _length(tick)) / 2 * ax.figure.dpi / 72
        at = float(ax.transData.transform((tick, 0))[0])
        if all(abs(at - x) > half + h for x, h in chosen.values()):
            chosen[tick] = at, half
    return sorted(chosen)


def _length(tick: float) -> float:
    """Return about how long a label is, in points.

    A digit is 0.64 of the type's size wide, and a little is left free. Each number is taken to
    have a minus, as it has among the gains or among the losses.
    """
    return (len(_tick(-abs(tick), 0)) + 0.3) * 0.64 * TYPE


def _tick(value: float, position: int) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def _names(table: pd.DataFrame) -> pd.Series:
    """Return the name of each correction, with dose and mode where there are several."""
    names = table["correction"].astype(str)
    if "alpha" in table:
        odd = table["alpha"].notna() & (table["alpha"] != 1)
        names = names.where(~odd, names + " alpha=" + table["alpha"].map("{:g}".format))
    if "mode" in table:
        # Without anything to fit, the recogniser alone still has the clips picked by their
        # labels, or, in the mode unlabelled, has not.
        modes = table["mode"].replace(
            "none", "global" if "unlabelled" in set(table["mode"]) else np.nan
        )
        if modes.nunique() > 1:
            names = names + (" (" + modes.astype(str) + ")").where(modes.notna(), "")
    return names.map(_wrapped)


def _wrapped(name: str) -> str:
    """Break a long name at spaces and behind colons."""
    lines = [""]
    for piece in re.split(r"(?<=:)|(?= )", name):
        if lines[-1] and len(lines[-1] + piece) > LONGEST:
            lines.append("")
        lines[-1] += piece if lines[-1] else piece.lstrip()
    return "\n".join(lines)
