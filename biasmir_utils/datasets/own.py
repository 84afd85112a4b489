"""A corpus of one's own: from a table of clips, a folder of audio, matrices of embeddings.

Matrices are .npy, .npz or .parquet, and nothing in them is unpickled.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from biasmir_utils.corpus import (
    MISSING_WORDS,
    SPLITS,
    TEXT_COLUMNS,
    Corpus,
    CorpusWriter,
    Target,
    as_numbers,
    as_text,
    as_texts,
    check_clip_table,
    check_free,
    compose,
    read_table_file,
    relative_path,
    row_place,
)
from biasmir_utils.errors import ArgumentError, CorpusError
from biasmir_utils.files import BROKEN_ARRAYS, found_path, sha256, versions

SOUND_SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac"),
    *(".aif", ".aiff", ".au", ".caf", ".w64", ".wma"),
)
MOST_CATEGORIES = 50
"""A text column with more values than this is a remark, not a category."""
FEW_POSITIVES = 5
"""Positive test clips of a label, of which fewer are warned of."""
DRAWS = 200
"""How many splits are drawn, of which that is taken which shares out the labels best."""
# What a CSV holds where a list or the like was written into it as it is printed.
_WRITTEN_LIST = re.compile("[\\[{](.*[\"',].*)?[]}]", re.DOTALL)
# What names the clip of each row: arrays of an .npz, and columns of a table.
_KEYS = {"keys": "clip", "datasets": "dataset", "clip": "clip", "dataset": "dataset"}


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
    allow_table_columns: bool = False,
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
        For each embedding by name its matrix, in ``.npy``, ``.npz`` or ``.parquet``. It is copied
        into the corpus.

        - ``.npy``: a row for each clip, in the order of the clip table.
        - ``.npz``: the array `features`, and perhaps `keys` (the clip of each row) and `datasets`;
          or one array only, as in ``.npy``. Several rows of one clip are its frames.
        - ``.parquet``: perhaps the columns `clip` and `dataset`, or levels of the index of these
          names; all others are the dimensions, or one column holds a list in each row, or a list
          of frames.
    audio_root : path, optional
        Folder that paths in the column `audio` start from (default: the table's folder). Without
        that column the file of each clip is looked for in it, by name. Audio stays in place.
    name, title : str, optional
        Default: the name of the folder `out`.
    dataset : str, optional
        The dataset of all clips, if the table has no such column.
    labels, categories, numbers : sequence of str
        The columns that can be predicted. With any of them (or `labels_from`) nothing is guessed;
        otherwise numbers in [0, 1] are taken for a label, other numbers for a number, a text with
        a few values that repeat for a category. All other columns are metadata. Words such as NA
        (see `MISSING_WORDS`) among numbers say that nothing was observed.
    labels_from : str, optional
        A column that names what is in the clip, one or more names parted by semicolons, or a list
        of names: each name becomes a label, 1 where it is named and 0 elsewhere; an empty cell
        leaves all of them unobserved.
    test_share : float
        Without a column `split`: the share of the tracks of each dataset that go to the test
        part, in (0, 1).
    seed : int
        Of that split.
    shared_tracks : bool
        Whether a track of one name is the same track in all datasets, such as one recording in
        two encodings: it is then drawn for one part of all of them.
    allow_table_columns : bool
        Whether a matrix may have dimensions that are columns of the clip table, too. A label
        among them would be recognised without fail.
    licences : sequence of dict, optional
        For the record, each with the texts `what` and `licence`, and perhaps `url` and
        `attribution`.

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
    out, table = Path(out), Path(clips)
    matrices = {embedding: Path(path) for embedding, path in (features or {}).items()}
    if not 0 < test_share < 1:
        raise ArgumentError(f"test_share: expected a share between 0 and 1, found {test_share}")
    for embedding in matrices:
        if not re.fullmatch(r"\w[\w.+-]*", embedding):
            raise ArgumentError(
                f"embedding {embedding!r}: expected letters, digits and any of _ . + -, as it "
                f"becomes the name of a file"
            )
    check_free(out, *(f"embeddings/{embedding}.h5" for embedding in matrices))
    kinds = {"label": labels, "category": categories, "number": numbers}
    named = {kind: [as_text(name) for name in names] for kind, names in kinds.items()}
    labels_from = labels_from and as_text(labels_from)
    wanted = [*(name for names in named.values() for name in names), *filter(None, [labels_from])]
    rows = read_table_file(table, wanted)
    _check_columns(rows, table, wanted)
    texts = {name: as_texts(rows[name], table) for name in TEXT_COLUMNS if name in rows}
    rows, notes = _name_clips(rows.assign(**texts), table, dataset, audio_root, out)
    split_given = "split" in rows
    if not split_given:
        rows["split"] = "train"
    kind_of, guesses = _kinds(rows, table, named, guess=labels_from is None)
    targets = [Target(str(name), kind_of[str(name)]) for name in rows.columns if name in kind_of]
    if labels_from is not None:
        made, guesses = _labels_from(rows, table, labels_from)
        targets += [Target(str(name), "label") for name in made.columns]
        rows = pd.concat([rows, made], axis=1)
    writer = CorpusWriter(
        out,
        name=name or out.resolve().name,
        title=title or name or out.resolve().name,
        datasets=list(dict.fromkeys(rows["dataset"].dropna())),
        groups=list(dict.fromkeys(rows["group"].dropna())) if "group" in rows else [],
        targets=targets,
        licences=licences,
        shared_tracks=shared_tracks,
    )
    given, rows = rows, check_clip_table(rows, writer.description, table)
    if not split_given:
        notes += _draw_split(rows, table, targets, test_share, seed, shared_tracks)
    notes += guesses + _few_to_test(rows, targets)
    notes += _remarks(given, rows, targets)
    content, models, sums = {}, {}, {table.name: sha256(table)}
    for embedding, path in matrices.items():
        content[embedding], told = _match_rows(
            embedding, path, rows, table, given.index, allow_table_columns
        )
        notes += told
        models[embedding] = {
            "source": f"imported from {path.name}",
            "sums": {path.name: sha256(path)},
            "dimension": next(iter(content[embedding].values()))[1].shape[1],
        }
        sums |= models[embedding]["sums"]
    writer.description = replace(
        writer.description,
        embedding_models=models,
        provenance={
            "made_by": "biasmir import",
            "versions": versions("numpy", "pandas"),
            "sources": sums,
            "notes": notes,
        },
    )
    return writer.write(rows, content)


def _check_columns(rows: pd.DataFrame, path: Path, targets: Sequence[str]) -> None:
    """Check that no target has a name with a meaning, and no other column almost one."""
    for column in targets:
        if column in TEXT_COLUMNS:
            raise CorpusError(f"{path}: the column {column!r} has a meaning, it is no target")
    for column in rows.columns:
        plain = "".join(column.split()).lower()
        if plain in TEXT_COLUMNS and plain not in rows and column not in targets:
            raise CorpusError(
                f"{path}: the column {column!r} would mean nothing; did you mean {plain!r}? "
                f"Rename it to that, or to something else"
            )


def _name_clips(
    rows: pd.DataFrame,
    path: Path,
    dataset: str | None,
    audio_root: str | os.PathLike[str] | None,
    out: Path,
) -> tuple[pd.DataFrame, list[str]]:
    """Fill the columns `dataset`, `audio`, `clip` and `track`; return what was decided, too."""
    notes = []
    if "dataset" not in rows:
        rows["dataset"] = as_text(dataset or path.stem)
        if not dataset:
            notes.append(f"no column 'dataset': all clips belong to {path.stem!r}")
    elif dataset is not None:
        raise CorpusError(
            f"{path}: it has a column 'dataset', so the name {dataset!r} has no use; leave one of "
            f"them out"
        )
    files = pd.Series(_find_audio(rows, path, audio_root), rows.index, object)
    if "clip" not in rows:
        if "audio" not in rows:
            raise CorpusError(
                f"{path}: the column 'clip' is missing (found: {', '.join(rows.columns)}); it "
                f"names each clip"
            )
        rows["clip"] = files.map(lambda file: file.stem, na_action="ignore")
        if (again := rows.duplicated(["dataset", "clip"]) & rows["clip"].notna()).any():
            root = path.parent if audio_root is None else Path(audio_root)
            notes.append(
                f"no column 'clip', and several files are called "
                f"{rows.loc[again, 'clip'].iloc[0]!r}: each clip is named by its path from {root}"
            )
            paths = files.map(lambda file: os.path.relpath(file, root), na_action="ignore")
            rows["clip"] = paths.str.replace(os.sep, "/")
    if "track" not in rows:
        rows["track"] = rows["clip"]
        notes.append(
            "no column 'track': each clip counts as a recording of its own; if several were cut "
            "from one, say so, or scores inside a dataset will be too good"
        )
    rows["audio"] = files.map(lambda file: relative_path(file, out), na_action="ignore")
    return rows, notes


def _find_audio(
    rows: pd.DataFrame, path: Path, audio_root: str | os.PathLike[str] | None
) -> list[Path | None]:
    """Return the sound file of each row, by its path or by the clip's name; None if none."""
    root = path.parent if audio_root is None else Path(audio_root)
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; it should hold the audio")
    if "audio" in rows:
        files = [None if pd.isna(name) else found_path(root / name) for name in rows["audio"]]
        for row, file in enumerate(files):
            if file is not None and not file.is_file():
                raise CorpusError(
                    f"{path}, {row_place(rows, row)}, column 'audio': {file}: no such file; "
                    f"--audio-root names where paths start"
                )
        return files
    if audio_root is None or "clip" not in rows:
        return [None] * len(rows)
    by_name: dict[str, list[Path]] = {}
    for file in sorted(root.rglob("*")):
        if file.suffix.lower() in SOUND_SUFFIXES and file.is_file():
            for name in (file.name, file.stem):
                by_name.setdefault(compose(name), []).append(file)
    files = []
    for row, (clip, dataset) in enumerate(zip(rows["clip"], rows["dataset"], strict=True)):
        found = by_name.get(clip, [])
        # Two datasets may use one name, each in a folder of its own.
        folders = {f: map(compose, f.relative_to(root).parts[:-1]) for f in found}
        found = [f for f in found if dataset in folders[f]] or found
        if len(found) != 1 and not pd.isna(clip):  # a clip without a name is an error told later
            told = f"no sound file of the name {clip!r} in {root}; a column 'audio' can hold "
            told += "paths, or nothing where there is none"
            if found:
                told = f"{found[0]} and {found[1]} have the name {clip!r}; a column 'audio' can "
                told += "tell which it is"
            raise CorpusError(f"{path}, {row_place(rows, row)}, column 'clip': {told}")
        files.append(found[0] if found else None)
    return files


