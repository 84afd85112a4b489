"""OpenL3's input: mel spectra, in decibels, of windows of one second.

Facts that the numbers depend on: mono is the mean of the channels, and everything up to the
mel spectrum is in double precision. Half a second of zeros in front puts the first window's
centre at the clip's first sample; zeros at the end let the last window reach the last sample.
Each window has its own decibel range and maximum, so it sees nothing outside itself. As the
network looks up to 24 kHz, the edge of the resampler's filter matters: soxr, or resampy in
single precision, changes embeddings by about a hundredth of their largest value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from biasmir_utils.embeddings.audio import to_mono
from biasmir_utils.embeddings.base import FrontEnd, require
from biasmir_utils.errors import ArgumentError, AudioError, ModelError
from biasmir_utils.files import versions

SAMPLE_RATE = 48_000
WINDOW = SAMPLE_RATE
"""Samples in a window: one second."""
PADDING = WINDOW // 2
"""Zeros before the clip, in samples."""
DEFAULT_HOP = 0.5
N_FFT = 2_048
HOP_LENGTH = 242
N_MELS = 256
N_SPECTRA = 1 + WINDOW // HOP_LENGTH
AMIN = 1e-10
TOP_DB = 80.0

RESAMPY = (0, 4)
"""The first version of resampy whose filters give the expected numbers."""
MOST_WINDOWS = 256
"""Of a longer clip, spectra are computed when the network takes them: these have 52 MB."""
_WINDOWS_AT_ONCE = 16


def hop_in_samples(hop: float) -> int:
    """Return a hop in samples, rounded down as the `openl3` package does.

    Parameters
    ----------
    hop : float
        Seconds from one window to the next.

    Raises
    ------
    ArgumentError
        If it is no finite number of at least one sample.
    """
    if not isinstance(hop, Real) or not math.isfinite(hop) or hop * SAMPLE_RATE < 1:
        raise ArgumentError(
            f"hop: expected seconds from one window to the next (0.5 and 0.1 are common), "
            f"found {hop!r}"
        )
    return int(hop * SAMPLE_RATE)


def count_windows(samples: int, hop_samples: int) -> int:
    """Return how many windows a clip of so many samples at 48 kHz has."""
    return 1 + -(-max(0, samples + PADDING - WINDOW) // hop_samples)


@dataclass(frozen=True)
class Mono48k(FrontEnd):
    """One channel at 48 kHz in double precision, resampled by resampy.

    Attributes
    ----------
    resampler : str
        For the record.
    """

    resampler: str

    def downmix(self, waveform: NDArray[Any]) -> NDArray[Any]:
        """Return the mean of the channels."""
        return to_mono(waveform.astype(np.float64))

    def resample(self, mono: NDArray[Any], sample_rate: float) -> NDArray[np.float64]:
        """Return one channel at 48 kHz."""
        if sample_rate == self.sample_rate:
            return mono
        if int(len(mono) * self.sample_rate / sample_rate) < 1:
            raise AudioError(f"too short: {len(mono)} sample(s) at {sample_rate:g} Hz")
        import resampy

        return resampy.resample(mono, sample_rate, self.sample_rate, filter="kaiser_best")

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the numbers, for the record."""
        return {**super().parameters, "resampler": self.resampler}


