"""The `Corpus`: one folder that every producer writes and everything downstream reads.

`CorpusWriter` writes one, `Corpus.load` reads it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from biasmir_utils.corpus.clip_table import (
    FILE_NAMES,
    SPLITS,
    check_clip_table,
    find_clip_table,
    read_table_file,
)
from biasmir_utils.corpus.description import (
    FILE_NAME,
    Description,
    EmbeddingFile,
    check_description,
    load_description,
)
from biasmir_utils.corpus.embedding_file import (
    list_embeddings,
    open_embedding,
    pooled_embedding,
    read_frames,
    read_keys,
    read_skipped,
    write_embedding_file,
)
from biasmir_utils.errors import ArgumentError, CorpusError, by_kind
from biasmir_utils.files import check_outputs, found_path, locked, move_files, sha256

LOCK = ".lock"
"""Without which nothing of a corpus is changed; others hold it for moments."""


class Corpus:
    """Clips of one or more datasets, their targets and their embeddings.

    Make one with `Corpus.load`. The folder holds `corpus.json` (see `Description`), the clip
    table (see `check_clip_table`), and embedding files (see `embedding_file`).

    Attributes
    ----------
    path : pathlib.Path
        The folder.
    description : Description
        The content of `corpus.json`.
    name, title : str
        The short name, and the one for people.
    datasets, groups : list of str
        In order; groups are genres.
    targets : list of Target
        In order.
    shared_tracks : bool
        Whether a track of one name is the same track in all datasets; see `Description`.
    clips : pandas.DataFrame
        A row for each clip: `dataset`, `clip`, `track`, `split` (`train` or `test`), `group`
        (NaN = none), `audio` (NaN = none), a column for each target, then metadata.
    warnings : list of str
        What is allowed but deserves a look, such as a track on both sides of the split.
    """

    def __init__(
        self, path: str | os.PathLike[str], description: Description | None = None
    ) -> None:
        self.path = Path(path)
        self.description = description or load_description(self.path)
        self.name, self.title = self.description.name, self.description.title
        self.datasets, self.groups = list(self.description.datasets), list(self.description.groups)
        self.targets = list(self.description.targets)
        self.shared_tracks = self.description.shared_tracks
        table = find_clip_table(self.path)
        self.clips = check_clip_table(read_table_file(table), self.description, table)
        self._pooled: dict[str, tuple[NDArray[np.float32], int]] = {}
        self._files, self._dimensions = _find_embeddings(self.path, self.description)
        self.warnings = [
            f"{name} was UNCHECKED when this corpus was made (it had {value}): nothing said that "
            f"it was the right file. `biasmir fetch` tells whether it has been checked since"
            for name, value in self.description.unchecked.items()
        ]
        self.warnings += _alike("targets", [target.name for target in self.targets])
        categories = [target.name for target in self.targets if target.kind == "category"]
        for name in ("dataset", "group", "track", "clip", *categories):
            self.warnings += _alike(f"column {name!r}", self.clips[name].dropna().unique())
        keys = ["track"] if self.shared_tracks else ["dataset", "track"]
        in_both = self.clips.groupby(keys, sort=False)["split"].transform("nunique") > 1
        both = self.clips.loc[in_both, ["dataset", "track"]].drop_duplicates()
        if len(both):
            where = "" if self.shared_tracks else "inside a dataset "
            self.warnings.insert(
                0,
                f"{len(both)} track(s) have clips in both train and test, so scores {where}are too "
                f"good, or not given where all of a label's test clips are such; the first is "
                f"{both['track'].iloc[0]!r} of {both['dataset'].iloc[0]!r}",
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Corpus:
        """Read a corpus and check all that can be checked without reading the features.

        Parameters
        ----------
        path : path
            The folder.

        Raises
        ------
        CorpusError
            Naming the file, and where it applies the dataset, clip and column.
        """
        return cls(path)

    def __repr__(self) -> str:
        return (
            f"<Corpus {self.name!r}: {len(self.clips)} clips in {', '.join(self.datasets)}; "
            f"embeddings {', '.join(self.embedding_names) or 'none'}>"
        )

    @property
    def labels(self) -> list[str]:
        """The names of the targets of kind `label`, in order."""
        return [target.name for target in self.targets if target.kind == "label"]

    @property
    def no_group(self) -> str:
        """What tables call the clips without a group: `(none)`, unless a group has that name."""
        name = "(none)"
        while name in self.groups:
            name = f"({name})"
        return name

    @property
    def embedding_names(self) -> list[str]:
        """The embeddings that at least one dataset has, in the order of the files."""
        return list(self._dimensions)

    def dimension(self, name: str) -> int:
        """Return the number of dimensions of an embedding."""
        self._check_name(name)
        return self._dimensions[name]

    def embedding(self, name: str) -> NDArray[np.float32]:
        """Return an embedding of every clip, averaged over the clip's frames.

        Parameters
        ----------
        name : str
            One of `embedding_names`.

        Returns
        -------
        ndarray of shape (n_clips, D), float32
            In the order of `clips`; NaN for clips without it (see `missing`). Read-only.

        Raises
        ------
        ArgumentError
            If the corpus has no such embedding.
        CorpusError
            If a clip's features are NaN or infinite, or the file is damaged.
        """
        if name not in self._pooled:
            means = np.full((len(self.clips), self.dimension(name)), np.nan, np.float32)
            n_unlisted = 0
            for dataset, file in self._files_of(name).items():
                rows = np.flatnonzero(self.clips["dataset"] == dataset)
                clips = self.clips["clip"].iloc[rows].tolist()
                means[rows], unlisted = pooled_embedding(file, dataset, name, clips)
                n_unlisted += unlisted
            means.setflags(write=False)
            self._pooled[name] = means, n_unlisted
        return self._pooled[name][0]

    def n_unlisted(self, name: str) -> int:
        """Return how many clips an embedding has that the clip table does not list."""
        self.embedding(name)
        return self._pooled[name][1]

    def missing(self, name: str) -> pd.DataFrame:
        """Return the clips without an embedding: columns `dataset`, `clip`, `reason`."""
        absent = self.clips.loc[~self.complete([name]), ["dataset", "clip"]].reset_index(drop=True)
        files = self._files_of(name)
        skipped = {dataset: read_skipped(file, dataset, name) for dataset, file in files.items()}
        reasons = [
            skipped[dataset].get(clip, "not in the embedding file")
            if dataset in skipped
            else f"no file has {name} for this dataset"
            for dataset, clip in absent.itertuples(index=False)
        ]
        return absent.assign(reason=pd.Series(reasons, dtype=object))

    def complete(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Return which clips have all of the named embeddings, as a mask over `clips`."""
        mask = np.ones(len(self.clips), dtype=bool)
        for name in names:
            mask &= ~np.isnan(self.embedding(name)[:, 0])
        return mask

    def frames(self, name: str, dataset: str, clip: str) -> NDArray[np.float32]:
        """Return the frames of one clip, of shape (frames, D), as the file has them."""
        files = self._files_of(name)
        if dataset not in files:
            raise ArgumentError(f"corpus {self.name!r} has no {name!r} for dataset {dataset!r}")
        return read_frames(files[dataset], dataset, name, clip)

    def audio_path(self, index: int) -> Path | None:
        """Return the sound file of a row of `clips`, or None if it has none."""
        audio = self.clips["audio"].iloc[index]
        return None if pd.isna(audio) else found_path(self.path / audio)

    def model_record(self, name: str) -> dict[str, Any]:
        """Return what is recorded of the model behind an embedding; empty if nothing is."""
        self._check_name(name)
        return dict(self.description.embedding_models.get(name, {}))

    def embedding_file(self, name: str, dataset: str) -> Path | None:
        """Return the file that holds an embedding of a dataset, or None."""
        return self._files.get((dataset, name))

    def data_sums(self) -> dict[str, str]:
        """Return the SHA-256 of `corpus.json`, the clip table and each embedding file."""
        names = [FILE_NAME, find_clip_table(self.path).name]
        names += [entry.path for entry in self.description.embedding_files]
        return {name: sha256(self.path / name) for name in names}

    def add_embedding_file(
        self,
        file: str | os.PathLike[str],
        models: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        made_here: bool = False,
    ) -> Corpus:
        """Register an embedding file in `corpus.json`, and return the corpus read anew.

        Parameters
        ----------
        file : path
            Inside the corpus folder (kept as a relative path), or anywhere (used in place,
            kept as an absolute path).
        models : dict, optional
            For each embedding of the file, a record of the model that made it.
        made_here : bool
            True if the corpus made the file and may replace it later.

        Raises
        ------
        CorpusError
            If the file cannot be read or does not fit the others, or a model record contradicts
            the one that is kept under the same name; nothing is changed then.
        """
        resolved = Path(file).resolve()
        inside = resolved.is_relative_to(self.path.resolve())
        name = resolved.relative_to(self.path.resolve()).as_posix() if inside else str(resolved)
        with locked(self.path / LOCK, wait=60):
            # Read anew: another process may have registered a file since this corpus was loaded.
            current = load_description(self.path)
            records = {key: dict(value) for key, value in current.embedding_models.items()}
            for embedding, record in (models or {}).items():
                old, new = records.get(embedding) or {}, dict(record)
                changed = [key for key in {**old, **new} if old and old.get(key) != new.get(key)]
                if changed:
                    changes = (f"{k}: {old.get(k)!r} there, {new.get(k)!r} now" for k in changed)
                    raise CorpusError(
                        f"{self.path / FILE_NAME}: embedding {embedding!r} was made by another "
                        f"model ({'; '.join(changes)}); use another name for it"
                    )
                records[embedding] = new
            entries = [entry for entry in current.embedding_files if entry.path != name]
            changed_description = replace(
                current,
                embedding_files=(*entries, EmbeddingFile(name, made_here)),
                embedding_models=records,
            )
            candidate = check_description(changed_description, self.path / FILE_NAME)
            registered = Corpus(self.path, candidate)
            registered._check_keys(self.path / name)
            candidate.save(self.path)
        return registered

    def _check_keys(self, file: Path) -> None:
        """Raise `CorpusError` if an embedding file has nothing of the corpus's clips."""
        cells = [cell for cell, path in self._files.items() if path == file]
        if not cells:
            raise CorpusError(
                f"{file}: no embedding of {' or '.join(self.datasets)}; expected "
                f"/<dataset>/<embedding>/features and /keys"
            )
        for dataset, embedding in cells:
            with open_embedding(file, dataset, embedding) as group:
                keys = read_keys(group)
            clips = self.clips.loc[self.clips["dataset"] == dataset, "clip"]
            if len(keys) and not clips.isin(keys).any():
                raise CorpusError(
                    f"{file}, /{dataset}/{embedding}: none of the {len(keys)} keys is a clip of "
                    f"{dataset}; they look like {str(keys[0])!r}, its clips like {clips.iloc[0]!r}"
                )

    def summary(self) -> str:
        """Return what `biasmir info` prints: counts, embeddings with their gaps, warnings."""
        clips = self.clips.assign(
            dataset=pd.Categorical(self.clips["dataset"], self.datasets),
            split=pd.Categorical(self.clips["split"], SPLITS),
            group=self.clips["group"].fillna(self.no_group),
        )
        keys = [clips["dataset"], clips["split"]]
        parts = clips.groupby(keys, observed=True)
        counts = pd.DataFrame(
            {
                "clips": parts.size(),
                "tracks": parts["track"].nunique(),
                "with audio": parts["audio"].count(),
            }
        )
        sections = [f"{self.title} ({self.name})\n{self.path}", _titled("Clips", counts)]
        if self.shared_tracks:
            sections[-1] += "\n  A track of one name is the same track in all datasets."
        if self.labels:
            positive = (clips[self.labels] >= 0.5).groupby(keys, observed=True).sum()
            observed = parts[self.labels].count()
            shown = positive.T.astype(str) + "/" + observed.T.astype(str)
            sections.append(_titled("Labels, positive/observed", shown))
        others = [
            f"{target.name} ({target.kind}{', ' + target.unit if target.unit else ''}): "
            f"{int(self.clips[target.name].notna().sum())} clips"
            for target in self.targets
            if target.kind != "label"
        ]
        if others:
            sections.append(_titled("Other targets", others))
        if self.groups:
            table = parts["group"].value_counts().unstack(["dataset", "split"], fill_value=0)
            names = [*self.groups, *({self.no_group} & {*table.index})]
            sections.append(_titled("Groups", table.reindex(names, fill_value=0)))
        embeddings = {}
        for name in self.embedding_names:
            complete = self.complete([name])
            embeddings[name] = {
                "dimensions": self.dimension(name),
                "clips": int(complete.sum()),
                "missing": int((~complete).sum()),
                "not in the table": self.n_unlisted(name),
            }
        table = pd.DataFrame.from_dict(embeddings, orient="index")
        none = ["none yet (see `biasmir extract`)"]
        sections.append(_titled("Embeddings", table if embeddings else none))
        for name in self.embedding_names:
            reasons = by_kind(self.missing(name)["reason"])
            if reasons:
                lines = [f"{len(rows)} x {reason}" for reason, rows in reasons.items()]
                sections.append(_titled(f"Clips without {name}", lines))
        if self.warnings:
            sections.append(_titled("Warnings", self.warnings))
        return "\n\n".join(sections)

    def _files_of(self, name: str) -> dict[str, Path]:
        """Return the file of each dataset that has an embedding."""
        self._check_name(name)
        return {dataset: file for (dataset, one), file in self._files.items() if one == name}

    def _check_name(self, name: str) -> None:
        if name not in self._dimensions:
            raise ArgumentError(
                f"corpus {self.name!r} has no embedding {name!r}; it has "
                f"{', '.join(self.embedding_names) or 'none'} (see `biasmir extract`)"
            )


