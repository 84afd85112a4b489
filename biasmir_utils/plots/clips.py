"""Clips seen: as points in a plane, in a toy, as a spectrogram."""

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
    WIDTH,
    Order,
    key,
    legend_below,
    looks,
    mark,
    new_axes,
    order_of,
    panels,
    plane,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COMPONENTS = ("first component", "second component")


@style()
def projection(
    points: ArrayLike,
    category: ArrayLike,
    *,
    order: Order = None,
    names: tuple[str, str] = COMPONENTS,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw clips as points, each category with its own colour and marker.

    Parameters
    ----------
    points : array-like, (n, 2)
        A row for each clip.
    category : array-like, (n,)
        Dataset, genre or instrument of each point; at most ten.
    order : sequence, optional
        Categories in the order of the legend; points of others are left out.
    names : tuple of str
        Labels of the axes.
    title : str, optional
        Stands above the axes.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Axes
        With one collection of points for each category.
    """
    array, kind = plane(points, category), np.asarray(category)
    kinds = looks(order_of(pd.DataFrame({"category": kind}), "category", order))
    ax = new_axes(ax, height=5.2)
    size = float(np.clip(9000 / max(len(array), 1), 10, 60))
    point: dict[str, Any] = {"s": size, "alpha": 0.6, "linewidth": 0.4, "edgecolor": INK}
    for name, (colour, marker, *_) in kinds.items():
        xy = array[kind == name].T
        ax.scatter(*xy, color=colour, marker=marker, label=str(name), **point)
    ax.set(xlabel=names[0], ylabel=names[1], title=title or "", xticks=[], yticks=[])
    handles = [key(look, name, markersize=9) for name, look in kinds.items()]
    legend_below(ax, handles, columns=min(len(handles), 3))
    return ax


@style()
def category_means(
    points: ArrayLike,
    category: ArrayLike,
    dataset: ArrayLike,
    *,
    order: Order = None,
    names: tuple[str, str] = COMPONENTS,
    ax: Axes | None = None,
) -> Axes:
    """Draw where the mean of each category lies in two datasets, with a line between them.

    Parameters
    ----------
    points : array-like, (n, 2)
        A row for each clip.
    category : array-like, (n,)
        Instrument of each point, written at the right of its line.
    dataset : array-like, (n,)
        Two datasets.
    order : sequence, optional
        Categories to draw.
    names : tuple of str
        Labels of the axes.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Axes
        With one line of markers for each dataset, in the order of the categories.
    """
    array = plane(points, category, dataset)
    table = pd.DataFrame(array, columns=["x", "y"])
    table = table.assign(category=np.asarray(category), dataset=np.asarray(dataset))
    sets = looks(order_of(table, "dataset"))
    if len(sets) != 2:
        raise ArgumentError(f"dataset: expected two datasets, found {list(sets)}")
    kinds = order_of(table, "category", order)
    means = table.groupby(["dataset", "category"])[["x", "y"]].mean()
    ends = np.array([[means.loc[(name, kind)] for kind in kinds] for name in sets])
    ax = new_axes(ax, height=5.6)
    arrow = {"arrowstyle": "-", "color": MUTED, "linewidth": 1.2, "shrinkA": 4, "shrinkB": 4}
    for start, end in zip(*ends, strict=True):
        ax.annotate("", xy=end, xytext=start, arrowprops=arrow)
    for (name, look), xy in zip(sets.items(), ends, strict=True):
        mark(ax, xy[:, 0], xy[:, 1], look, name, markersize=9)
    ax.margins(0.12)
    _write_beside(ax, ends[ends[:, :, 0].argmax(axis=0), range(len(kinds))], list(map(str, kinds)))
    ax.set(xlabel=names[0], ylabel=names[1], xticks=[], yticks=[])
    legend_below(ax)
    return ax


def _write_beside(ax: Axes, xy: np.ndarray, texts: Sequence[str]) -> None:
    """Write a text beside each point, moved apart vertically where they would overlap."""
    from sklearn.isotonic import isotonic_regression

    order = np.argsort(xy[:, 1], kind="stable")
    # Neighbours come to be a step from each other, by the least squares: with equal steps taken
    # off, that is the isotonic regression.
    steps = 0.052 * np.ptp(ax.get_ylim()) * np.arange(len(xy))
    heights = isotonic_regression(xy[order, 1] - steps) + steps
    right = xy[:, 0].max() + 0.06 * np.ptp(ax.get_xlim())
    line = {"arrowstyle": "-", "color": "#b5b5b5", "linewidth": 0.8, "shrinkB": 5}
    place: dict[str, Any] = {"va": "center", "fontsize": 12, "annotation_clip": False}
    for which, height in zip(order, heights, strict=True):
        ax.annotate(texts[which], xy[which], (right, height), arrowprops=line, **place)
    ax.set_xlim(ax.get_xlim()[0], right + 0.30 * np.ptp(ax.get_xlim()))


@style()
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
        A row for each clip.
    domain : array-like, (n,)
        Domain of each row, two values.
    y : array-like, (n,)
        Class of each row: markers are filled where it is true.
    direction : array-like, (2,), optional
        Drawn as an arrow from the mean of all rows.
    boundary : tuple (a, b, c), optional
        The line a x + b y + c = 0, where a recogniser's score is zero.
    title : str, optional
        Stands above the axes.
    legend : bool
        Whether to explain domains and classes beneath.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Axes
        With equal scales; one line of markers for each domain and class, in that order,
        negatives first.
    """
    array = plane(X, domain, y)
    domains, positive = np.asarray(domain), np.asarray(y).astype(bool)
    ax = new_axes(ax, width=5.0, height=5.4)
    drawn: dict[str, Any] = {"markersize": 6, "alpha": 0.85, "zorder": 2}
    for name, look in looks(domains.tolist()).items():
        for value, word in ((False, "negative"), (True, "positive")):
            x, y = array[(domains == name) & (positive == value)].T
            ink: dict[str, Any] = {"markerfacecolor": look.colour if value else "white"}
            ink |= {"markeredgecolor": look.colour}
            mark(ax, x, y, look, f"{name}, {word}", **ink, **drawn)
    across, up = _square(array)
    if boundary is not None:
        a, b, c = boundary
        x, y0 = -c * a / (a * a + b * b), -c * b / (a * a + b * b)
        ax.axline((x, y0), (x - b, y0 + a), color=INK, linestyle="--", linewidth=2)
    if direction is not None:
        _arrow(ax, array.mean(axis=0), direction, 0.225 * np.ptp(across))
    ax.set(xlim=across, ylim=up, title=title or "", aspect="equal", xticks=[], yticks=[])
    if legend:
        legend_below(ax)
    return ax


@style()
def toy_correction(
    domain: ArrayLike,
    y: ArrayLike,
    steps: Mapping[str, tuple[ArrayLike, ArrayLike | None, tuple[float, float, float]]],
) -> Figure:
    """Draw a toy before and after a correction; under each, the scores of the second domain.

    Parameters
    ----------
    domain, y
        As of `toy_domains`.
    steps : mapping of str to (X, direction, boundary)
        A column for each, under its title: points, direction and recogniser as of `toy_domains`.

    Returns
    -------
    matplotlib Figure
        Above the points; below, for negatives and positives of the second domain, the number of
        clips by score. The dashed line is where the recogniser says yes, in both.
    """
    import matplotlib.pyplot as plt

    domains, positive = np.asarray(domain), np.asarray(y).astype(bool)
    second, look = list(looks(domains.tolist()).items())[-1]
    size: dict[str, Any] = {"figsize": (WIDTH, 6.2), "height_ratios": (3, 1)}
    figure, axes = plt.subplots(2, len(steps), squeeze=False, **size)
    for (title, (X, direction, boundary)), (above, below) in zip(
        steps.items(), axes.T, strict=True
    ):
        shown: dict[str, Any] = {"title": title, "legend": above is axes[0, 0], "ax": above}
        toy_domains(X, domains, positive, direction=direction, boundary=boundary, **shown)
        score = np.asarray(X) @ boundary[:2] + boundary[2]
        bins = np.histogram_bin_edges(score[domains == second], bins=24)
        for value, colour in ((False, "white"), (True, look.colour)):
            fill: dict[str, Any] = {"facecolor": colour, "edgecolor": look.colour, "alpha": 0.75}
            own = score[(domains == second) & (positive == value)]
            below.hist(own, bins, histtype="stepfilled", linewidth=1.6, **fill)
        below.axvline(0, color=INK, linestyle="--", linewidth=2)
        below.set(xlabel=f"score of {second}'s clips", yticks=[])
        below.grid(visible=False)
    return figure


@style()
def domain_means(
    pictures: Mapping[str, ArrayLike],
    domain: ArrayLike,
    *,
    arrows: Mapping[str, ArrayLike] | None = None,
) -> Figure:
    """Draw two domains in the plane, with an arrow from mean to mean, before and after corrections.

    Parameters
    ----------
    pictures : mapping of str to array-like, (n, 2)
        The same clips, a row for each, under the title of their panel.
    domain : array-like, (n,)
        Domain of each row, two values.
    arrows : mapping of str to array-like of shape (2,), optional
        Directions by name, drawn in the first panel from the mean of all rows with a common
        length; the name stands at the tip.

    Returns
    -------
    matplotlib Figure
        With equal scales and limits; in each panel for each domain a line of points, then for each
        domain its mean; a quiver for the step between the means.

    Raises
    ------
    ArgumentError
        If points are not (n, 2), or there are not two domains.
    """
    names = np.asarray(domain)
    drawn = {title: plane(points, names) for title, points in pictures.items()}
    kinds = looks(names.tolist())
    if len(kinds) != 2:
        raise ArgumentError(f"domain: expected two domains, found {list(kinds)}")
    figure, axes = panels(len(drawn), 2.6, sharex=True, sharey=True)
    faint: dict[str, Any] = {"markersize": 5, "alpha": 0.35, "markeredgewidth": 0, "zorder": 2}
    bold: dict[str, Any] = {"markersize": 9, "markeredgewidth": 1.5, "zorder": 4}
    step: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1, "zorder": 5}
    for ax, (title, points) in zip(axes, drawn.items(), strict=True):
        means = [points[names == name].mean(axis=0) for name in kinds]
        for name, look in kinds.items():
            mark(ax, points[names == name, 0], points[names == name, 1], look, name, **faint)
        for (name, look), (x, y) in zip(kinds.items(), means, strict=True):
            mark(ax, x, y, look, f"mean of {name}", **bold)
        ax.quiver(*means[0], *(means[1] - means[0]), color=INK, width=0.022, **step)
        ax.set(title=title, aspect="equal", xticks=[], yticks=[])
    centre = drawn[next(iter(drawn))].mean(axis=0)
    every = np.concatenate(list(drawn.values()))
    reach = 1.05 * np.abs(every - centre).max(axis=0)
    axes[0].set_xlim(centre[0] + reach[0] * np.array([-1, 1]))
    axes[0].set_ylim(centre[1] + reach[1] * np.array([-1, 1]))
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.8}
    place: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 15, "zorder": 6}
    for text, direction in (arrows or {}).items():
        tip = _arrow(axes[0], centre, direction, 0.7 * reach.min())
        axes[0].annotate(text, tip + 0.2 * (tip - centre), bbox=ground, **place)
    legend_below(axes[0])
    return figure


