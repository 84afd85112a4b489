"""What can be fetched: addresses, sums, sizes and licences, as a table (`registry.json`).

A table of one's own in the same format (``biasmir fetch --registry FILE``) replaces the sources
that it lists: for another version of a data set, or for small archives to try the whole chain.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

from biasmir_utils.errors import ArgumentError, did_you_mean

FORMAT = "biasmir-registry"
FORMAT_VERSION = 1
_SUM = re.compile(r"(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})")


@dataclass(frozen=True)
class Product:
    """What becomes of an archive.

    Attributes
    ----------
    to : str
        The folder (or the file, of a ``.gz``), relative to the root.
    size : int
        Bytes that it takes, about.
    largest : int
        Bytes above which the archive is not unpacked.
    members : int
        Members above which it is not unpacked.
    holds : tuple of str
        Files and folders that must be in it.
    sum : str, optional
        Of the file that a ``.gz`` holds.
    """

    to: str
    size: int
    largest: int
    members: int = 1
    holds: tuple[str, ...] = ()
    sum: str | None = None


@dataclass(frozen=True)
class RemoteFile:
    """A file to download.

    Attributes
    ----------
    name : str
        Its name, also on a mirror and in a folder of files on disk; each is there once.
    url : str
        Its address.
    sum : str, optional
        ``md5:...`` or ``sha256:...``. Without one it is asked of the `doi`; without that too,
        it is recorded at the first download.
    doi : str, optional
        The record whose interface tells the sum.
    size : int
        Bytes, about; 0 if not known.
    largest : int, optional
        Bytes above which it cannot be the file.
    to : str
        Where it is kept, relative to the root.
    unpack : Product, optional
        The folder that becomes of it, if it is an archive.
    gunzip : Product, optional
        The file that becomes of it, if it is one compressed file.
    """

    name: str
    url: str
    to: str
    sum: str | None = None
    doi: str | None = None
    size: int = 0
    largest: int | None = None
    unpack: Product | None = None
    gunzip: Product | None = None

    @property
    def product(self) -> Product | None:
        """What the archive unpacks to; None if the file is used as it is."""
        return self.unpack or self.gunzip

    @property
    def result(self) -> str:
        """Where what one uses stands, relative to the root."""
        return self.product.to if self.product else self.to


@dataclass(frozen=True)
class Source:
    """Files that belong together: a data set, the paper's files, the networks."""

    name: str
    title: str
    licence: str
    page: str
    files: tuple[RemoteFile, ...]


@dataclass(frozen=True)
class Registry:
    """The sources that can be fetched, by name."""

    sources: Mapping[str, Source]

    def __getitem__(self, name: str) -> Source:
        try:
            return self.sources[name]
        except KeyError:
            raise ArgumentError(
                f"no source {name!r}; there are {', '.join(self.sources)}."
                f"{did_you_mean(name, self.sources)}"
            ) from None

    def file(self, name: str) -> RemoteFile:
        """Return the file of this name, whatever its source."""
        for source in self.sources.values():
            for file in source.files:
                if file.name == name:
                    return file
        raise ArgumentError(f"no file {name!r} in the table of sources")

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None) -> Registry:
        """Read the project's table, with the sources of another one in place of its own.

        Parameters
        ----------
        path : path, optional
            A table in the format of `registry.json`.

        Raises
        ------
        ArgumentError
            Naming the table, the source and the entry that cannot be used.
        """
        own = files("biasmir_utils.datasets").joinpath("registry.json").read_text(encoding="utf-8")
        sources = _parse(own, "registry.json")
        if path is not None:
            try:
                text = Path(path).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ArgumentError(f"{path}: cannot be read ({error})") from error
            sources.update(_parse(text, str(path)))
        names = [file.name for source in sources.values() for file in source.files]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ArgumentError(f"{path}: the file name {twice[0]!r} is there twice")
        return cls(sources)


