"""A clip seen: its spectrum over time, and its frames in an embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from biasmir_utils.errors import ArgumentError
from biasmir_utils.plots.style import WIDTH, new_axes, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HZ = (500, 2000, 8000)


@styled
def spectrogram(
    waveform: ArrayLike,
    sample_rate: float,
    *,
    title: str | None = None,
    floor_db: float = -90.0,
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
    floor_db : float
        What is weaker is drawn as silence; the scale ends at 0 dB.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
        With one image: 96 mel bands from 0 Hz to half the sampling rate (rows), frames of 23 ms
        (columns).
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
        vmin=floor_db,
        vmax=0.0,
        extent=(0, len(samples) / sample_rate, 0, top),
    )
    shown = [hz for hz in _HZ if hz <= sample_rate / 2]
    ax.set_yticks(librosa.hz_to_mel(np.array(shown)), [_hertz(hz) for hz in shown])
    ax.set(xlabel="seconds", ylabel="Hz", title=title or "")
    ax.grid(visible=False)
    return ax


def _hertz(value: int) -> str:
    return f"{value // 1000}k" if value >= 1000 else str(value)


@styled
def frames(
    features: ArrayLike,
    *,
    hop: float = 0.0,
    xlabel: str = "dimension of the embedding",
    bar: str = "value",
    title: str | None = None,
) -> Figure:
    """Draw the frames of a clip as rows of a heat map, with their mean as a further row.

    Parameters
    ----------
    features : array-like, (n_frames, D)
    hop : float
        Seconds from one frame to the next, to label the rows with their time; 0 numbers them.
    xlabel : str
        What the columns are, where they are not all dimensions in their order.
    bar : str
        What the colours say.
    title : str, optional

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
    step = max(1, int(np.ceil(n / 8)))
    shown = np.arange(0, n, step)
    names = [f"{at * hop:.3g} s" if hop else str(at + 1) for at in shown]
    above.set_yticks(shown, names)
    above.set(ylabel="frame at" if hop else "frame", title=title or "")
    below.set_yticks([0], ["mean"])
    below.set_xlabel(xlabel)
    for ax in (above, below):
        ax.grid(visible=False)
    figure.colorbar(image, ax=[above, below], label=bar, fraction=0.06)
    return figure
