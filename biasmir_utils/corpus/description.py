"""`corpus.json`: what a corpus is called, what it holds, and where that came from."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from biasmir_utils.errors import CorpusError
from biasmir_utils.files import json_bytes, read_json, write_json

FORMAT = "biasmir-corpus"
FORMAT_VERSION = 1
FILE_NAME = "corpus.json"
TARGET_KINDS = ("label", "category", "number")
# What JSON must give for each field; the last three may be absent.
_FIELDS = {
    "a non-empty text": (str, ("name", "title")),
    "a list": (list, ("datasets", "groups", "targets", "embedding_files", "licences")),
    "an object": (dict, ("embedding_models", "provenance")),
    "true or false": (bool, ("shared_tracks",)),
}
_ABSENT = {"embedding_models": {}, "provenance": {}, "shared_tracks": False}


@dataclass(frozen=True)
class Target:
    """One thing that can be predicted from an embedding: a column of the clip table.

    Attributes
    ----------
    name : str
        The column.
    kind : {'label', 'category', 'number'}
        `label`: a likelihood in [0, 1], missing = not observed, positive from 0.5;
        `category`: one of several names; `number`: a real number.
    unit : str
        For people; may be empty.
    description : str
        For people; may be empty.
    """

    name: str
    kind: str
    unit: str = ""
    description: str = ""


@dataclass(frozen=True)
class EmbeddingFile:
    """An HDF5 file with embeddings.

    Attributes
    ----------
    path : str
        Relative to the corpus folder, or absolute for a file used in place.
    made_here : bool
        True if the corpus wrote the file; no other file is ever written to.
    """

    path: str
    made_here: bool = False


@dataclass(frozen=True)
class Description:
    """The content of `corpus.json`.

    Attributes
    ----------
    name : str
        A short name for tables.
    title : str
        A name for people.
    datasets : sequence of str
        The values of the clip table's column `dataset`, in order.
    groups : sequence of str
        Those of its column `group`, in order.
    targets : sequence of Target
        What can be predicted, in order; each is a column of the clip table.
    embedding_files : sequence of EmbeddingFile
        The HDF5 files, in order.
    embedding_models : dict
        For each embedding, what made it (source, hop, pooling, sums); empty if unknown.
    provenance : dict
        What made the corpus, from what, with which versions and seeds.
    licences : sequence of dict
        `what`, `licence`, and perhaps `url` and `attribution`.
    shared_tracks : bool
        Whether a track of one name is the same track in all datasets, such as one piece of music
        rendered twice. Otherwise tracks of different datasets are different, whatever they are
        called. In the file only where it is true.
    """

    name: str
    title: str
    datasets: Sequence[str]
    groups: Sequence[str]
    targets: Sequence[Target]
    embedding_files: Sequence[EmbeddingFile] = ()
    embedding_models: dict[str, dict[str, Any]] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    licences: Sequence[Mapping[str, Any]] = ()
    shared_tracks: bool = False

    @property
    def unchecked(self) -> dict[str, str]:
        """Sums of fetched files that nobody had vouched for when the corpus was made, by name."""
        found = self.provenance.get("unchecked")
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}

    def content(self) -> dict[str, Any]:
        """Return what `corpus.json` holds."""
        content = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}
        for target in content["targets"]:
            for optional in ("unit", "description"):
                if isinstance(target, dict) and not target[optional]:
                    del target[optional]
        if not self.shared_tracks:
            del content["shared_tracks"]
        return content

    def save(self, folder: Path) -> None:
        """Write `corpus.json` into `folder`, atomically."""
        write_json(folder / FILE_NAME, self.content())


def load_description(folder: Path) -> Description:
    """Read and check `corpus.json`.

    Parameters
    ----------
    folder : pathlib.Path
        The corpus folder.

    Raises
    ------
    CorpusError
        If the file is missing, is not JSON, has another format or version, lacks a field, or
        a field has the wrong type, a repeated name or an unknown target kind.
    """
    path = folder / FILE_NAME
    if not folder.is_dir():
        raise CorpusError(f"{folder}: no such folder; a corpus is a folder with {FILE_NAME}")
    if not path.is_file():
        raise CorpusError(f"{folder}: not a corpus, it has no {FILE_NAME}")
    try:
        content = read_json(path)
    except ValueError as error:
        raise CorpusError(f"{path}: not valid JSON ({error}); make it anew") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CorpusError(f'{path}: expected a JSON object with "format": "{FORMAT}"')
    if content.get("format_version") != FORMAT_VERSION:
        raise CorpusError(
            f"{path}: format version {content.get('format_version')!r} is unknown, this program "
            f"reads version {FORMAT_VERSION}; use the version of BiasMIR that wrote it, or a newer "
            f"one"
        )
    return _parsed(content, path)


def check_description(description: Description, where: object) -> Description:
    """Return a description as it will be read from `corpus.json`: texts, numbers, lists of them.

    Parameters
    ----------
    description : Description
        Of whatever NumPy and pandas give; see `write_json`.
    where : object
        The file or folder that the message names.

    Raises
    ------
    CorpusError
        As `load_description`; also for what JSON cannot hold, such as NaN.
    """
    try:
        content = json.loads(json_bytes(description.content()))
    except (TypeError, ValueError) as error:
        raise CorpusError(f"{where}: cannot be described in {FILE_NAME} ({error})") from error
    return _parsed(content, where)


def _parsed(content: Mapping[str, Any], where: object) -> Description:
    """Make a description of JSON, with its names as `as_text` has them."""
    found = {**_ABSENT, **content}
    for expected, (kind, keys) in _FIELDS.items():
        for key in keys:
            if not isinstance(found.get(key), kind) or found[key] == "":
                raise CorpusError(f'{where}: "{key}" must be {expected}, found {found.get(key)!r}')
    for key, what in {"targets": "name", "embedding_files": "path"}.items():
        for entry in found[key]:
            if not isinstance(entry, dict) or not isinstance(entry.get(what), str):
                raise CorpusError(f'{where}: "{key}" holds objects with "{what}", found {entry!r}')
    if wrong := [one for one in found["embedding_models"].values() if not isinstance(one, dict)]:
        raise CorpusError(f'{where}: "embedding_models" holds objects, found {wrong[0]!r}')
    datasets, groups = (_names(found[key], f'{where}: "{key}"') for key in ("datasets", "groups"))
    names = _names([entry["name"] for entry in found["targets"]], f'{where}: "targets"')
    if not datasets:
        raise CorpusError(f'{where}: "datasets" is empty; name at least one')
    check_path_names("dataset", datasets, where)
    targets = []
    for name, entry in zip(names, found["targets"], strict=True):
        texts = {key: str(entry.get(key) or "") for key in ("kind", "unit", "description")}
        if texts["kind"] not in TARGET_KINDS:
            raise CorpusError(
                f"{where}: target {name!r} has kind {texts['kind']!r}, "
                f"expected one of {', '.join(TARGET_KINDS)}"
            )
        targets.append(Target(name, **texts))
    files = [EmbeddingFile(e["path"], bool(e.get("made_here"))) for e in found["embedding_files"]]
    found |= {"datasets": datasets, "groups": groups, "targets": targets, "embedding_files": files}
    return Description(**{key: found[key] for _, keys in _FIELDS.values() for key in keys})


def _names(given: Iterable[Any], where: str) -> list[str]:
    """Return names as `as_text` has them, each of which has to be there once."""
    try:
        names = [as_text("" if name is None else name) for name in given]
    except ValueError as error:
        raise CorpusError(f"{where}: {error}") from error
    if "" in names:
        raise CorpusError(f"{where} must hold non-empty texts, found {given!r}")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise CorpusError(f"{where} names {twice[0]!r} more than once")
    return names


def check_path_names(what: str, names: Iterable[str], where: object) -> None:
    """Raise `CorpusError` unless names of datasets or embeddings can be part of an HDF5 path.

    Parameters
    ----------
    what : str
        What is named, for the message.
    names : iterable of str
        The names to check.
    where : object
        The file or folder that the message names.
    """
    for name in names:
        if "/" in name or "\0" in name or not name.strip("."):
            raise CorpusError(
                f"{where}: {what} {name!r} cannot be part of a path in an embedding file; expected "
                f"a name without '/' that is more than dots"
            )


def as_text(cell: Any) -> str:
    """Return a cell, a name or a key as the one text by which names are matched.

    Without blanks around it (no-break spaces are some, too) and in the Unicode form NFC, in which
    a letter and its accent are one character. A whole number that is stored as a float, because
    others are missing, is a name too.

    Raises
    ------
    ValueError
        If it is not one text but a list or the like, is not UTF-8, holds a NUL character, or is
        a whole number that may have been rounded, since floats of its size are not exact.
    """
    if isinstance(cell, bytes):
        cell = cell.decode()
    elif not isinstance(cell, str) and isinstance(cell, Collection):  # slow to ask for
        raise ValueError(f"{cell!r} is a {type(cell).__name__}, expected one text")
    elif isinstance(cell, float | np.floating) and cell.is_integer():
        if abs(float(cell)) >= 2 / float(np.finfo(type(cell)).eps):
            raise ValueError(f"{cell!r} is too large to be exact as a float; store it as a text")
        cell = int(cell)
    text = compose(str(cell))
    text.encode()  # raises for halves of characters, which file names may have
    if "\0" in text:
        raise ValueError(f"{text!r} holds a NUL character; take it out")
    return text


def compose(text: str) -> str:
    """Return a text without blanks around it, its accented letters as one character each."""
    return unicodedata.normalize("NFC", text).strip()
