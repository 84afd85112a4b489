"""Small stand-ins for what the paper is made from, served as if by the real hosts.

`PaperFiles` packs clips into archives and tables in the real layout; `serve` puts them on a
server at the real addresses, behind a proxy, with the record of the embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from faulty_server import FaultyServer, add_zenodo_record, tls_for
from small_archives import adapted_registry, openmic_archive, sum_of, tone, zipped

from biasmir_utils.corpus import write_embedding_file
from biasmir_utils.datasets import Registry
from biasmir_utils.datasets.irmas_tables import IRMAS_INSTRUMENTS

HOSTS = ["doi.org", "zenodo.org", "raw.githubusercontent.com", "tfhub.dev", "github.com"]
DOI = "10.5281/zenodo.8126908"
CODES = {name: code for code, name in reversed(IRMAS_INSTRUMENTS.items())}
GENRE_CODES = {
    "pop_rock": "pop_roc",
    "jazz_blue": "jaz_blu",
    "classical": "cla",
    "country_folk": "cou_fol",
}
GENRE_TITLES = {
    "pop_rock": "Psych-Rock",
    "jazz_blue": "Free-Jazz",
    "classical": "20th Century Classical",
    "country_folk": "Folk",
}


@dataclass(frozen=True)
class Clip:
    """A clip of either data set.

    `labels` holds likelihoods of what was observed; IRMAS takes the only one of them that is 1.
    """

    dataset: str
    track: int
    number: int
    split: str
    group: str
    labels: Mapping[str, float]
    audio: bytes = field(default_factory=tone, repr=False)

    @property
    def instrument(self) -> str:
        """The predominant one."""
        (instrument,) = [name for name, value in self.labels.items() if value == 1]
        return instrument

    @property
    def name(self) -> str:
        """As the data set would call it."""
        if self.dataset == "openmic":
            return f"{self.track:06d}_{3840 * self.number}"
        code, genre = CODES[self.instrument], GENRE_CODES[self.group]
        return f"{self.track:03d}__[{code}][nod][{genre}]{self.track:04d}__{self.number}"


@dataclass(frozen=True)
class PaperFiles:
    """The files of the paper, by their names."""

    content: dict[str, bytes]

    @classmethod
    def pack(
        cls,
        clips: Sequence[Clip],
        features: Mapping[str, np.ndarray] | None = None,
        folder: Path | None = None,
        frames: int = 2,
    ) -> PaperFiles:
        """Pack clips, and features (a row a clip, in their order) as frames whose mean they are."""
        openmic = [clip for clip in clips if clip.dataset == "openmic"]
        irmas = {clip.name: clip for clip in clips if clip.dataset == "irmas"}
        by_key = {clip.name: clip for clip in openmic}
        content = {
            "openmic-2018-v1.0.0.tgz": openmic_archive(
                [
                    {"sample_key": c.name, "track_genres": ["Experimental", GENRE_TITLES[c.group]]}
                    for c in openmic
                ],
                [(c.name, label, value) for c in openmic for label, value in c.labels.items()],
                {c.name: c.split for c in openmic},
                lambda key: by_key[key].audio,
            ),
            "IRMAS-TrainingData.zip": zipped(
                {
                    # The real archive has a folder for each instrument.
                    **{f"IRMAS-TrainingData/{code}": None for code in IRMAS_INSTRUMENTS},
                    **{
                        f"IRMAS-TrainingData/{CODES[clip.instrument]}/{name}.wav": clip.audio
                        for name, clip in irmas.items()
                    },
                }
            ),
        }
        for part in ("train", "test"):
            names = [name for name, clip in irmas.items() if clip.split == part]
            # The authors' lists have a line for each of the two frames of a clip.
            content[f"irmas_{part}.csv"] = "".join(f"{name}\n" * 2 for name in names).encode()
        if features:
            assert folder is not None
            content["embeddings.h5"] = _embeddings(clips, features, folder, frames)
        return cls(content)

    def registry(self, path: Path) -> Path:
        """Write the project's table of sources with the sums of these files."""
        own: dict[str, dict[str, object]] = {}
        for source in Registry.load().sources.values():
            for file in source.files:
                if file.name in self.content:
                    data = self.content[file.name]
                    own[file.name] = {"size": len(data)}
                    if file.sum:
                        own[file.name]["sum"] = sum_of(data, file.sum.partition(":")[0])
        return adapted_registry(path, own)

    def addresses(self) -> dict[str, str]:
        """Return the real address of each file."""
        registry = Registry.load()
        return {name: registry.file(name).url for name in self.content}


