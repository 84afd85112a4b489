"""Clips as points: projections to two dimensions, and the toy pictures of a shift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from biasmir_utils.errors import ArgumentError
from biasmir_utils.plots.style import INK, MUTED, legend_below, looks, new_axes, order_of, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _points(points: ArrayLike, *labels: ArrayLike) -> np.ndarray:
    array = np.asarray(points, dtype=float)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ArgumentError(f"points: expected shape (n, 2), found {array.shape}")
    for values in labels:
        if len(np.asarray(values)) != len(array):
            raise ArgumentError(
                f"expected one category for each of {len(array)} points, "
                f"found {len(np.asarray(values))}"
            )
    return array


@styled
def projection(
    points: ArrayLike,
    category: ArrayLike,
    *,
    order: Sequence[Any] | None = None,
    names: tuple[str, str] = ("first component", "second component"),
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw clips as points, each category with its own colour and marker.

    Parameters
    ----------
    points : array-like, (n, 2)
    category : array-like, (n,)
        Dataset, genre or instrument of each point; at most ten.
    order : sequence, optional
        Categories in the order of the legend; points of others are left out.
    names : tuple of str
        Labels of the axes.
    title : str, optional
    ax : matplotlib Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Axes
        With one collection of points for each category.
    """
    import seaborn as sns

    array = _points(points, category)
    table = pd.DataFrame({"x": array[:, 0], "y": array[:, 1], "category": np.asarray(category)})
    kinds = looks(order_of(table, "category", order))
    ax = new_axes(ax, height=5.2)
    size = float(np.clip(9000 / max(len(table), 1), 10, 60))
    for name, look in kinds.items():
        part = table[table["category"] == name]
        sns.scatterplot(
            data=part,
            x="x",
            y="y",
            color=look.colour,
            marker=look.marker,
            s=size,
            alpha=0.6,
            linewidth=0.4,
            edgecolor=INK,
            label=str(name),
            legend=False,
            ax=ax,
        )
    ax.set(xlabel=names[0], ylabel=names[1], title=title or "")
    _bare(ax)
    handles = [_dot(look, name) for name, look in kinds.items()]
    legend_below(ax, handles, columns=min(len(handles), 3))
    return ax


@styled
def category_means(
    points: ArrayLike,
    category: ArrayLike,
    dataset: ArrayLike,
    *,
    order: Sequence[Any] | None = None,
    names: tuple[str, str] = ("first component", "second component"),
    ax: Axes | None = None,
) -> Axes:
    """Draw where the mean of each category lies in two datasets, with a line between them.

    Parameters
    ----------
    points : array-like, (n, 2)
    category : array-like, (n,)
        Instrument of each point, written at the right of its line.
    dataset : array-like, (n,)
        Two datasets.
    order : sequence, optional
        Categories to draw.
    names : tuple of str
        Labels of the axes.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        With one line of markers for each dataset, in the order of the categories.
    """
    array = _points(points, category, dataset)
    table = pd.DataFrame(
        {
            "x": array[:, 0],
            "y": array[:, 1],
            "category": np.asarray(category),
            "dataset": np.asarray(dataset),
        }
    )
    sets = looks(order_of(table, "dataset"))
    if len(sets) != 2:
        raise ArgumentError(f"dataset: expected two datasets, found {list(sets)}")
    kinds = order_of(table, "category", order)
    means = table.groupby(["dataset", "category"])[["x", "y"]].mean()
    ax = new_axes(ax, height=5.6)
    first, second = ([means.loc[(name, kind)].to_numpy() for kind in kinds] for name in sets)
    for start, end in zip(first, second, strict=True):
        arrow = {"arrowstyle": "-", "color": MUTED, "linewidth": 1.2, "shrinkA": 4, "shrinkB": 4}
        ax.annotate("", xy=end, xytext=start, arrowprops=arrow)
    for (name, look), xy in zip(sets.items(), (np.array(first), np.array(second)), strict=True):
        ax.plot(
            xy[:, 0],
            xy[:, 1],
            linestyle="none",
            marker=look.marker,
            color=look.colour,
            markeredgecolor=INK,
            markersize=9,
            label=str(name),
        )
    ax.margins(0.12)
    ends = np.array([first, second])
    _write_beside(ax, ends[ends[:, :, 0].argmax(axis=0), range(len(kinds))], list(map(str, kinds)))
    ax.set(xlabel=names[0], ylabel=names[1])
    _bare(ax)
    legend_below(ax, [_dot(look, name) for name, look in sets.items()])
    return ax


