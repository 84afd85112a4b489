"""A corpus of one's own: from a table of clips, a folder of audio, matrices of embeddings."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.corpus import (
    FILE_NAME,
    FILE_NAMES,
    SPLITS,
    Corpus,
    CorpusWriter,
    EmbeddingFile,
    write_embedding_file,
)
from biasmir_utils.datasets.user_audio import find_audio, relative_to
from biasmir_utils.datasets.user_features import MatchedFeatures, match_features, read_features
from biasmir_utils.datasets.user_table import UserTable, first, to_texts
from biasmir_utils.datasets.user_targets import check_columns, check_spelling, find_targets
from biasmir_utils.errors import ArgumentError, CorpusError
from biasmir_utils.files import sha256, versions

_NAME = re.compile(r"[\w][\w.+-]*")


def import_corpus(
    out: str | os.PathLike[str],
    clips: str | os.PathLike[str],
    *,
    features: Mapping[str, str | os.PathLike[str]] | None = None,
    audio_root: str | os.PathLike[str] | None = None,
    name: str | None = None,
    title: str | None = None,
    dataset: str | None = None,
    labels: Sequence[str] = (),
    categories: Sequence[str] = (),
    numbers: Sequence[str] = (),
    labels_from: str | None = None,
    test_share: float = 0.25,
    seed: int = 0,
    shared_tracks: bool = False,
    licences: Sequence[Mapping[str, Any]] = (),
) -> Corpus:
    """Write a corpus from a user's own table, audio and embeddings.

    Parameters
    ----------
    out : path
        The corpus folder to make.
    clips : path
        A CSV (UTF-8, commas, a header) or Parquet file with a row for each clip. Columns with a
        meaning: `dataset`, `clip`, `track`, `split`, `group`, `audio`; all but `clip` may be
        absent, and `clip` too if there is `audio`, whose file names are taken then.
    features : mapping of str to path, optional
        For each embedding by name its matrix; see `user_features.read_features`. It is copied
        into the corpus.
    audio_root : path, optional
        Folder that paths in the column `audio` start from (default: the table's folder). Without
        that column the file of each clip is looked for in it, by name. Audio stays in place.
    name, title : str, optional
        Default: the name of the folder `out`.
    dataset : str, optional
        The dataset of all clips, if the table has no such column.
    labels, categories, numbers, labels_from
        What can be predicted; see `user_targets.find_targets`.
    test_share : float
        Without a column `split`: the share of the tracks of each dataset that go to the test
        part, in (0, 1).
    seed : int
        Of that split.
    shared_tracks : bool
        Whether a track of one name is the same track in all datasets, such as one recording in
        two encodings: it is then drawn for one part of all of them.
    licences : sequence of dict, optional
        See `Corpus`.

    Returns
    -------
    Corpus
        What was decided for the user is in `description.provenance["notes"]`.

    Raises
    ------
    CorpusError
        Naming the file, line and column that cannot be used; nothing is left in `out` then.
    ArgumentError
        If an argument cannot be used.
    """
    out, clips = Path(out), Path(clips)
    if not 0 < test_share < 1:
        raise ArgumentError(f"test_share: expected a share between 0 and 1, found {test_share}")
    for embedding in features or {}:
        if not _NAME.fullmatch(embedding):
            raise ArgumentError(
                f"embedding {embedding!r}: expected letters, digits and any of _ . + -, as it "
                f"becomes the name of a file"
            )
    _check_free(out)
    table = UserTable.read(clips)
    asked = [*labels, *categories, *numbers, *([labels_from] if labels_from else [])]
    check_columns(table, asked)
    check_spelling(table, asked)
    notes: list[str] = []
    table = _with_dataset(table, dataset, notes)
    files = find_audio(table, audio_root)
    table = _with_clips(table, files)
    table = _with_tracks(table, notes)
    table = _with_split(table, test_share, seed, shared_tracks, notes)
    table, targets, guesses = find_targets(table, labels, categories, numbers, labels_from)
    notes += guesses
    rows = table.rows
    if files is not None:
        rows["audio"] = [np.nan if f is None else relative_to(f, out) for f in files]
    rows["group"] = to_texts(rows["group"]) if "group" in rows else np.nan
    matched = {
        embedding: match_features(read_features(path), rows, clips)
        for embedding, path in (features or {}).items()
    }
    for embedding, found in matched.items():
        notes += _gaps(embedding, found)
        notes += _constant(embedding, found)
    writer = CorpusWriter(
        out,
        name=name or out.resolve().name,
        title=title or name or out.resolve().name,
        datasets=list(dict.fromkeys(rows["dataset"])),
        groups=list(dict.fromkeys(rows["group"].dropna())),
        targets=targets,
        provenance={
            "made_by": "biasmir import",
            "versions": versions("numpy", "pandas"),
            "sources": {
                Path(path).name: sha256(path) for path in (clips, *(features or {}).values())
            },
            "notes": notes,
        },
        licences=licences,
        shared_tracks=shared_tracks,
    )
    return _write(writer, rows, matched, features or {})


def _write(
    writer: CorpusWriter,
    rows: pd.DataFrame,
    matched: Mapping[str, MatchedFeatures],
    sources: Mapping[str, str | os.PathLike[str]],
) -> Corpus:
    """Write embeddings, then the clip table, then `corpus.json`; nothing is left on an error."""
    files = {name: writer.path / "embeddings" / f"{name}.h5" for name in matched}
    for file in files.values():
        if file.exists():
            raise CorpusError(f"{file}: there already; choose an empty folder, or remove it")
    try:
        for embedding, found in matched.items():
            write_embedding_file(files[embedding], embedding, found.content)
        records = {
            embedding: {
                "source": f"imported from {Path(path).name}",
                "sums": {Path(path).name: sha256(path)},
                "dimension": next(iter(matched[embedding].content.values()))[1].shape[1],
            }
            for embedding, path in sources.items()
        }
        writer.description = replace(
            writer.description,
            embedding_files=tuple(
                EmbeddingFile(file.relative_to(writer.path).as_posix(), made_here=True)
                for file in files.values()
            ),
            embedding_models=records,
        )
        return writer.write(rows)
    except BaseException:
        for name in (FILE_NAME, *FILE_NAMES, *(f"embeddings/{name}.h5" for name in matched)):
            (writer.path / name).unlink(missing_ok=True)
        for folder in (writer.path / "embeddings", writer.path):
            with suppress(OSError):  # it was there before, with something in it
                folder.rmdir()
        raise


def _check_free(out: Path) -> None:
    there = [name for name in (FILE_NAME, *FILE_NAMES) if (out / name).exists()]
    if there:
        raise CorpusError(
            f"{out}: there is a {there[0]} already; choose an empty folder, or remove it"
        )


def _with_dataset(table: UserTable, dataset: str | None, notes: list[str]) -> UserTable:
    rows = table.rows.copy()
    if "dataset" in rows:
        if dataset is not None:
            raise CorpusError(
                f"{table.path}: it has a column 'dataset', so the name {dataset!r} has no use; "
                f"leave one of them out"
            )
        rows["dataset"] = to_texts(rows["dataset"])
        _check_filled(table.with_rows(rows), "dataset")
    else:
        rows["dataset"] = dataset or table.path.stem
        if dataset is None:
            notes.append(f"no column 'dataset': all clips belong to {table.path.stem!r}")
    return table.with_rows(rows)


def _with_clips(table: UserTable, files: Sequence[Path | None] | None) -> UserTable:
    rows = table.rows.copy()
    if "clip" not in rows:
        if files is None or "audio" not in rows:
            raise CorpusError(
                f"{table.path}: the column 'clip' is missing (found: {', '.join(rows.columns)}); "
                f"it names each clip"
            )
        rows["clip"] = [np.nan if file is None else file.stem for file in files]
    rows["clip"] = to_texts(rows["clip"])
    table = table.with_rows(rows)
    _check_filled(table, "clip")
    twice = rows.duplicated(["dataset", "clip"])
    if twice.any():
        row = first(twice)
        clip = rows.iloc[row]
        same = (rows["dataset"] == clip["dataset"]) & (rows["clip"] == clip["clip"])
        raise table.error(
            row,
            "clip",
            f"{clip['clip']!r} is in {table.places[first(same)]} as well; clip names are unique "
            f"within a dataset",
        )
    return table


def _with_tracks(table: UserTable, notes: list[str]) -> UserTable:
    rows = table.rows.copy()
    if "track" in rows:
        tracks = to_texts(rows["track"])
        rows["track"] = tracks.where(tracks.notna(), rows["clip"])
    else:
        rows["track"] = rows["clip"]
        notes.append(
            "no column 'track': each clip counts as a recording of its own; if several were cut "
            "from one, say so, or scores inside a dataset will be too good"
        )
    return table.with_rows(rows)


def _with_split(
    table: UserTable, test_share: float, seed: int, shared_tracks: bool, notes: list[str]
) -> UserTable:
    rows = table.rows.copy()
    if "split" in rows:
        rows["split"] = to_texts(rows["split"])
        table = table.with_rows(rows)
        _check_filled(table, "split")
        wrong = ~rows["split"].isin(SPLITS)
        if wrong.any():
            row = first(wrong)
            raise table.error(
                row, "split", f"{rows['split'].iloc[row]!r}, expected {' or '.join(SPLITS)}"
            )
        return table
    rows["split"] = "train"
    drawn_from = pd.Series("all datasets", rows.index) if shared_tracks else rows["dataset"]
    for dataset in dict.fromkeys(drawn_from):
        here = drawn_from == dataset
        # Sorted, and with a generator for each dataset: the rows' order does not matter.
        tracks = sorted(set(rows.loc[here, "track"]))
        if len(tracks) < 2:
            raise CorpusError(
                f"{table.path}: there is one track only in {dataset}, which cannot be split; "
                f"give a column 'split' with train and test"
            )
        rng = np.random.default_rng([seed, *str(dataset).encode()])
        n_test = min(max(1, round(test_share * len(tracks))), len(tracks) - 1)
        drawn = {tracks[i] for i in rng.permutation(len(tracks))[:n_test]}
        rows["split"] = rows["split"].mask(here & rows["track"].isin(drawn), "test")
        notes.append(
            f"no column 'split': {n_test} of {len(tracks)} tracks of {dataset} were drawn for the "
            f"test part (seed {seed})"
        )
    return table.with_rows(rows)


def _check_filled(table: UserTable, column: str) -> None:
    empty = table.rows[column].isna()
    if empty.any():
        raise table.error(first(empty), column, "empty")


def _gaps(embedding: str, found: MatchedFeatures) -> list[str]:
    notes = []
    if found.n_without:
        notes.append(f"{embedding}: {found.n_without} clips have no row")
    if found.n_unlisted:
        notes.append(
            f"{embedding}: {found.n_unlisted} rows of clips not in the table were left out"
        )
    return notes


def _constant(embedding: str, found: MatchedFeatures) -> list[str]:
    """Warn where all rows of a dataset are equal, in which case nothing can be recognised."""
    equal = [
        dataset
        for dataset, (_, features) in found.content.items()
        if len(features) > 1 and (features == features[0]).all()
    ]
    if not equal:
        return []
    return [
        f"WARNING: {embedding}: all rows of {', '.join(equal)} are equal, so nothing can be "
        f"recognised there; was the matrix computed from these clips?"
    ]