def _find_embeddings(
    folder: Path, description: Description
) -> tuple[dict[tuple[str, str], Path], dict[str, int]]:
    """Return the file of each dataset and embedding, and the dimension of each embedding."""
    files: dict[tuple[str, str], Path] = {}
    dimensions: dict[str, int] = {}
    for entry in description.embedding_files:
        file = folder / entry.path  # an absolute path replaces the folder
        for cell, dimension in list_embeddings(file, description.datasets).items():
            dataset, embedding = cell
            if cell in files:
                raise CorpusError(
                    f"{file}: /{dataset}/{embedding} is also in {files[cell]}; an embedding of a "
                    f"dataset has one source, give one of them another name"
                )
            files[cell] = file
            known = dimensions.setdefault(embedding, dimension)
            if known != dimension:
                raise CorpusError(
                    f"{file}: embedding {embedding!r} of dataset {dataset!r} has {dimension} "
                    f"dimensions, but {known} in another dataset; they must be alike"
                )
    return files, dimensions


def _alike(what: str, names: Iterable[str]) -> list[str]:
    """Say which names differ by case only."""
    by_lower: dict[str, list[str]] = {}
    for name in names:
        by_lower.setdefault(name.casefold(), []).append(name)
    same = [" and ".join(found) for found in by_lower.values() if len(found) > 1]
    shown = "; ".join(same[:3]) + (f" (and {len(same) - 3} more such)" if len(same) > 3 else "")
    told = f"{what}: {shown} differ in upper and lower case only; if they are one, write them alike"
    return [told] if same else []


