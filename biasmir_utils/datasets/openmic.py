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
from typing import Any

import pandas as pd

from biasmir_utils.corpus import Corpus
from biasmir_utils.datasets._fetch import is_published
from biasmir_utils.datasets._prepare import GENRES, check_counts, with_audio, write_corpus
from biasmir_utils.datasets.base import DATASETS, Dataset, RemoteFile, add_dataset
from biasmir_utils.errors import CorpusError

OPENMIC_FOLDER = "openmic-2018"
METADATA = "openmic-2018-metadata.csv"
LABEL_TABLE = "openmic-2018-aggregated-labels.csv"
CLASS_MAP = "class-map.json"
PARTITIONS = {
    "train": "partitions/split01_train.csv",
    "test": "partitions/split01_test.csv",
}
TABLES = (METADATA, LABEL_TABLE, CLASS_MAP, *PARTITIONS.values())
OPENMIC_LICENCE = {
    "what": "OpenMIC-2018 (each clip of audio: see the column licence)",
    "licence": "CC BY 4.0",
    "url": "https://zenodo.org/records/1432913",
}


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
    clips, without_genre = read_openmic(root, classes, keep_all=True)
    checked = check_openmic(clips, root)
    clips = with_audio(clips, openmic_audio(root, clips["clip"]), out)
    metadata = _read_metadata(root / OPENMIC_FOLDER).reindex(clips["clip"]).reset_index(drop=True)
    return write_corpus(
        out,
        pd.concat([clips, metadata], axis=1),
        root,
        openmic_tables(root),
        [root / OPENMIC_FOLDER],
        name="openmic",
        title="OpenMIC-2018",
        labels=classes,
        made_by="biasmir prepare openmic",
        licences=[OPENMIC_LICENCE],
        notes={
            "without_group": {"openmic": {"no matching genre": without_genre}},
            "without_audio": {"openmic": int(clips["audio"].isna().sum())},
            "counts_as_published": {"openmic": checked},
        },
    )


def openmic_tables(root: Path) -> list[Path]:
    """Return the tables that are read, under the root."""
    return [root / OPENMIC_FOLDER / name for name in TABLES]


def check_openmic(clips: pd.DataFrame, root: Path) -> bool:
    """Check the counts of clips if the tables are the published ones; see `check_counts`.

    They are by the sum that their archive had when `fetch` unpacked it, and their sizes since.
    """
    published = is_published(root, DATASETS["openmic"].files[0], TABLES)
    return check_counts(clips, published, root)


def openmic_audio(root: Path, clips: Iterable[str]) -> dict[str, Path]:
    """Return the Ogg file of each clip of OpenMIC-2018 that has one.

    Raises
    ------
    CorpusError
        If the folder has none of them.
    """
    folder = root / OPENMIC_FOLDER / "audio"
    places = {clip: folder / clip[:3] / f"{clip}.ogg" for clip in clips}
    found = {clip: path for clip, path in places.items() if path.is_file()}
    if not found:
        raise CorpusError(
            f"{folder}: no audio of OpenMIC-2018; run `biasmir fetch openmic` first "
            f"(with the same --root)"
        )
    return found


def match_genre(titles: Iterable[str]) -> str | None:
    """Return the genre of the first title that shares a word with a genre's name.

    Words must be equal, so "Jazz" and "Free-Jazz" are `jazz_blue` and "Blues" is nothing: the
    word of the genre is "blue". Source: the authors' published program.

    Parameters
    ----------
    titles : iterable of str
        Genre titles of a clip, the most important first.

    Returns
    -------
    str or None
        One of `GENRES`; where a title matches two, the one that comes first there.
    """
    for title in titles:
        for genre in GENRES:
            if _words(genre) & _words(title):
                return genre
    return None


