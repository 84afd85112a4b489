"""musicnn and VGG taggers trained on the Million Song Dataset (Pons & Serra, ISMIR LBD 2019).

The weights are those that the PyPI wheel `musicnn` carries. That package is never imported: it
asks for libraries of 2019. Its TensorFlow 1 checkpoints are read here, their variables put
into the graph as constants, and the graph is cut down to the layers that are wanted.

Input: log10(1 + 10,000 x mel power), 16 kHz, FFT of 512 every 256 samples, 96 mel bands, in
patches of 187 spectral frames (3 s). The original program rounds the mel power to half
precision on the way, which overflows for loud tones; here it stays in single precision.
"""

from __future__ import annotations

import ast
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biasmir_utils.embeddings.base import Embedding, Frames, FrontEnd, import_tensorflow, require
from biasmir_utils.embeddings.names import add_embedding
from biasmir_utils.errors import ArgumentError, ModelError
from biasmir_utils.files import sha256

_RATE = 16_000
_SPECTRA: dict[str, Any] = {"n_fft": 512, "hop_length": 256, "n_mels": 96}
_PATCH = 187
_BATCH = 2
"""Patches in one run: on a CPU larger batches are slower and take hundreds of MB more."""

_INPUT = "model/Placeholder"
_TRAINING = "model/Placeholder_2"
_TAGS = "model/Sigmoid"
_WEIGHT_FILES = (".data-00000-of-00001", ".index", ".meta")
_INSTALL = "install the wheel that carries the weights with: pip install --no-deps musicnn==0.1.0"


@dataclass(frozen=True)
class LogMelPatches(FrontEnd):
    """musicnn's input: log-compressed mel power in patches of 3 s; what is left over is cut."""

    def features(self, mono: NDArray[Any]) -> NDArray[np.float32]:
        """Return patches of shape (n, 187, 96)."""
        power = self.mel_power(mono, **_SPECTRA)
        compressed = np.log10(1.0 + 10_000.0 * power).astype(np.float32).T
        n = len(compressed) // _PATCH
        return np.ascontiguousarray(compressed[: n * _PATCH]).reshape(n, _PATCH, _SPECTRA["n_mels"])


class MusicnnLayer(Embedding):
    """A layer of one of the wheel's networks, one vector for each patch of 3 s.

    Parameters
    ----------
    model : path, optional
        Folder of a checkpoint (`.data-00000-of-00001`, `.index`, `.meta`); by default the
        one in the installed wheel.

    Raises
    ------
    ModelError
        If the checkpoint or TensorFlow is missing, or the checkpoint is another network's.
    """

    licence = "ISC licence"
    weights = "the PyPI wheel musicnn 0.1.0"
    packages = ("tensorflow", "librosa", "musicnn")
    sample_rate = _RATE
    hop = window = _PATCH * _SPECTRA["hop_length"] / _RATE
    network: ClassVar[str]
    layer: ClassVar[str]

    def __init__(self, model: str | Path | None = None) -> None:
        require(self.name, "librosa", "tensorflow")
        folder = _wheel() / self.network if model is None else Path(model)
        absent = [name for name in _WEIGHT_FILES if not (folder / name).is_file()]
        if absent:
            raise ModelError(
                f"{folder}: not a musicnn checkpoint, it lacks {', '.join(absent)}; {_INSTALL}, "
                f"or give a folder that holds these files"
            )
        super().__init__(
            LogMelPatches(_RATE, shortest=(_PATCH - 1) * _SPECTRA["hop_length"] / _RATE),
            source=f"{self.network} of {self.weights}"
            if model is None
            else f"local checkpoint {folder.name}",
            sums={"checkpoint sha256": sha256(folder / _WEIGHT_FILES[0])},
            parameters={
                "spectrum": "log10(1 + 10000 x mel power), librosa",
                **_SPECTRA,
                "patch": _PATCH,
                "network": self.network,
                "layer": self.layer,
            },
        )
        self._folder = folder

    @cached_property
    def _session(self) -> Any:
        """The network, loaded when it is first run, so that a record costs little."""
        return _frozen_session(self._folder, [self.layer, _TAGS], self.name)

    def run(self, inputs: Sequence[NDArray[Any]], layer: str | None = None) -> list[Frames]:
        """Return a layer's values for each clip's patches, batched across clips."""
        if not inputs:
            return []
        patches, output = np.concatenate(list(inputs)), f"{layer or self.layer}:0"
        rows = [
            self._session.run(output, {f"{_INPUT}:0": patches[start : start + _BATCH]})
            for start in range(0, len(patches), _BATCH)
        ]
        ends = np.cumsum([len(clip) for clip in inputs])[:-1]
        # The mean over time keeps an axis of one at its end.
        return np.split(np.concatenate(rows).reshape(len(patches), -1), ends)

    @cached_property
    def tags(self) -> list[str]:
        """The 50 tags that the network was trained on, in the order of its output."""
        # Read from the package's configuration module without running it.
        name = f"{self.network.split('_')[0]}_LABELS"
        for one in ast.parse((_wheel() / "configuration.py").read_text(encoding="utf-8")).body:
            if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == name:
                return list(ast.literal_eval(one.value))
        raise ModelError(f"the wheel musicnn does not define {name}; {_INSTALL}")

    def top_tags(
        self, waveform: ArrayLike, sample_rate: float, n: int = 5
    ) -> list[tuple[str, float]]:
        """Return the `n` most likely tags of a clip, averaged over its patches.

        Parameters
        ----------
        waveform : array of shape (samples,) or (samples, channels)
            Floats in [-1, 1].
        sample_rate : float
            In Hz.
        n : int
            From 1 to 50.

        Returns
        -------
        list of (tag, likelihood)
            Most likely first; likelihoods in [0, 1].
        """
        if not 1 <= n <= len(self.tags):
            raise ArgumentError(f"n: expected 1 to {len(self.tags)} tags, found {n!r}")
        patches = self.front_end(waveform, sample_rate)
        likelihoods = self.run([patches], _TAGS)[0].mean(axis=0)
        order = np.argsort(-likelihoods, kind="stable")[:n]
        return [(self.tags[index], float(likelihoods[index])) for index in order]


