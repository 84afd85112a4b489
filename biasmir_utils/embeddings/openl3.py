"""OpenL3 (music, mel256, 512-d) from the official weight file (Cramer et al., ICASSP 2019).

The package `openl3` cannot be installed on Python 3.12 or later, so the network is built here
from its public description, and its weights are read as numbers.

The input is mel spectra, in decibels, of windows of one second. Facts that the numbers depend
on: mono is the mean of the channels, and everything up to the mel spectrum is in double
precision. Half a second of zeros in front puts the first window's centre at the clip's first
sample; zeros at the end let the last window reach the last sample. Each window has its own
decibel range and maximum, so it sees nothing outside itself. As the network looks up to 24 kHz,
the edge of the resampler's filter matters: soxr, or resampy in single precision, changes
embeddings by about a hundredth of their largest value.

The weight file is what Keras 2 wrote: one HDF5 group for each layer, at the root or under
`model_weights`, and the attribute `layer_names` with their order. Names carry numbers that
depend on what else was built in the session that saved the file, so the arrays are matched by
order, and each must have the expected shape. A configuration of the network, which may stand
in the same file and can carry code, is never looked at.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from gzip import GzipFile
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from biasmir_utils.datasets import default_root, fetch, fetched_model
from biasmir_utils.embeddings.base import (
    Embedding,
    Frames,
    FrontEnd,
    import_tensorflow,
    local_path,
    require,
    to_mono,
)
from biasmir_utils.embeddings.names import add_embedding
from biasmir_utils.errors import ArgumentError, AudioError, ModelError
from biasmir_utils.files import versions

_RATE = 48_000
_WINDOW = _RATE
"""Samples in a window: one second."""
_HOP = 0.5
"""Seconds from window to window, unless asked for otherwise."""
_PADDING = _WINDOW // 2
"""Zeros before the clip, in samples."""
_MELS: dict[str, Any] = {"n_fft": 2_048, "hop_length": 242, "n_mels": 256}
_SHAPE = (_MELS["n_mels"], 1 + _WINDOW // _MELS["hop_length"])
"""Mel bands and spectra of a window."""
_AMIN = 1e-10
_TOP_DB = 80.0
_MOST_WINDOWS = 256
"""Of a longer clip, spectra are computed when the network takes them: these have 52 MB."""
_WINDOWS_AT_ONCE = 16
_WINDOWS_IN_A_CALL = 8
"""Through the network at a time; more take more memory, and no less time on a CPU."""

_FILTERS = (64, 64, 128, 128, 256, 256, 512, 512)
_POOLING = (32, 24)
"""Of the last map, which is as large: one value for each of the 512 filters."""
_EPSILON = 1e-3
"""What Keras 2 adds to the variance in a batch normalisation."""

_FILE_NAME = "openl3_audio_mel256_music-v0_4_0.h5.gz"
_OFFICIAL_SUM = "624ee7b1dd5ff87e18073f66fd8b2052bebb8ac70210e9c0937c0c940c63e9d6"
"""SHA-256 of the unpacked file that the authors of OpenL3 published."""
_LARGEST = 100_000_000
"""Bytes that a weight file may have, unpacked; the official one has 19 million."""
_SECONDS_FOR_ANOTHER = 1_800.0
"""How long to wait for another process that downloads the weights."""
_HOW_TO_GET = (
    f"fetch the official file with: biasmir fetch models, or get {_FILE_NAME} by other means and "
    f"give it (--model FILE, or model=...); .h5 and .h5.gz will do"
)
_Layers = list[list[NDArray[np.float32]]]
"""For each layer that has weights, in order: kernel and bias of a convolution; scale, offset,
mean and variance of a batch normalisation."""


@dataclass(frozen=True)
class MelWindows(FrontEnd):
    """One mel spectrogram in decibels, at most 0, for each window.

    Attributes
    ----------
    hop_samples : int
        Samples from one window to the next.
    """

    hop_samples: int

    def downmix(self, waveform: NDArray[Any]) -> NDArray[Any]:
        """Return the mean of the channels, in double precision."""
        return to_mono(waveform.astype(np.float64))

    def resample(self, mono: NDArray[Any], sample_rate: float) -> NDArray[np.float64]:
        """Return one channel at 48 kHz, resampled by resampy."""
        if sample_rate == self.sample_rate:
            return mono
        if int(len(mono) * self.sample_rate / sample_rate) < 1:
            raise AudioError(f"too short: {len(mono)} sample(s) at {sample_rate:g} Hz")
        import resampy

        return resampy.resample(mono, sample_rate, self.sample_rate, filter="kaiser_best")

    def features(self, mono: NDArray[Any]) -> NDArray[Any]:
        """Return spectra of shape (windows, 256 mel bands, 199 spectra), in dB from -80 to 0.

        A window takes 0.2 MB; at a hop of 0.1 s that is five times what its sound takes. So of
        a clip with more than 256 this returns `mono` itself, (samples,): memory does not grow
        with the clip beyond its sound, and `blocks` gives the spectra of either.
        """
        n = self._count(mono)
        return mono if n > _MOST_WINDOWS else self._spectra(mono, 0, n)

    def blocks(self, features: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """Yield what `features` returned as spectra, some windows at a time, in order."""
        if features.ndim > 1:
            yield features
            return
        n = self._count(features)
        for first in range(0, n, _WINDOWS_AT_ONCE):
            yield self._spectra(features, first, min(first + _WINDOWS_AT_ONCE, n))

    def _count(self, mono: NDArray[Any]) -> int:
        """Return how many windows a clip has."""
        return 1 + -(-max(0, len(mono) + _PADDING - _WINDOW) // self.hop_samples)

    def _spectra(self, mono: NDArray[Any], start: int, stop: int) -> NDArray[np.float32]:
        """Return the spectra of the windows from `start` to before `stop`."""
        spectra = np.empty((stop - start, *_SHAPE), np.float32)
        for first in range(start, stop, _WINDOWS_AT_ONCE):
            last = min(first + _WINDOWS_AT_ONCE, stop) - 1
            padded = np.zeros((last - first) * self.hop_samples + _WINDOW)
            # Where this stretch begins in the clip; before the clip are zeros.
            begin = first * self.hop_samples - _PADDING
            part = mono[max(begin, 0) : max(begin + len(padded), 0)]
            padded[max(-begin, 0) : max(-begin, 0) + len(part)] = part
            windows = sliding_window_view(padded, _WINDOW)[:: self.hop_samples]
            spectra[first - start : last + 1 - start] = _decibels(windows)
        return spectra

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the numbers, for the record."""
        return {
            **super().parameters,
            "resampler": "resampy >= 0.4 kaiser_best, float64",
            "hop_samples": self.hop_samples,
            "centre": True,
            "padding": "zeros: 0.5 s in front, and at the end up to a whole window",
            "spectrum": "mel magnitude in dB under each window's maximum, librosa",
            **_MELS,
            "top_db": _TOP_DB,
        }


