"""Embeddings of other people: what can be called on a waveform, and modules of the HEAR benchmark.

`load("package.module:Name")` imports the module, which runs its code with your rights. `Name` is

- a function `f(waveform, sample_rate)` of a float32 array of shape (samples,) and a rate in Hz,
  which returns frames of shape (frames, D); or an object whose method `embed` is one;
- a class of such objects, called without arguments, or with `model` where one is given;
- `load_model` of a module with the HEAR interface (Turian et al., "HEAR: Holistic Evaluation of
  Audio Representations", PMLR 176, 2022), of PyTorch or TensorFlow.

Its attributes `sample_rate` (Hz; 44,100 where there is none), `hop` and `window` (seconds) and
`dimension` are heeded.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.embeddings.base import Embedding, Frames
from biasmir_utils.errors import ArgumentError, ModelError
from biasmir_utils.files import sha256

_RATE = 44_100
_HEAR = "load_model"
_TRIAL_SECONDS = 10.0


def external_name(path: str) -> str:
    """Return the name that a corpus keeps `package.module:Name` under: `Name`, or HEAR's module."""
    module, _, name = path.rpartition(":")
    return module.rpartition(".")[2] if name == _HEAR else name


class External(Embedding):
    """What `package.module:Name` names, as an embedding.

    Parameters
    ----------
    path : str
        `package.module:Name`.
    model : str or path, optional
        Weights, for a class or a `load_model` that takes them.

    Raises
    ------
    ArgumentError
        If there is no such module or name in it, or it takes no model.
    ModelError
        If the module, its model or a trial on noise fails, or gives no frames.
    """

    def __init__(self, path: str, model: str | Path | None = None) -> None:
        self._path, module_name = path, path.partition(":")[0]
        try:
            module = importlib.import_module(module_name)
            named = pkgutil.resolve_name(path)
        except (ImportError, ValueError, AttributeError) as error:
            raise ArgumentError(
                f"embedding {path!r}: cannot be imported ({error}); expected package.module:Name, "
                f"of a module in the folder where you are, or installed"
            ) from error
        made = self._made(named, model)
        hear = path.endswith(f":{_HEAR}") and hasattr(module, "get_timestamp_embeddings")
        call = getattr(made, "embed", made)
        if not hear and not callable(call):
            raise ArgumentError(f"embedding {path!r}: neither a callable nor with a method 'embed'")

        def each(clips: Sequence[NDArray[Any]]) -> list[Any]:
            return [call(clip, self.sample_rate) for clip in clips]

        self._batch = _hear(module, made) if hear else each
        self.name = external_name(path)  # type: ignore[misc]
        self.weights = path  # type: ignore[misc]
        self.packages = tuple(  # type: ignore[misc]
            packages_distributions().get(module_name.partition(".")[0], [])
        )
        self.sample_rate = int(getattr(made, "sample_rate", _RATE))
        self.hop, self.window = (float(getattr(made, key, 0.0)) for key in ("hop", "window"))
        files = {"module sha256": getattr(module, "__file__", None), "model sha256": model}
        super().__init__(
            sums={
                name: sha256(Path(file))
                for name, file in files.items()
                if file and Path(file).exists()
            }
        )
        self.dimension = getattr(made, "dimension", None) or self._tried()

    def _made(self, named: Any, model: str | Path | None) -> Any:
        """Return what was named, or what a class or `load_model` makes."""
        if not (inspect.isclass(named) or self._path.endswith(f":{_HEAR}")):
            if model is not None:
                raise ArgumentError(
                    f"embedding {self._path!r} takes no model, found {str(model)!r}"
                )
            return named
        try:
            return named() if model is None else named(str(model))
        except Exception as error:
            raise ModelError(f"{self._path}: cannot be made ({_said(error)})") from error

    def _tried(self) -> int:
        """Return the length of a vector, from noise."""
        size = int(max(_TRIAL_SECONDS, 2 * self.window) * self.sample_rate)
        noise = np.random.default_rng(0).normal(0, 0.1, size).astype(np.float32)
        try:
            return int(self.run([noise])[0].shape[1])
        except Exception as error:
            raise ModelError(f"cannot embed {_TRIAL_SECONDS:g} s of noise: {error}") from error

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[Frames]:
        """Return the frames of each clip; an error names the module."""
        try:
            found = [_array(frames) for frames in self._batch(inputs)]
        except Exception as error:
            raise RuntimeError(f"{self._path}: {_said(error)}") from error
        sizes = {n for frames in found for n in frames.shape[-1:]}
        sizes = {getattr(self, "dimension", None)} - {None} or sizes
        for frames in found:
            if frames.ndim != 2 or frames.shape[1] not in sizes or frames.dtype.kind not in "fiu":
                raise ModelError(
                    f"{self._path}: expected numbers of shape (frames, "
                    f"{' or '.join(map(str, sizes))}), found {frames.dtype} of {frames.shape}"
                )
        return [np.asarray(frames, np.float32) for frames in found]


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _array(values: Any) -> NDArray[Any]:
    """Return an array of NumPy, PyTorch or TensorFlow as one of NumPy."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _hear(module: Any, model: Any) -> Callable[[Sequence[NDArray[Any]]], list[Any]]:
    """Return what embeds clips by HEAR's interface, those of one length together."""
    families = {one.__module__.partition(".")[0] for one in type(model).__mro__}

    def embed(clips: NDArray[Any]) -> Any:
        if "torch" in families:
            torch = sys.modules["torch"]
            with torch.inference_mode():
                return module.get_timestamp_embeddings(torch.from_numpy(clips), model)[0]
        if families & {"tensorflow", "keras"}:
            clips = sys.modules["tensorflow"].convert_to_tensor(clips)
        return module.get_timestamp_embeddings(clips, model)[0]

    def embed_all(inputs: Sequence[NDArray[Any]]) -> list[Any]:
        found: dict[int, Any] = {}
        for length in {len(clip) for clip in inputs}:
            rows = [row for row, clip in enumerate(inputs) if len(clip) == length]
            together = _array(embed(np.stack([inputs[row] for row in rows])))
            found.update(zip(rows, together, strict=True))
        return [found[row] for row in range(len(inputs))]

    return embed_all
