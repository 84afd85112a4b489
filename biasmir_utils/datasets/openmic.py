"""OpenMIC-2018: its metadata, labels, split and audio.

Only the plain tables are read. The archive's `openmic-2018.npz` holds an object array, and
reading that would run whatever code a tampered file carries.

References
----------
E. J. Humphrey, S. Durand and B. McFee, "OpenMIC-2018: an open dataset for multiple instrument
recognition", ISMIR 2018.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from biasmir_utils.corpus import Corpus, read_table_file, read_text, row_place
from biasmir_utils.datasets import base
from biasmir_utils.errors import CorpusError

OPENMIC_FOLDER = "openmic-2018"
METADATA = "openmic-2018-metadata.csv"
LABEL_TABLE = "openmic-2018-aggregated-labels.csv"
CLASS_MAP = "class-map.json"
PARTITIONS = {
    "train": "partitions/split01_train.csv",
    "test": "partitions/split01_test.csv",
}
# Columns of the metadata table, as far as it has them, and their names in a corpus.
_KEPT = {
    "artist_name": "artist",
    "track_title": "title",
    "license_title": "licence",
    "start_time": "start_time",
}
TABLES = (METADATA, LABEL_TABLE, CLASS_MAP, *PARTITIONS.values())


def prepare_openmic(root: str | os.PathLike[str], out: str | os.PathLike[str]) -> Corpus:
    """Write a corpus of OpenMIC-2018, whose audio is used in place.

    All clips and all classes are in it; clips whose genre titles match none of the paper's four
    genres have no group. Metadata columns: `genres` (titles), `artist`, `title`, `start_time`
    (seconds into the track) and `licence`, as far as the metadata table has them.

    Parameters
    ----------
    root : path
        The folder that holds `openmic-2018/`.
    out : path
        The corpus folder to make.

    Raises
    ------
    CorpusError
        Naming the file and row that cannot be used; nothing is written then.
    """
    root = Path(root)
    classes = _read_classes(root / OPENMIC_FOLDER)
    return base.write_corpus(
        out,
        root,
        {"openmic": with_openmic_audio(read_openmic(root, classes), root, out)},
        root / OPENMIC_FOLDER,
        classes,
        name="openmic",
        title="OpenMIC-2018",
    )


def with_openmic_audio(
    clips: pd.DataFrame, root: Path, out: str | os.PathLike[str]
) -> pd.DataFrame:
    """Return a clip table with the Ogg file of each clip that has one; see `with_audio`."""
    folder = root / OPENMIC_FOLDER / "audio"
    places = {clip: folder / clip[:3] / f"{clip}.ogg" for clip in clips["clip"]}
    found = {clip: path for clip, path in places.items() if path.is_file()}
    return base.with_audio(clips, folder, found, out)


def _genre(titles: Iterable[str]) -> str | float:
    """Return the genre of the first title that shares a word with a genre's name, else NaN.

    Words are letters in any case, and must be equal, so "Jazz" and "Free-Jazz" are `jazz_blue` and
    "Blues" is nothing: the word of the genre is "blue". Of two genres in one title, the one that
    comes first in `GENRES`. Source: the authors' published program.
    """
    for title in titles:
        words = re.findall(r"[^\W\d_]+", title.lower())
        for genre in base.GENRES:
            if set(genre.split("_")) & set(words):
                return genre
    return np.nan


def read_openmic(root: Path, labels: Sequence[str]) -> pd.DataFrame:
    """Read the tables of OpenMIC-2018 into a clip table.

    Parameters
    ----------
    root : pathlib.Path
        The folder that holds the unpacked archive `openmic-2018/`.
    labels : sequence of str
        The classes to keep as label columns: likelihood in [0, 1], NaN where not observed.

    Returns
    -------
    pandas.DataFrame
        Columns `dataset`, `clip`, `track` (the FMA track), `split`, `group` (NaN where no genre
        title matches), the labels, and as metadata `genres` (titles) and, as far as the table of
        metadata has them, `artist`, `title`, `licence` and `start_time` (seconds into the
        track); sorted by clip.

    Raises
    ------
    CorpusError
        Naming file and row: a missing file or column, a malformed cell, a clip twice, a clip
        without a split, a label of an unknown clip or class.
    """
    folder = root / OPENMIC_FOLDER
    metadata = _read_metadata(folder).sort_values("sample_key", ignore_index=True)
    clips = metadata["sample_key"]
    splits: dict[str, str] = {}
    for split, name in PARTITIONS.items():
        for number, line in enumerate(read_text(_found(folder / name)).splitlines()):
            clip = line.strip()
            if clip and splits.setdefault(clip, split) != split:
                raise CorpusError(
                    f"{folder / name}, line {number + 1}: the clip {clip!r} is in train as well"
                )
    lost = clips[~clips.isin(splits)].tolist()
    if lost:
        raise CorpusError(
            f"{folder / PARTITIONS['train']}, {folder / PARTITIONS['test']}: {len(lost)} clip(s) "
            f"of {METADATA} are in neither, the first is {lost[0]!r}"
        )
    table = pd.DataFrame(
        {
            "dataset": "openmic",
            "clip": clips,
            "track": clips.str.partition("_")[0],
            "split": clips.map(splits),
            "group": metadata["titles"].map(_genre),
            "genres": metadata["titles"].map("; ".join),
            **{name: metadata[column] for column, name in _KEPT.items() if column in metadata},
        }
    )
    if "start_time" in table:
        table["start_time"] = pd.to_numeric(table["start_time"], errors="coerce")
    likelihoods = _read_likelihoods(folder, labels, clips).reindex(columns=list(labels))
    return table.join(likelihoods, on="clip")


def _found(path: Path) -> Path:
    return base.existing(path, "openmic", ", or unpack OpenMIC-2018 there")


def _read_classes(folder: Path) -> list[str]:
    """Return the classes of OpenMIC-2018, in the order of its class map."""
    text = read_text(_found(folder / CLASS_MAP))
    try:
        numbers = json.loads(text)
        return sorted(numbers, key=lambda name: int(numbers[name]))
    except (ValueError, TypeError, KeyError) as error:
        raise CorpusError(f"{folder / CLASS_MAP}: expected a JSON object of class names") from error


def _read_metadata(folder: Path) -> pd.DataFrame:
    """Return the metadata table, with the column `titles`: the genre titles of each clip."""
    path = _found(folder / METADATA)
    table = read_table_file(path, ["track_genres", "sample_key"])
    keys = table["sample_key"]
    problems = {
        "a clip that stood above": keys.duplicated(),
        "no name that a file can have": ~keys.str.fullmatch(r"\w[\w.-]*", na=False),
    }
    base.refuse_rows(path, table, ["sample_key"], problems)
    titles = []
    for row, cell in enumerate(table["track_genres"]):
        try:
            # A literal list of dicts; an empty cell means no genre.
            entries = [] if pd.isna(cell) else ast.literal_eval(cell)
            titles.append([str.strip(entry["genre_title"]) for entry in entries])
        except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
            raise CorpusError(
                f"{path}, {row_place(table, row)}, clip {keys.iloc[row]!r}: the column "
                f"'track_genres' cannot be read; expected a list of dicts with 'genre_title'"
            ) from error
    return table.assign(titles=pd.Series(titles, table.index, dtype=object))


def _read_likelihoods(folder: Path, labels: Sequence[str], clips: pd.Series) -> pd.DataFrame:
    """Return the likelihood of each label (columns) for the clips that have one (index)."""
    classes = _read_classes(folder)
    absent = [label for label in labels if label not in classes]
    if absent:
        raise CorpusError(f"{folder / CLASS_MAP}: the class {absent[0]!r} is missing")
    path, columns = _found(folder / LABEL_TABLE), ["sample_key", "instrument", "relevance"]
    table = read_table_file(path, columns)
    relevance = pd.to_numeric(table["relevance"], errors="coerce")
    problems = {
        "an unknown clip": ~table["sample_key"].isin(clips),
        f"a class that {CLASS_MAP} has not": ~table["instrument"].isin(classes),
        "a relevance that is not in [0, 1]": ~relevance.between(0, 1),
        "a clip and class that stood above": table.duplicated(["sample_key", "instrument"]),
    }
    base.refuse_rows(path, table, columns, problems)
    table = table.assign(relevance=relevance)[table["instrument"].isin(labels)]
    return table.pivot(index="sample_key", columns="instrument", values="relevance")


base.add_dataset(
    base.Dataset(
        name="openmic",
        title="OpenMIC-2018 v1.0.0: audio, labels and split",
        licence=(
            "CC BY 4.0; each clip of audio under a Creative Commons licence of its own, named in "
            "openmic-2018-metadata.csv"
        ),
        page="https://zenodo.org/records/1432913",
        files=(
            base.RemoteFile(
                name="openmic-2018-v1.0.0.tgz",
                url="https://zenodo.org/records/1432913/files/openmic-2018-v1.0.0.tgz?download=1",
                to=OPENMIC_FOLDER,
                sum="md5:e4ccf187e2bb5ab2e115416e8aafe7f4",
                size=2_600_000_000,
                unpacked=3_500_000_000,
                holds=("audio", *TABLES),
            ),
        ),
        tables=tuple(f"{OPENMIC_FOLDER}/{name}" for name in TABLES),
        without_group="no matching genre",
        # Of Wang, Richard and McFee (ISMIR 2023), and of their published program.
        counts={
            "train": 6838,
            "test": 2491,
            **dict(zip(base.GENRES, (2996, 1247, 1022, 1573), strict=True)),
        },
        prepare=prepare_openmic,
        help="Make a corpus of OpenMIC-2018 in OUT, whose audio is used in place.",
        needs="openmic-2018/ (the archive)",
    )
)
