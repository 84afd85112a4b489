"""What a data set is: files to fetch, with sums and licence, and how a corpus is made of them.

A data set is added by one file, which calls `add_dataset`. `biasmir fetch NAME` and `biasmir
prepare NAME` then know it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.corpus import (
    SPLITS,
    Corpus,
    CorpusWriter,
    Target,
    cache_folder,
    check_free,
    relative_path,
    row_place,
)
from biasmir_utils.errors import ArgumentError, CorpusError, did_you_mean
from biasmir_utils.files import json_object, sha256, versions

ROOT_VARIABLE = "BIASMIR_DATA"
# Sizes are stated about; what is this many times as large cannot be the file.
MARGIN = 4
LARGEST_UNKNOWN = 30_000_000_000
GENRES = ("pop_rock", "jazz_blue", "classical", "country_folk")
"""The genres of the paper, which both data sets have."""
INSTRUMENTS = (
    *("cello", "clarinet", "flute", "guitar", "organ"),
    *("piano", "saxophone", "trumpet", "violin", "voice"),
)
"""The classes that both data sets have, in the paper's order."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to download.

    Attributes
    ----------
    name : str
        Its name, also on a mirror and in a folder of files on disk; each is there once.
    url : str
        Its address.
    to : str
        What one uses, relative to the root: the file, or the folder that an archive becomes (the
        file, of a ``.gz``).
    sum : str, optional
        ``md5:...`` or ``sha256:...``. Without one it is asked of the record `doi`; without that
        too, it is recorded at the first download.
    doi : str, optional
        Of the record of Zenodo whose interface tells the sum.
    size : int
        Bytes, about; 0 if not known.
    unpacked : int
        Bytes that an archive (``.zip``, ``.tgz``, ``.tar.gz`` or ``.gz``) unpacks to, about; 0 if
        the file is no archive.
    holds : tuple of str
        Files and folders that must be in the archive.
    """

    name: str
    url: str
    to: str
    sum: str | None = None
    doi: str | None = None
    size: int = 0
    unpacked: int = 0
    holds: tuple[str, ...] = ()

    @property
    def kept(self) -> str:
        """Where the downloaded file is kept, relative to the root."""
        return f"downloads/{self.name}" if self.unpacked else self.to

    @property
    def folder(self) -> str:
        """Where the files of an archive go, relative to the root; a ``.gz`` holds one file."""
        many = self.name.endswith((".zip", ".tgz", ".tar.gz"))
        return self.to if many else str(Path(self.to).parent)


@dataclass(frozen=True)
class Dataset:
    """Files that are fetched together, and what is made of them.

    Attributes
    ----------
    name : str
        As in ``biasmir fetch NAME`` and ``biasmir prepare NAME``.
    title : str
        One line for people.
    licence : str
        Said before anything is downloaded.
    page : str
        The address that tells more.
    files : tuple of RemoteFile
        Empty if there is nothing of its own to fetch.
    tables : tuple of str
        The files that a corpus is read from, relative to the root.
    without_group : str
        Why some of its clips have no group, in a few words.
    counts : mapping of str to int
        What the published files must give, of the clips that have a group: the clips of `train`
        and of `test`, and the training clips of each group, or with each label.
    prepare : callable, optional
        Makes a corpus: ``prepare(root, out, **options)`` with the folder of fetched files and the
        corpus folder to make; returns the `Corpus`.
    help : str
        What ``biasmir prepare NAME`` says of itself.
    needs : str
        What the root must hold for that, for the help.
    options : mapping of str to str
        Its flags: the name of a keyword of `prepare`, False by default, and its help.
    """

    name: str
    title: str
    licence: str = ""
    page: str = ""
    files: tuple[RemoteFile, ...] = ()
    tables: tuple[str, ...] = ()
    without_group: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    prepare: Callable[..., Corpus] | None = None
    help: str = ""
    needs: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


DATASETS: dict[str, Dataset] = {}
"""All data sets by name."""


def add_dataset(dataset: Dataset) -> None:
    """Let `fetch`, `prepare` and the command line know a data set, or another one of its name.

    Parameters
    ----------
    dataset : Dataset
        Kept under its `name`.
    """
    DATASETS[dataset.name] = dataset


def find_dataset(name: str, what: str, able: Callable[[Dataset], object]) -> Dataset:
    """Return a data set by its name.

    Parameters
    ----------
    name : str
        As a user gave it.
    what : str
        What is wanted, for the message.
    able : callable
        Tells whether a data set will do.

    Raises
    ------
    ArgumentError
        Naming those that there are.
    """
    known = {name: dataset for name, dataset in DATASETS.items() if able(dataset)}
    if name not in known:
        raise ArgumentError(
            f"no {what} {name!r}; there are {', '.join(known)}.{did_you_mean(name, known)}"
        )
    return known[name]


def default_root(root: str | os.PathLike[str] | None = None) -> Path:
    """Return where fetched files go: `$BIASMIR_DATA`, or `data` in the cache folder.

    The cache folder is `$BIASMIR_CACHE`, or the one that the system gives each user (on Linux
    ``~/.cache/biasmir``).

    Parameters
    ----------
    root : path, optional
        A folder that a user named instead.
    """
    named = root if root is not None else os.environ.get(ROOT_VARIABLE)
    return Path(named).expanduser() if named else cache_folder() / "data"


def prepare(
    name: str,
    out: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    **options: bool,
) -> Corpus:
    """Write the corpus of a data set from the files that `fetch` brings.

    Parameters
    ----------
    name : str
        One that can be prepared, such as openmic, irmas or paper.
    out : path
        The corpus folder to make.
    root : path, optional
        The folder of fetched files; by default `default_root`.
    **options : bool
        Flags of the data set; see `Dataset.options`.

    Raises
    ------
    CorpusError
        Naming the file and row that cannot be used; nothing is written then.
    ArgumentError
        If there is no such data set.
    """
    found = find_dataset(name, "data set", lambda dataset: dataset.prepare)
    assert found.prepare is not None
    check_free(Path(out))
    return found.prepare(default_root(root), out, **options)


# What is recorded under the root of what was fetched: sums, and what an archive was unpacked to.
SUMS = "downloads/sums.json"


def stated_licence(root: Path, dataset: Dataset) -> str:
    """Return the licence of a data set: what the records of its files stated, else what is known.

    Parameters
    ----------
    root : pathlib.Path
        The folder of fetched files, where it is noted what the records stated when `fetch` asked
        them for sums.
    dataset : Dataset
        Whose `licence` is the one known beforehand.
    """
    noted = json_object(root / SUMS)
    stated = dict.fromkeys(noted.get(file.name, {}).get("licence") for file in dataset.files)
    return ", ".join(filter(None, stated)) or dataset.licence


def file_sum(path: Path, algorithm: str = "sha256") -> str:
    """Return the sum of a file as ``sha256:...``, or of another algorithm."""
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def has_sum(path: Path, known: str | None) -> bool:
    """Tell whether a file is there and has this sum, ``md5:...`` or of another algorithm."""
    return bool(known) and path.is_file() and file_sum(path, str(known).split(":")[0]) == known


def unpacked_record(root: Path, file: RemoteFile) -> Path:
    """Return the record of an archive: its sum when it was unpacked, and its files' sizes."""
    return root / "downloads" / f"{file.name}.unpacked.json"


