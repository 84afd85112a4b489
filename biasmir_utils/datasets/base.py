"""What a data set is: files to fetch, with sums and licence, and how a corpus is made of them.

A data set is added by one file, which calls `add_dataset`. `biasmir fetch NAME` and `biasmir
prepare NAME` then know it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from biasmir_utils.corpus import Corpus, cache_folder
from biasmir_utils.errors import ArgumentError, did_you_mean

ROOT_VARIABLE = "BIASMIR_DATA"
# Sizes are stated about; what is this many times as large cannot be the file.
MARGIN = 4
LARGEST_UNKNOWN = 30_000_000_000


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
    unpacked_sum : str, optional
        Of the file that a ``.gz`` holds.
    """

    name: str
    url: str
    to: str
    sum: str | None = None
    doi: str | None = None
    size: int = 0
    unpacked: int = 0
    holds: tuple[str, ...] = ()
    unpacked_sum: str | None = None

    @property
    def largest(self) -> int:
        """Bytes above which it cannot be the file."""
        return MARGIN * self.size or LARGEST_UNKNOWN

    @property
    def kept(self) -> str:
        """Where the downloaded file is kept, relative to the root."""
        return f"downloads/{self.name}" if self.unpacked else self.to


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
        See there.
    """
    DATASETS[dataset.name] = dataset


def default_root() -> Path:
    """Return where fetched files go: `$BIASMIR_DATA`, or `data` in the cache folder.

    The cache folder is `$BIASMIR_CACHE`, or the one that the system gives each user (on Linux
    ``~/.cache/biasmir``).
    """
    named = os.environ.get(ROOT_VARIABLE)
    return Path(named).expanduser() if named else cache_folder() / "data"


def place_of(root: str | os.PathLike[str] | None) -> Path:
    """Return the root that was named, or else the default one."""
    return Path(root).expanduser() if root is not None else default_root()


def to_fetch(name: str) -> Dataset:
    """Return a data set that has files to fetch.

    Raises
    ------
    ArgumentError
        Naming those that there are.
    """
    return _known(name, "source", {n: d for n, d in DATASETS.items() if d.files})


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
    found = _known(name, "data set", {n: d for n, d in DATASETS.items() if d.prepare})
    assert found.prepare is not None
    return found.prepare(place_of(root), out, **options)


def _known(name: str, what: str, known: Mapping[str, Dataset]) -> Dataset:
    if name not in known:
        raise ArgumentError(
            f"no {what} {name!r}; there are {', '.join(known)}.{did_you_mean(name, known)}"
        )
    return known[name]