def read_openmic(
    root: Path, labels: Sequence[str], *, keep_all: bool = False
) -> tuple[pd.DataFrame, int]:
    """Read the tables of OpenMIC-2018 into a clip table.

    Parameters
    ----------
    root : pathlib.Path
        The folder that holds the unpacked archive `openmic-2018/`.
    labels : sequence of str
        The classes to keep as label columns: likelihood in [0, 1], NaN where not observed.
    keep_all : bool
        Whether clips whose genre titles match nothing stay, with no group.

    Returns
    -------
    table : pandas.DataFrame
        Columns `dataset`, `clip`, `track` (the FMA track), `split`, `group` and the labels,
        sorted by clip.
    n_dropped : int
        Clips left out because no genre title matches; with `keep_all`, those without a group.

    Raises
    ------
    CorpusError
        Naming file and row: a missing file or column, a malformed cell, a clip twice, a clip
        without a split, a label of an unknown clip or class.
    """
    folder = root / OPENMIC_FOLDER
    titles = _read_titles(folder)
    genres = titles.map(match_genre).astype(object)
    splits = _read_splits(folder)
    lost = [clip for clip in genres.index if clip not in splits]
    if lost:
        raise CorpusError(
            f"{folder / PARTITIONS['train']}, {folder / PARTITIONS['test']}: {len(lost)} clip(s) "
            f"of {METADATA} are in neither, the first is {lost[0]!r}"
        )
    likelihoods = _read_likelihoods(folder, labels, set(genres.index))
    kept = (genres if keep_all else genres[genres.notna()]).sort_index()
    table = pd.DataFrame(
        {
            "dataset": "openmic",
            "clip": kept.index,
            "track": [clip.partition("_")[0] for clip in kept.index],
            "split": [splits[clip] for clip in kept.index],
            "group": kept.to_numpy(),
        }
    )
    values = likelihoods.reindex(index=kept.index, columns=list(labels)).reset_index(drop=True)
    return pd.concat([table, values], axis=1), int(genres.isna().sum())


def _words(text: str) -> set[str]:
    """Return the words of a text in lower case; whatever is not a letter separates them."""
    return set(re.findall(r"[^\W\d_]+", text.lower()))


def _text_of(path: Path) -> str:
    if not path.is_file():
        raise CorpusError(
            f"{path}: no such file; run `biasmir fetch openmic` first (with the same --root), or "
            f"unpack OpenMIC-2018 there"
        )
    return path.read_text(encoding="utf-8")


def _read_classes(folder: Path) -> list[str]:
    """Return the classes of OpenMIC-2018, in the order of its class map."""
    text = _text_of(folder / CLASS_MAP)
    try:
        numbers = json.loads(text)
        return sorted(numbers, key=lambda name: int(numbers[name]))
    except (ValueError, TypeError, KeyError) as error:
        raise CorpusError(f"{folder / CLASS_MAP}: expected a JSON object of class names") from error


def _read_metadata(folder: Path) -> pd.DataFrame:
    """Return by clip the genre titles, and of the other columns those that the table has."""
    table = _read_table(folder / METADATA, ["track_genres", "sample_key"])
    columns = {"artist_name": "artist", "track_title": "title", "license_title": "licence"}
    found = pd.DataFrame({"genres": _read_titles(folder).map("; ".join)})
    for column, name in columns.items():
        if column in table.columns:
            found[name] = table[column].to_numpy()
    if "start_time" in table.columns:
        found["start_time"] = pd.to_numeric(table["start_time"], errors="coerce").to_numpy()
    return found


def _read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    _text_of(path)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except ValueError as error:
        raise CorpusError(f"{path}: cannot be read as a table ({error})") from error
    for column in columns:
        if column not in table.columns:
            raise CorpusError(
                f"{path}: the column {column!r} is missing (found: {', '.join(table.columns)})"
            )
    return table


