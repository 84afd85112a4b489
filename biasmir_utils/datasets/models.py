"""The pre-trained networks that are fetched: YAMNet and VGGish (TF-Hub), OpenL3."""

from __future__ import annotations

import os
from pathlib import Path

from biasmir_utils.datasets.base import Dataset, RemoteFile, add_dataset, default_root

OPENL3_FILE = "openl3_audio_mel256_music-v0_4_0.h5.gz"

add_dataset(
    Dataset(
        name="models",
        title="Pre-trained networks: YAMNet and VGGish (TF-Hub), OpenL3 (music, mel256, 512)",
        licence="YAMNet and VGGish: Apache 2.0; OpenL3's weights: CC BY 4.0",
        page=(
            "https://tfhub.dev/google/yamnet/1, https://tfhub.dev/google/vggish/1, "
            "https://github.com/marl/openl3"
        ),
        files=(
            *(
                RemoteFile(
                    name=f"{network}_1.tar.gz",
                    url=f"https://tfhub.dev/google/{network}/1?tf-hub-format=compressed",
                    to=f"models/{network}",
                    size=size,
                    unpacked=unpacked,
                    holds=("saved_model.pb",),
                )
                for network, size, unpacked in (
                    ("yamnet", 20_000_000, 25_000_000),
                    ("vggish", 300_000_000, 320_000_000),
                )
            ),
            RemoteFile(
                name=OPENL3_FILE,
                url=f"https://github.com/marl/openl3/raw/models/{OPENL3_FILE}",
                to=f"models/openl3/{OPENL3_FILE.removesuffix('.gz')}",
                sum="sha256:e379f41e880b78e157c199ebddac80d3764e6a46282bcccdbe875bcf538f9afd",
                size=20_000_000,
                unpacked=20_000_000,
            ),
        ),
    )
)


def fetched_model(name: str, root: str | os.PathLike[str] | None = None) -> Path | None:
    """Return what `biasmir fetch models` brought of a network.

    Parameters
    ----------
    name : str
        yamnet, vggish or openl3.
    root : path, optional
        The folder of fetched files; by default `default_root`.

    Returns
    -------
    pathlib.Path or None
        The SavedModel folder (of openl3 the weight file); None if it is not there.
    """
    folder = default_root(root) / "models" / name
    if name == "openl3":
        return next(iter(sorted(folder.glob("*.h5"))), None)
    return folder if (folder / "saved_model.pb").is_file() else None
