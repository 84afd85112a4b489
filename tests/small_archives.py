"""Small archives in the layout of the real ones, and a table of sources that lists them."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import tarfile
import wave
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

OPENMIC_CLASSES = [
    "accordion",
    "banjo",
    "bass",
    "cello",
    "clarinet",
    "cymbals",
    "drums",
    "flute",
    "guitar",
    "mallet_percussion",
    "mandolin",
    "organ",
    "piano",
    "saxophone",
    "synthesizer",
    "trombone",
    "trumpet",
    "ukulele",
    "violin",
    "voice",
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
        "openmic-2018/openmic-2018-metadata.csv": _table(list(rows[0]), [r.values() for r in rows]),
        "openmic-2018/openmic-2018-aggregated-labels.csv": _table(
            ["sample_key", "instrument", "relevance", "num_responses"],
            [(key, name, relevance, 3) for key, name, relevance in labels],
        ),
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
    members: dict[str, bytes | None] = {"IRMAS-TrainingData/README.txt": b"IRMAS, made for tests"}
    for name in names:
        code = name[name.index("[") + 1 : name.index("]")]
        members[f"IRMAS-TrainingData/{code}/{name}.wav"] = audio(name)
    return zipped(members)


def _table(header: list[str], rows: Iterable[Iterable[object]]) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(header)
    writer.writerows(rows)
    return file.getvalue().encode()


def sum_of(content: bytes, algorithm: str = "md5") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def adapted_registry(path: Path, own: Mapping[str, dict[str, object]], **top: object) -> Path:
    """Write the project's table with other entries for some files, e.g. their sums.

    Parameters
    ----------
    path : pathlib.Path
        The table to write.
    own : dict
        For a file's name, what replaces its entries; None removes one, and an entry of
        `gunzip` or `unpack` is merged.
    """
    import biasmir_utils.datasets.registry as registry

    table = json.loads(Path(registry.__file__).with_name("registry.json").read_text("utf-8"))
    for source in table["sources"].values():
        for file in source["files"]:
            for key, value in own.get(file["name"], {}).items():
                if value is None:
                    file.pop(key, None)
                elif isinstance(value, dict):
                    file[key].update(value)
                else:
                    file[key] = value
    table.update(top)
    path.write_text(json.dumps(table), encoding="utf-8")
    return path
