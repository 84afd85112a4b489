"""OpenL3 as computed by its authors' package `openl3`, where that is installed.

The package is for Python 3.11 and earlier, and its setup downloads the weights, so it could not
be installed where this was written: the calls below are tested against the signatures that its
version 0.4.2 documents, not against the package itself. Prefer the project's own loader
(`openl3.OpenL3`), which gives the same numbers from the same weights; this is for comparing.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.embeddings.base import Embedding, Features
from biasmir_utils.embeddings.openl3_frontend import (
    DEFAULT_HOP,
    SAMPLE_RATE,
    WINDOW,
    Mono48k,
    hop_in_samples,
    installed_version,
    resampler_record,
    version_pair,
    windowing,
)
from biasmir_utils.errors import ModelError
from biasmir_utils.files import sha256

INPUT = "mel256"
CONTENT = "music"
SIZE = 512
SPECTRA = "librosa"
"""The package's front end that the own loader agrees with; its other one is kapre."""
BATCH = 8


class OpenL3Package(Embedding):
    """OpenL3 (music, mel256, 512-d) through the package `openl3`.

    Mono and the resampling to 48 kHz are done here, with the package's own resampler.

    Parameters
    ----------
    hop : float
        Seconds from one window to the next.

    Raises
    ------
    ModelError
        If the package is missing, too old, or cannot load its model.
    ArgumentError
        If the hop is no positive number.
    """

    name = "openl3"
    packages = ("openl3", "kapre", "tensorflow", "librosa", "resampy")

    def __init__(self, hop: float = DEFAULT_HOP) -> None:
        hop_samples = hop_in_samples(hop)
        self._package = _import_package()
        version = installed_version("openl3")
        try:
            self._network = self._package.models.load_audio_embedding_model(
                INPUT, CONTENT, SIZE, frontend=SPECTRA
            )
            weights = Path(self._package.models.get_audio_embedding_model_path(INPUT, CONTENT))
            sums = {"h5 sha256": sha256(weights)}
        except Exception as error:  # TensorFlow, Keras, kapre and h5py raise many kinds
            raise ModelError(
                f"openl3: the package openl3 {version} cannot load its model ({error}); install "
                f"it anew, or leave out model='openl3-package' to use the loader of this project"
            ) from error
        super().__init__(
            dimension=SIZE,
            hop=float(hop),
            window=WINDOW / SAMPLE_RATE,
            front_end=Mono48k(
                SAMPLE_RATE,
                shortest=1 / SAMPLE_RATE,
                resampler=resampler_record(any_version=True),
            ),
            source=f"package openl3 {version}",
            sums=sums,
            parameters={
                **windowing(hop_samples),
                "computed_by": f"package openl3 {version}",
                "network": f"OpenL3 {CONTENT} {INPUT}",
                "spectrum": f"front end {SPECTRA} of the package",
                "pooling": f"embedding size {SIZE} of the package",
            },
        )

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[Features]:
        """Return the vectors of each clip's windows."""
        if not inputs:
            return []
        embeddings, _ = self._package.get_audio_embedding(
            list(inputs),
            SAMPLE_RATE,
            model=self._network,
            input_repr=INPUT,
            content_type=CONTENT,
            embedding_size=SIZE,
            center=True,
            hop_size=self.hop,
            batch_size=BATCH,
            frontend=SPECTRA,
            verbose=False,
        )
        return [np.asarray(rows, np.float32) for rows in embeddings]


def _import_package() -> Any:
    if find_spec("openl3") is None:
        raise ModelError(
            "model='openl3-package' needs the package openl3, which is not installed; on Python "
            "3.11 or earlier, install it with: pip install openl3 (it downloads weights); or "
            "leave the model out, or give a weight file, to use the loader of this project"
        )
    if (version := installed_version("openl3")) != "unknown" and version_pair(version) < (0, 4):
        raise ModelError(
            f"openl3: the package openl3 {version} is installed, 0.4 or later is needed (earlier "
            f"ones have no librosa front end); upgrade it with: pip install 'openl3>=0.4.2'"
        )
    import openl3

    return openl3