@add_embedding
class Musicnn(MusicnnLayer):
    """MSD_musicnn, its mean over time before the dense layers (753-d)."""

    name = "musicnn"
    summary = "MSD_musicnn, mean over time"
    network = "MSD_musicnn"
    layer = "model/moments/Squeeze"
    dimension = 753


@add_embedding
class MusicnnPenultimate(MusicnnLayer):
    """MSD_musicnn, its last hidden layer (200-d)."""

    name = "musicnn_penultimate"
    summary = "MSD_musicnn, last hidden layer"
    network = "MSD_musicnn"
    layer = "model/dense/Relu"
    dimension = 200


@add_embedding
class MsdVgg(MusicnnLayer):
    """MSD_vgg, its last pooling layer (256-d)."""

    name = "msd_vgg"
    summary = "MSD_vgg, last pooling layer"
    network = "MSD_vgg"
    layer = "model/Flatten/flatten/Reshape"
    dimension = 256


@add_embedding
class MttMusicnn(MusicnnLayer):
    """The same network trained on MagnaTagATune, whose tags name instruments (753-d)."""

    name = "mtt_musicnn"
    summary = "MTT_musicnn, mean over time"
    network = "MTT_musicnn"
    layer = "model/moments/Squeeze"
    dimension = 753


def _wheel() -> Path:
    """Find the installed package's folder without importing it."""
    try:
        return Path(str(importlib.metadata.distribution("musicnn").locate_file("musicnn")))
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelError(f"musicnn's weights are missing; {_INSTALL}") from error


def _frozen_session(folder: Path, layers: Sequence[str], name: str) -> Any:
    """Return a TensorFlow session of a checkpoint's graph up to `layers`.

    Variables become constants and the training flag becomes False, so that the graph has no
    state and dropout and batch statistics fall away.
    """
    tf = import_tensorflow(name)
    from tensorflow.core.protobuf import meta_graph_pb2

    v1 = tf.compat.v1
    meta = meta_graph_pb2.MetaGraphDef()
    try:
        meta.ParseFromString((folder / ".meta").read_bytes())
        # The folder with a slash is the prefix of the files, whose names begin with a dot.
        reader = v1.train.NewCheckpointReader(f"{folder}/")
        for node in meta.graph_def.node:
            # Shapes noted by TensorFlow 1 that today's shape functions refuse.
            node.attr.pop("_output_shapes", None)
        graph_def = v1.graph_util.extract_sub_graph(meta.graph_def, list(layers))
        for node in graph_def.node:
            if node.op == "VariableV2" or node.name == _TRAINING:
                training = node.name == _TRAINING
                value = np.array(False) if training else reader.get_tensor(node.name)
                tensor = tf.make_tensor_proto(value)
                del node.input[:]
                node.op = "Const"
                node.attr.clear()
                node.attr["dtype"].type = tensor.dtype
                node.attr["value"].tensor.CopyFrom(tensor)
    except Exception as error:  # TensorFlow and protobuf raise many kinds for a damaged file
        raise ModelError(
            f"{folder}: the checkpoint cannot be read as {name} ({error}); {_INSTALL}"
        ) from error
    graph = tf.Graph()
    with graph.as_default():
        v1.import_graph_def(graph_def, name="")
    return v1.Session(graph=graph)