def _read_titles(folder: Path) -> pd.Series:
    """Return the genre titles of each clip, by clip."""
    path = folder / METADATA
    table = _read_table(path, ["track_genres", "sample_key"])
    keys = table["sample_key"]
    if keys.duplicated().any():
        row = int(keys.duplicated().to_numpy().argmax())
        raise CorpusError(f"{path}, row {row + 1}: the clip {keys.iloc[row]!r} is there twice")
    titles = []
    for row, text in enumerate(table["track_genres"]):
        try:
            titles.append(_titles(text))
        except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
            raise CorpusError(
                f"{path}, row {row + 1}, clip {keys.iloc[row]!r}: the column 'track_genres' "
                f"cannot be read; expected a list of dicts with 'genre_title'"
            ) from error
    return pd.Series(titles, index=pd.Index(keys, name=None), dtype=object)


def _titles(text: str) -> list[str]:
    """Return the genre titles of a cell, a literal list of dicts; an empty one means no genre."""
    entries: Any = ast.literal_eval(text) if text.strip() else []
    if not isinstance(entries, list | tuple):
        raise ValueError
    titles = [entry["genre_title"] for entry in entries]
    if not all(isinstance(title, str) for title in titles):
        raise ValueError
    return titles


def _read_splits(folder: Path) -> dict[str, str]:
    splits: dict[str, str] = {}
    for split, name in PARTITIONS.items():
        for number, line in enumerate(_text_of(folder / name).splitlines(), start=1):
            clip = line.strip()
            if clip and splits.setdefault(clip, split) != split:
                raise CorpusError(
                    f"{folder / name}, line {number}: the clip {clip!r} is in train as well"
                )
    return splits


def _read_likelihoods(folder: Path, labels: Sequence[str], clips: set[str]) -> pd.DataFrame:
    classes = _read_classes(folder)
    absent = [label for label in labels if label not in classes]
    if absent:
        raise CorpusError(f"{folder / CLASS_MAP}: the class {absent[0]!r} is missing")
    path = folder / LABEL_TABLE
    table = _read_table(path, ["sample_key", "instrument", "relevance"])
    relevance = pd.to_numeric(table["relevance"], errors="coerce")
    problems = {
        "an unknown clip": ~table["sample_key"].isin(clips),
        f"a class that {CLASS_MAP} has not": ~table["instrument"].isin(classes),
        "a relevance that is not in [0, 1]": ~relevance.between(0, 1),
        "a clip and class that stood above": table.duplicated(["sample_key", "instrument"]),
    }
    for what, wrong in problems.items():
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            cells = table.iloc[row][["sample_key", "instrument", "relevance"]].tolist()
            raise CorpusError(f"{path}, row {row + 1}: {what} ({', '.join(map(repr, cells))})")
    table = table.assign(relevance=relevance)[table["instrument"].isin(labels)]
    return table.pivot(index="sample_key", columns="instrument", values="relevance")


add_dataset(
    Dataset(
        name="openmic",
        title="OpenMIC-2018 v1.0.0: audio, labels and split",
        licence=(
            "CC BY 4.0; each clip of audio under a Creative Commons licence of its own, named in "
            "openmic-2018-metadata.csv"
        ),
        page="https://zenodo.org/records/1432913",
        files=(
            RemoteFile(
                name="openmic-2018-v1.0.0.tgz",
                url="https://zenodo.org/records/1432913/files/openmic-2018-v1.0.0.tgz?download=1",
                to=OPENMIC_FOLDER,
                sum="md5:e4ccf187e2bb5ab2e115416e8aafe7f4",
                size=2_600_000_000,
                unpacked=3_500_000_000,
                holds=("audio", *TABLES),
            ),
        ),
        # Of Wang, Richard and McFee (ISMIR 2023), and of their published program.
        counts={
            "train": 6838,
            "test": 2491,
            "pop_rock": 2996,
            "country_folk": 1573,
            "jazz_blue": 1247,
            "classical": 1022,
        },
        prepare=prepare_openmic,
        help="Make a corpus of OpenMIC-2018 in OUT, whose audio is used in place.",
        needs="openmic-2018/ (the archive)",
    )
)