def _decibels(windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the spectra of windows of shape (n, 48000): 0 dB is each one's own maximum."""
    import librosa

    mel = librosa.feature.melspectrogram(
        y=windows, sr=_RATE, power=1.0, center=True, pad_mode="constant", **_MELS
    )
    # librosa.power_to_db takes the maximum over all windows, so it cannot be used here.
    level = 10.0 * np.log10(np.maximum(mel, _AMIN))
    level -= level.max(axis=(1, 2), keepdims=True)
    return np.maximum(level, -_TOP_DB)


@add_embedding
class OpenL3(Embedding):
    """OpenL3, trained on music videos of AudioSet: 512-d for each window of 1 s.

    The first window's centre is the clip's start, and zeros fill up the last one; so a clip of
    any length can be embedded. Values are those of the package `openl3` with its front end
    `librosa`.

    Parameters
    ----------
    model : path, optional
        A weight file (.h5 or .h5.gz) in the official layout; any weights of this network are
        taken, and recorded with their sum. By default the official file that
        ``biasmir fetch models`` brought, which must have the official sum.
    download : bool
        Whether the official file may be downloaded if it is not there.
    hop : float
        Seconds from one window to the next, at least one sample's (1/48,000); rounded down to
        samples as the package does. The package's own default is 0.1.

    Raises
    ------
    ModelError
        If the weights are missing or are others', or a package is missing or too old.
    ArgumentError
        If the hop is no positive number.
    DownloadError
        If the download fails.
    """

    name = "openl3"
    summary = "OpenL3 (music, mel256)"
    licence = "CC BY 4.0"
    weights = f"https://github.com/marl/openl3, branch models, {_FILE_NAME}"
    dimension = _FILTERS[-1]
    sample_rate = _RATE
    hop = _HOP
    window = _WINDOW / _RATE
    packages = ("tensorflow", "librosa", "resampy")

    def __init__(
        self, model: str | Path | None = None, download: bool = False, hop: float = _HOP
    ) -> None:
        hop_samples = _in_samples(hop)
        require("librosa", "audio", self.name)
        require("tensorflow", "tensorflow", self.name)
        _check_resampy()
        path = _official_file(download) if model is None else local_path(model, self.name)
        weights = _read_weights(path)
        official = weights.h5_sum == _OFFICIAL_SUM
        if model is None and not official:
            raise ModelError(
                f"{path}: is not the official weight file (its SHA-256 is {weights.h5_sum}); "
                f"delete it and {_HOW_TO_GET}; a file with other weights must be given explicitly"
            )
        self.hop = float(hop)
        self._file = {"name": path.name, "sha256": weights.file_sum, "official": official}
        self._spectra = MelWindows(_RATE, shortest=1 / _RATE, hop_samples=hop_samples)
        super().__init__(
            self._spectra,
            source=f"official weights {_FILE_NAME}"
            if official
            else f"local weight file {path.name}",
            sums={"h5 sha256": weights.h5_sum},
            parameters={
                "network": "OpenL3 music mel256",
                "pooling": f"maximum over {_POOLING[0]} x {_POOLING[1]}, the whole last map",
            },
        )
        self._layers = weights.layers

    @cached_property
    def _network(self) -> Any:
        """The network, built when it is first run, so that a record costs little."""
        return _build_network(self._layers)

    @property
    def record(self) -> dict[str, Any]:
        """What made the vectors; `file` is the weight file as it was on disk."""
        return {**super().record, "file": dict(self._file)}

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[Frames]:
        """Return the vectors of each clip's windows, batched across clips."""
        found: list[list[Frames]] = [[] for _ in inputs]
        # Blocks of spectra that go into one call, and the clips that they belong to.
        waiting: list[tuple[int, NDArray[Any]]] = []
        for clip, features in enumerate(inputs):
            for block in self._spectra.blocks(features):
                for first in range(0, len(block), _WINDOWS_IN_A_CALL):
                    waiting.append((clip, block[first : first + _WINDOWS_IN_A_CALL]))
                    if sum(len(part) for _, part in waiting) >= _WINDOWS_IN_A_CALL:
                        self._call(waiting, found)
                        waiting = []
        if waiting:
            self._call(waiting, found)
        return [np.concatenate(rows) for rows in found]

    def _call(self, blocks: Sequence[tuple[int, NDArray[Any]]], found: list[list[Frames]]) -> None:
        """Give some blocks to the network, and their vectors to their clips."""
        spectra = np.concatenate([block for _, block in blocks])
        rows = self._network(spectra[..., None]).numpy()
        ends = np.cumsum([len(block) for _, block in blocks])[:-1]
        for (clip, _), part in zip(blocks, np.split(rows, ends), strict=True):
            found[clip].append(part)


def _in_samples(hop: Any) -> int:
    """Return a hop in samples, or say that it is none."""
    if not isinstance(hop, Real) or not math.isfinite(hop) or float(hop) * _RATE < 1:
        raise ArgumentError(
            f"hop: expected seconds from one window to the next (0.5 and 0.1 are common), "
            f"found {hop!r}"
        )
    return int(float(hop) * _RATE)


def _check_resampy() -> None:
    """Raise `ModelError` if resampy is missing or too old."""
    require("resampy", "audio", "openl3")
    version = versions("resampy").get("resampy", "unknown")
    if [int(number) for number in re.findall(r"\d+", version)[:2]] < [0, 4]:
        raise ModelError(
            f"openl3: resampy {version} is installed, and 0.4 or later is needed: the filter "
            f"kaiser_best changed, and with it the embeddings of clips that are not at 48 kHz; "
            f"upgrade it with: pip install 'resampy>=0.4' (where the package openl3 holds it "
            f"back: in another environment)"
        )


def _official_file(download: bool) -> Path:
    """Return the weight file that was fetched, after fetching it if that is allowed."""
    found = fetched_model("openl3")
    if found is None and download:
        # Of several workers of a machine, one downloads; the others find the file there.
        fetch(["models"], files=[_FILE_NAME], wait=_SECONDS_FOR_ANOTHER)
        found = fetched_model("openl3")
    if found is None:
        raise ModelError(
            f"openl3: no weight file was given, and none is in {default_root() / 'models'}; "
            f"{_HOW_TO_GET}; or allow the download (--download, or download=True)"
        )
    return found


def _build_network(layers: _Layers) -> Any:
    """Return a function from spectra of shape (windows, 256, 199, 1) to (windows, 512).

    Eight convolutions of 3 x 3 in pairs, with 2 x 2 max pooling after each pair but the last.
    A batch normalisation that follows a convolution is folded into it, which saves a sixth of
    the time. That of the input is not: it would shift the zeros that pad the edges.
    """
    tf = import_tensorflow("openl3")
    keras = tf.keras
    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"openl3: Keras runs on {keras.backend.backend()} here, expected tensorflow; "
            f"unset KERAS_BACKEND, or set it to tensorflow, before Python starts"
        )
    spectra = keras.Input((*_SHAPE, 1))
    steps = [keras.layers.BatchNormalization(epsilon=_EPSILON)]
    values = [layers[0]]
    convolutions, normalisations = layers[1::2], layers[2::2]
    for number, filters in enumerate(_FILTERS):
        last = number == len(_FILTERS) - 1
        activation = None if last else "relu"
        steps.append(keras.layers.Conv2D(filters, 3, padding="same", activation=activation))
        kernel, bias = convolutions[number]
        values.append([kernel, bias] if last else _folded(kernel, bias, normalisations[number]))
        if number % 2 and not last:
            steps.append(keras.layers.MaxPooling2D(2))
    steps += [keras.layers.MaxPooling2D(_POOLING, padding="same"), keras.layers.Flatten()]
    output = spectra
    for step in steps:
        output = step(output)
    model = keras.Model(spectra, output)
    for step, arrays in zip((s for s in steps if s.weights), values, strict=True):
        step.set_weights(arrays)
    # A signature with an open number of windows: traced once, whatever the sizes of batches.
    signature = [tf.TensorSpec((None, *_SHAPE, 1), tf.float32)]
    return tf.function(lambda batch: model(batch, training=False), input_signature=signature)