def is_whole(
    root: Path, file: RemoteFile, known: str | None, names: Collection[str] | None = None
) -> bool:
    """Tell whether the files of an archive, or some of them, are there as `fetch` unpacked them.

    Parameters
    ----------
    root : pathlib.Path
        The folder of fetched files.
    file : RemoteFile
        The archive.
    known : str, optional
        The sum that the archive must have had.
    names : collection of str, optional
        The files that must still have their size; by default all.
    """
    record = json_object(unpacked_record(root, file))
    sizes = record.get("files", {})
    return (
        bool(sizes)
        and known in (None, record.get("sum"))
        and all(
            name in sizes
            and (place := root / file.folder / name).is_file()
            and place.stat().st_size == sizes[name]
            for name in names or sizes
        )
    )


def _is_published(root: Path, table: str) -> bool:
    """Tell whether a file under the root is one that was published, or comes from such an archive.

    That is known by the sum which the archive had when `fetch` unpacked it, and the size since.
    """
    for file in (file for dataset in DATASETS.values() for file in dataset.files):
        if file.to == table:
            return has_sum(root / table, file.sum)
        if table.startswith(f"{file.to}/"):
            return is_whole(root, file, file.sum, [table.removeprefix(f"{file.to}/")])
    return False


def _check_counts(root: Path, dataset: Dataset, clips: pd.DataFrame) -> bool:
    """Check that published files give the counts of `Dataset`; tell whether they are published."""
    if not all(_is_published(root, table) for table in dataset.tables):
        return False
    part = clips[clips["group"].notna()]
    train = part[part["split"] == "train"]
    found = {**part["split"].value_counts(), **train["group"].value_counts()}
    for name, expected in dataset.counts.items():
        count = (train[name] >= 0.5).sum() if name in train else found.get(name, 0)
        if count != expected:
            raise CorpusError(
                f"{root}: the files of {dataset.name} are the published ones, but give {count} "
                f"{'' if name in SPLITS else 'training '}clips of {name}, expected {expected}; "
                f"this is an error of BiasMIR, please report it"
            )
    return True