def _kinds(
    rows: pd.DataFrame, path: Path, named: Mapping[str, Sequence[str]], guess: bool
) -> tuple[dict[str, str], list[str]]:
    """Return the kind of each target by column, and in words what was guessed."""
    kinds = {column: kind for kind, columns in named.items() for column in columns}
    for kind, columns in named.items():
        for column in columns:
            if kinds[column] != kind:
                raise CorpusError(
                    f"{path}: the column {column!r} cannot be a {kind} and a {kinds[column]}"
                )
    if kinds or not guess:
        return kinds, []
    guessed, strays = {}, []
    for column in [name for name in rows.columns if name not in TEXT_COLUMNS]:
        guessed[column], stray = _guess(rows, path, column)
        strays += stray
    words = {
        "label": "taken for labels",
        "category": "taken for categories",
        "number": "taken for numbers",
        None: "kept as metadata",
    }
    by_kind = {kind: [c for c, one in guessed.items() if one == kind] for kind in words}
    notes = [f"{words[kind]}: {', '.join(found)}" for kind, found in by_kind.items() if found]
    return {column: kind for column, kind in guessed.items() if kind}, notes + strays


def _guess(rows: pd.DataFrame, path: Path, name: str) -> tuple[str | None, list[str]]:
    """Return what a column looks like, and which cell keeps it from being one of numbers."""
    column = rows[name]
    values, wrong = as_numbers(column)
    known = values.to_numpy()[values.notna()]
    number = "label" if ((known >= 0) & (known <= 1)).all() else "number"
    if len(known) and not wrong.any():
        return number, []
    present = column.dropna()
    if not all(isinstance(cell, str | Real | Decimal | np.bool_) for cell in present):
        lists = any(isinstance(cell, list | np.ndarray) for cell in present)
        way = f"note: {name!r} holds lists; if they name what is in a clip: --labels-from {name}"
        return None, [way] if lists else []
    texts = as_texts(column, path)
    repeats = 2 <= texts.nunique() <= min(MOST_CATEGORIES, len(present) // 2)
    kind = "category" if repeats else None
    if not 0 < wrong.sum() < len(present) / 2:
        hints = {
            ";": f"if they name what is in a clip: --labels-from {name}",
            r"^[-+]?\d+,\d+$": "if they are numbers, write decimals with a point",
        }
        for pattern, hint in hints.items():
            cells = texts[texts.str.contains(pattern, na=False)]
            if len(cells):
                return kind, [f"note: {name!r} holds cells such as {cells.iloc[0]!r}; {hint}"]
        return kind, []
    row = int(wrong.argmax())
    kept = f"taken for a {kind}" if kind else "kept as metadata"
    others = f", and {wrong.sum() - 1} more such cell(s)" if wrong.sum() > 1 else ""
    return kind, [
        f"note: {name!r} would be a {number}, but {row_place(rows, row)} holds "
        f"{column.iloc[row]!r}{others}; so it was {kept}. "
        f"Leave a cell empty where nothing is known"
    ]


def _labels_from(rows: pd.DataFrame, path: Path, column: str) -> tuple[pd.DataFrame, list[str]]:
    """Return a label for each name in a column of names, sorted, and what cells hold no name."""
    cells = rows[column]
    named: list[set[str] | None] = []
    for row, (cell, missing) in enumerate(zip(cells, cells.isna(), strict=True)):
        listed = isinstance(cell, list | np.ndarray)
        try:
            names = [*cell] if listed else [] if missing else as_text(cell).split(";")
            written = not listed and _WRITTEN_LIST.fullmatch(";".join(names))
            if written or not all(isinstance(name, str) for name in names):
                raise ValueError(f"{cell!r}, expected names parted by semicolons, or in a list")
        except ValueError as error:
            raise CorpusError(
                f"{path}, {row_place(rows, row)}, column {column!r}: {error}"
            ) from error
        unknown = not listed and (missing or as_text(cell).lower() in MISSING_WORDS)
        named.append(None if unknown else {as_text(name) for name in names} - {""})
    names = sorted(set().union(*filter(None, named)))
    if not names:
        raise CorpusError(f"{path}: the column {column!r} names nothing in any row")
    for name in names:
        if name in rows.columns or name in TEXT_COLUMNS:
            row = next(r for r, one in enumerate(named) if one and name in one)
            raise CorpusError(
                f"{path}, {row_place(rows, row)}, column {column!r}: {name!r} would be a label, "
                f"but is a column already"
            )
    found = {n: [np.nan if one is None else float(n in one) for one in named] for n in names}
    words = cells[cells.notna() & np.array([one is None for one in named])]
    return pd.DataFrame(found, rows.index), _unknown(words, len(rows))


def _remarks(given: pd.DataFrame, rows: pd.DataFrame, targets: Sequence[Target]) -> list[str]:
    """Say where a table, as it was given and as checked, holds words for nothing."""
    notes = []
    kinds = {name: "category" for name in TEXT_COLUMNS if name in given}
    gaps = rows.isna().any()
    for name, kind in (kinds | {target.name: target.kind for target in targets}).items():
        if kind != "category":
            if gaps[name]:
                notes += _unknown(given[name][rows[name].isna().to_numpy()].dropna(), len(rows))
            continue
        words = rows[name][rows[name].map(str.lower, na_action="ignore").isin(MISSING_WORDS)]
        notes += _unknown(words, len(rows), "count as a name; leave unknown ones empty")
    return notes


def _unknown(cells: pd.Series, of: int, then: str = "count as not observed") -> list[str]:
    """Say that cells of a column hold words for nothing, if there are any."""
    told = f"note: {cells.name!r}: {len(cells)} of {of} cells hold a word for nothing, such as"
    return [f"{told} {cells.iloc[0]!r}, and {then}"] if len(cells) else []


def _few_to_test(rows: pd.DataFrame, targets: Sequence[Target]) -> list[str]:
    """Say which labels have too few positive test clips in a dataset for a score to mean much."""
    labels = [target.name for target in targets if target.kind == "label"]
    positive = rows[labels].ge(0.5).where(rows["split"] == "test", False).groupby(rows["dataset"])
    few = {
        dataset: ", ".join(f"{name} ({n})" for name, n in counts.items() if n < FEW_POSITIVES)
        for dataset, counts in positive.sum().iterrows()
    }
    told = f"WARNING: fewer than {FEW_POSITIVES} positive test clips in"
    return [f"{told} {d}, on which a score says little: {few[d]}" for d in few if few[d]]


def _draw_split(
    rows: pd.DataFrame,
    path: Path,
    targets: Sequence[Target],
    test_share: float,
    seed: int,
    shared_tracks: bool,
) -> list[str]:
    """Draw tracks of each dataset for the test part, its share of each label; say what was drawn.

    Of some draws the one is taken in which labels and categories are shared out best.
    """
    notes = []
    labels = rows[[one.name for one in targets if one.kind == "label"]]
    classes = rows[[one.name for one in targets if one.kind == "category"]]
    held = [labels.ge(0.5), labels.lt(0.5).add_suffix(" absent")]
    held += [pd.get_dummies(classes)] if len(classes.columns) else []
    values = pd.concat(held, axis=1).to_numpy(float)
    drawn_from = pd.Series("all datasets", rows.index) if shared_tracks else rows["dataset"]
    for dataset in dict.fromkeys(drawn_from):
        here = drawn_from == dataset
        # Sorted, and with a generator for each dataset: the rows' order does not matter.
        tracks = sorted(set(rows.loc[here, "track"]))
        if len(tracks) < 2:
            raise CorpusError(
                f"{path}: there is one track only in {dataset}, which cannot be split; give a "
                f"column 'split' with {' and '.join(SPLITS)}"
            )
        rng = np.random.default_rng([seed, *dataset.encode()])
        n_test = min(max(1, round(test_share * len(tracks))), len(tracks) - 1)
        draws = [rng.permutation(len(tracks))[:n_test] for _ in range(DRAWS)]
        counts = pd.DataFrame(values)[here].groupby(rows["track"]).sum().loc[tracks].to_numpy()
        shares = np.array([counts[draw].sum(0) for draw in draws]) / counts.sum(0).clip(1)
        in_one_part = (shares == 0) | (shares == 1)
        best = ((shares - test_share) ** 2 + in_one_part).sum(axis=1).argmin()
        drawn = {tracks[i] for i in draws[best]}
        rows.loc[here & rows["track"].isin(drawn), "split"] = "test"
        notes.append(
            f"no column 'split': {n_test} of {len(tracks)} tracks of {dataset} were drawn for the "
            f"test part (seed {seed})"
            + (", with their share of each label where it could be" if values.size else "")
        )
    return notes


def _match_rows(
    embedding: str,
    path: Path,
    clips: pd.DataFrame,
    table: Path,
    order: pd.Index,
    allow_table_columns: bool,
) -> tuple[dict[str, tuple[list[str], NDArray[np.float32]]], list[str]]:
    """Read a matrix, assign each row to a clip, and check its numbers.

    Parameters
    ----------
    embedding : str
        Its name, for the notes.
    path : pathlib.Path
        The matrix; see `import_corpus` for the formats.
    clips : pandas.DataFrame
        The clip table, with all of its columns.
    table : pathlib.Path
        The file of it, for messages.
    order : pandas.Index
        The index that it had there.
    allow_table_columns : bool
        Whether the matrix may have dimensions that are columns of the clip table.

    Returns
    -------
    content : dict of str to (keys, features)
        For each dataset with rows: the clip of each row, and features (rows, D), float32.
    notes : list of str
        What the user has to know: clips without rows, rows without clips, rows that are equal.

    Raises
    ------
    CorpusError
        If the file cannot be read without unpickling, is no matrix of real numbers, rows and
        clips do not fit, or a number is not finite; it names row and clip.
    """
    ids, values, names = _read_matrix(path, order)
    taken = {str(name).casefold() for name in clips}
    # Arrays have numbers in the place of names, which are no names of columns.
    shared = [n for n in names if isinstance(n, str) and n.casefold() in taken]
    if shared and not allow_table_columns:
        raise CorpusError(
            f"{path}: columns of {table} are among the dimensions of the embedding "
            f"({len(shared)} of {len(names)}): {', '.join(map(repr, shared[:5]))}"
            f"{', ...' if len(shared) > 5 else ''}; a label among the features is recognised "
            f"without fail. Take them out, or allow them (--allow-table-columns)"
        )
    listed = clips[["dataset", "clip"]]
    ids = _owners(ids, path, listed, table, order)
    owners = pd.MultiIndex.from_frame(ids[["dataset", "clip"]])
    wanted = pd.MultiIndex.from_frame(listed)
    known = owners.isin(wanted)
    if not known.any():
        other = "dataset" if ids["clip"].isin(listed["clip"]).any() else "clip"
        raise CorpusError(
            f"{path}: none of its {len(ids)} keys is a clip of {table}; the first {other} here is "
            f"{ids[other].iloc[0]!r}, and there {listed[other].iloc[0]!r}"
        )
    content = {}
    with np.errstate(over="ignore"):
        single = values.astype(np.float32, copy=False)
    for dataset in ids.loc[known, "dataset"].unique():
        rows = np.flatnonzero(known & (ids["dataset"] == dataset).to_numpy())
        keys = ids["clip"].iloc[rows].tolist()
        content[dataset] = keys, single[rows]
        broken = ~np.isfinite(content[dataset][1])
        if broken.any():
            row, column = (int(i) for i in np.argwhere(broken)[0])
            raise CorpusError(
                f"{path}, row {ids.index[rows[row]]} (from 0), clip {keys[row]!r}, column "
                f"{names[column]!r}: {values[rows[row], column]}, expected a finite number that "
                f"float32 can hold"
            )
    notes = []
    if without := int((~wanted.isin(owners)).sum()):
        notes.append(f"{embedding}: {without} clips have no row")
    if len(unlisted := ids["clip"].to_numpy()[~known]):
        left = f"{len(unlisted)} rows of clips not in the table were left out"
        notes.append(f"{embedding}: {left}, the first of {unlisted[0]!r}")
    if several := int(owners[known].value_counts().gt(1).sum()):
        notes.append(f"{embedding}: {several} clips have several rows, which count as their frames")
    # One dimension after the other: a copy of the whole matrix may not fit into memory.
    varies = [bool((column != column[0]).any()) for column in single.T]
    whole = [v and (c == c.round()).all() for v, c in zip(varies, single.T, strict=True)]
    if 0 < sum(whole) < sum(varies):
        found = ", ".join(str(names[column]) for column in np.flatnonzero(whole)[:5])
        notes.append(
            f"WARNING: {embedding}: whole numbers only, unlike in the other dimensions, are in "
            f"{found}; if that is an id or a label, take it out"
        )
    equal = [d for d, (_, rows) in content.items() if len(rows) > 1 and (rows == rows[0]).all()]
    if equal:
        notes.append(
            f"WARNING: {embedding}: all rows of {', '.join(equal)} are equal, so nothing can be "
            f"recognised there; was the matrix computed from these clips?"
        )
    return content, notes


def _owners(
    ids: pd.DataFrame, path: Path, listed: pd.DataFrame, table: Path, order: pd.Index
) -> pd.DataFrame:
    """Return dataset and clip of each row of a matrix, as far as they can be told."""
    if "clip" not in ids:
        _check_order(order, table)
        if len(ids) != len(listed):
            raise CorpusError(
                f"{path}: {len(ids)} rows, but {table} has {len(listed)} clips; without keys "
                f"there has to be a row for each clip, in the table's order"
            )
        other = ids.get("dataset", listed["dataset"]).to_numpy() != listed["dataset"].to_numpy()
        if other.any():
            raise CorpusError(
                f"{path}, row {other.argmax()} (from 0): the dataset is another one than in this "
                f"row of {table}; say the clip of each row, too"
            )
        return listed
    if "dataset" not in ids:
        twice = listed[listed["clip"].duplicated(keep=False) & listed["clip"].isin(ids["clip"])]
        if len(twice):
            clip = twice["clip"].iloc[0]
            one, other = twice.loc[twice["clip"] == clip, "dataset"].iloc[:2]
            raise CorpusError(
                f"{path}: the key {clip!r} is a clip of {one!r} and of {other!r} in {table}; say "
                f"which is meant, in a column 'dataset' (of .npz: an array 'datasets')"
            )
        owner = listed.drop_duplicates("clip").set_index("clip")["dataset"]
        ids = ids.assign(dataset=ids["clip"].map(owner))
    return ids


def _check_order(index: pd.Index, path: Path) -> None:
    """Refuse rows that were shuffled, where their order is all that tells whose they are."""
    if index.is_unique and not index.is_monotonic_increasing:
        raise CorpusError(
            f"{path}: the rows stand in another order than the numbers of their index; number them "
            f"anew (with pandas: reset_index(drop=True)), or name the clip of each row of features"
        )


def _read_matrix(path: Path, order: pd.Index) -> tuple[pd.DataFrame, NDArray[Any], list[Any]]:
    """Return who each row belongs to, the values, and the columns' names.

    The first has columns `clip` and `dataset`, if they are told, and as its index the row of the
    file: several rows are of one where that holds the frames of a clip.
    """
    readers: dict[str, Any] = {".npy": _read_arrays, ".npz": _read_arrays}
    readers[".parquet"] = lambda path: _read_columns(path, order)
    if path.suffix.lower() not in readers:
        raise CorpusError(f"{path}: expected a matrix of embeddings, {', '.join(readers)}")
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; it should hold a matrix of embeddings")
    ids, values, names = readers[path.suffix.lower()](path)
    rows: NDArray[np.int64] = np.arange(len(values))
    if isinstance(values, list):
        rows, values = rows.repeat([len(frames) for frames in values]), np.concatenate(values)
    elif values.ndim == 3 and ids:
        rows, values = rows.repeat(values.shape[1]), values.reshape(-1, values.shape[2])
    if values.ndim != 2 or not values.size:
        raise CorpusError(
            f"{path}: an array of shape {values.shape}, expected (rows, dimensions)"
            + ("; average over the frames, or give keys" if values.ndim == 3 else "")
        )
    if values.dtype.kind not in "fiu":
        raise CorpusError(f"{path}: numbers of type {values.dtype}, expected real numbers")
    told = {}
    for name, column in ids.items():
        if len(column) != rows[-1] + 1:
            raise CorpusError(
                f"{path}: {len(column)} {name} for {rows[-1] + 1} rows of features; each row needs "
                f"one"
            )
        if _KEYS[name] in told:
            raise CorpusError(
                f"{path}: {' and '.join(ids)} name the {_KEYS[name]} of a row twice; leave one out"
            )
        texts = as_texts(column.rename(name), path)
        if texts.isna().any():
            row = int(texts.isna().to_numpy().argmax())
            raise CorpusError(f"{path}, row {row} (from 0): the column {name!r} is empty")
        told[_KEYS[name]] = texts.to_numpy()[rows]
    return pd.DataFrame(told, rows), values, names or list(range(values.shape[1]))


def _read_arrays(path: Path) -> tuple[Mapping[str, pd.Series], NDArray[Any], list[str]]:
    try:
        file = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(file, np.ndarray):
            return {}, np.atleast_1d(file), []
        with file:
            if "features" not in file.files and len(file.files) != 1:
                raise CorpusError(
                    f"{path}: the array 'features' is missing (found: "
                    f"{', '.join(file.files[:5]) or 'none'}{', ...' * (len(file.files) > 5)}); it "
                    f"has a row for each name in the array 'keys'"
                )
            features = "features" if "features" in file.files else file.files[0]
            values = np.atleast_1d(file[features])
            ids = {name: file[name] for name in _KEYS if name in file.files}
            others = [] if "clip" in map(_KEYS.get, ids) else {*file.files} - {features, *ids}
            for name, array in ((name, file[name]) for name in sorted(others)):
                holds = {"S": "texts", "U": "texts", "i": "numbers", "u": "numbers"}
                if array.dtype.kind in holds and array.shape and array.size == len(values):
                    raise CorpusError(
                        f"{path}: the array {name!r} holds {holds[array.dtype.kind]}; if these are "
                        f"the clips, call it 'keys', or else take it out, and the rows are those "
                        f"of the table in order"
                    )
            return {name: pd.Series(array.tolist()) for name, array in ids.items()}, values, []
    except (*BROKEN_ARRAYS, MemoryError) as error:
        if "pickle" in str(error) or "Python objects" in str(error):
            raise CorpusError(
                f"{path}: no file of NumPy arrays, or it holds Python objects, which are not "
                f"loaded since they can run any code; save arrays of numbers and of texts (float32 "
                f"and str)"
            ) from error
        raise CorpusError(f"{path}: cannot be read, perhaps truncated ({error})") from error


def _read_columns(path: Path, order: pd.Index) -> tuple[Mapping[str, pd.Series], Any, list[str]]:
    table = read_table_file(path)
    ids = {name: table.pop(name) for name in _KEYS if name in table}
    if "clip" not in map(_KEYS.get, ids):
        _check_order(table.index, path)
        if len(order) == len(table) and order.name != "line" and not order.equals(table.index):
            raise CorpusError(
                f"{path}: its index holds other numbers than that of the table of clips "
                f"({table.index[0]}, ... and {order[0]}, ...), so whose the rows are is not known; "
                f"name the clip of each row, or number both anew (with pandas: "
                f"reset_index(drop=True))"
            )
    index = (pq.read_schema(path).pandas_metadata or {}).get("index_columns", [])
    for level in index:
        name = as_text(level["name"] if isinstance(level, dict) else level)
        if name in table:
            raise CorpusError(
                f"{path}: {name!r}, a level of the index, is no dimension of an embedding; call it "
                f"'clip' or 'dataset', or leave it out (with pandas: reset_index(drop=True))"
            )
    names = list(table.columns)
    if len(names) == 1 and table.dtypes.iloc[0].kind == "O":  # a list in each row
        return ids, _frames(table[names[0]], path), []
    for name, dtype in zip(names, table.dtypes, strict=True):
        if dtype.kind not in "fiu":
            row = int(table[name].notna().to_numpy().argmax())
            raise CorpusError(
                f"{path}, row {row} (from 0): the column {name!r} holds {table[name].iloc[row]!r} "
                f"({dtype}), expected numbers; all columns but 'clip' and 'dataset' are dimensions "
                f"of the embedding"
            )
    if all(isinstance(dtype, np.dtype) for dtype in table.dtypes):
        return ids, table.to_numpy(), names
    return ids, table.to_numpy(np.float64, na_value=np.nan), names


def _frames(column: pd.Series, path: Path) -> list[NDArray[np.float64]]:
    """Return the frames in each row of a column of lists of numbers, or of lists of these."""
    rows: list[NDArray[np.float64]] = []
    for row, cell in enumerate(column):
        try:
            frames = np.atleast_2d(np.array([*cell]))
            rows.append(frames.astype(np.float64))
            fits = (
                isinstance(cell, list | np.ndarray)
                and frames.dtype.kind in "fiu"
                and frames.ndim == 2
                and 0 < frames.shape[1] == rows[0].shape[1]
            )
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise CorpusError(
                f"{path}, row {row} (from 0): the column {column.name!r} holds {cell!r}, expected "
                f"a list of numbers, as many as in the rows above, or a list of such lists (frames)"
            )
    return rows
