"""Corrections judged: what each gains across datasets against what it loses inside one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from biasmir_utils.errors import ArgumentError
from biasmir_utils.plots.style import INK, MUTED, check_table, order_of, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# From nothing to everything that could be seen of the target: ever darker, with markers of
# their own, so that they are told apart in grey.
INFORMATION_LOOKS = {
    "source only": ("s", "#ffffff", INK),
    "unlabelled target": ("o", "#cfe3f5", INK),
    "grouped target": ("D", "#3f90da", "#ffffff"),
    "labelled target": ("h", "#17344f", "#ffffff"),
}
STRETCH = 0.005
"""About up to here from 0 the axes are linear, and logarithmic from there on."""
TICKS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
COLUMNS = ("embedding", "correction", "information", "gain", "loss")


@styled
def gain_and_loss(
    summary: pd.DataFrame,
    *,
    embeddings: Sequence[str] | None = None,
    metric: str = "ROC-AUC",
    columns: int = 2,
) -> Figure:
    """Draw the gain of each correction across datasets against its loss inside.

    Most corrections change little and some a lot, so both axes are stretched around 0 (inverse
    hyperbolic sine). Above the horizontal line a correction helps across datasets, right of the
    vertical line it costs inside; above the diagonal it gains more than it loses.

    Parameters
    ----------
    summary : pandas.DataFrame
        `Report.summary`: columns `embedding`, `correction`, `information`, `gain`, `loss`, and
        for intervals `gain_low`, `gain_high`, `loss_low`, `loss_high`; with `mode` or `alpha`,
        these are named where they differ. Rows without gain (no correction) are left out.
    embeddings : sequence of str, optional
        A panel for each, in order; default all.
    metric : str
        What was gained or lost.
    columns : int
        Panels beside one another.

    Returns
    -------
    matplotlib Figure
        In each panel a numbered marker for each correction, its shape and shade telling what the
        correction has seen; the legend names the numbers.
    """
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    check_table(summary, COLUMNS)
    table = summary[summary["gain"].notna()]
    if table.empty:
        raise ArgumentError("the table has no correction with a gain; evaluate more than 'none'")
    table = table.assign(name=_names(table))
    names = list(dict.fromkeys(table["name"]))
    panels = order_of(table, "embedding", embeddings)
    columns = min(columns, len(panels))
    n_rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(
        n_rows,
        columns,
        figsize=(4.6 * columns + 0.6, 3.9 * n_rows + 0.34 * -(-len(names) // 3) + 0.6),
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    for ax in grid.flat[len(panels) :]:
        ax.set_visible(False)
    ends = {axis: _ends(table, axis) for axis in ("gain", "loss")}
    even = np.linspace(
        min(ends["gain"][0], ends["loss"][0]), max(ends["gain"][1], ends["loss"][1]), 999
    )
    ticks = [sign * tick for tick in TICKS for sign in (-1, 1)] + [0.0]
    for ax, embedding in zip(grid.flat, panels, strict=False):
        ax.axhline(0, color=MUTED, linewidth=1.4, zorder=1)
        ax.axvline(0, color=MUTED, linewidth=1.4, zorder=1)
        ax.set_xscale("asinh", linear_width=STRETCH)
        ax.set_yscale("asinh", linear_width=STRETCH)
        ax.plot(even, even, color=MUTED, linewidth=1.2, linestyle="--", zorder=1)
        own = table[table["embedding"] == embedding]
        for row in own.to_dict("records"):
            _point(ax, row, names.index(row["name"]) + 1)
        ax.set_title(str(embedding))
    # The axes are shared: each row is labelled once, and each column under its last panel.
    for position, ax in enumerate(grid.flat[: len(panels)]):
        if position % columns == 0:
            ax.set_ylabel(f"gain across ({metric})")
        if position + columns >= len(panels):
            ax.set_xlabel(f"loss inside ({metric})")
            ax.tick_params(labelbottom=True)
        for axis, (low, high) in ((ax.xaxis, ends["loss"]), (ax.yaxis, ends["gain"])):
            axis.set_major_locator(FixedLocator([t for t in ticks if low <= t <= high]))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(_tick))
        ax.set(xlim=ends["loss"], ylim=ends["gain"])
    handles: list[Any] = []
    for level, (marker, face, _) in INFORMATION_LOOKS.items():
        if level in set(table["information"]):
            style: dict[str, Any] = {
                "markerfacecolor": face,
                "markeredgecolor": INK,
                "markersize": 12,
            }
            handles.append(Line2D([], [], linestyle="none", marker=marker, label=level, **style))
    for number, name in enumerate(names, start=1):
        text = Line2D([], [], linestyle="none", label=name, color=INK)
        text.set(marker=f"${number}$", markersize=9 if number < 10 else 13)
        handles.append(text)
    figure.legend(handles=handles, loc="outside lower center", ncols=2 if columns == 1 else 3)
    return figure


def _point(ax: Any, row: dict[Any, Any], number: int) -> None:
    marker, face, ink = INFORMATION_LOOKS[row["information"]]
    x, y = row["loss"], row["gain"]
    ends = {}
    for axis, value in (("loss", x), ("gain", y)):
        low, high = row.get(f"{axis}_low", np.nan), row.get(f"{axis}_high", np.nan)
        if not (np.isnan(low) or np.isnan(high)):
            ends[axis] = [[max(value - low, 0.0)], [max(high - value, 0.0)]]
    ax.errorbar(
        x,
        y,
        xerr=ends.get("loss"),
        yerr=ends.get("gain"),
        linestyle="none",
        marker=marker,
        markersize=15,
        markerfacecolor=face,
        markeredgecolor=INK,
        ecolor=MUTED,
        elinewidth=1.2,
        label=row["name"],
        zorder=2 + number / 100,
    )
    # Over its own marker (which errorbar lifts by 0.1) and under the next one, so that two
    # numbers are never on top of one another.
    ax.annotate(
        str(number),
        (x, y),
        ha="center",
        va="center_baseline",
        color=ink,
        fontsize=10,
        zorder=2.1 + (number + 0.5) / 100,
    )


def _ends(table: pd.DataFrame, axis: str) -> tuple[float, float]:
    """Return limits that hold all values and intervals, and one tick on either side of 0."""
    columns = [name for name in (axis, f"{axis}_low", f"{axis}_high") if name in table]
    values = table[columns].to_numpy(dtype=float)
    low = min(float(np.nanmin(values)), -TICKS[0])
    high = max(float(np.nanmax(values)), TICKS[0])
    return 1.25 * low, 1.25 * high


def _tick(value: float, position: int) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def _names(table: pd.DataFrame) -> pd.Series:
    """Return the name of each correction, with dose and mode where there are several."""
    names = table["correction"].astype(str)
    if "alpha" in table:
        odd = table["alpha"].notna() & (table["alpha"] != 1)
        names = names.where(~odd, names + " alpha=" + table["alpha"].map("{:g}".format))
    if "mode" in table and table["mode"].nunique() > 1:
        names = names + " (" + table["mode"].astype(str) + ")"
    if "pair" in table and table["pair"].nunique() > 1:
        names = names + " " + table["pair"].astype(str)
    return names