def _square(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return limits of one length for both axes, around the mean, that hold all points."""
    centre = points.mean(axis=0)
    reach = 1.08 * np.abs(points - centre).max() * np.array([-1, 1])
    return centre[0] + reach, centre[1] + reach


def _arrow(ax: Axes, start: np.ndarray, direction: ArrayLike, length: float) -> np.ndarray:
    """Draw an arrow of a length, and return where its tip is."""
    way = np.asarray(direction, dtype=float)
    tip: np.ndarray = start + length * way / np.linalg.norm(way)
    arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 2.5, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", xy=(tip[0], tip[1]), xytext=(start[0], start[1]), arrowprops=arrow, zorder=5)
    return tip


@style()
def spectrogram(
    waveform: ArrayLike, sample_rate: float, *, title: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw a mel spectrogram in dB relative to full scale, so that levels can be compared.

    Parameters
    ----------
    waveform : array-like, (n_samples,)
        Mono, in [-1, 1].
    sample_rate : float
        In Hz.
    title : str, optional
        Stands above the axes.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Axes
        With one image: 96 mel bands from 0 Hz to half the sampling rate (rows), frames of 23 ms
        (columns). What is weaker than -90 dB is drawn as silence.
    """
    import librosa

    samples = np.asarray(waveform, dtype=np.float32)
    if samples.ndim != 1:
        raise ArgumentError(f"waveform: expected shape (n_samples,), found {samples.shape}")
    hop = round(0.023 * sample_rate)
    window = 4 * hop
    power = librosa.feature.melspectrogram(
        y=samples, sr=sample_rate, n_fft=window, hop_length=hop, n_mels=96
    )
    # A full-scale sine has the window's summed weight squared over 4 as its peak power.
    full_scale = (window / 2) ** 2 / 4
    decibels = 10 * np.log10(np.maximum(power / full_scale, 1e-12))
    ax = new_axes(ax, height=2.8)
    top = float(librosa.hz_to_mel(sample_rate / 2))
    extent = (0, len(samples) / sample_rate, 0, top)
    look: dict[str, Any] = {"cmap": "magma", "vmin": -90.0, "vmax": 0.0}
    ax.imshow(decibels, origin="lower", aspect="auto", extent=extent, **look)
    ticks = {500: "500", 2000: "2k", 8000: "8k"}
    shown = [hz for hz in ticks if hz <= sample_rate / 2]
    ax.set_yticks(librosa.hz_to_mel(np.array(shown)), [ticks[hz] for hz in shown])
    ax.set(xlabel="seconds", ylabel="Hz", title=title or "")
    ax.grid(visible=False)
    return ax


@style()
def spectrograms(sounds: Mapping[str, tuple[ArrayLike, float]]) -> Figure:
    """Draw mel spectrograms below one another, see `spectrogram`.

    Parameters
    ----------
    sounds : mapping of str to (waveform, sample_rate)
        Under the title of each.

    Returns
    -------
    matplotlib Figure
    """
    figure, axes = panels(len(sounds), 2.5 * len(sounds), across=1)
    for ax, (title, (waveform, rate)) in zip(axes, sounds.items(), strict=True):
        spectrogram(waveform, rate, title=title, ax=ax)
    return figure
