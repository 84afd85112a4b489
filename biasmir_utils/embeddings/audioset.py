"""YAMNet and VGGish: networks of the AudioSet team, published on TF-Hub as SavedModels.

Both cut the waveform into windows that see nothing outside themselves, at a fixed hop. So
several clips, each placed at a multiple of the hop, go through the network in one call, and
long clips go through it in pieces; a call costs nearly the same for one window as for ten.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.corpus import cache_folder
from biasmir_utils.datasets import default_root, fetched_model
from biasmir_utils.embeddings.base import (
    Embedding,
    Frames,
    import_tensorflow,
    local_path,
    require,
)
from biasmir_utils.embeddings.names import add_embedding
from biasmir_utils.errors import DownloadError, ModelError
from biasmir_utils.files import sha256

_RATE = 16_000
_WINDOW = 15_600
"""Samples that one window sees: 96 spectra of 25 ms every 10 ms."""
_WINDOWS_IN_A_CALL = 64


class _Piece(NamedTuple):
    """Consecutive windows of one clip (its position) that go through in one call."""

    clip: int
    first: int
    n_windows: int


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

    licence = "Apache License 2.0"
    packages = ("tensorflow",)
    sample_rate = _RATE
    window = _WINDOW / _RATE
    hop_samples: ClassVar[int]
    pads_last_window: ClassVar[bool]

    def __init__(self, model: str | Path | None = None, download: bool = False) -> None:
        require("tensorflow", "tensorflow", self.name)
        place = str(self.weights if model is None else model)
        folder = fetched_model(self.name) if model is None else None
        if folder is None:
            folder = _local_folder(place, self.name, download, given=model is not None)
        super().__init__(
            source=place if _is_address(place) else f"local SavedModel folder {folder.name}",
            sums={"folder sha256": _folder_sum(folder)},
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
        counts = [self._windows(len(clip)) for clip in inputs]
        results = [np.empty((count, self.dimension), np.float32) for count in counts]
        for pieces in _calls(counts, _WINDOWS_IN_A_CALL):
            joined, starts = self._join(inputs, pieces)
            vectors = self._call(joined)
            for piece, start in zip(pieces, starts, strict=True):
                rows = vectors[start : start + piece.n_windows]
                results[piece.clip][piece.first : piece.first + piece.n_windows] = rows
        return results

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
        beyond = max(samples - _WINDOW, 0)
        whole, rest = divmod(beyond, self.hop_samples)
        return 1 + whole + int(self.pads_last_window and rest > 0)

    def _join(
        self, inputs: Sequence[NDArray[Any]], pieces: Sequence[_Piece]
    ) -> tuple[NDArray[np.float32], list[int]]:
        """Place pieces one after the other, each at a multiple of the hop.

        Returns the waveform, and the window at which each piece starts. Windows between two
        pieces see some of both, and are not used.
        """
        between = -(-_WINDOW // self.hop_samples) - 1
        starts, position = [], 0
        for piece in pieces:
            starts.append(position)
            position += piece.n_windows + between
        total = (position - between - 1) * self.hop_samples + _WINDOW
        joined = np.zeros(total, np.float32)
        for piece, start in zip(pieces, starts, strict=True):
            begin = piece.first * self.hop_samples
            length = (piece.n_windows - 1) * self.hop_samples + _WINDOW
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


def _calls(counts: Sequence[int], most: int) -> Iterator[list[_Piece]]:
    """Group the windows of all clips, in order, into calls of at most `most` windows."""
    call: list[_Piece] = []
    room = most
    for clip, count in enumerate(counts):
        first = 0
        while first < count:
            take = min(count - first, room)
            call.append(_Piece(clip, first, take))
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


def _folder_sum(folder: Path) -> str:
    """Return one SHA-256 for a folder: of the sorted relative names and sums of its files."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{sha256(file)}\n".encode())
    return digest.hexdigest()


def _cache_folder(address: str) -> Path:
    """Return the folder of an address's model, named as tensorflow_hub names it.

    It is in `$TFHUB_CACHE_DIR` if that is set, else in BiasMIR's cache (`$BIASMIR_CACHE`).
    """
    root = os.environ.get("TFHUB_CACHE_DIR") or cache_folder() / "tfhub"
    return Path(root) / hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()