class _Entry:
    """An object of the table, read key by key; what is left over is an error."""

    def __init__(self, content: Any, where: str) -> None:
        if not isinstance(content, dict):
            raise ArgumentError(f"{where}: expected an object, got {content!r}")
        self.content, self.where = dict(content), where

    def text(self, key: str, default: str | None = None) -> str:
        return self._take(key, str, default)

    def number(self, key: str, default: int | None = None) -> int:
        value = self._take(key, int, default)
        if value < 0:
            raise ArgumentError(f"{self.where}: {key!r} is {value}, expected 0 or more bytes")
        return value

    def sum(self) -> str | None:
        value = self.text("sum", "")
        if value and not _SUM.fullmatch(value):
            raise ArgumentError(
                f"{self.where}: the sum is {value!r}, expected 'md5:' or 'sha256:' and the sum "
                f"in lower-case hexadecimal"
            )
        return value or None

    def inside(self, key: str, default: str | None = None) -> str:
        """Return a path that stays inside the root."""
        value = self.text(key, default)
        path = PurePosixPath(value)
        unsafe = path.is_absolute() or ".." in path.parts or "\\" in value or ":" in value
        if unsafe or path.name == "" or value != str(path):
            raise ArgumentError(
                f"{self.where}: {key!r} is {value!r}, expected a path inside the root, such as "
                f"paper/embeddings.h5"
            )
        return value

    def list(self, key: str, kind: type) -> list[Any]:
        value = self.content.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
            raise ArgumentError(f"{self.where}: {key!r} is not a list of what it should be")
        return value

    def optional(self, key: str) -> _Entry | None:
        value = self.content.pop(key, None)
        return None if value is None else _Entry(value, f"{self.where}, {key}")

    def end(self) -> None:
        if self.content:
            raise ArgumentError(f"{self.where}: unknown entry {next(iter(self.content))!r}")

    def _take(self, key: str, kind: type, default: Any) -> Any:
        value = self.content.pop(key, default)
        if not isinstance(value, kind) or isinstance(value, bool):
            what = "text" if kind is str else "a whole number"
            raise ArgumentError(f"{self.where}: {key!r} is {value!r}, expected {what}")
        return value


def _parse(text: str, where: str) -> dict[str, Source]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ArgumentError(f"{where}: no JSON ({error})") from error
    top = _Entry(content, where)
    version = (top.text("format", ""), top.number("format_version", 0))
    if version != (FORMAT, FORMAT_VERSION):
        raise ArgumentError(
            f"{where}: format {version[0]!r} version {version[1]}, expected {FORMAT!r} version "
            f"{FORMAT_VERSION}"
        )
    listed = top.optional("sources")
    top.end()
    entries = listed.content if listed else {}
    return {name: _source(name, entry, f"{where}, {name}") for name, entry in entries.items()}


def _source(name: str, content: Any, where: str) -> Source:
    entry = _Entry(content, where)
    source = Source(
        name,
        entry.text("title"),
        entry.text("licence"),
        entry.text("page"),
        tuple(_file(item, where) for item in entry.list("files", dict)),
    )
    entry.end()
    return source


def _file(content: Any, where: str) -> RemoteFile:
    entry = _Entry(content, where)
    name = entry.inside("name")
    entry.where = f"{where}, {name}"
    if "/" in name:
        raise ArgumentError(f"{entry.where}: a file name has no folder")
    file = RemoteFile(
        name=name,
        url=entry.text("url"),
        to=entry.inside("to", f"downloads/{name}"),
        sum=entry.sum(),
        doi=entry.text("doi", "") or None,
        size=entry.number("size", 0),
        largest=entry.number("largest", 0) or None,
        unpack=_product(entry.optional("unpack")),
        gunzip=_product(entry.optional("gunzip")),
    )
    if file.unpack and file.gunzip:
        raise ArgumentError(f"{entry.where}: 'unpack' or 'gunzip', not both")
    entry.end()
    return file


def _product(entry: _Entry | None) -> Product | None:
    if entry is None:
        return None
    product = Product(
        to=entry.inside("to"),
        size=entry.number("size", 0),
        largest=entry.number("largest"),
        members=entry.number("members", 1),
        holds=tuple(entry.list("holds", str)),
        sum=entry.sum(),
    )
    entry.end()
    return product
