"""OpenMIC-2018: its metadata, labels and split as a clip table.

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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from biasmir_utils.datasets.genres import match_genre
from biasmir_utils.errors import CorpusError

METADATA = "openmic-2018-metadata.csv"
LABELS = "openmic-2018-aggregated-labels.csv"
CLASS_MAP = "class-map.json"
PARTITIONS = {
    "train": "partitions/split01_train.csv",
    "test": "partitions/split01_test.csv",
}
FILES = (METADATA, LABELS, CLASS_MAP, *PARTITIONS.values())
HOW_TO_GET = (
    "run `biasmir fetch openmic` first (with the same --root), or unpack OpenMIC-2018 there"
)


def parse_genre_titles(text: Any) -> list[str]:
    """Return the genre titles of a metadata cell, a literal list of dicts with `genre_title`.

    An empty cell means no genre. Raises ValueError if the cell is anything else.
    """
    if not isinstance(text, str) or not text.strip():
        return []
    try:
        entries = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError("it is not a Python literal") from error
    if not isinstance(entries, list | tuple):
        raise ValueError("it is not a list")
    titles = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("genre_title"), str):
            raise ValueError("an entry has no text 'genre_title'")
        titles.append(entry["genre_title"])
    return titles


def read_openmic(
    folder: Path, labels: Sequence[str], *, keep_all: bool = False
) -> tuple[pd.DataFrame, int]:
    """Read the tables of OpenMIC-2018 into a clip table.

    Parameters
    ----------
    folder : pathlib.Path
        The unpacked archive.
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
    genres = _read_genres(folder / METADATA)
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


def read_classes(folder: Path) -> list[str]:
    """Return the classes of OpenMIC-2018, in the order of its class map.

    Raises CorpusError if the map is missing or no object of numbers.
    """
    path = folder / CLASS_MAP
    try:
        numbers = json.loads(path.read_text(encoding="utf-8"))
        return sorted(numbers, key=lambda name: int(numbers[name]))
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such file; {HOW_TO_GET}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise CorpusError(f"{path}: expected a JSON object of class names") from error


def read_metadata(folder: Path) -> pd.DataFrame:
    """Read what else the metadata table says of the clips.

    Parameters
    ----------
    folder : pathlib.Path
        The unpacked archive.

    Returns
    -------
    pandas.DataFrame
        By clip: `genres` (titles, joined by "; "), and of `artist`, `title`, `start_time`
        (seconds) and `licence` those that the table has.
    """
    path = folder / METADATA
    table = _read_table(path, ["track_genres", "sample_key"])
    columns = {"artist_name": "artist", "track_title": "title", "license_title": "licence"}
    found = pd.DataFrame(index=pd.Index(table["sample_key"], name="clip"))
    found["genres"] = ["; ".join(parse_genre_titles(text)) for text in table["track_genres"]]
    for column, name in columns.items():
        if column in table.columns:
            found[name] = table[column].to_numpy()
    if "start_time" in table.columns:
        found["start_time"] = pd.to_numeric(table["start_time"], errors="coerce").to_numpy()
    return found


def _read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; {HOW_TO_GET}")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: cannot be read as a table ({error})") from error
    for column in columns:
        if column not in table.columns:
            raise CorpusError(
                f"{path}: the column {column!r} is missing (found: {', '.join(table.columns)})"
            )
    return table


def _read_genres(path: Path) -> pd.Series:
    """Return the genre of each clip of the metadata table, None where nothing matches."""
    table = _read_table(path, ["track_genres", "sample_key"])
    keys = table["sample_key"]
    if keys.duplicated().any():
        row = int(keys.duplicated().to_numpy().argmax())
        raise CorpusError(f"{path}, row {row + 1}: the clip {keys.iloc[row]!r} is there twice")
    genres: list[str | None] = []
    for row, text in enumerate(table["track_genres"]):
        try:
            genres.append(match_genre(parse_genre_titles(text)))
        except ValueError as error:
            raise CorpusError(
                f"{path}, row {row + 1}, clip {keys.iloc[row]!r}: the column 'track_genres' "
                f"cannot be read, {error}; expected a list of dicts with 'genre_title'"
            ) from error
    return pd.Series(genres, index=pd.Index(keys, name=None), dtype=object)


def _read_splits(folder: Path) -> dict[str, str]:
    splits: dict[str, str] = {}
    for split, name in PARTITIONS.items():
        path = folder / name
        if not path.is_file():
            raise CorpusError(f"{path}: no such file; {HOW_TO_GET}")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            clip = line.strip()
            if not clip:
                continue
            if splits.get(clip, split) != split:
                raise CorpusError(f"{path}, line {number}: the clip {clip!r} is in train as well")
            splits[clip] = split
    return splits


def _read_likelihoods(folder: Path, labels: Sequence[str], clips: set[str]) -> pd.DataFrame:
    class_map, classes = folder / CLASS_MAP, set(read_classes(folder))
    absent = [label for label in labels if label not in classes]
    if absent:
        raise CorpusError(f"{class_map}: the class {absent[0]!r} is missing")

    path = folder / LABELS
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
