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
import re
import sys
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
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
_LOWEST_RATE, _HIGHEST_RATE = 1_000, 1_000_000
"""Sampling rates, in Hz. Others are a mistake, of which resampling would make gigabytes."""
_MOST_SAMPLES = 1 << 29
"""Of one channel, as decoded and as resampled, which are 2 GB: 3.4 hours at 44.1 kHz."""
_BLOCK = 1 << 22
"""Samples of all channels that are decoded at a time."""
_SPECTRA_BYTES = 1 << 30
"""Of the complex spectra that are computed at a time: those of 50 minutes of MFCC."""
_NOT_SOUND = {
    b"<": "it is a web page, perhaps of an error or a login; fetch the file itself",
    b"version https://git-lfs": "it is a pointer of Git LFS; fetch the file with: git lfs pull",
}
_UNKNOWN_SIZE = 0x7FFFF000
"""Sizes from here on stand in headers that were written before the length was known."""
_PROMISED_BYTES = re.compile(
    r"^ *(?:data|SSND|BODY|Data Size|riff) *: (\d+) \(should be (\d+)\)", re.MULTILINE
)
_PROMISED_SAMPLES = re.compile(r"does not match value from 'ds64' chunk of (\d+)")
_NO_SIZE = re.compile(rb"data\0{4}(?!LIST|id3 |ID3 |bext|iXML|fact|cue |smpl|JUNK|PAD |\Z)")
_MACHINE_ERRORS, _NOTHING_TO_DECODE = (2, 17), 7
"""Libsndfile's numbers: of errors of the system and of memory; and of MP3 without a frame."""


def read_audio(path: str | os.PathLike[str]) -> tuple[NDArray[np.float32], int]:
    """Decode a sound file, whatever its extension says.

    Of a file that holds less than its header promises, this returns what there is, and warns.

    Parameters
    ----------
    path : path
        Any format that libsndfile knows by its content (WAV, FLAC, Ogg Vorbis and Opus,
        MP3, AIFF and more), with any number of channels, at 1 kHz to 1 MHz, with at most 2^29
        samples (3.4 hours at 44.1 kHz).

    Returns
    -------
    waveform : ndarray of shape (samples, channels), float32
    sample_rate : int

    Raises
    ------
    AudioError
        If the file is missing, is no sound file, is damaged, has no samples or too many, or holds
        NaN or infinite samples.
    OSError
        If the system cannot read it.
    """
    try:
        waveform, sample_rate, shortfall = decode(Path(path))
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error
    if shortfall:
        warnings.warn(f"{path}: {shortfall}", stacklevel=2)
    return waveform, sample_rate


