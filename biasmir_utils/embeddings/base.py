"""What an embedding is: a front end that any process can run, and a network behind it.

The two are apart so that decoding, resampling and spectra can be computed in worker processes
that never load the network. `Embedding.embed` is both in a row.

A waveform is an array of floats in [-1, 1], of shape (samples,) for one channel or (samples,
channels); mono is the mean of the channels. Durations are in seconds, sampling rates in Hz.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import logging
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biasmir_utils.errors import ArgumentError, AudioError, ModelError
from biasmir_utils.files import versions

Frames = NDArray[np.float32]
"""Vectors of one clip, of shape (frames, D)."""
AUDIO_PACKAGES = ("numpy", "soundfile", "soxr")
"""Packages behind any embedding, whose versions belong in the record."""
_RESAMPLER_QUALITY = "HQ"
_SILENCE_PEAK = 1e-5
"""Below this peak (-100 dB of full scale) a clip is noted as silent."""


def read_audio(path: str | os.PathLike[str]) -> tuple[NDArray[np.float32], int]:
    """Decode a sound file, whatever its extension says.

    Parameters
    ----------
    path : path
        Any format that libsndfile knows by its content (WAV, FLAC, Ogg Vorbis and Opus,
        MP3, AIFF and more), with any number of channels and any sampling rate.

    Returns
    -------
    waveform : ndarray of shape (samples, channels), float32
    sample_rate : int

    Raises
    ------
    AudioError
        If the file is missing, is no sound file, is damaged, has no samples, or holds NaN or
        infinite samples.
    """
    import soundfile

    path = Path(path)
    if not path.is_file():
        raise AudioError(f"{path}: no such sound file; put it there, or correct the clip table")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file has zero bytes; fetch or export it again")
    try:
        # Without its name: soundfile takes ".raw" for samples without a header.
        source = io.BytesIO(path.read_bytes()) if path.suffix.lower() == ".raw" else path
        with soundfile.SoundFile(source) as sound:
            waveform = sound.read(dtype="float32", always_2d=True)
            sample_rate = sound.samplerate
    except (soundfile.SoundFileError, TypeError, ValueError, OSError) as error:
        # Libsndfile's words, without the address of the file object before them.
        reason = getattr(error, "error_string", None) or str(error) or type(error).__name__
        raise AudioError(
            f"{path}: cannot be decoded ({str(reason).rstrip('. ')}); fetch the file again, or "
            f"convert it to WAV or FLAC"
        ) from error
    try:
        _check_waveform(waveform, sample_rate)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error
    return waveform, sample_rate


def _check_waveform(waveform: ArrayLike, sample_rate: float) -> NDArray[np.floating[Any]]:
    """Return a waveform as an array of floats, or say what is wrong with it."""
    array = np.asarray(waveform)
    if array.ndim not in (1, 2):
        raise ArgumentError(
            f"waveform: expected shape (samples,) or (samples, channels), found {array.shape}"
        )
    if not np.issubdtype(array.dtype, np.floating):
        raise ArgumentError(
            f"waveform: expected floats in [-1, 1], found {array.dtype}; "
            f"divide integers by their full scale"
        )
    if not np.isfinite(sample_rate) or sample_rate <= 0:
        raise ArgumentError(f"sample_rate: expected a positive number of Hz, found {sample_rate!r}")
    if array.size == 0:
        raise AudioError("no samples (zero length); replace the file, or leave the clip out")
    if not np.isfinite(array).all():
        raise AudioError(
            f"{int((~np.isfinite(array)).sum())} samples are NaN or infinite; "
            f"export the sound again"
        )
    return array


def to_mono(waveform: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Average the channels of a waveform of shape (samples,) or (samples, channels)."""
    if waveform.ndim == 1:
        return waveform
    # Channel by channel: numpy's mean over a short axis takes ten times as long.
    mono = waveform[:, 0].copy()
    for channel in waveform.T[1:]:
        mono += channel
    mono /= waveform.shape[1]
    return mono


