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
from itertools import zip_longest
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from biasmir_utils.datasets import OPENL3_FILE, default_root, fetch, fetched_model
from biasmir_utils.embeddings.base import Embedding, Frames, FrontEnd, import_tensorflow, require
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

_OFFICIAL_SUM = "624ee7b1dd5ff87e18073f66fd8b2052bebb8ac70210e9c0937c0c940c63e9d6"
"""SHA-256 of the unpacked file that the authors of OpenL3 published."""
_LARGEST = 100_000_000
"""Bytes that a weight file may have, unpacked; the official one has 19 million."""
_SECONDS_FOR_ANOTHER = 1_800.0
"""How long to wait for another process that downloads the weights."""
_Layers = list[list[NDArray[np.float32]]]
"""For each layer that has weights, in order: kernel and bias of a convolution; scale, offset,
mean and variance of a batch normalisation."""


_HOW_TO_GET = (
    f"fetch the official file with: biasmir fetch models, or get {OPENL3_FILE} by other "
    f"means and give it (--model FILE, or model=...); .h5 and .h5.gz will do"
)


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
        return super().downmix(waveform.astype(np.float64, copy=False))

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
        if self._count(mono) > _MOST_WINDOWS:
            return mono
        return np.concatenate(list(self.blocks(mono)))

    def blocks(self, features: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
        """Yield what `features` returned as spectra, some windows at a time, in order."""
        if features.ndim > 1:
            yield features
            return
        n = self._count(features)
        for start in range(0, n, _WINDOWS_AT_ONCE):
            stop = min(start + _WINDOWS_AT_ONCE, n)
            padded = np.zeros((stop - 1 - start) * self.hop_samples + _WINDOW)
            # Where this stretch begins in the clip; before the clip are zeros.
            begin = start * self.hop_samples - _PADDING
            part = features[max(begin, 0) : max(begin + len(padded), 0)]
            padded[max(-begin, 0) : max(-begin, 0) + len(part)] = part
            windows = sliding_window_view(padded, _WINDOW)[:: self.hop_samples]
            yield _decibels(windows).astype(np.float32)

    def _count(self, mono: NDArray[Any]) -> int:
        """Return how many windows a clip has."""
        return 1 + -(-max(0, len(mono) + _PADDING - _WINDOW) // self.hop_samples)


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
    weights = f"https://github.com/marl/openl3, branch models, {OPENL3_FILE}"
    dimension = _FILTERS[-1]
    sample_rate = _RATE
    hop = _HOP
    window = _WINDOW / _RATE
    packages = ("tensorflow", "librosa", "resampy")

    def __init__(
        self, model: str | Path | None = None, download: bool = False, hop: float = _HOP
    ) -> None:
        if not isinstance(hop, (int, float, np.number)) or not 1 <= hop * _RATE < math.inf:
            raise ArgumentError(
                f"hop: expected seconds from one window to the next (0.5 and 0.1 are common), "
                f"found {hop!r}"
            )
        require(self.name, "librosa", "tensorflow", "resampy")
        resampy = versions("resampy")["resampy"]
        if [int(number) for number in re.findall(r"\d+", resampy)[:2]] < [0, 4]:
            raise ModelError(
                f"openl3: resampy {resampy} is installed, and 0.4 or later is needed: the filter "
                f"kaiser_best changed, and with it the embeddings of clips that are not at 48 kHz; "
                f"upgrade it with: pip install 'resampy>=0.4' (where the package openl3 holds it "
                f"back: in another environment)"
            )
        path = _official_file(download) if model is None else Path(model)
        self._layers, h5_sum, file_sum = _read_weights(path)
        official = h5_sum == _OFFICIAL_SUM
        if model is None and not official:
            raise ModelError(
                f"{path}: is not the official weight file (its SHA-256 is {h5_sum}); delete it "
                f"and {_HOW_TO_GET}; a file with other weights must be given explicitly"
            )
        self.hop = float(hop)
        self._file = {"name": path.name, "sha256": file_sum, "official": official}
        self._spectra = MelWindows(_RATE, 1 / _RATE, hop_samples=int(float(hop) * _RATE))
        super().__init__(
            self._spectra,
            source=f"official weights {OPENL3_FILE}"
            if official
            else f"local weight file {path.name}",
            sums={"h5 sha256": h5_sum},
            parameters={
                "resampler": "resampy >= 0.4 kaiser_best, float64",
                "hop_samples": self._spectra.hop_samples,
                "centre": True,
                "padding": "zeros: 0.5 s in front, and at the end up to a whole window",
                "spectrum": "mel magnitude in dB under each window's maximum, librosa",
                **_MELS,
                "top_db": _TOP_DB,
                "network": "OpenL3 music mel256",
                "pooling": f"maximum over {_POOLING[0]} x {_POOLING[1]}, the whole last map",
            },
        )

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
        for blocks in self._calls(inputs):
            spectra = np.concatenate([block for _, block in blocks])
            rows = self._network(spectra[..., None]).numpy()
            ends = np.cumsum([len(block) for _, block in blocks])[:-1]
            for (clip, _), part in zip(blocks, np.split(rows, ends), strict=True):
                found[clip].append(part)
        return [np.concatenate(rows) for rows in found]

    def _calls(self, inputs: Sequence[NDArray[Any]]) -> Iterator[list[tuple[int, NDArray[Any]]]]:
        """Yield blocks of spectra that go into one call, each with the number of its clip."""
        waiting: list[tuple[int, NDArray[Any]]] = []
        for clip, features in enumerate(inputs):
            for block in self._spectra.blocks(features):
                for first in range(0, len(block), _WINDOWS_IN_A_CALL):
                    waiting.append((clip, block[first : first + _WINDOWS_IN_A_CALL]))
                    if sum(len(part) for _, part in waiting) >= _WINDOWS_IN_A_CALL:
                        yield waiting
                        waiting = []
        if waiting:
            yield waiting


def _official_file(download: bool) -> Path:
    """Return the weight file that was fetched, after fetching it if that is allowed."""
    found = fetched_model("openl3")
    if found is None and download:
        # Of several workers of a machine, one downloads; the others find the file there.
        fetch(["models"], files=[OPENL3_FILE], wait=_SECONDS_FOR_ANOTHER)
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
    steps = [keras.Input((*_SHAPE, 1)), keras.layers.BatchNormalization(epsilon=_EPSILON)]
    weights = [*layers[0]]
    for number, filters in enumerate(_FILTERS):
        (kernel, bias), *normalisation = layers[2 * number + 1 : 2 * number + 3]
        activation = "relu" if normalisation else None
        steps.append(keras.layers.Conv2D(filters, 3, padding="same", activation=activation))
        weights += _folded(kernel, bias, *normalisation) if normalisation else [kernel, bias]
        if number % 2 and normalisation:
            steps.append(keras.layers.MaxPooling2D(2))
    steps += [keras.layers.MaxPooling2D(_POOLING, padding="same"), keras.layers.Flatten()]
    model = keras.Sequential(steps)
    model.set_weights(weights)
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


def _read_weights(path: Path) -> tuple[_Layers, str, str]:
    """Read a weight file, packed with gzip or not; told apart by content.

    Returns the layers, the SHA-256 of the unpacked file, and that of the file on disk.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file; {_HOW_TO_GET}")
    try:
        with path.open("rb") as file:
            stored = content = file.read(_LARGEST + 1)
        if stored.startswith(b"\x1f\x8b"):
            with GzipFile(fileobj=io.BytesIO(stored)) as packed:
                content = packed.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"more than {_LARGEST // 10**6} MB, which OpenL3's weights have not")
        with h5py.File(io.BytesIO(content), "r") as opened:
            layers = _layers_in(opened)
    except (OSError, EOFError, zlib.error, RuntimeError, KeyError, ValueError, TypeError) as error:
        # What gzip and h5py raise for a file that is cut off or has garbage inside, too.
        raise ModelError(
            f"{path}: no weight file of OpenL3 (music, mel256), or damaged ({error}); {_HOW_TO_GET}"
        ) from error
    return layers, hashlib.sha256(content).hexdigest(), hashlib.sha256(stored).hexdigest()


def _layers_in(file: h5py.File) -> _Layers:
    """Return the arrays of all layers that have some; `ValueError` if one is not as expected."""
    place = file if "layer_names" in file.attrs else _member(file, "model_weights")
    found = {}
    for name in _listed(place, "layer_names"):
        group = _member(place, name)
        found[name] = [_member(group, weight) for weight in _listed(group, "weight_names")]
    names = [name for name, arrays in found.items() if arrays]
    layers = []
    for name, expected in zip_longest(names, _expected_shapes()):
        shapes = [getattr(one, "shape", "a group") for one in found.get(name, [])]
        if shapes != expected:
            raise ValueError(f"layer {name!r}: expected arrays of {expected}, found {shapes}")
        for dataset in found[name]:
            if dataset.external or dataset.is_virtual:
                raise ValueError(f"layer {name!r}: its numbers lie in another file")
        arrays = [dataset[()].astype(np.float32) for dataset in found[name]]
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError(f"layer {name!r}: holds NaN or infinite weights")
        if len(arrays) == 4 and (arrays[3] < 0).any():
            raise ValueError(f"layer {name!r}: has a variance below zero")
        layers.append(arrays)
    return layers


def _listed(group: h5py.Group, attribute: str) -> list[str]:
    """Return a list of names that Keras 2 wrote as an attribute."""
    if attribute not in group.attrs:
        raise ValueError(f"{group.name!r} lacks the attribute {attribute!r}")
    names = np.ravel(group.attrs[attribute]).tolist()
    return [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in names]


def _member(group: Any, name: str) -> Any:
    """Return a group or dataset that lies in this file; links to other files are refused."""
    member = group
    for part in name.split("/"):
        link = member.get(part, getlink=True) if isinstance(member, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{group.name!r} lacks {name!r}")
        member = member[part]
    return member
