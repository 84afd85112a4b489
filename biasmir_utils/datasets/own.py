"""A corpus of one's own: from a table of clips, a folder of audio, matrices of embeddings."""

from __future__ import annotations

import io
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
    TEXT_COLUMNS,
    Corpus,
    CorpusWriter,
    EmbeddingFile,
    Target,
    check_clip_table,
    check_free,
    csv_rows,
    row_in_file,
    write_embedding_file,
)
from biasmir_utils.datasets._matrices import Matched, match_rows, read_matrix, to_texts
from biasmir_utils.datasets._prepare import relative_path
from biasmir_utils.errors import ArgumentError, CorpusError, did_you_mean
from biasmir_utils.files import sha256, versions

SOUND_SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac"),
    *(".aif", ".aiff", ".au", ".caf", ".w64", ".wma"),
)
MOST_CATEGORIES = 50
"""A text column with more values than this is a remark, not a category."""


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
        For each embedding by name its matrix, in ``.npy``, ``.npz`` or ``.parquet``. It is copied
        into the corpus.

        - ``.npy``: a row for each clip, in the order of the clip table.
        - ``.npz``: the array `features`, and perhaps `keys` (the clip of each row) and `datasets`;
          or one array only, as in ``.npy``. Several rows of one clip are its frames.
        - ``.parquet``: perhaps the columns `clip` and `dataset`; all others are the dimensions, or
          one column holds a list in each row.
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
        a few values that repeat for a category. All other columns are metadata.
    labels_from : str, optional
        A column that names what is in the clip, one or more names parted by semicolons: each
        name becomes a label, 1 where it is named and 0 elsewhere; an empty cell leaves all of
        them unobserved.
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
    out, clips, features = Path(out), Path(clips), features or {}
    if not 0 < test_share < 1:
        raise ArgumentError(f"test_share: expected a share between 0 and 1, found {test_share}")
    for embedding in features:
        if not re.fullmatch(r"\w[\w.+-]*", embedding):
            raise ArgumentError(
                f"embedding {embedding!r}: expected letters, digits and any of _ . + -, as it "
                f"becomes the name of a file"
            )
    check_free(out)
    rows = _read_table(clips)
    named = {"label": labels, "category": categories, "number": numbers}
    _check_columns(rows, clips, [*labels, *categories, *numbers, *filter(None, [labels_from])])
    notes = _name_datasets(rows, clips, dataset)
    files = _find_audio(rows, clips, audio_root)
    notes += _name_clips(rows, clips, files)
    split_given = "split" in rows
    if not split_given:
        rows["split"] = "train"
    kinds, guesses = _kinds(rows, clips, named, guess=labels_from is None)
    rows, targets = _with_targets(rows, clips, kinds, labels_from)
    if files is not None:
        rows["audio"] = [np.nan if file is None else relative_path(file, out) for file in files]
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
    rows = check_clip_table(rows, writer.description, clips)
    if not split_given:
        notes += _draw_split(rows, clips, test_share, seed, shared_tracks)
    notes += guesses
    matched = {
        embedding: match_rows(embedding, read_matrix(path), rows, clips)
        for embedding, path in features.items()
    }
    for found in matched.values():
        notes += found.notes
    provenance = {
        "made_by": "biasmir import",
        "versions": versions("numpy", "pandas"),
        "sources": {Path(path).name: sha256(path) for path in (clips, *features.values())},
        "notes": notes,
    }
    models = {
        embedding: {
            "source": f"imported from {Path(path).name}",
            "sums": {Path(path).name: sha256(path)},
            "dimension": next(iter(matched[embedding].content.values()))[1].shape[1],
        }
        for embedding, path in features.items()
    }
    writer.description = replace(
        writer.description,
        embedding_files=tuple(
            EmbeddingFile(f"embeddings/{name}.h5", made_here=True) for name in matched
        ),
        embedding_models=models,
        provenance=provenance,
    )
    return _write(writer, rows, matched)


def _write(writer: CorpusWriter, rows: pd.DataFrame, matched: Mapping[str, Matched]) -> Corpus:
    """Write embeddings, then the clip table, then `corpus.json`; nothing is left on an error."""
    files = {name: writer.path / "embeddings" / f"{name}.h5" for name in matched}
    for file in files.values():
        if file.exists():
            raise CorpusError(f"{file}: there already; choose an empty folder, or remove it")
    try:
        for embedding, found in matched.items():
            write_embedding_file(files[embedding], embedding, found.content)
        return writer.write(rows)
    except BaseException:
        for file in (*files.values(), *(writer.path / n for n in (FILE_NAME, *FILE_NAMES))):
            file.unlink(missing_ok=True)
        for folder in (writer.path / "embeddings", writer.path):
            with suppress(OSError):  # it was there before, with something in it
                folder.rmdir()
        raise


