"""What an embedding is: a front end that any process can run, and a network behind it.

The two are apart so that decoding, resampling and spectra can be computed in worker processes
that never load the network. `Embedding.embed` is both in a row.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biasmir_utils.embeddings.audio import RESAMPLER_QUALITY, check_waveform, resample, to_mono
from biasmir_utils.errors import AudioError, ModelError
from biasmir_utils.files import sha256, versions

Features = NDArray[np.float32]
AUDIO_PACKAGES = ("numpy", "soundfile", "soxr")
"""Packages behind any embedding, whose versions belong in the record."""


@dataclass(frozen=True)
class FrontEnd:
    """From a waveform at any rate to what the network takes; picklable, without the network.

    The base class gives the resampled mono waveform; subclasses override `features` for a
    spectrum of their own, and `downmix` and `resample` for another precision or resampler.

    Attributes
    ----------
    sample_rate : int
        What the network expects, in Hz.
    shortest : float
        The shortest clip that can be embedded, in seconds.
    """

    sample_rate: int
    shortest: float

    def __call__(self, waveform: ArrayLike, sample_rate: float) -> NDArray[Any]:
        """Check, downmix, resample and transform a waveform.

        Parameters
        ----------
        waveform : array of shape (samples,) or (samples, channels)
            Floats in [-1, 1].
        sample_rate : float
            In Hz.

        Raises
        ------
        AudioError
            If the clip is empty, holds NaN or infinite samples, or is too short.
        """
        mono = self.downmix(check_waveform(waveform, sample_rate))
        seconds = len(mono) / sample_rate
        # Half a sample of slack: a rate that does not divide must not make a whole clip short.
        if seconds + 0.5 / self.sample_rate < self.shortest:
            raise AudioError(
                f"too short: {seconds:.3f} s, the shortest clip that can be embedded is "
                f"{self.shortest:.3f} s; leave it out, or use an embedding with a shorter window"
            )
        return self.features(self.resample(mono, sample_rate))

    def downmix(self, waveform: NDArray[Any]) -> NDArray[Any]:
        """Return the mean of the channels."""
        return to_mono(waveform)

    def resample(self, mono: NDArray[Any], sample_rate: float) -> NDArray[Any]:
        """Return one channel at `self.sample_rate`."""
        return resample(mono.astype(np.float32, copy=False), sample_rate, self.sample_rate)

    def features(self, mono: NDArray[Any]) -> NDArray[Any]:
        """Return the network's input for one clip; here the waveform itself."""
        return mono

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the numbers, for the record."""
        return {"mono": "mean of the channels", "resampler": f"soxr {RESAMPLER_QUALITY}"}


class Embedding(ABC):
    """A pre-trained (or hand-engineered) map from sound to vectors.

    Attributes
    ----------
    name : str
        As in the registry and in embedding files.
    dimension : int
        Length D of a vector.
    hop : float
        Seconds from one frame to the next; 0 for an embedding with one frame a clip.
    window : float
        Seconds of sound that a frame sees; 0 for an embedding with one frame a clip.
    front_end : FrontEnd
        What turns a waveform into the network's input.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages whose versions belong in the record."""

    def __init__(
        self,
        *,
        dimension: int,
        hop: float,
        window: float,
        front_end: FrontEnd,
        source: str,
        sums: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> None:
        self.dimension = dimension
        self.hop = hop
        self.window = window
        self.front_end = front_end
        self._source = source
        self._sums = dict(sums or {})
        self._parameters = dict(parameters or {})

    @property
    def sample_rate(self) -> int:
        """What the network expects, in Hz; other rates are resampled."""
        return self.front_end.sample_rate

    @property
    def shortest(self) -> float:
        """The shortest clip that can be embedded, in seconds."""
        return self.front_end.shortest

    @property
    def record(self) -> dict[str, Any]:
        """What made the vectors (source, sums, parameters, versions), for `corpus.json`."""
        return {
            "source": self._source,
            "sums": dict(self._sums),
            "dimension": self.dimension,
            "sample_rate": self.sample_rate,
            "hop": self.hop,
            "window": self.window,
            "parameters": {**self.front_end.parameters, **self._parameters},
            "versions": versions(*AUDIO_PACKAGES, *self.packages),
        }

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {self.dimension}-d, {self._source}>"

    def embed(self, waveform: ArrayLike, sample_rate: float) -> Features:
        """Embed one clip.

        Parameters
        ----------
        waveform : array of shape (samples,) or (samples, channels)
            Floats in [-1, 1].
        sample_rate : float
            In Hz; resampled to `self.sample_rate` if it differs.

        Returns
        -------
        ndarray of shape (frames, D), float32

        Raises
        ------
        AudioError
            If the clip is empty, holds NaN or infinite samples, or is too short.
        ArgumentError
            If the array is not a waveform, or the sampling rate not a positive number.
        """
        return self.run([self.front_end(waveform, sample_rate)])[0]

    @abstractmethod
    def run(self, inputs: Sequence[NDArray[Any]]) -> list[Features]:
        """Return the frames of each clip, given what the front end made of it."""


def identity(record: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a record that two runs must share to belong in one file.

    Versions and the name of the source are left out: sums and parameters decide the numbers.
    A record without sums is told apart by its source.
    """
    keys = ["dimension", "sample_rate", "hop", "window", "parameters", "stored", "sums"]
    part = {key: record.get(key) for key in keys}
    if not record.get("sums"):
        part["source"] = record.get("source")
    return part


def local_path(model: str | Path, name: str) -> Path:
    """Return the path of a local model, with ``~`` replaced by the folder that it stands for.

    Raises
    ------
    ModelError
        If it starts with the home folder of a user whom the system does not know.
    """
    try:
        return Path(model).expanduser()
    except RuntimeError as error:
        raise ModelError(
            f"{name}: the model {str(model)!r} starts with no user's home folder ({error}); give "
            f"the path without ~"
        ) from error


def folder_sum(folder: Path) -> str:
    """Return one SHA-256 for a folder: of the sorted relative names and sums of its files."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{sha256(file)}\n".encode())
    return digest.hexdigest()


def require(package: str, extra: str, purpose: str) -> None:
    """Raise `ModelError` with the command that installs what is missing."""
    import importlib.util

    if importlib.util.find_spec(package) is None:
        raise ModelError(
            f"{purpose} needs the package {package}, which is not installed; "
            f'install it with: pip install "biasmir_utils[{extra}]"'
        )
