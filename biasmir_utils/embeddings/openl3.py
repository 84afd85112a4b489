"""OpenL3 (music, mel256, 512-d) from the official weight file (Cramer et al., ICASSP 2019).

The package `openl3` cannot be installed on Python 3.12 or later, so the network is built here
from its public description, and its weights are read as numbers. Where the package is
installed, ``load("openl3", model="openl3-package")`` uses it instead (`openl3_package`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.embeddings.base import Embedding, Features, local_path, require
from biasmir_utils.embeddings.openl3_frontend import (
    DEFAULT_HOP,
    SAMPLE_RATE,
    WINDOW,
    MelWindows,
    hop_in_samples,
    resampler_record,
)
from biasmir_utils.embeddings.openl3_network import POOLING, build_network
from biasmir_utils.embeddings.openl3_weights import (
    FILE_NAME,
    FILTERS,
    HOW_TO_GET,
    Weights,
    read_weights,
)
from biasmir_utils.errors import ModelError

PACKAGE = "openl3-package"
"""What is given as a model to ask for the package `openl3`."""
SECONDS_FOR_ANOTHER = 1_800.0
"""How long to wait for another process that downloads the weights."""
WINDOWS_IN_A_CALL = 8
"""Through the network at a time; more take more memory, and no less time on a CPU."""


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
        Seconds from one window to the next. The package's own default is 0.1.

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
    packages = ("tensorflow", "librosa", "resampy")

    def __init__(
        self,
        model: str | Path | None = None,
        download: bool = False,
        hop: float = DEFAULT_HOP,
    ) -> None:
        hop_samples = hop_in_samples(hop)
        require("librosa", "audio", self.name)
        require("tensorflow", "tensorflow", self.name)
        resampler = resampler_record()
        path = _fetched(download) if model is None else local_path(model, self.name)
        weights = read_weights(path)
        if model is None and not weights.official:
            raise ModelError(
                f"{path}: is not the official weight file (its SHA-256 is {weights.h5_sum}); "
                f"delete it and {HOW_TO_GET}; a file with other weights must be given explicitly"
            )
        self._file = {"name": path.name, "sha256": weights.file_sum, "official": weights.official}
        self._spectra = MelWindows(
            SAMPLE_RATE, shortest=1 / SAMPLE_RATE, resampler=resampler, hop_samples=hop_samples
        )
        super().__init__(
            dimension=FILTERS[-1],
            hop=float(hop),
            window=WINDOW / SAMPLE_RATE,
            front_end=self._spectra,
            source=_source(weights, path),
            sums={"h5 sha256": weights.h5_sum},
            parameters={
                "network": "OpenL3 music mel256",
                "pooling": f"maximum over {POOLING[0]} x {POOLING[1]}, the whole last map",
            },
        )
        self._layers = weights.layers

    @cached_property
    def _network(self) -> Any:
        """The network, built when it is first run, so that a record costs little."""
        return build_network(self._layers)

    @property
    def record(self) -> dict[str, Any]:
        """What made the vectors; `file` is the weight file as it was on disk."""
        return {**super().record, "file": dict(self._file)}

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[Features]:
        """Return the vectors of each clip's windows, batched across clips."""
        found: list[list[Features]] = [[] for _ in inputs]
        # Blocks of spectra that go into one call, and the clips that they belong to.
        waiting: list[tuple[int, NDArray[Any]]] = []
        for clip, features in enumerate(inputs):
            for block in self._spectra.blocks(features):
                for first in range(0, len(block), WINDOWS_IN_A_CALL):
                    waiting.append((clip, block[first : first + WINDOWS_IN_A_CALL]))
                    if sum(len(part) for _, part in waiting) >= WINDOWS_IN_A_CALL:
                        self._call(waiting, found)
                        waiting = []
        if waiting:
            self._call(waiting, found)
        return [np.concatenate(rows) for rows in found]

    def _call(
        self, blocks: Sequence[tuple[int, NDArray[Any]]], found: list[list[Features]]
    ) -> None:
        """Give some blocks to the network, and their vectors to their clips."""
        spectra = np.concatenate([block for _, block in blocks])
        rows = self._network(spectra[..., None]).numpy()
        ends = np.cumsum([len(block) for _, block in blocks])[:-1]
        for (clip, _), part in zip(blocks, np.split(rows, ends), strict=True):
            found[clip].append(part)


def load_openl3(
    model: str | Path | None = None, download: bool = False, hop: float = DEFAULT_HOP
) -> Embedding:
    """Return OpenL3 from its weight file, or through the package if `model` asks for that.

    Parameters
    ----------
    model : str or path, optional
        A weight file, or ``openl3-package``; see `OpenL3`.
    download : bool
        Whether the official weight file may be downloaded.
    hop : float
        Seconds from one window to the next.
    """
    if str(model) == PACKAGE:
        from biasmir_utils.embeddings.openl3_package import OpenL3Package

        return OpenL3Package(hop)
    return OpenL3(model, download, hop)


def _source(weights: Weights, path: Path) -> str:
    if weights.official:
        return f"official weights {FILE_NAME}"
    return f"local weight file {path.name}"


def _fetched(download: bool) -> Path:
    """Return the weight file that was fetched, after fetching it if that is allowed."""
    from biasmir_utils.datasets import default_root, fetch, fetched_model

    found = fetched_model("openl3")
    if found is None and download:
        # Of several workers of a machine, one downloads; the others find the file there.
        fetch(["models"], files=[FILE_NAME], wait=SECONDS_FOR_ANOTHER)
        found = fetched_model("openl3")
    if found is None:
        raise ModelError(
            f"openl3: no weight file was given, and none is in {default_root() / 'models'}; "
            f"{HOW_TO_GET}; or allow the download (--download, or download=True)"
        )
    return found