def relative_path(file: Path, folder: str | os.PathLike[str]) -> str:
    """Return the path from a folder to a file, with forward slashes."""
    try:
        return Path(os.path.relpath(file.resolve(), Path(folder).resolve())).as_posix()
    except ValueError:  # another drive, on Windows
        return file.resolve().as_posix()


def check_free(folder: Path, *more: str) -> None:
    """Raise `CorpusError` if a folder has a part of a corpus or any of `more`, or can have none."""
    try:
        check_outputs(folder / name for name in (FILE_NAME, *FILE_NAMES, *more))
    except ArgumentError as error:
        raise CorpusError(str(error)) from error


class CorpusWriter:
    """Writes a new corpus: `corpus.json`, the clip table, and perhaps embeddings.

    Parameters
    ----------
    path : path
        The folder; made if missing.
    **description
        The fields of `Description`: `name` and `title`; `datasets` and `groups` (sequences of
        str), the values of those columns in order; `targets` (a sequence of `Target`), each a
        column of the clip table; perhaps `embedding_files` that are there already, `provenance`,
        `licences` and `shared_tracks`.
    """

    def __init__(self, path: str | os.PathLike[str], **description: Any) -> None:
        self.path = Path(path)
        if "groups" in description:  # as the column has them, NaN where a clip has none
            groups = description["groups"]
            description["groups"] = [name for name in groups if pd.isna(name) is not True]
        self.description = check_description(Description(**description), self.path)

    def write(
        self,
        clips: pd.DataFrame,
        embeddings: Mapping[str, Mapping[str, tuple[Sequence[str], ArrayLike]]] | None = None,
    ) -> Corpus:
        """Check everything, write it beside, move it into the folder, and return the corpus.

        Parameters
        ----------
        clips : pandas.DataFrame
            As `check_clip_table` wants it.
        embeddings : dict of str to dict, optional
            For each embedding its content, as `write_embedding_file` wants it.

        Raises
        ------
        CorpusError
            If the table or an embedding file breaks a rule, or the folder holds another corpus or
            clip table; nothing is left in it then.
        """
        files = {f"embeddings/{name}.h5": name for name in embeddings or {}}
        check_free(self.path, *files)
        _find_embeddings(self.path, self.description)
        own = [*self.description.embedding_files, *(EmbeddingFile(file, True) for file in files)]
        changed = replace(self.description, embedding_files=own)
        self.description = check_description(changed, self.path)
        target = self.path / FILE_NAMES[0]
        table = check_clip_table(pd.DataFrame(clips), self.description, target)
        is_new = not self.path.exists()
        try:
            with locked(self.path / LOCK, wait=60):
                check_free(self.path, *files)  # another process may have written one meanwhile
                for left in self.path.glob(".corpus.*.partial"):  # of a process that was killed
                    shutil.rmtree(left, ignore_errors=True)
                with TemporaryDirectory(".partial", ".corpus.", self.path) as temporary:
                    beside = Path(temporary)
                    for file, name in files.items():
                        write_embedding_file(beside / file, name, (embeddings or {})[name])
                    try:
                        table.to_parquet(beside / target.name, index=False)
                    except (TypeError, ValueError, NotImplementedError) as error:
                        raise CorpusError(f"{target}: cannot be stored ({error})") from error
                    self.description.save(beside)
                    move_files(beside, self.path)
        finally:
            if is_new:
                with suppress(OSError):  # unless it is empty
                    self.path.rmdir()
        return Corpus.load(self.path)


def _titled(title: str, content: pd.DataFrame | Sequence[str]) -> str:
    """Return a title and the lines below it, set in."""
    if isinstance(content, pd.DataFrame):
        content.columns.names = [None] * content.columns.nlevels
        content = content.to_string().splitlines()
    return "\n".join([title, *(f"  {line}" for line in content)])
