"""MFCC: the hand-engineered control, with nothing learned from any dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.embeddings.base import Embedding, Features, FrontEnd, require

SAMPLE_RATE = 22_050
N_FFT = 2_048
HOP_LENGTH = 512
N_MELS = 128
N_MFCC = 40


@dataclass(frozen=True)
class MfccFrontEnd(FrontEnd):
    """Mean and standard deviation of a clip's MFCCs, computed by librosa."""

    n_mfcc: int = N_MFCC

    def features(self, mono: NDArray[Any]) -> NDArray[np.float32]:
        """Return one row: the means of the coefficients, then their standard deviations."""
        import librosa

        coefficients = librosa.feature.mfcc(
            y=mono,
            sr=self.sample_rate,
            n_mfcc=self.n_mfcc,
            n_fft=N_FFT,
            hop_length=HOP_LENGTH,
            n_mels=N_MELS,
        )
        both = np.concatenate([coefficients.mean(axis=1), coefficients.std(axis=1)])
        return both.astype(np.float32)[None, :]

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the numbers, for the record."""
        return {
            **super().parameters,
            "n_mfcc": self.n_mfcc,
            "n_fft": N_FFT,
            "hop_length": HOP_LENGTH,
            "n_mels": N_MELS,
            "statistics": "mean and standard deviation over time",
        }


class Mfcc(Embedding):
    """40 mel-frequency cepstral coefficients: mean and standard deviation over the clip (80-d).

    Spectra are librosa's with 2,048 samples every 512 at 22,050 Hz and 128 mel bands; silence
    is defined too, because librosa floors the power at 1e-10 before the logarithm.
    """

    name = "mfcc"
    packages = ("librosa",)

    def __init__(self, n_mfcc: int = N_MFCC) -> None:
        require("librosa", "audio", "mfcc")
        super().__init__(
            dimension=2 * n_mfcc,
            hop=0.0,
            window=0.0,
            front_end=MfccFrontEnd(SAMPLE_RATE, shortest=N_FFT / SAMPLE_RATE, n_mfcc=n_mfcc),
            source="librosa.feature.mfcc",
        )

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[Features]:
        """Return the rows that the front end made; there is no network."""
        return [np.asarray(clip, np.float32) for clip in inputs]