def _read_table(path: Path) -> pd.DataFrame:
    """Read a CSV (all cells as texts) or Parquet file strictly; NaN where a cell is empty."""
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise CorpusError(f"{path}: expected a table, {' or '.join(readers)}")
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; it should hold the table of clips")
    rows = readers[path.suffix.lower()](path)
    names = [str(name).strip() for name in rows.columns]
    for number, name in enumerate(names, start=1):
        if not name:
            raise CorpusError(
                f"{path}: column {number} has no name; give it one, or leave it out (with pandas: "
                f"index=False)"
            )
        if names.count(name) > 1:
            raise CorpusError(f"{path}: two columns are called {name!r}; rename one of them")
    if not len(rows):
        raise CorpusError(f"{path}: the table has no rows; a corpus needs at least one clip")
    rows.columns = pd.Index(names)
    for name in TEXT_COLUMNS:
        if name in rows:
            rows[name] = to_texts(rows[name])
    return rows


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 ({error}); save it as CSV in UTF-8") from error
    rows = csv_rows(path, io.StringIO(text, newline=""), strict=True)
    _, header = next(rows, (1, []))
    if len(header) == 1 and any(sign in header[0] for sign in ";\t"):
        raise CorpusError(
            f"{path}: the columns seem to be parted by semicolons or tabs; save it with commas"
        )
    cells = []
    for line, row in rows:
        if len(row) != len(header):
            raise CorpusError(
                f"{path}, line {line}: {len(row)} cells, but the header has {len(header)}; "
                f"a cell that holds a comma has to stand in double quotes"
            )
        cells.append([cell or np.nan for cell in row])
    return pd.DataFrame(cells, columns=header, dtype=object)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path).reset_index(drop=True)
    except Exception as error:
        raise CorpusError(f"{path}: cannot be read as a table ({error}); make it anew") from error


def _cell_error(path: Path, row: int, column: str, problem: str) -> CorpusError:
    return CorpusError(f"{path}, {row_in_file(path, row)}, column {column!r}: {problem}")


def _check_columns(rows: pd.DataFrame, path: Path, targets: Sequence[str]) -> None:
    """Check that targets are there, and that no column has almost a name with a meaning."""
    found = list(rows.columns)
    for column in targets:
        if column in TEXT_COLUMNS:
            raise CorpusError(f"{path}: the column {column!r} has a meaning, it is no target")
        if column not in found:
            raise CorpusError(
                f"{path}: the column {column!r} is missing (found: {', '.join(found)})."
                f"{did_you_mean(column, [name for name in found if name not in TEXT_COLUMNS])}"
            )
    for column in found:
        plain = "".join(column.split()).lower()
        if plain in TEXT_COLUMNS and plain not in found and column not in targets:
            raise CorpusError(
                f"{path}: the column {column!r} would mean nothing; did you mean {plain!r}? "
                f"Rename it to that, or to something else"
            )


def _name_datasets(rows: pd.DataFrame, path: Path, dataset: str | None) -> list[str]:
    """Fill the column `dataset`; return what was decided."""
    if "dataset" not in rows:
        rows["dataset"] = dataset or path.stem
        return [] if dataset else [f"no column 'dataset': all clips belong to {path.stem!r}"]
    if dataset is not None:
        raise CorpusError(
            f"{path}: it has a column 'dataset', so the name {dataset!r} has no use; leave one of "
            f"them out"
        )
    return []


def _name_clips(rows: pd.DataFrame, path: Path, files: Sequence[Path | None] | None) -> list[str]:
    """Fill the columns `clip` and `track`; return what was decided."""
    if "clip" not in rows:
        if files is None:
            raise CorpusError(
                f"{path}: the column 'clip' is missing (found: {', '.join(rows.columns)}); it "
                f"names each clip"
            )
        rows["clip"] = [np.nan if file is None else file.stem for file in files]
    if "track" in rows:
        return []
    rows["track"] = rows["clip"]
    return [
        "no column 'track': each clip counts as a recording of its own; if several were cut from "
        "one, say so, or scores inside a dataset will be too good"
    ]


def _draw_split(
    rows: pd.DataFrame, path: Path, test_share: float, seed: int, shared_tracks: bool
) -> list[str]:
    """Draw tracks of each dataset for the test part; return what was drawn."""
    notes = []
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
        drawn = {tracks[i] for i in rng.permutation(len(tracks))[:n_test]}
        rows.loc[here & rows["track"].isin(drawn), "split"] = "test"
        notes.append(
            f"no column 'split': {n_test} of {len(tracks)} tracks of {dataset} were drawn for the "
            f"test part (seed {seed})"
        )
    return notes


