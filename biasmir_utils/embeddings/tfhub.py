"""Networks that Google published on TF-Hub as SavedModels: YAMNet and VGGish.

Both cut the waveform into windows that see nothing outside themselves, at a fixed hop. So
several clips, each placed at a multiple of the hop, go through the network in one call, and
long clips go through it in pieces; a call costs nearly the same for one window as for ten.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.corpus import cache_folder
from biasmir_utils.embeddings.base import (
    Embedding,
    Features,
    FrontEnd,
    folder_sum,
    local_path,
    require,
)
from biasmir_utils.embeddings.tensorflow_quiet import import_tensorflow
from biasmir_utils.errors import DownloadError, ModelError

SAMPLE_RATE = 16_000
WINDOW = 15_600
"""Samples that one window sees: 96 spectra of 25 ms every 10 ms."""
WINDOWS_IN_A_CALL = 64


@dataclass(frozen=True)
class Piece:
    """Consecutive windows of one clip that go through the network in one call.

    Attributes
    ----------
    clip : int
        Position among the inputs.
    first : int
        The first of these windows of the clip.
    count : int
        How many they are.
    """

    clip: int
    first: int
    count: int


class TFHubEmbedding(Embedding):
    """A SavedModel that maps a 16 kHz waveform to one vector for each window of 0.975 s.

    Parameters
    ----------
    model : str or path, optional
        A local SavedModel folder, or an address. By default what ``biasmir fetch models``
        brought, or else the network's TF-Hub address.
    download : bool
        Whether a model that is at an address, and not yet in the cache, may be downloaded.

    Raises
    ------
    ModelError
        If the model is missing or is another network, or TensorFlow is missing.
    DownloadError
        If the download fails.
    """

    address: str
    size: int
    hop_samples: int
    pads_last_window: bool
    packages = ("tensorflow",)

    def __init__(self, model: str | Path | None = None, download: bool = False) -> None:
        require("tensorflow", "tensorflow", self.name)
        place = str(self.address if model is None else model)
        folder = _fetched(self.name) if model is None else None
        if folder is None:
            folder = _local_folder(place, self.name, download, given=model is not None)
        super().__init__(
            dimension=self.size,
            hop=self.hop_samples / SAMPLE_RATE,
            window=WINDOW / SAMPLE_RATE,
            front_end=FrontEnd(SAMPLE_RATE, shortest=WINDOW / SAMPLE_RATE),
            source=place if _is_address(place) else f"local SavedModel folder {folder.name}",
            sums={"folder sha256": folder_sum(folder)},
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
                f"SavedModel with the signature of {self.address}"
            ) from error

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[Features]:
        """Return the vectors of each clip's windows."""
        if not self._can_join:
            return [self._call(clip) for clip in inputs]
        return self._run_joined(inputs)

    def _run_joined(self, inputs: Sequence[NDArray[Any]]) -> list[Features]:
        counts = [self._windows(len(clip)) for clip in inputs]
        results = [np.empty((count, self.size), np.float32) for count in counts]
        for pieces in _calls(counts, WINDOWS_IN_A_CALL):
            joined, starts = self._join(inputs, pieces)
            vectors = self._call(joined)
            for piece, start in zip(pieces, starts, strict=True):
                rows = vectors[start : start + piece.count]
                results[piece.clip][piece.first : piece.first + piece.count] = rows
        return results

    def _embeddings(self, output: Any) -> Any:
        """Pick the embeddings from what the network returns."""
        return output

    def _call(self, waveform: NDArray[Any]) -> Features:
        try:
            output = self._network(waveform.astype(np.float32, copy=False))
        except (TypeError, ValueError) as error:  # what a SavedModel of another signature raises
            raise ModelError(
                f"{self._source}: does not take a waveform as {self.name} does ({error}); "
                f"expected a SavedModel with the signature of {self.address}"
            ) from error
        vectors = self._embeddings(output)
        shape = tuple(getattr(vectors, "shape", ()))
        if len(shape) != 2 or shape[1] != self.size:
            raise ModelError(
                f"{self._source}: gave {type(vectors).__name__} of shape {shape}; {self.name} "
                f"gives an array of shape (windows, {self.size})"
            )
        return np.asarray(vectors)

    def _windows(self, samples: int) -> int:
        """Return how many windows the network makes of a clip on its own."""
        beyond = max(samples - WINDOW, 0)
        whole, rest = divmod(beyond, self.hop_samples)
        return 1 + whole + int(self.pads_last_window and rest > 0)

    def _join(
        self, inputs: Sequence[NDArray[Any]], pieces: Sequence[Piece]
    ) -> tuple[NDArray[np.float32], list[int]]:
        """Place pieces one after the other, each at a multiple of the hop.

        Returns the waveform, and the window at which each piece starts. Windows between two
        pieces see some of both, and are not used.
        """
        between = -(-WINDOW // self.hop_samples) - 1
        starts, position = [], 0
        for piece in pieces:
            starts.append(position)
            position += piece.count + between
        total = (position - between - 1) * self.hop_samples + WINDOW
        joined = np.zeros(total, np.float32)
        for piece, start in zip(pieces, starts, strict=True):
            begin = piece.first * self.hop_samples
            length = (piece.count - 1) * self.hop_samples + WINDOW
            part = inputs[piece.clip][begin : begin + length]
            joined[start * self.hop_samples :][: len(part)] = part
        return joined, starts

    @cached_property
    def _can_join(self) -> bool:
        """Check on noise that this very model gives a clip the same alone and with others.

        A model that pads otherwise, or looks beyond its windows, is run clip by clip.
        """
        generator = np.random.default_rng(0)
        clips = [
            generator.normal(scale=0.1, size=size).astype(np.float32)
            for size in (2 * WINDOW + 101, 3 * WINDOW)
        ]
        alone = [self._call(clip) for clip in clips]
        together = self._run_joined(clips)
        return all(
            one.shape == other.shape and np.allclose(one, other, rtol=1e-4, atol=1e-4)
            for one, other in zip(alone, together, strict=True)
        )


class Yamnet(TFHubEmbedding):
    """YAMNet, trained on AudioSet: 1024-d for each 0.975 s, every 0.48 s."""

    name = "yamnet"
    address = "https://tfhub.dev/google/yamnet/1"
    size = 1024
    hop_samples = 7_680
    pads_last_window = True

    def _embeddings(self, output: Any) -> Any:
        if not isinstance(output, (tuple, list)) or len(output) != 3:
            raise ModelError(
                f"{self._source}: YAMNet gives scores, embeddings and a spectrogram; this model "
                f"gives something else"
            )
        return output[1]


class Vggish(TFHubEmbedding):
    """VGGish, trained on YouTube-8M: 128-d every 0.96 s, before the AudioSet PCA."""

    name = "vggish"
    address = "https://tfhub.dev/google/vggish/1"
    size = 128
    hop_samples = 15_360
    pads_last_window = False


def _calls(counts: Sequence[int], most: int) -> Iterator[list[Piece]]:
    """Group the windows of all clips, in order, into calls of at most `most` windows."""
    call: list[Piece] = []
    room = most
    for clip, count in enumerate(counts):
        first = 0
        while first < count:
            take = min(count - first, room)
            call.append(Piece(clip, first, take))
            first += take
            room -= take
            if room == 0:
                yield call
                call, room = [], most
    if call:
        yield call


def _is_address(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _local_folder(place: str, name: str, download: bool, given: bool) -> Path:
    """Return the SavedModel folder of an address or a path, which the user may have given."""
    if not _is_address(place):
        folder = local_path(place, name)
        if not (folder / "saved_model.pb").is_file():
            raise ModelError(
                f"{folder}: not a SavedModel folder (it has no saved_model.pb); give the folder "
                f"that holds {name}, or an address"
            )
        return folder
    cached = _cache_folder(place)
    if (cached / "saved_model.pb").is_file():
        return cached
    if not download:
        from biasmir_utils.datasets import default_root

        if given:
            raise ModelError(
                f"{name}: {place} is not in the cache ({cached}), and downloading it was not asked "
                f"for; allow the download (--download, or download=True), or give a SavedModel "
                f"folder (--model FOLDER, or model=...)"
            )
        raise ModelError(
            f"{name}: no local model was given, none is in {default_root() / 'models'}, and "
            f"downloading {place} was not asked for; fetch it with: biasmir fetch models, give a "
            f"SavedModel folder (--model FOLDER, or model=...), or allow the download "
            f"(--download, or download=True)"
        )
    import_tensorflow(name)
    require("tensorflow_hub", "tensorflow", f"downloading {name}")
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


def _fetched(name: str) -> Path | None:
    """Return the folder that `biasmir fetch models` brought, None if it did not."""
    from biasmir_utils.datasets import fetched_model

    return fetched_model(name)


def _cache_folder(address: str) -> Path:
    """Return the folder of an address's model, named as tensorflow_hub names it.

    It is in `$TFHUB_CACHE_DIR` if that is set, else in BiasMIR's cache (`$BIASMIR_CACHE`).
    """
    root = os.environ.get("TFHUB_CACHE_DIR") or cache_folder() / "tfhub"
    return Path(root) / hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()