def _folded(
    kernel: NDArray[Any], bias: NDArray[Any], normalisation: list[NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    """Return kernel and bias of a convolution that includes the normalisation after it."""
    scale, offset, mean, variance = (array.astype(np.float64) for array in normalisation)
    factor = scale / np.sqrt(variance + _EPSILON)
    folded = kernel * factor, (bias - mean) * factor + offset
    return [array.astype(np.float32) for array in folded]


class _Weights(NamedTuple):
    """The arrays of a weight file; the sums of the unpacked file, and of that on disk."""

    layers: _Layers
    h5_sum: str
    file_sum: str


def _expected_shapes() -> list[list[tuple[int, ...]]]:
    """Return the shapes of each layer's arrays, in order.

    A batch normalisation of the input, then convolutions of 3 x 3, each but the last followed
    by a batch normalisation.
    """
    shapes: list[list[tuple[int, ...]]] = [[(1,)] * 4]
    channels = 1
    for filters in _FILTERS:
        shapes += [[(3, 3, channels, filters), (filters,)], [(filters,)] * 4]
        channels = filters
    return shapes[:-1]


def _read_weights(path: Path) -> _Weights:
    """Read a weight file, packed with gzip or not; told apart by content."""
    if not path.is_file():
        raise ModelError(f"{path}: no such file; {_HOW_TO_GET}")
    if path.stat().st_size > _LARGEST:
        raise ModelError(f"{path}: too large for a weight file of OpenL3; {_HOW_TO_GET}")
    stored = content = path.read_bytes()
    if stored.startswith(b"\x1f\x8b"):
        try:
            with GzipFile(fileobj=io.BytesIO(stored)) as packed:
                content = packed.read(_LARGEST + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise ModelError(f"{path}: damaged gzip file ({error}); {_HOW_TO_GET}") from error
        if len(content) > _LARGEST:
            raise ModelError(
                f"{path}: unpacks to more than {_LARGEST // 10**6} MB, which OpenL3's weights do "
                f"not; {_HOW_TO_GET}"
            )
    if not content.startswith(b"\x89HDF\r\n\x1a\n"):
        raise ModelError(f"{path}: not an HDF5 file, nor one packed with gzip; {_HOW_TO_GET}")
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            layers = _read_layers(file, path)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        # What h5py raises for a file that is cut off or has garbage inside.
        raise ModelError(f"{path}: damaged HDF5 file ({error}); {_HOW_TO_GET}") from error
    h5_sum, file_sum = (hashlib.sha256(data).hexdigest() for data in (content, stored))
    return _Weights(layers, h5_sum, file_sum)


def _read_layers(file: h5py.File, path: Path) -> _Layers:
    """Return the arrays of all layers that have some, each checked against its shape."""
    place = file
    if "layer_names" not in file.attrs and "model_weights" in file:
        place = _member(file, "model_weights", path)
    found = []
    for name in _listed(place, "layer_names", path):
        group = _member(place, name, path)
        if names := _listed(group, "weight_names", path):
            found.append((name, [_member(group, weight, path) for weight in names]))
    expected = _expected_shapes()
    if len(found) != len(expected):
        raise ModelError(
            f"{path}: expected {len(expected)} layers with weights, found {len(found)}; "
            f"{_HOW_TO_GET}"
        )
    layers = []
    for number, ((name, datasets), shapes) in enumerate(zip(found, expected, strict=True), 1):
        where = f"{path}: layer {number} of {len(expected)} with weights, {name!r}"
        if [getattr(dataset, "shape", None) for dataset in datasets] != shapes:
            shown = [getattr(dataset, "shape", "a group") for dataset in datasets]
            raise ModelError(f"{where}: expected arrays of {shapes}, found {shown}; {_HOW_TO_GET}")
        layers.append([_array(dataset, where) for dataset in datasets])
        if len(shapes) == 4 and (layers[-1][3] < 0).any():
            raise ModelError(f"{where}: has a variance below zero; {_HOW_TO_GET}")
    return layers


def _listed(group: h5py.Group, attribute: str, path: Path) -> list[str]:
    """Return a list of names that Keras wrote as an attribute."""
    if attribute not in group.attrs:
        raise ModelError(
            f"{path}: {group.name!r} lacks the attribute {attribute!r}, so the order of its "
            f"parts is unknown; it is no weight file of Keras 2; {_HOW_TO_GET}"
        )
    names = np.ravel(group.attrs[attribute]).tolist()
    return [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in names]


def _member(group: Any, name: str, path: Path) -> Any:
    """Return a group or dataset that lies in this file; links to other files are refused."""
    member = group
    for part in name.split("/"):
        link = member.get(part, getlink=True) if isinstance(member, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            raise ModelError(f"{path}: {group.name!r} lacks {name!r}; {_HOW_TO_GET}")
        member = member[part]
    return member


def _array(dataset: h5py.Dataset, where: str) -> NDArray[np.float32]:
    """Return an array of finite floats that lies in this file."""
    if dataset.dtype.kind != "f":
        raise ModelError(f"{where}: expected floats, found {dataset.dtype}; {_HOW_TO_GET}")
    if dataset.external or dataset.is_virtual:
        raise ModelError(f"{where}: its numbers lie in another file; {_HOW_TO_GET}")
    array = dataset[()].astype(np.float32)
    if not np.isfinite(array).all():
        raise ModelError(f"{where}: holds NaN or infinite weights; {_HOW_TO_GET}")
    return array