def decode(
    path: Path, downmix: Callable[[NDArray[Any]], NDArray[Any]] = lambda block: block
) -> tuple[NDArray[Any], int, str]:
    """Decode a sound file as `read_audio` does, whose errors here do not name the file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    downmix : callable
        What is done to each block of shape (samples, channels) before all are joined.

    Returns
    -------
    waveform : ndarray
    sample_rate : int
    shortfall : str
        How the file holds less than its header promises; empty if it does not.
    """
    import soundfile

    if not path.is_file():
        raise AudioError("no such sound file; put it there, or correct the clip table")
    blocks, n, n_broken = [], 0, 0
    with _SoundSource(path) as file:
        if not file.start:
            raise AudioError("the file has zero bytes; fetch or export it again")
        for start, reason in _NOT_SOUND.items():
            if file.start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(start):
                raise AudioError(reason)
        try:
            source = path if file.as_it_is else file
            with _native_stderr_dropped(), soundfile.SoundFile(source) as sound:
                rate = sound.samplerate
                if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
                    raise AudioError(f"its sampling rate is {rate} Hz; export the sound again")
                # Or else soundfile seeks after each block, which some formats cannot.
                sound.seekable = lambda: False
                size = max(1, _BLOCK // sound.channels)
                while len(block := sound.read(size, "float32", always_2d=True)):
                    n += len(block)
                    _check_samples(n, 0, rate)
                    n_broken += int((~np.isfinite(block)).sum())
                    blocks.append(downmix(block))
                shortfall = _shortfall(sound, file, n)
        except (soundfile.SoundFileError, TypeError, ValueError) as error:
            # Libsndfile's words, without the address of the file object before them.
            code, reason = getattr(error, "code", None), getattr(error, "error_string", str(error))
            if code in _MACHINE_ERRORS:
                raise OSError(f"{path}: {reason}") from error
            reason = "it has no frame of sound" if code == _NOTHING_TO_DECODE else reason
            raise AudioError(
                f"cannot be decoded ({reason.rstrip('. ')}); fetch the file again, or "
                f"convert it to WAV or FLAC"
            ) from error
    _check_samples(n, n_broken, rate)
    return np.concatenate(blocks), rate, shortfall


class _SoundSource(io.FileIO):
    """A sound file; where its writer was stopped before it wrote the length, that is left open."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.name = ""  # soundfile takes ".raw" for samples without a header
        self.start = start = self.read(4096) or b""
        if start.startswith(b"RF64") and start[28:36] in (bytes(8), b"\xff" * 8):
            self.start = b"RIFF" + start[4:]
        elif start.startswith(b"RIFF"):
            self.start = _NO_SIZE.sub(b"data" + b"\xff" * 4, start, count=1)
        elif start.startswith(b".snd") and start[8:12] == bytes(4):
            self.start = start[:8] + b"\xff" * 4 + start[12:]
        self.as_it_is = self.start == start and path.suffix.lower() != ".raw"
        self.seek(0)

    def readinto(self, buffer: Any) -> int:
        """Read as libsndfile asks."""
        at = self.tell()
        n = super().readinto(buffer) or 0
        shown = self.start[at : at + n]
        buffer[: len(shown)] = shown
        return n


def _shortfall(sound: Any, file: _SoundSource, n: int) -> str:
    """Say how far the `n` samples that were decoded are from what the header promises."""
    promised = sound.frames if sound.frames < 1 << 62 else 0
    if sound.format == "MP3":
        # Without the tag of a VBR encoder the number is an estimate, and often a bad one.
        begin = file.start[6:10] if file.start.startswith(b"ID3") else bytes(4)
        file.seek(sum(byte << shift for byte, shift in zip(begin, (21, 14, 7, 0), strict=True)))
        if not re.search(b"Xing|Info|VBRI", file.read(400) or b""):
            return ""
    if found := _PROMISED_BYTES.search(sound.extra_info):
        size, held = map(int, found.groups())
        promised = round(n * size / held) if held > 0 and size < _UNKNOWN_SIZE else 0
    elif found := _PROMISED_SAMPLES.search(sound.extra_info):
        promised = int(found[1])
    seconds = f"{n / sound.samplerate:.3f} s"
    if promised - n > sound.samplerate / 1000:
        return f"its header promises {promised / sound.samplerate:.3f} s, the file holds {seconds}"
    if file.start.startswith(b"OggS"):  # whose last page says so
        file.seek(-min(file.seek(0, os.SEEK_END), 1 << 17), os.SEEK_END)
        _, magic, page = (file.read() or b"").rpartition(b"OggS")
        whole = len(page) > 22 and len(page) >= 23 + page[22] + sum(page[23 : 23 + page[22]])
        if not (magic and whole and page[1] & 4):
            return f"the stream breaks off, the file holds {seconds}"
    return ""


def _check_samples(n: float, n_broken: int, sample_rate: float) -> None:
    """Raise `AudioError` for no samples, too many, or broken ones."""
    if not n:
        raise AudioError("no samples (zero length); replace the file, or leave the clip out")
    if n > _MOST_SAMPLES:
        raise AudioError(
            f"too long: more than {_MOST_SAMPLES / sample_rate / 3600:.1f} hours at "
            f"{sample_rate} Hz; cut it into shorter clips"
        )
    if n_broken:
        raise AudioError(f"{n_broken} samples are NaN or infinite; export the sound again")


def _check_waveform(waveform: ArrayLike, sample_rate: float) -> NDArray[np.floating[Any]]:
    """Return a waveform as an array of floats, or say what is wrong with it."""
    rate = np.asarray(sample_rate)
    if rate.ndim or rate.dtype.kind not in "iuf" or not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
        raise ArgumentError(
            f"sample_rate: expected a number of Hz from {_LOWEST_RATE:,} to {_HIGHEST_RATE:,}, "
            f"found {sample_rate!r:.50}"
        )
    try:
        array = np.asarray(waveform)
    except ValueError as error:  # lists of different lengths, or what librosa.load returns
        raise ArgumentError(f"waveform: expected one array of samples ({error})") from error
    if array.ndim not in (1, 2) or (array.ndim == 2 and 0 < len(array) < array.shape[1]):
        raise ArgumentError(
            f"waveform: expected one clip, of shape (samples,) or (samples, channels), found "
            f"{array.shape}; is it to be transposed? Clips of a batch are given one by one"
        )
    if not np.issubdtype(array.dtype, np.floating):
        raise ArgumentError(
            f"waveform: expected floats in [-1, 1], found {array.dtype}; "
            f"divide integers by their full scale"
        )
    _check_samples(min(len(array), array.size), int((~np.isfinite(array)).sum()), sample_rate)
    return array


@dataclass(frozen=True)
class FrontEnd:
    """From a waveform at any rate to what the network takes; picklable, without the network.

    The base class gives the resampled mono waveform; subclasses override `features` for a
    spectrum of their own, and `downmix` and `resample` for another precision or resampler. They
    add what decides their numbers to `parameters`, by which the record tells two models apart.

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
            If the clip is empty, holds NaN or infinite samples, or is too short or too long.
        ArgumentError
            If the array has another shape or holds integers, or the rate is none of sound.
        """
        mono = self.downmix(_check_waveform(waveform, sample_rate))
        seconds = len(mono) / sample_rate
        # Half a sample of slack: a rate that does not divide must not make a whole clip short.
        if seconds + 0.5 / self.sample_rate < self.shortest:
            raise AudioError(
                f"too short: {seconds:.3f} s, the shortest clip that can be embedded is "
                f"{self.shortest:.3f} s; leave it out, or use an embedding with a shorter window"
            )
        _check_samples(seconds * self.sample_rate, 0, self.sample_rate)
        return self.features(self.resample(mono, sample_rate))

    def downmix(self, waveform: NDArray[Any]) -> NDArray[Any]:
        """Return the mean of the channels, of shape (samples,).

        Parameters
        ----------
        waveform : array of shape (samples,) or (samples, channels)
            Floats in [-1, 1]; of one channel it is returned as it is.
        """
        if waveform.ndim == 1:
            return waveform
        # Channel by channel: numpy's mean over a short axis takes ten times as long.
        mono = waveform[:, 0].copy()
        for channel in waveform.T[1:]:
            mono += channel
        mono /= waveform.shape[1]
        return mono

    def resample(self, mono: NDArray[Any], sample_rate: float) -> NDArray[Any]:
        """Return one channel at `self.sample_rate`, by soxr's quality `HQ` (librosa's default).

        Parameters
        ----------
        mono : array of shape (samples,)
            As `downmix` returns it.
        sample_rate : float
            In Hz.
        """
        mono = mono.astype(np.float32, copy=False)
        if sample_rate == self.sample_rate:
            return mono
        import soxr

        return soxr.resample(
            np.ascontiguousarray(mono), sample_rate, self.sample_rate, _RESAMPLER_QUALITY
        )

    def features(self, mono: NDArray[Any]) -> NDArray[Any]:
        """Return the network's input for one clip; here the waveform itself.

        Parameters
        ----------
        mono : array of shape (samples,)
            Floats at `self.sample_rate`, as `resample` returns them.
        """
        return mono

    def mel_power(self, mono: NDArray[Any], *, n_fft: int, hop_length: int, n_mels: int) -> Any:
        """Return librosa's mel spectrogram, without the spectra of a long clip all at once.

        Parameters
        ----------
        mono : array of shape (samples,)
            Floats at `self.sample_rate`.
        n_fft, hop_length : int
            Samples in a spectrum, and from one spectrum to the next.
        n_mels : int
            Mel bands.

        Returns
        -------
        ndarray of shape (n_mels, spectra)
            Power.
        """
        import librosa

        n, step, mels = 1 + len(mono) // hop_length, _SPECTRA_BYTES // (4 * n_fft), []
        options: Any = {"n_fft": n_fft, "hop_length": hop_length, "n_mels": n_mels, "center": False}
        for begin in range(0, n, step):
            first = begin * hop_length - n_fft // 2
            last = first + (min(step, n - begin) - 1) * hop_length + n_fft
            # Zeros before and after the clip, as librosa has them.
            part = np.pad(mono[max(first, 0) : last], (max(-first, 0), max(last - len(mono), 0)))
            mels.append(librosa.feature.melspectrogram(y=part, sr=self.sample_rate, **options))
        return np.concatenate(mels, axis=1)

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the numbers, for the record; subclasses add what is their own."""
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
        What decides the numbers, for the record, beside those of the front end.

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
            In Hz, 1,000 to 1,000,000; resampled to `self.sample_rate` if it differs.

        Returns
        -------
        ndarray of shape (frames, D), float32

        Raises
        ------
        AudioError
            If the clip is empty, holds NaN or infinite samples, or is too short or too long.
        ArgumentError
            If the array is not a waveform, or the sampling rate none of sound.
        """
        return self.run([self.front_end(waveform, sample_rate)])[0]

    @abstractmethod
    def run(self, inputs: Sequence[NDArray[Any]]) -> list[Frames]:
        """Return the frames of each clip.

        Parameters
        ----------
        inputs : sequence of arrays
            For each clip what the front end made of it.

        Returns
        -------
        list of ndarray of shape (frames, D), float32
            In the order of `inputs`.
        """


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
    with _native_stderr_dropped():
        tf = importlib.import_module("tensorflow")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return tf


@contextmanager
def _native_stderr_dropped() -> Iterator[None]:
    """Drop what C and C++ write to the process's stderr; Python's exceptions still pass.

    TensorFlow's libraries report on oneDNN and absent GPUs before their own logging, and with
    it TF_CPP_MIN_LOG_LEVEL, is set up; in a notebook these lines would stand in the book. Decoders
    complain of files without naming them.
    """
    if sys.stderr is None:  # closed, and then its number may be another file's
        yield
        return
    with _stderr_lock:  # two threads would give each other's back
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


_stderr_lock = threading.Lock()
