"""MFCC: the hand-engineered control, with nothing learned from any dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.embeddings.base import Embedding, Frames, FrontEnd, require
from biasmir_utils.embeddings.names import add_embedding

_N_MFCC = 40
_SPECTRA: dict[str, Any] = {"n_fft": 2_048, "hop_length": 512, "n_mels": 128}


@dataclass(frozen=True)
class MfccFrontEnd(FrontEnd):
    """Mean and standard deviation of a clip's MFCCs, computed by librosa."""

    def features(self, mono: NDArray[Any]) -> NDArray[np.float32]:
        """Return one row: the means of the coefficients, then their standard deviations."""
        import librosa

        decibels = librosa.power_to_db(self.mel_power(mono, **_SPECTRA))
        coefficients = librosa.feature.mfcc(S=decibels, sr=self.sample_rate, n_mfcc=_N_MFCC)
        both = np.concatenate([coefficients.mean(axis=1), coefficients.std(axis=1)])
        return both.astype(np.float32)[None, :]


@add_embedding
class Mfcc(Embedding):
    """40 mel-frequency cepstral coefficients: mean and standard deviation over the clip (80-d).

    Spectra are librosa's with 2,048 samples every 512 at 22,050 Hz and 128 mel bands; silence
    is defined too, because librosa floors the power at 1e-10 before the logarithm.
    """

    name = "mfcc"
    summary = "MFCC, mean and standard deviation"
    licence = "none needed: nothing was learned"
    weights = "librosa.feature.mfcc"
    dimension = 2 * _N_MFCC
    sample_rate = 22_050
    hop = window = 0.0
    has_network = False
    packages = ("librosa",)

    def __init__(self) -> None:
        require(self.name, "librosa")
        statistics = "mean and standard deviation over time"
        super().__init__(
            MfccFrontEnd(self.sample_rate, _SPECTRA["n_fft"] / self.sample_rate),
            parameters={"n_mfcc": _N_MFCC, **_SPECTRA, "statistics": statistics},
        )

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[Frames]:
        """Return the rows that the front end made; there is no network."""
        return [np.asarray(clip, np.float32) for clip in inputs]
