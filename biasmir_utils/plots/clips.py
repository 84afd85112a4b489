"""Clips seen: as points in a plane, in a toy, as a spectrogram, as frames of an embedding."""

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
    key,
    legend_below,
    looks,
    mark,
    new_axes,
    order_of,
    plane,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COMPONENTS = ("first component", "second component")


@styled
def projection(
    points: ArrayLike,
    category: ArrayLike,
    *,
    order: Sequence[Any] | None = None,
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
    for name, look in kinds.items():
        ax.scatter(
            array[kind == name, 0],
            array[kind == name, 1],
            color=look.colour,
            marker=look.marker,
            s=size,
            alpha=0.6,
            linewidth=0.4,
            edgecolor=INK,
            label=str(name),
        )
    ax.set(xlabel=names[0], ylabel=names[1], title=title or "", xticks=[], yticks=[])
    handles = [key(look, name, markersize=9) for name, look in kinds.items()]
    legend_below(ax, handles, columns=min(len(handles), 3))
    return ax


@styled
def category_means(
    points: ArrayLike,
    category: ArrayLike,
    dataset: ArrayLike,
    *,
    order: Sequence[Any] | None = None,
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
    columns = {"category": np.asarray(category), "dataset": np.asarray(dataset)}
    table = pd.DataFrame({"x": array[:, 0], "y": array[:, 1], **columns})
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
    legend_below(ax, [key(look, name, markersize=9) for name, look in sets.items()])
    return ax


def _write_beside(ax: Axes, xy: np.ndarray, texts: Sequence[str]) -> None:
    """Write a text beside each point, moved apart vertically where they would overlap."""
    low, high = ax.get_ylim()
    heights = _spread(xy[:, 1], 0.052 * (high - low))
    right = xy[:, 0].max() + 0.06 * np.ptp(ax.get_xlim())
    for point, height, text in zip(xy, heights, texts, strict=True):
        ax.annotate(
            text,
            xy=point,
            xytext=(right, height),
            va="center",
            fontsize=12,
            arrowprops={"arrowstyle": "-", "color": "#b5b5b5", "linewidth": 0.8, "shrinkB": 5},
            annotation_clip=False,
        )
    ax.set_xlim(ax.get_xlim()[0], right + 0.30 * np.ptp(ax.get_xlim()))


def _spread(positions: np.ndarray, gap: float) -> np.ndarray:
    """Move positions apart for neighbours to be `gap` from each other, by the least squares.

    Equal steps taken off, that is the isotonic regression of the sorted positions.
    """
    from sklearn.isotonic import isotonic_regression

    order = np.argsort(positions, kind="stable")
    steps = gap * np.arange(len(positions))
    placed = np.empty(len(positions))
    placed[order] = isotonic_regression(positions[order] - steps) + steps
    return placed


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
    handles: list[Any] = []
    for name, look in looks(domains.tolist()).items():
        for value, word in ((False, "negative"), (True, "positive")):
            rows = (domains == name) & (positive == value)
            face = look.colour if value else "white"
            drawn: dict[str, Any] = {"markerfacecolor": face, "markeredgecolor": look.colour}
            drawn |= {"markersize": 6, "alpha": 0.85, "zorder": 2}
            handles += mark(ax, array[rows, 0], array[rows, 1], look, f"{name}, {word}", **drawn)
    across, up = _square(array)
    if boundary is not None:
        a, b, c = boundary
        x, y0 = -c * a / (a * a + b * b), -c * b / (a * a + b * b)
        ax.axline((x, y0), (x - b, y0 + a), color=INK, linestyle="--", linewidth=2)
    if direction is not None:
        _arrow(ax, array.mean(axis=0), direction, 0.225 * np.ptp(across))
    ax.set(xlim=across, ylim=up, title=title or "", aspect="equal", xticks=[], yticks=[])
    if legend:
        legend_below(ax, handles)
    return ax


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
        A row for each clip.
    domain : array-like, (n,)
        Domain of each row, two values.
    arrows : mapping of str to array-like of shape (2,), optional
        Directions by name, drawn from the mean of all rows; the name stands at the tip.
    limits : pair of (low, high), optional
        Of the horizontal and the vertical axis, so that several pictures can be compared.
    title : str, optional
        Stands above the axes.
    legend : bool
        Whether to explain the domains and their means beneath.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without it.

    Returns
    -------
    matplotlib Axes
        With equal scales; for each domain a line of points, then for each domain its mean.

    Raises
    ------
    ArgumentError
        If X is not (n, 2), or there are not two domains.
    """
    points, names = plane(X, domain), np.asarray(domain)
    kinds = looks(names.tolist())
    if len(kinds) != 2:
        raise ArgumentError(f"domain: expected two domains, found {list(kinds)}")
    ax = new_axes(ax, width=5.0, height=5.4)
    handles: list[Any] = []
    faint: dict[str, Any] = {"markersize": 5, "alpha": 0.35, "markeredgewidth": 0, "zorder": 2}
    bold: dict[str, Any] = {"markersize": 15, "markeredgewidth": 2, "zorder": 4}
    for name, look in kinds.items():
        own = points[names == name]
        handles += mark(ax, own[:, 0], own[:, 1], look, name, **faint)
    for name, look in kinds.items():
        x, y = points[names == name].mean(axis=0)
        handles += mark(ax, [x], [y], look, f"mean of {name}", **bold)
    across, up = limits if limits is not None else _square(points)
    centre = points.mean(axis=0)
    length = 0.36 * min(np.ptp(across), np.ptp(up))
    for text, direction in (arrows or {}).items():
        tip = _arrow(ax, centre, direction, length)
        ax.annotate(
            text,
            tip + 0.16 * (tip - centre),
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


@styled
def spectrogram(
    waveform: ArrayLike,
    sample_rate: float,
    *,
    title: str | None = None,
    ax: Axes | None = None,
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
    ax.imshow(
        decibels,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=-90.0,
        vmax=0.0,
        extent=(0, len(samples) / sample_rate, 0, top),
    )
    ticks = {500: "500", 2000: "2k", 8000: "8k"}
    shown = [hz for hz in ticks if hz <= sample_rate / 2]
    ax.set_yticks(librosa.hz_to_mel(np.array(shown)), [ticks[hz] for hz in shown])
    ax.set(xlabel="seconds", ylabel="Hz", title=title or "")
    ax.grid(visible=False)
    return ax


@styled
def frames(
    features: ArrayLike,
    *,
    hop: float = 0.0,
    xlabel: str = "dimension of the embedding",
    bar: str = "value",
) -> Figure:
    """Draw the frames of a clip as rows of a heat map, with their mean as a further row.

    Parameters
    ----------
    features : array-like, (n_frames, D)
        The clip's frames, in their order in time.
    hop : float
        Seconds from one frame to the next, to label the rows with their time; 0 numbers them.
    xlabel : str
        What the columns are, where they are not all dimensions in their order.
    bar : str
        What the colours say.

    Returns
    -------
    matplotlib Figure
        Two axes with one image each: the frames above, their mean beneath, on one scale.
    """
    import matplotlib.pyplot as plt

    values = np.asarray(features, dtype=float)
    if values.ndim != 2 or not len(values):
        raise ArgumentError(f"features: expected shape (n_frames, D), found {values.shape}")
    n = len(values)
    height = 2.0 + min(0.35 * n, 3.0)
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(WIDTH, height), sharex=True, height_ratios=[max(n, 2), max(n / 6, 1)]
    )
    scale = {"aspect": "auto", "cmap": "viridis", "interpolation": "nearest"}
    limits = {"vmin": values.min(), "vmax": values.max()}
    image = above.imshow(values, **scale, **limits)
    below.imshow(values.mean(axis=0, keepdims=True), **scale, **limits)
    shown = np.arange(0, n, max(1, int(np.ceil(n / 8))))
    above.set_yticks(shown, [f"{at * hop:.3g} s" if hop else str(at + 1) for at in shown])
    above.set(ylabel="frame at" if hop else "frame")
    below.set_yticks([0], ["mean"])
    below.set_xlabel(xlabel)
    for ax in (above, below):
        ax.grid(visible=False)
    figure.colorbar(image, ax=[above, below], label=bar, fraction=0.06)
    return figure
