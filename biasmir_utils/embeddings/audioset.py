"""YAMNet and VGGish: networks of the AudioSet team, published on TF-Hub as SavedModels.

Both cut the waveform into windows that see nothing outside themselves, at a fixed hop. So
several clips, each placed at a multiple of the hop, go through the network in one call, and
long clips go through it in pieces; a call costs nearly the same for one window as for ten.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.corpus import cache_folder
from biasmir_utils.datasets import default_root, fetched_model
from biasmir_utils.embeddings.base import Embedding, Frames, import_tensorflow, require
from biasmir_utils.embeddings.names import add_embedding
from biasmir_utils.errors import DownloadError, ModelError
from biasmir_utils.files import sha256

_RATE = 16_000
_WINDOW = 15_600
"""Samples that one window sees: 96 spectra of 25 ms every 10 ms."""
_WINDOWS_IN_A_CALL = 64


class TFHubEmbedding(Embedding):
    """A SavedModel that maps a 16 kHz waveform to one vector for each window of 0.975 s.

    Parameters
    ----------
    model : str or path, optional
        A local SavedModel folder, or an address. By default what ``biasmir fetch models``
        brought, or else the network's TF-Hub address. A SavedModel is a program, which runs with
        your rights: take only one you trust. Its sum stands in the record.
    download : bool
        Whether a model that is at an address, and not yet in the cache, may be downloaded.

    Raises
    ------
    ModelError
        If the model is missing or is another network, or TensorFlow is missing.
    DownloadError
        If the download fails.
    """

    licence = "Apache License 2.0"
    packages = ("tensorflow",)
    sample_rate = _RATE
    window = _WINDOW / _RATE
    hop_samples: ClassVar[int]
    pads_last_window: ClassVar[bool]

    def __init__(self, model: str | Path | None = None, download: bool = False) -> None:
        require(self.name, "tensorflow")
        place = str(self.weights if model is None else model)
        fetched = fetched_model(self.name) if model is None else None
        folder = fetched or _local_folder(place, self.name, download, given=model is not None)
        super().__init__(
            source=place if _is_address(place) else f"local SavedModel folder {folder.name}",
            sums={"folder sha256": sha256(folder)},
        )
        self._folder = folder

    @cached_property
    def _network(self) -> Any:
        """The SavedModel, loaded when it is first run, so that a record costs little."""
        tf = import_tensorflow(self.name)
        try:
            return tf.saved_model.load(str(self._folder))
        except Exception as error:  # TensorFlow raises many kinds for what is no SavedModel
            raise ModelError(
                f"{self._folder}: cannot be loaded as {self.name} ({error}); expected a "
                f"SavedModel with the signature of {self.weights}"
            ) from error

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[Frames]:
        """Return the vectors of each clip's windows."""
        if not self._can_join:
            return [self._call(clip) for clip in inputs]
        return self._run_joined(inputs)

    def _run_joined(self, inputs: Sequence[NDArray[Any]]) -> list[Frames]:
        """Place the windows of all clips one after the other, each at a multiple of the hop.

        Windows between two clips see some of both, and are not used.
        """
        between = -(-_WINDOW // self.hop_samples) - 1
        windows = [
            (clip, window)
            for clip, sound in enumerate(inputs)
            for window in range(self._windows(len(sound)))
        ]
        found: list[list[Frames]] = [[] for _ in inputs]
        for at in range(0, len(windows), _WINDOWS_IN_A_CALL):
            pieces, end = [], 0
            for clip, piece in groupby(windows[at : at + _WINDOWS_IN_A_CALL], lambda one: one[0]):
                numbers = [window for _, window in piece]
                begin = numbers[0] * self.hop_samples
                length = (len(numbers) - 1) * self.hop_samples + _WINDOW
                pieces.append((clip, end, len(numbers), inputs[clip][begin : begin + length]))
                end += len(numbers) + between
            joined = np.zeros((end - between - 1) * self.hop_samples + _WINDOW, np.float32)
            for _, start, _, sound in pieces:
                joined[start * self.hop_samples :][: len(sound)] = sound
            vectors = self._call(joined)
            for clip, start, n_windows, _ in pieces:
                found[clip].append(vectors[start : start + n_windows])
        return [np.concatenate(parts) for parts in found]

    def _embeddings(self, output: Any) -> Any:
        """Pick the embeddings from what the network returns."""
        return output

    def _call(self, waveform: NDArray[Any]) -> Frames:
        try:
            output = self._network(waveform.astype(np.float32, copy=False))
        except (TypeError, ValueError) as error:  # what a SavedModel of another signature raises
            raise ModelError(
                f"{self._source}: does not take a waveform as {self.name} does ({error}); "
                f"expected a SavedModel with the signature of {self.weights}"
            ) from error
        vectors = self._embeddings(output)
        shape = tuple(getattr(vectors, "shape", ()))
        if len(shape) != 2 or shape[1] != self.dimension:
            raise ModelError(
                f"{self._source}: gave {type(vectors).__name__} of shape {shape}; {self.name} "
                f"gives an array of shape (windows, {self.dimension})"
            )
        return np.asarray(vectors)

    def _windows(self, samples: int) -> int:
        """Return how many windows the network makes of a clip on its own."""
        whole, rest = divmod(max(samples - _WINDOW, 0), self.hop_samples)
        return 1 + whole + int(self.pads_last_window and rest > 0)

    @cached_property
    def _can_join(self) -> bool:
        """Check on noise that this very model gives a clip the same alone and with others.

        A model that pads otherwise, or looks beyond its windows, is run clip by clip.
        """
        generator = np.random.default_rng(0)
        clips = [
            generator.normal(scale=0.1, size=size).astype(np.float32)
            for size in (2 * _WINDOW + 101, 3 * _WINDOW)
        ]
        alone = [self._call(clip) for clip in clips]
        together = self._run_joined(clips)
        return all(
            one.shape == other.shape and np.allclose(one, other, rtol=1e-4, atol=1e-4)
            for one, other in zip(alone, together, strict=True)
        )


@add_embedding
class Yamnet(TFHubEmbedding):
    """YAMNet, trained on AudioSet: 1024-d for each 0.975 s, every 0.48 s."""

    name = "yamnet"
    summary = "YAMNet (AudioSet)"
    weights = "https://tfhub.dev/google/yamnet/1"
    dimension = 1024
    hop_samples = 7_680
    hop = hop_samples / _RATE
    pads_last_window = True

    def _embeddings(self, output: Any) -> Any:
        if not isinstance(output, (tuple, list)) or len(output) != 3:
            raise ModelError(
                f"{self._source}: YAMNet gives scores, embeddings and a spectrogram; this model "
                f"gives something else"
            )
        return output[1]


@add_embedding
class Vggish(TFHubEmbedding):
    """VGGish, trained on YouTube-8M: 128-d every 0.96 s, before the AudioSet PCA."""

    name = "vggish"
    summary = "VGGish (YouTube-8M)"
    weights = "https://tfhub.dev/google/vggish/1"
    dimension = 128
    hop_samples = 15_360
    hop = hop_samples / _RATE
    pads_last_window = False


def _is_address(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _local_folder(place: str, name: str, download: bool, given: bool) -> Path:
    """Return the SavedModel folder of an address or a path, which the user may have given."""
    if not _is_address(place):
        folder = Path(place)
        if not (folder / "saved_model.pb").is_file():
            raise ModelError(
                f"{folder}: not a SavedModel folder (it has no saved_model.pb); give the folder "
                f"that holds {name}, or an address"
            )
        return folder
    # As tensorflow_hub names it.
    key = hashlib.sha1(place.encode(), usedforsecurity=False).hexdigest()
    cached = Path(os.environ.get("TFHUB_CACHE_DIR") or cache_folder() / "tfhub") / key
    if (cached / "saved_model.pb").is_file():
        return cached
    if not download:
        fetching = "" if given else " fetch it with: biasmir fetch models,"
        places = f"{cached}" if given else f"{default_root() / 'models'} and {cached}"
        raise ModelError(
            f"{name}: {place} is not on this machine (looked in {places});{fetching} give a "
            f"SavedModel folder (--model FOLDER, or model=...), or allow the download "
            f"(--download, or download=True)"
        )
    import_tensorflow(name)
    require(f"downloading {name}", "tensorflow_hub")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on pkg_resources, which it still imports
        import tensorflow_hub

    os.environ["TFHUB_CACHE_DIR"] = str(cached.parent)
    try:
        return Path(tensorflow_hub.resolve(place))
    except Exception as error:  # urllib, TLS, tar and TensorFlow errors alike
        raise DownloadError(
            f"{place}: could not be downloaded ({error}); check the connection, or get the "
            f"model by other means and give its folder (--model FOLDER)"
        ) from error