def _embeddings(
    clips: Sequence[Clip], features: Mapping[str, np.ndarray], folder: Path, frames: int
) -> bytes:
    import h5py

    whole = folder / "embeddings.h5"
    rng = np.random.default_rng(0)
    for name, matrix in features.items():
        content = {}
        for dataset in ("irmas", "openmic"):
            rows = [row for row, clip in enumerate(clips) if clip.dataset == dataset]
            noise = rng.normal(0, 0.1, (len(rows), frames, matrix.shape[1]))
            noise -= noise.mean(axis=1, keepdims=True)
            keys = np.repeat([clips[row].name for row in rows], frames).tolist()
            framed = (matrix[rows][:, None] + noise).reshape(-1, matrix.shape[1])
            content[dataset] = (keys, framed)
        write_embedding_file(folder / f"{name}.h5", name, content)
        with h5py.File(folder / f"{name}.h5") as part, h5py.File(whole, "a") as target:
            for dataset in part:
                part.copy(f"{dataset}/{name}", target.require_group(dataset))
    return whole.read_bytes()


@contextmanager
def serve(files: PaperFiles, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """Serve the files at the addresses of the real hosts, behind a proxy.

    Raises LookupError where no certificate can be made for them.
    """
    context, certificate = tls_for(HOSTS, folder)
    for name in ("no_proxy", "NO_PROXY", "BIASMIR_BASE_URL", "BIASMIR_DATA"):
        patch.delenv(name, raising=False)
    with FaultyServer(context) as server:
        for name in ("https_proxy", "HTTPS_PROXY"):
            patch.setenv(name, server.url)
        patch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        for name, address in files.addresses().items():
            server.add(address, files.content[name])
        if "embeddings.h5" in files.content:
            total = sum_of(files.content["embeddings.h5"])
            add_zenodo_record(server, DOI, {"embeddings.h5": total})
        yield server


def synthetic_clips(n: int = 96, labels: Sequence[str] = ("cello", "flute")) -> list[Clip]:
    """Clips without sound to speak of: `n` in each data set, two a track, all genres."""
    rng = np.random.default_rng(0)
    groups = list(GENRE_CODES)
    clips = []
    for track in range(n // 2):
        split, group = "test" if track % 3 == 2 else "train", groups[rng.integers(4)]
        label = labels[rng.integers(len(labels))]
        for number in (1, 2):
            clips.append(Clip("irmas", track, number, split, group, {label: 1.0}))
    for track in range(n // 2):
        split, group = "test" if track % 4 == 3 else "train", groups[rng.integers(4)]
        for number in (0, 1):
            observed = {name: float(rng.random() < 0.5) for name in labels}
            clips.append(Clip("openmic", track, number, split, group, observed))
    return clips


def synthetic_features(clips: Sequence[Clip], dimension: int, seed: int) -> np.ndarray:
    """Features in which labels and data sets can be read, with noise."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(0, 1, (len(clips), dimension))
    names = sorted({name for clip in clips for name in clip.labels})
    for row, clip in enumerate(clips):
        for axis, name in enumerate(names):
            matrix[row, axis] += 1.5 * clip.labels.get(name, 0.0)
        matrix[row, -1] += 3.0 * (clip.dataset == "openmic")
    return matrix
