"""The embeddings by name: each is registered beside its class."""

from __future__ import annotations

import functools
import inspect
import os
from pathlib import Path
from typing import Any, TypeVar

from biasmir_utils.embeddings.base import Embedding
from biasmir_utils.embeddings.external import External
from biasmir_utils.errors import ArgumentError, did_you_mean

_Class = TypeVar("_Class", bound=type[Embedding])
_CLASSES: dict[str, type[Embedding]] = {}


def add_embedding(embedding: _Class) -> _Class:
    """Register a class of embeddings under its name: a decorator, for any module.

    Parameters
    ----------
    embedding : subclass of Embedding
        With the attributes that `Embedding` lists. Its constructor may take `model` (a local
        model, or an address), `download` (whether weights may be downloaded) and `hop` (seconds
        from frame to frame), all with defaults; `load` passes on those that it takes.

    Returns
    -------
    subclass of Embedding
        The same class.

    Raises
    ------
    ArgumentError
        If another class has this name.
    """
    known = _CLASSES.get(embedding.name)
    if known is not None and known.__qualname__ != embedding.__qualname__:
        raise ArgumentError(f"two embeddings are named {embedding.name!r}: {known}, {embedding}")
    _CLASSES[embedding.name] = embedding
    return embedding


def available() -> dict[str, type[Embedding]]:
    """Return the classes of the embeddings that `load` knows, by name.

    Their attributes tell what each is (`summary`, `licence`, `weights`), takes (`sample_rate`,
    in Hz) and gives (`dimension`; `hop` and `window` in seconds).
    """
    return dict(_CLASSES)


def check_known(name: str) -> None:
    """Raise `ArgumentError` for the name of no embedding; what follows a colon is found later."""
    if ":" not in name and name not in _CLASSES:
        raise ArgumentError(
            f"unknown embedding {name!r}; expected one of {', '.join(_CLASSES)}, or "
            f"package.module:Name.{did_you_mean(name, _CLASSES)}"
        )


def load(
    name: str,
    model: str | Path | None = None,
    download: bool = False,
    hop: float | None = None,
) -> Embedding:
    """Load an embedding by name.

    Parameters
    ----------
    name : str
        One of `available()`; or `package.module:Name`, which imports that module, and so runs its
        code with your rights (see `biasmir_utils.embeddings.external`).
    model : str or path, optional
        A local model (folder or file), or an address, instead of the default one. A SavedModel
        (yamnet, vggish) is a program, which runs with your rights: take only one you trust.
    download : bool
        Whether weights that are not on this machine may be downloaded; never without it.
    hop : float, optional
        Seconds from one frame to the next, for an embedding where it can be chosen (openl3).

    Returns
    -------
    Embedding

    Raises
    ------
    ArgumentError
        If the name is unknown, or the embedding takes no model or no hop.
    ModelError
        If the weights, or a package that it needs, are missing.
    DownloadError
        If a download was allowed and failed.
    """
    check_known(name)
    make = functools.partial(External, name) if ":" in name else _CLASSES[name]
    taken = inspect.signature(make).parameters
    given: dict[str, Any] = {"model": model and os.path.expanduser(model), "hop": hop}
    given = {option: value for option, value in given.items() if value is not None}
    for option, value in given.items():
        if option not in taken:
            raise ArgumentError(f"embedding {name!r} takes no {option}, found {str(value)!r}")
    if download and "download" in taken:
        given["download"] = True
    return make(**given)