def _write_beside(ax: Axes, xy: np.ndarray, texts: Sequence[str]) -> None:
    """Write a text beside each point, moved apart vertically where they would overlap."""
    low, high = ax.get_ylim()
    heights = spread(xy[:, 1], 0.052 * (high - low))
    right = xy[:, 0].max() + 0.06 * np.ptp(ax.get_xlim())
    for (x, y), height, text in zip(xy, heights, texts, strict=True):
        ax.annotate(
            text,
            xy=(x, y),
            xytext=(right, height),
            va="center",
            fontsize=12,
            arrowprops={"arrowstyle": "-", "color": "#b5b5b5", "linewidth": 0.8, "shrinkB": 5},
            annotation_clip=False,
        )
    ax.set_xlim(ax.get_xlim()[0], right + 0.30 * np.ptp(ax.get_xlim()))


def spread(positions: ArrayLike, gap: float) -> np.ndarray:
    """Move positions apart as little as needed for neighbours to be `gap` from each other.

    Parameters
    ----------
    positions : array-like, (n,)
    gap : float
        Smallest distance, in the unit of the positions.

    Returns
    -------
    ndarray, (n,)
        In the same order, with the mean of each moved cluster kept.
    """
    values = np.asarray(positions, dtype=float)
    order = np.argsort(values, kind="stable")
    clusters: list[tuple[float, int]] = []  # mean of the wanted positions, and how many
    for value in values[order]:
        clusters.append((float(value), 1))
        while len(clusters) > 1:
            (a, m), (b, n) = clusters[-2:]
            if b - a >= gap * (m + n) / 2:
                break
            clusters[-2:] = [((a * m + b * n) / (m + n), m + n)]
    placed = np.concatenate(
        [centre + gap * (np.arange(size) - (size - 1) / 2) for centre, size in clusters]
    )
    result = np.empty_like(values)
    result[order] = placed
    return result


@styled
def toy_domains(
    X: ArrayLike,
    domain: ArrayLike,
    y: ArrayLike,
    *,
    direction: ArrayLike | None = None,
    boundary: tuple[float, float, float] | None = None,
    title: str | None = None,
    legend: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw a two-dimensional toy: two domains, two classes, a direction, a recogniser.

    Parameters
    ----------
    X : array-like, (n, 2)
    domain : array-like, (n,)
        Domain of each row, two values.
    y : array-like, (n,)
        Class of each row: markers are filled where it is true.
    direction : array-like, (2,), optional
        Drawn as an arrow from the mean of all rows.
    boundary : tuple (a, b, c), optional
        The line a x + b y + c = 0, where a recogniser's score is zero.
    title : str, optional
    legend : bool
        Whether to explain domains and classes beneath.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        With equal scales; one line of markers for each domain and class, in that order,
        negatives first.
    """
    array = _points(X, domain, y)
    domains, positive = np.asarray(domain), np.asarray(y).astype(bool)
    ax = new_axes(ax, width=5.0, height=5.4)
    handles = []
    for name, look in looks(domains.tolist()).items():
        for value in (False, True):
            rows = (domains == name) & (positive == value)
            handles += ax.plot(
                array[rows, 0],
                array[rows, 1],
                linestyle="none",
                marker=look.marker,
                markersize=6,
                markerfacecolor=look.colour if value else "white",
                markeredgecolor=look.colour,
                alpha=0.85,
                label=f"{name}, {'positive' if value else 'negative'}",
            )
    centre = array.mean(axis=0)
    limits = centre[:, None] + np.array([-1, 1]) * 1.08 * np.abs(array - centre).max()
    if boundary is not None:
        _draw_line(ax, boundary, limits)
    if direction is not None:
        unit = np.asarray(direction, dtype=float)
        tip = centre + 0.45 * np.ptp(limits[0]) * unit / np.linalg.norm(unit) / 2
        ax.annotate(
            "",
            xy=tip,
            xytext=centre,
            arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 2.5},
        )
    ax.set(xlim=limits[0], ylim=limits[1], title=title or "", aspect="equal")
    _bare(ax)
    if legend:
        legend_below(ax, handles)
    return ax


def _draw_line(ax: Axes, line: tuple[float, float, float], limits: np.ndarray) -> None:
    a, b, c = line
    if abs(b) >= abs(a):
        x = limits[0]
        ax.plot(x, -(a * x + c) / b, color=INK, linestyle="--", linewidth=2)
    else:
        y = limits[1]
        ax.plot(-(b * y + c) / a, y, color=INK, linestyle="--", linewidth=2)


def _dot(look: Any, name: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D(
        [],
        [],
        linestyle="none",
        marker=look.marker,
        color=look.colour,
        markeredgecolor=INK,
        markersize=9,
        label=str(name),
    )


def _bare(ax: Axes) -> None:
    """Leave out the scales of axes that have no unit."""
    ax.set_xticks([])
    ax.set_yticks([])