def refuse_rows(
    path: Path, table: pd.DataFrame, columns: Sequence[str], problems: Mapping[str, pd.Series]
) -> None:
    """Raise `CorpusError` for the first row that has a problem.

    Parameters
    ----------
    path : pathlib.Path
        The file, for the message.
    table : pandas.DataFrame
        As `read_table_file` gives it, whose index holds the lines.
    columns : sequence of str
        Those whose cells are shown.
    problems : mapping of str to pandas.Series
        For each kind, in words, a mask of the rows that have it.
    """
    for what, wrong in problems.items():
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            cells = ", ".join(repr(table[column].iloc[row]) for column in columns)
            raise CorpusError(f"{path}, {row_place(table, row)}: {what} ({cells})")


def existing(path: Path, source: str, otherwise: str = "") -> Path:
    """Return the path of a fetched file; `CorpusError` if it is not there.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    source : str
        The data set that `biasmir fetch` brings it with.
    otherwise : str
        What else can be done, to go on the message with.
    """
    if not path.is_file():
        raise CorpusError(
            f"{path}: no such file; run `biasmir fetch {source}` first (with the same --root)"
            f"{otherwise}"
        )
    return path


def with_audio(
    table: pd.DataFrame, folder: Path, files: Mapping[str, Path], out: str | os.PathLike[str]
) -> pd.DataFrame:
    """Return a clip table with the column `audio`: paths relative to the corpus folder.

    Parameters
    ----------
    table : pandas.DataFrame
        The clips of one data set: columns `dataset` and `clip`.
    folder : pathlib.Path
        Where its audio is looked for.
    files : mapping of str to pathlib.Path
        The sound file of each clip that has one; the others have NaN then.
    out : path
        The corpus folder.

    Raises
    ------
    CorpusError
        If no clip has a file.
    """
    if not files:
        dataset = table["dataset"].iloc[0]
        raise CorpusError(
            f"{folder}: no audio of {dataset}; run `biasmir fetch {dataset}` first (with the same "
            f"--root)"
        )
    paths = [relative_path(files[clip], out) if clip in files else np.nan for clip in table["clip"]]
    return table.assign(audio=pd.Series(paths, index=table.index, dtype=object))


def write_corpus(
    out: str | os.PathLike[str],
    root: Path,
    tables: Mapping[str, pd.DataFrame],
    used: Path,
    labels: Sequence[str],
    *,
    name: str,
    flags: str = "",
    only_groups: bool = False,
    **about: Any,
) -> Corpus:
    """Write a corpus of published data sets, and what it was made from.

    Parameters
    ----------
    out : path
        The corpus folder to make.
    root : pathlib.Path
        The folder of fetched files.
    tables : mapping of str to pandas.DataFrame
        The clips of each data set, as `CorpusWriter.write` wants them. Of several, metadata that
        one of them lacks are left out.
    used : pathlib.Path
        The file or folder under the root that the corpus uses in place.
    labels : sequence of str
        The targets.
    name : str
        Of the corpus, which is that of the data set in ``biasmir prepare``.
    flags : str
        What else stood in that command, for the record.
    only_groups : bool
        Whether clips without a group are left out.
    **about
        Title and perhaps embedding files; see `CorpusWriter`.

    Raises
    ------
    CorpusError
        If published files give other counts than `Dataset.counts`.
    """
    sources = {table: root / table for dataset in tables for table in DATASETS[dataset].tables}
    files = [path.absolute() for path in (*sources.values(), used)]

    def is_used(place: str) -> bool:
        """Tell whether something is made from what was fetched to a place under the root."""
        return any(file.is_relative_to((root / place).absolute()) for file in files)

    kept = {
        dataset: table.dropna(subset="group") if only_groups else table
        for dataset, table in tables.items()
    }
    without_group = {
        dataset: {DATASETS[dataset].without_group: int(table["group"].isna().sum())}
        for dataset, table in tables.items()
    }
    provenance = {
        "versions": versions("numpy", "pandas"),
        "sources": {table: sha256(path) for table, path in sources.items()},
        "unchecked": {
            entry["became"]: str(entry.get("sum"))
            for entry in json_object(root / SUMS).values()
            if entry.get("unchecked") and is_used(entry["became"])
        },
        "made_by": f"biasmir prepare {name}{flags}",
        "left_out" if only_groups else "without_group": without_group,
        "without_audio": {
            dataset: int(table["audio"].isna().sum())
            for dataset, table in kept.items()
            if "audio" in table
        },
        "counts_as_published": {
            dataset: _check_counts(root, DATASETS[dataset], table)
            for dataset, table in tables.items()
        },
    }
    writer = CorpusWriter(
        out,
        name=name,
        datasets=list(tables),
        groups=GENRES,
        targets=[Target(label, "label") for label in labels],
        provenance=provenance,
        licences=[
            {"what": one.title, "licence": stated_licence(root, one), "url": one.page}
            for one in DATASETS.values()
            if any(is_used(file.to) for file in one.files)
        ],
        **about,
    )
    return writer.write(pd.concat(kept.values(), join="inner", ignore_index=True))
