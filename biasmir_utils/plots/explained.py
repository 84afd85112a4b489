"""How a number comes about: a clip's vector, a ROC-AUC, folds that leak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from biasmir_utils.errors import ArgumentError
from biasmir_utils.plots.clips import draw_spectrogram
from biasmir_utils.plots.style import INK, REFERENCE, WIDTH, looks, panels, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Tints of what is in the right order and what is not.
RIGHT, WRONG = "#cfe3f7", "#f3c9c2"


@style()
def embedding_steps(
    waveform: ArrayLike, sample_rate: float, frames: ArrayLike, *, window: float, hop: float
) -> Figure:
    """Draw how a clip becomes a vector: waveform, patches, frames, and their mean.

    Parameters
    ----------
    waveform : array-like, (n_samples,)
        Mono, in [-1, 1].
    sample_rate : float
        In Hz.
    frames : array-like, (n_frames, D)
        What the network gives for each patch, in units in which 0 is the average over all clips.
    window, hop : float
        Seconds that a patch lasts, and from one patch to the next.

    Returns
    -------
    matplotlib Figure
        The waveform, its mel spectrogram with the edges of the patches, the frames as columns at
        the time of their patch, and beside them their mean, on one scale of colours.
    """
    import matplotlib.pyplot as plt

    samples, values = np.asarray(waveform, dtype=float), np.asarray(frames, dtype=float)
    if samples.ndim != 1 or values.ndim != 2 or not len(values):
        raise ArgumentError(
            f"expected a waveform (n_samples,) and frames (n_frames, D), found {samples.shape} "
            f"and {values.shape}"
        )
    figure = plt.figure(figsize=(WIDTH, 7.0))
    grid = figure.add_gridspec(3, 2, height_ratios=(1, 1.7, 2.1), width_ratios=(12, 1))
    wave, mel, above, mean = (
        figure.add_subplot(grid[at]) for at in ((0, 0), (1, 0), (2, 0), (2, 1))
    )
    seconds = np.arange(len(samples)) / sample_rate
    step = max(1, len(samples) // 4000)
    wave.plot(seconds[::step], samples[::step], color=INK, linewidth=0.5)
    draw_spectrogram(mel, samples, sample_rate, "each patch as the network sees it")
    starts = hop * np.arange(len(values) + 1)
    limit = float(np.quantile(np.abs(values), 0.99)) or 1.0
    look: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    image = above.pcolormesh(starts, np.arange(values.shape[1] + 1), values.T, **look)
    mean.pcolormesh([0, 1], np.arange(values.shape[1] + 1), values.mean(axis=0)[:, None], **look)
    for ax, edge in ((wave, INK), (mel, "white"), (above, INK)):
        for start in starts[:-1]:
            ax.axvspan(start, start + window, fill=False, color=edge, linewidth=1.6)
        ax.set(xlim=(0, seconds[-1]), xlabel="")
        ax.grid(visible=False)
    wave.set(title=f"waveform, cut into {len(values)} patches of {window:.2g} s", xticklabels=[])
    wave.set_yticks([])
    mel.set_xticklabels([])
    above.set(title="a frame for each patch", xlabel="seconds", ylabel="dimension")
    mean.set(title="mean", xticks=[], yticks=[])
    figure.colorbar(image, ax=mean, label="standard deviations", fraction=0.6)
    return figure


@style()
def roc_and_pairs(truth: ArrayLike, scores: ArrayLike, *, few: tuple[int, int] = (5, 7)) -> Figure:
    """Draw that the area under a ROC curve is the share of pairs in the right order.

    Parameters
    ----------
    truth : array-like, (n,)
        Whether each clip is positive; both kinds must occur.
    scores : array-like, (n,)
    few : tuple of int
        Positive and negative clips in the left panel, spread evenly over the order of all.

    Returns
    -------
    matplotlib Figure
        Left the pairs of a few clips: a row for each positive, a column for each negative, the
        highest scores first, tinted where the positive has the higher score. Right the ROC curve of
        all clips. In both the curve is the border of the tint.
    """
    positive, values = np.asarray(truth).astype(bool), np.asarray(scores, dtype=float)
    sides = [np.sort(values[positive == side])[::-1] for side in (True, False)]
    if not all(map(len, sides)):
        raise ArgumentError("truth: expected positive and negative clips")
    chosen = [
        own[np.round(np.linspace(0, len(own) - 1, min(count, len(own)))).astype(int)]
        for own, count in zip(sides, few, strict=True)
    ]
    figure, (left, right) = panels(2, 3.7)
    for ax, (high, low) in ((left, chosen), (right, sides)):
        # How many positives are above each negative: the height of the curve over its column.
        above = (high[:, None] > low).sum(axis=0)
        x = np.repeat(np.arange(len(low) + 1), 2)[1:-1]
        y = np.repeat(above, 2)
        ax.set_facecolor(WRONG)
        ax.fill_between(x, y, color=RIGHT, linewidth=0)
        ax.plot([0, *x, len(low)], [0, *y, len(high)], color=INK, clip_on=False, zorder=5)
        ax.set(xlim=(0, len(low)), ylim=(0, len(high)))
        share = above.sum() / (len(high) * len(low))
        counted = f"{above.sum():,} of {len(high) * len(low):,}"
        ax.set_title(f"{counted}\npairs: {share:.3f}", fontsize=13)
    left.set_xticks(range(len(chosen[1]) + 1), [])
    left.set_yticks(range(len(chosen[0]) + 1), [])
    left.grid(visible=True, color="white", linewidth=1.5)
    left.set_axisbelow(False)
    left.set(xlabel="clips without it", ylabel="clips with it")
    right.grid(visible=False)
    right.plot([0, len(sides[1])], [0, len(sides[0])], **REFERENCE)
    shares = (0, 0.5, 1)
    right.set_xticks([share * len(sides[1]) for share in shares], ["0", "0.5", "1"])
    right.set_yticks([share * len(sides[0]) for share in shares], ["0", "0.5", "1"])
    right.set(xlabel="share of false alarms", ylabel="share found")
    return figure


@style()
def leaking_folds(tracks: ArrayLike, tested: Mapping[str, ArrayLike], *, most: int = 10) -> Figure:
    """Draw which clips of each track are tested, and which tracks are on both sides.

    Parameters
    ----------
    tracks : array-like, (n,)
        Track of each clip.
    tested : mapping of str to array-like of bool, (n,)
        For each way to deal, whether a clip is in the test part; the name is a panel's title.
    most : int
        Tracks to draw, those with most clips.

    Returns
    -------
    matplotlib Figure
        A panel for each way: a row for each track, a square for each clip, filled where it is
        tested; the row of a track that is on both sides is tinted.
    """
    from matplotlib.patches import Patch

    own = np.asarray(tracks).astype(str)
    names, counts = np.unique(own, return_counts=True)
    shown = names[np.argsort(-counts, kind="stable")][:most]
    (_, train), (_, test) = looks(["train", "test"]).items()
    figure, axes = panels(len(tested), 1.6 + 0.27 * len(shown), sharey=True)
    square: dict[str, Any] = {"marker": "s", "markersize": 9, "linestyle": "none"}
    for ax, (title, part) in zip(axes, tested.items(), strict=True):
        side = np.asarray(part).astype(bool)
        for row, name in enumerate(shown):
            here = np.sort(side[own == name])
            for value, look, fill in ((False, train, "white"), (True, test, test.colour)):
                ink: dict[str, Any] = {"markerfacecolor": fill, "markeredgecolor": look.colour}
                ax.plot(
                    np.flatnonzero(here == value), [row] * (here == value).sum(), **square, **ink
                )
            if 0 < here.sum() < len(here):
                ax.axhspan(row - 0.45, row + 0.45, color=WRONG, zorder=0)
        ax.set(title=title, xticks=[], ylim=(len(shown) - 0.4, -0.6))
        ax.set_xlim(-0.7, counts.max() - 0.3)
        ax.grid(visible=False)
    axes[0].set_yticks(range(len(shown)), shown)
    handles = [
        Patch(facecolor="white", edgecolor=train.colour, label="trains"),
        Patch(facecolor=test.colour, edgecolor=test.colour, label="is tested"),
        Patch(facecolor=WRONG, label="track on both sides"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
