"""Small stand-ins for what is fetched, in the layout of the real files.

`PaperFiles` packs clips into archives and tables; `serve` puts them on a server at the real
addresses, behind a proxy, with the record of the embeddings; `expect` lets the tables of remote
files have their sums.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
import wave
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from faulty_server import FaultyServer, Redirect, add_zenodo_record, tls_for

from biasmir_utils.datasets import DATASETS, GENRES, INSTRUMENTS, Dataset, RemoteFile

OPENMIC_CLASSES = [
    *("accordion", "banjo", "bass", "cello", "clarinet", "cymbals", "drums", "flute", "guitar"),
    *("mallet_percussion", "mandolin", "organ", "piano", "saxophone", "synthesizer", "trombone"),
    *("trumpet", "ukulele", "violin", "voice"),
]
IRMAS_NAMES = (
    "043__[cel][nod][cla]0029__1",
    "043__[cel][nod][cla]0029__2",
    "[cla][cla]0189__2",
    "118__[flu][dru][pop_roc]0467__1",
    "[gac][cou_fol]0567__1",
    "008__[gel][dru][jaz_blu]0841__1",
    "[org][nod][cou_fol]1140__3",
    "[pia][nod][jaz_blu]1427__1",
    "[sax][dru][lat_sou]1599__1",
    "[tru][nod][jaz_blu]1964__2",
    "[vio][nod][cla]2110__1",
    "[voi][dru][pop_roc]2392__1",
)
# As in the names of IRMAS.
INSTRUMENT_CODES = {name[:3]: name for name in INSTRUMENTS if name != "guitar"}
INSTRUMENT_CODES |= {"gac": "guitar", "gel": "guitar"}
CODES = {name: code for code, name in reversed(INSTRUMENT_CODES.items())}
GENRE_CODES = dict(zip(GENRES, ("pop_roc", "jaz_blu", "cla", "cou_fol"), strict=True))
GENRE_TITLES = dict(
    zip(GENRES, ("Psych-Rock", "Free-Jazz", "20th Century Classical", "Folk"), strict=True)
)
BUCKET = "https://storage.googleapis.com"  # where TF-Hub sends those who ask it
HOSTS = [
    *("doi.org", "zenodo.org", "raw.githubusercontent.com", "tfhub.dev", "github.com"),
    "storage.googleapis.com",
]
DOI = "10.5281/zenodo.8126908"


def tone(seconds: float = 0.05, rate: int = 8000, pitch: float = 440.0) -> bytes:
    """Return a short WAV file."""
    samples = np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate)) / rate)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((samples * 20000).astype("<i2").tobytes())
    return file.getvalue()


def tar_gz(members: Mapping[str, bytes | None]) -> bytes:
    """Pack files (None: a folder) into a tar.gz that is the same each time."""
    file = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as archive,
    ):
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            info.size = len(content or b"")
            archive.addfile(info, io.BytesIO(content or b""))
    return file.getvalue()


def tarred(folder: Path) -> bytes:
    """Pack a folder of a network as TF-Hub does."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        archive.add(folder, arcname=".")
    return file.getvalue()