@dataclass(frozen=True)
class MelWindows(Mono48k):
    """One mel spectrogram in decibels, at most 0, for each window.

    Attributes
    ----------
    hop_samples : int
        Samples from one window to the next.
    """

    hop_samples: int

    def features(self, mono: NDArray[Any]) -> NDArray[Any]:
        """Return spectra of shape (windows, 256 mel bands, 199 spectra), in dB from -80 to 0.

        A window takes 0.2 MB; at a hop of 0.1 s that is five times what its sound takes. So of
        a clip with more than `MOST_WINDOWS` this returns `mono` itself, (samples,): memory does
        not grow with the clip beyond its sound, and `blocks` gives the spectra of either.
        """
        n = count_windows(len(mono), self.hop_samples)
        return mono if n > MOST_WINDOWS else self._spectra(mono, 0, n)

    def blocks(self, features: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """Yield what `features` returned as spectra, some windows at a time, in order."""
        if features.ndim > 1:
            yield features
            return
        n = count_windows(len(features), self.hop_samples)
        for first in range(0, n, _WINDOWS_AT_ONCE):
            yield self._spectra(features, first, min(first + _WINDOWS_AT_ONCE, n))

    def _spectra(self, mono: NDArray[Any], start: int, stop: int) -> NDArray[np.float32]:
        """Return the spectra of the windows from `start` to before `stop`."""
        spectra = np.empty((stop - start, N_MELS, N_SPECTRA), np.float32)
        for first in range(start, stop, _WINDOWS_AT_ONCE):
            last = min(first + _WINDOWS_AT_ONCE, stop) - 1
            padded = np.zeros((last - first) * self.hop_samples + WINDOW)
            # Where this stretch begins in the clip; before the clip are zeros.
            begin = first * self.hop_samples - PADDING
            part = mono[max(begin, 0) : max(begin + len(padded), 0)]
            padded[max(-begin, 0) : max(-begin, 0) + len(part)] = part
            windows = sliding_window_view(padded, WINDOW)[:: self.hop_samples]
            spectra[first - start : last + 1 - start] = _decibels(windows)
        return spectra

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the numbers, for the record."""
        return {
            **super().parameters,
            **windowing(self.hop_samples),
            "spectrum": "mel magnitude in dB under each window's maximum, librosa",
            "n_fft": N_FFT,
            "hop_length": HOP_LENGTH,
            "n_mels": N_MELS,
            "top_db": TOP_DB,
        }


def windowing(hop_samples: int) -> dict[str, Any]:
    """Return what is recorded of how a clip is cut into windows."""
    return {
        "hop_samples": hop_samples,
        "centre": True,
        "padding": "zeros: 0.5 s in front, and at the end up to a whole window",
    }


def resampler_record(any_version: bool = False) -> str:
    """Check that resampy can be used, and return what is recorded of it.

    Parameters
    ----------
    any_version : bool
        Whether versions under 0.4 will do, as they must beside the `openl3` package. They give
        other numbers, so the record then names the version.

    Raises
    ------
    ModelError
        If resampy is missing or too old.
    """
    require("resampy", "audio", "openl3")
    version = installed_version("resampy")
    if any_version:
        return f"resampy {version} kaiser_best, float64"
    if version_pair(version) < RESAMPY:
        raise ModelError(
            f"openl3: resampy {version} is installed, and 0.4 or later is needed: the filter "
            f"kaiser_best changed, and with it the embeddings of clips that are not at 48 kHz; "
            f"upgrade it with: pip install 'resampy>=0.4'. The package openl3 holds resampy "
            f"back: use another environment, or ask for that package with "
            f"model='openl3-package'"
        )
    return "resampy >= 0.4 kaiser_best, float64"


def installed_version(package: str) -> str:
    """Return the version of a package, or ``unknown`` where it carries none."""
    return versions(package).get(package, "unknown")


def version_pair(version: str) -> tuple[int, int]:
    """Return major and minor version as numbers; (0, 0) where they cannot be told."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _decibels(windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the spectra of windows of shape (n, 48000): 0 dB is each one's own maximum."""
    import librosa

    mel = librosa.feature.melspectrogram(
        y=windows,
        sr=SAMPLE_RATE,
        n_fft=N_FFT,
        hop_length=HOP_LENGTH,
        n_mels=N_MELS,
        power=1.0,
        center=True,
        pad_mode="constant",
    )
    # librosa.power_to_db takes the maximum over all windows, so it cannot be used here.
    level = 10.0 * np.log10(np.maximum(mel, AMIN))
    level -= level.max(axis=(1, 2), keepdims=True)
    return np.maximum(level, -TOP_DB)