def _find_audio(
    rows: pd.DataFrame, path: Path, audio_root: str | os.PathLike[str] | None
) -> list[Path | None] | None:
    """Return the sound file of each row, None where there is none; None if there is no audio."""
    root = path.parent if audio_root is None else Path(audio_root)
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; it should hold the audio")
    if "audio" in rows:
        files = [None if pd.isna(name) else root / name for name in rows["audio"]]
        for row, file in enumerate(files):
            if file is not None and not file.is_file():
                problem = f"{file}: no such file; --audio-root names where paths start"
                raise _cell_error(path, row, "audio", problem)
        return files
    if audio_root is None or "clip" not in rows:
        return None
    by_name: dict[str, list[Path]] = {}
    for file in sorted(root.rglob("*")):
        if file.suffix.lower() in SOUND_SUFFIXES and file.is_file():
            for name in (file.name, file.stem):
                by_name.setdefault(name, []).append(file)
    files = []
    for row, (clip, dataset) in enumerate(zip(rows["clip"], rows["dataset"], strict=True)):
        if pd.isna(clip):
            files.append(None)  # an error of its own, told elsewhere
            continue
        found = by_name.get(clip, [])
        # Two datasets may use one name, each in a folder of its own.
        found = [f for f in found if dataset in f.relative_to(root).parts[:-1]] or found
        if len(found) != 1:
            raise _cell_error(
                path,
                row,
                "clip",
                f"{found[0]} and {found[1]} have the name {clip!r}; a column 'audio' can tell "
                f"which it is"
                if found
                else f"no sound file of the name {clip!r} in {root}; a column 'audio' can hold "
                f"paths, or nothing where there is none",
            )
        files.append(found[0])
    return files


def _kinds(
    rows: pd.DataFrame, path: Path, named: Mapping[str, Sequence[str]], guess: bool
) -> tuple[dict[str, str], list[str]]:
    """Return the kind of each target by column, and in words what was guessed."""
    kinds: dict[str, str] = {}
    for kind, columns in named.items():
        for column in columns:
            if kinds.setdefault(column, kind) != kind:
                raise CorpusError(
                    f"{path}: the column {column!r} cannot be a {kinds[column]} and a {kind}"
                )
    if kinds or not guess:
        return kinds, []
    guessed = {c: _looks_like(rows[c]) for c in rows.columns if c not in TEXT_COLUMNS}
    words = {
        "label": "taken for labels",
        "category": "taken for categories",
        "number": "taken for numbers",
        None: "kept as metadata",
    }
    notes = []
    for one, word in words.items():
        if found := [column for column, kind in guessed.items() if kind == one]:
            notes.append(f"{word}: {', '.join(found)}")
    kinds = {column: kind for column, kind in guessed.items() if kind is not None}
    for column in sorted(guessed, key=lambda column: guessed[column] is None):
        notes += _stray_cells(rows[column], path, guessed[column])
    return kinds, notes


def _looks_like(column: pd.Series) -> str | None:
    present = column[column.notna()]
    if not len(present):
        return None
    values, wrong = _to_numbers(present)
    if not wrong.any():
        return "label" if values.between(0, 1).all() else "number"
    repeats = 2 <= to_texts(present).nunique() <= min(MOST_CATEGORIES, len(present) // 2)
    return "category" if repeats else None


def _stray_cells(column: pd.Series, path: Path, kind: str | None) -> list[str]:
    """Tell which cell keeps a column, most of whose cells are numbers, from being one."""
    values, wrong = _to_numbers(column)
    if kind not in (None, "category") or not 0 < wrong.sum() < column.notna().sum() / 2:
        return []
    row = int(np.flatnonzero(wrong)[0])
    looks = "a label" if values.dropna().between(0, 1).all() else "a number"
    others = f", and {wrong.sum() - 1} more such cell(s)" if wrong.sum() > 1 else ""
    kept = f"was taken for a {kind}" if kind else "was kept as metadata"
    return [
        f"note: {column.name!r} would be {looks}, but {row_in_file(path, row)} holds "
        f"{column.iloc[row]!r}{others}; so it {kept}. Leave a cell empty where nothing is known"
    ]


def _to_numbers(column: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return the finite numbers of a column, and which of its cells hold something else.

    The words true and false count as 1 and 0.
    """
    words = {"true": 1.0, "false": 0.0}
    cells = column.map(lambda cell: words.get(str(cell).strip().lower(), cell))
    values = pd.to_numeric(cells, errors="coerce").astype("float64")
    return values, (values.isna() & column.notna()) | np.isinf(values)


def _with_targets(
    rows: pd.DataFrame, path: Path, kinds: Mapping[str, str], labels_from: str | None
) -> tuple[pd.DataFrame, list[Target]]:
    """Bring targets into their form; those of `labels_from` come last, sorted."""
    targets = [Target(name, kinds[name]) for name in rows.columns if name in kinds]
    for target in targets:
        if target.kind == "category":
            rows[target.name] = to_texts(rows[target.name])
        else:
            values, wrong = _to_numbers(rows[target.name])
            rows[target.name] = values.astype(object).where(~wrong, rows[target.name])
    if labels_from is None:
        return rows, targets
    named = [
        None if pd.isna(cell) else {name.strip() for name in cell.split(";")} - {""}
        for cell in to_texts(rows[labels_from])
    ]
    names = sorted(set().union(*(one for one in named if one is not None)))
    if not names:
        raise CorpusError(f"{path}: the column {labels_from!r} names nothing in any row")
    for name in names:
        if name in rows.columns or name in TEXT_COLUMNS:
            row = next(r for r, one in enumerate(named) if one is not None and name in one)
            problem = f"{name!r} would be a label, but is a column already"
            raise _cell_error(path, row, labels_from, problem)
    made = pd.DataFrame(
        {name: [np.nan if one is None else float(name in one) for one in named] for name in names}
    )
    return pd.concat([rows, made], axis=1), [*targets, *(Target(n, "label") for n in names)]