def zipped(members: Mapping[str, bytes | None]) -> bytes:
    """Pack files (None: a folder) into a zip that is the same each time."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name + ("/" if content is None else ""))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content or b"")
    return file.getvalue()


def openmic_archive(
    metadata: Iterable[Mapping[str, object]],
    labels: Iterable[tuple[str, str, float]],
    split: Mapping[str, str],
    audio: Callable[[str], bytes] = lambda key: tone(),
) -> bytes:
    """Pack an OpenMIC-2018 archive.

    Parameters
    ----------
    metadata : iterable of dict
        Rows with `sample_key` and `track_genres` (a list of genre titles), perhaps more.
    labels : iterable of (sample_key, instrument, relevance)
    split : dict
        `train` or `test` for each key.
    audio : callable
        The bytes of the Ogg file of a key.
    """
    rows = []
    for number, row in enumerate(metadata):
        genres = [
            {"genre_id": str(i), "genre_title": title, "genre_url": f"http://genre/{i}/"}
            for i, title in enumerate(row["track_genres"])  # type: ignore[arg-type]
        ]
        key = str(row["sample_key"])
        rows.append(
            {
                "track_id": number,
                "artist_name": f"Artist, {number}",
                "track_genres": str(genres) if genres else "",
                "track_title": f"Title {number}",
                "sample_key": key,
                "start_time": 3.84,
            }
        )
    members: dict[str, bytes | None] = {
        "openmic-2018": None,
        "openmic-2018/openmic-2018-metadata.csv": pd.DataFrame(rows).to_csv(index=False).encode(),
        "openmic-2018/openmic-2018-aggregated-labels.csv": pd.DataFrame(
            labels, columns=["sample_key", "instrument", "relevance"]
        )
        .assign(num_responses=3)
        .to_csv(index=False)
        .encode(),
        "openmic-2018/class-map.json": json.dumps(
            {name: i for i, name in enumerate(OPENMIC_CLASSES)}
        ).encode(),
    }
    for part in ("train", "test"):
        keys = [key for key, where in split.items() if where == part]
        content = "".join(f"{key}\n" for key in keys).encode()
        members[f"openmic-2018/partitions/split01_{part}.csv"] = content
    for r in rows:
        key = str(r["sample_key"])
        members[f"openmic-2018/audio/{key[:3]}/{key}.ogg"] = audio(key)
        members[f"openmic-2018/vggish/{key[:3]}/{key}.json"] = b'{"time": [], "features": []}'
    return tar_gz(members)


def irmas_archive(
    names: Iterable[str] = IRMAS_NAMES, audio: Callable[[str], bytes] = lambda name: tone()
) -> bytes:
    """Pack an IRMAS training archive: a folder for each instrument code."""
    members: dict[str, bytes | None] = {
        "IRMAS-TrainingData/README.txt": b"IRMAS, made for tests",
        **{f"IRMAS-TrainingData/{code}": None for code in INSTRUMENT_CODES},
    }
    for name in names:
        code = name[name.index("[") + 1 : name.index("]")]
        members[f"IRMAS-TrainingData/{code}/{name}.wav"] = audio(name)
    return zipped(members)


def sum_of(content: bytes, algorithm: str = "md5") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def remote_file(name: str) -> RemoteFile:
    """Return the remote file of this name."""
    return next(f for dataset in DATASETS.values() for f in dataset.files if f.name == name)


def expect(content: Mapping[str, bytes], patch: pytest.MonkeyPatch) -> None:
    """Let the tables of remote files have the sums and sizes of these contents, and no counts."""

    def changed(file: RemoteFile) -> RemoteFile:
        data = content.get(file.name)
        if data is None:
            return file
        file = replace(file, size=len(data))
        if file.unpacked:
            file = replace(file, unpacked=25_000_000)
        if file.sum:
            file = replace(file, sum=sum_of(data, file.sum.partition(":")[0]))
        return file

    for name, dataset in DATASETS.items():
        files = tuple(changed(file) for file in dataset.files)
        patch.setitem(DATASETS, name, replace(dataset, files=files, counts={}))


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
    def name(self) -> str:
        """As the data set would call it."""
        if self.dataset == "openmic":
            return f"{self.track:06d}_{3840 * self.number}"
        (instrument,) = [name for name, value in self.labels.items() if value == 1]
        code, genre = CODES[instrument], GENRE_CODES[self.group]
        return f"{self.track:03d}__[{code}][nod][{genre}]{self.track:04d}__{self.number}"


@dataclass(frozen=True)
class PaperFiles:
    """The files of the paper, by their names."""

    content: dict[str, bytes]

    def addresses(self) -> dict[str, str]:
        """Return the real address of each file."""
        return {name: remote_file(name).url for name in self.content}

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
            "IRMAS-TrainingData.zip": irmas_archive(irmas, lambda name: irmas[name].audio),
        }
        for part in ("train", "test"):
            names = [name for name, clip in irmas.items() if clip.split == part]
            # The authors' lists have a line for each of the two frames of a clip.
            content[f"irmas_{part}.csv"] = "".join(f"{name}\n" * 2 for name in names).encode()
        if features:
            assert folder is not None
            content["embeddings.h5"] = _embeddings(clips, features, folder, frames)
        return cls(content)


def _embeddings(
    clips: Sequence[Clip], features: Mapping[str, np.ndarray], folder: Path, frames: int
) -> bytes:
    import h5py

    rng = np.random.default_rng(0)
    with h5py.File(folder / "embeddings.h5", "w") as file:
        for name, matrix in features.items():
            for dataset in ("irmas", "openmic"):
                rows = [row for row, clip in enumerate(clips) if clip.dataset == dataset]
                noise = rng.normal(0, 0.1, (len(rows), frames, matrix.shape[1]))
                noise -= noise.mean(axis=1, keepdims=True)
                framed = (matrix[rows][:, None] + noise).reshape(-1, matrix.shape[1])
                keys = np.repeat([clips[row].name for row in rows], frames)
                file[f"{dataset}/{name}/features"] = framed.astype(np.float32)
                file[f"{dataset}/{name}/keys"] = keys.astype("S")
    return (folder / "embeddings.h5").read_bytes()


@contextmanager
def serve(files: PaperFiles, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """Serve the files at the addresses of the real hosts, behind a proxy, with their own sums."""
    expect(files.content, patch)
    context, certificate = tls_for(HOSTS, folder)
    for name in ("no_proxy", "NO_PROXY", "BIASMIR_BASE_URL", "BIASMIR_DATA"):
        patch.delenv(name, raising=False)
    with FaultyServer(context) as server:
        for name in ("https_proxy", "HTTPS_PROXY"):
            patch.setenv(name, server.url)
        patch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        for name, address in files.addresses().items():
            if address.startswith("https://tfhub.dev/"):
                server.add(address, b"", *[Redirect(f"{BUCKET}/{name}")] * 9)
                address = f"{BUCKET}/{name}"
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


def toy(patch: pytest.MonkeyPatch, *files: RemoteFile) -> None:
    """Let there be a data set `toy` of these files."""
    patch.setitem(DATASETS, "toy", Dataset("toy", "A toy", licence="CC0", files=files))


def toy_command(file: RemoteFile, root: Path, first: str = "") -> list[str]:
    """Return the command of a process that fetches `toy`, after a line of its own."""
    code = f"""
{first}
from biasmir_utils.datasets import Dataset, RemoteFile, add_dataset, fetch
add_dataset(Dataset('toy', 'A toy', files=({file!r},)))
fetch(['toy'], {str(root)!r})
"""
    return [sys.executable, "-c", code]