def is_silent(waveform: NDArray[np.floating[Any]]) -> bool:
    """Tell whether the peak of a waveform's mono is under -100 dB of full scale."""
    mono = to_mono(waveform)
    return bool(max(mono.max(initial=0.0), -mono.min(initial=0.0)) < _SILENCE_PEAK)


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
            Floats in [-1, 1]. Larger values are kept: decoders of lossy formats give them.
        sample_rate : float
            In Hz.

        Raises
        ------
        AudioError
            If the clip is empty, holds NaN or infinite samples, or is too short.
        ArgumentError
            If the array has another shape or holds integers, or the rate is not positive.
        """
        mono = self.downmix(_check_waveform(waveform, sample_rate))
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
        """Return one channel at `self.sample_rate`, by soxr's quality `HQ` (librosa's default)."""
        mono = mono.astype(np.float32, copy=False)
        if sample_rate == self.sample_rate:
            return mono
        import soxr

        return soxr.resample(
            np.ascontiguousarray(mono), sample_rate, self.sample_rate, _RESAMPLER_QUALITY
        )

    def features(self, mono: NDArray[Any]) -> NDArray[Any]:
        """Return the network's input for one clip; here the waveform itself."""
        return mono

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the numbers, for the record."""
        return {"mono": "mean of the channels", "resampler": f"soxr {_RESAMPLER_QUALITY}"}


class Embedding(ABC):
    """A pre-trained (or hand-engineered) map from sound to vectors.

    What is known before the weights are there stands at the class, and everything else is
    derived from it: the command's help, the page of models, the record in a corpus.

    Parameters
    ----------
    front_end : FrontEnd, optional
        What turns a waveform into the network's input; by default the mono waveform at
        `sample_rate`, of at least one window.
    source : str, optional
        Which weights these are, for people; by default `weights`.
    sums : dict of str to str, optional
        Sums of the weights' files, which tell two models apart.
    parameters : dict, optional
        What else decides the numbers, beside those of the front end.

    Attributes
    ----------
    name : str
        As `load` and embedding files have it.
    summary : str
        What it is, in a few words.
    licence : str
        Under which the weights may be used.
    weights : str
        Where the weights come from.
    dimension : int
        Length D of a vector.
    sample_rate : int
        What the network expects, in Hz; other rates are resampled.
    hop : float
        Seconds from one frame to the next; 0 for an embedding with one frame a clip.
    window : float
        Seconds of sound that a frame sees; 0 for an embedding with one frame a clip.
    has_network : bool
        Whether there is a network behind the front end.
    packages : tuple of str
        Packages whose versions belong in the record, beside `AUDIO_PACKAGES`.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    licence: ClassVar[str]
    weights: ClassVar[str]
    has_network: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ()
    dimension: int
    sample_rate: int
    hop: float
    window: float

    def __init__(
        self,
        front_end: FrontEnd | None = None,
        *,
        source: str | None = None,
        sums: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> None:
        shortest = max(self.window, 1 / self.sample_rate)
        self.front_end = front_end or FrontEnd(self.sample_rate, shortest)
        self._source = source or self.weights
        self._sums = dict(sums or {})
        self._parameters = dict(parameters or {})

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

    def embed(self, waveform: ArrayLike, sample_rate: float) -> Frames:
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
    def run(self, inputs: Sequence[NDArray[Any]]) -> list[Frames]:
        """Return the frames of each clip, given what the front end made of it."""


def require(purpose: str, *packages: str) -> None:
    """Raise `ModelError` with the command that installs what is missing."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            extra = "audio" if package in ("librosa", "resampy") else "tensorflow"
            raise ModelError(
                f"{purpose} needs the package {package}, which is not installed; "
                f'install it with: pip install "biasmir_utils[{extra}]"'
            )


def import_tensorflow(purpose: str) -> Any:
    """Import TensorFlow without its start-up messages; `ModelError` if it is not installed."""
    require(purpose, "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GLOG_minloglevel", "3")
    if "tensorflow" not in sys.modules:
        with _native_stderr_dropped():
            importlib.import_module("tensorflow")
    tf = sys.modules["tensorflow"]
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return tf


@contextmanager
def _native_stderr_dropped() -> Iterator[None]:
    """Drop what C++ writes to the process's stderr; Python's exceptions still pass.

    TensorFlow's libraries report on oneDNN and absent GPUs before their own logging, and with
    it TF_CPP_MIN_LOG_LEVEL, is set up; in a notebook these lines would stand in the book.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)
