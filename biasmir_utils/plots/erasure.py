"""What an erasure does to two datasets: in the plane, and with ever more clips to learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from biasmir_utils.errors import ArgumentError
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
def domain_means(
    X: ArrayLike,
    domain: ArrayLike,
    *,
    arrows: Mapping[str, ArrayLike] | None = None,
    limits: tuple[ArrayLike, ArrayLike] | None = None,
    title: str | None = None,
    legend: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw two domains in the plane with their means, and arrows of a common length.

    Parameters
    ----------
    X : array-like, (n, 2)
    domain : array-like, (n,)
        Domain of each row, two values.
    arrows : mapping of str to array-like of shape (2,), optional
        Directions by name, drawn from the mean of all rows; the name stands at the tip.
    limits : pair of (low, high), optional
        Of the horizontal and the vertical axis, so that several pictures can be compared.
    title : str, optional
    legend : bool
        Whether to explain the domains and their means beneath.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        With equal scales; for each domain a line of points, then for each domain its mean.

    Raises
    ------
    ArgumentError
        If X is not (n, 2), or there are not two domains.
    """
    points, names = np.asarray(X, dtype=float), np.asarray(domain)
    if points.ndim != 2 or points.shape[1] != 2 or len(names) != len(points):
        raise ArgumentError(
            f"X and domain: expected shapes (n, 2) and (n,), found {points.shape} and {names.shape}"
        )
    kinds = looks(names.tolist())
    if len(kinds) != 2:
        raise ArgumentError(f"domain: expected two domains, found {list(kinds)}")
    ax = new_axes(ax, width=5.0, height=5.4)
    handles: list[Any] = []
    for name, look in kinds.items():
        handles += ax.plot(
            *points[names == name].T,
            linestyle="none",
            marker=look.marker,
            markersize=5,
            color=look.colour,
            alpha=0.35,
            markeredgewidth=0,
            label=str(name),
        )
    for name, look in kinds.items():
        handles += ax.plot(
            *points[names == name].mean(axis=0),
            linestyle="none",
            marker=look.marker,
            markersize=15,
            color=look.colour,
            markeredgecolor=INK,
            markeredgewidth=2,
            label=f"mean of {name}",
            zorder=4,
        )
    across, up = limits if limits is not None else _square(points)
    centre = points.mean(axis=0)
    length = 0.36 * min(np.ptp(across), np.ptp(up))
    for name, direction in (arrows or {}).items():
        unit = np.asarray(direction, dtype=float)
        unit = unit / np.linalg.norm(unit)
        tip = centre + length * unit
        arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 2.5, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", xy=tip, xytext=centre, arrowprops=arrow, zorder=5)
        ax.annotate(
            name,
            tip + 0.16 * length * unit,
            ha="center",
            va="center",
            fontsize=15,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.8},
            zorder=6,
        )
    ax.set(xlim=across, ylim=up, title=title or "", aspect="equal", xticks=[], yticks=[])
    if legend:
        legend_below(ax, handles)
    return ax


def _square(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centre = points.mean(axis=0)
    reach = 1.08 * np.abs(points - centre).max() * np.array([-1, 1])
    return centre[0] + reach, centre[1] + reach


@styled
def by_size(
    table: pd.DataFrame,
    *,
    value: str = "roc_auc",
    size: str = "clips",
    by: str = "correction",
    order: Sequence[Any] | None = None,
    reference: float | None = 0.5,
    reference_name: str = "chance",
    xlabel: str = "training clips",
    ylabel: str = "ROC-AUC",
    skip: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw a value against a number of clips on a logarithmic axis, a line for each category.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `size`, `by`, `value`; one row for each combination.
    value, size, by : str
        What is drawn upwards, along, and told apart by colour, marker and line style.
    order : sequence, optional
        Values of `by` in the order of the legend.
    reference : float, optional
        A horizontal line.
    reference_name : str
        Its name in the legend.
    xlabel, ylabel : str
    skip : int
        Number of looks to leave out, for categories that are no datasets.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        With one line for each category, labelled with its name.
    """
    check_table(table, [size, by, value], unique=[size, by])
    kinds = looks(order_of(table, by, order), skip)
    ax = new_axes(ax, height=4.4)
    handles: list[Any] = []
    for name, look in kinds.items():
        part = table[table[by] == name].sort_values(size)
        handles += ax.plot(
            part[size],
            part[value],
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
            markeredgecolor=INK,
            label=str(name),
        )
    if reference is not None:
        line = ax.axhline(reference, color=MUTED, linestyle="--", linewidth=1.6, zorder=1)
        line.set_label(reference_name)
        handles.append(line)
    ax.set(xlabel=xlabel, ylabel=ylabel, xscale="log")
    sizes = sorted(table[size].unique())
    ax.set_xticks(sizes, [f"{count:g}" for count in sizes])
    ax.set_xticks([], minor=True)
    ax.grid(axis="x", visible=False)
    legend_below(ax, handles, columns=3)
    return ax
