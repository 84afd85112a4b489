"""Clip-level means of large embedding files, kept outside the corpus between runs."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.files import BROKEN_ARRAYS, atomic_path

ENVIRONMENT_VARIABLE = "BIASMIR_CACHE"
# Reading a small file again costs less than a cache entry is worth.
SMALLEST_FILE = 64 << 20


def cache_folder() -> Path:
    """Return the folder of the cache: `$BIASMIR_CACHE`, or the user's cache folder."""
    given = os.environ.get(ENVIRONMENT_VARIABLE)
    if given:
        return Path(given)
    # Late: in a notebook, importing pooch makes tqdm warn that there are no widgets.
    import pooch

    return Path(pooch.os_cache("biasmir"))


def cache_key(path: Path, *parts: object) -> str:
    """Return a key of a file's identity (path, size, time of change) and what is asked of it."""
    status = path.stat()
    identity = [str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ino, *parts]
    return hashlib.sha256(repr(identity).encode()).hexdigest()


def load(key: str) -> dict[str, NDArray] | None:
    """Return the arrays kept under `key`, or None; a broken entry counts as none."""
    try:
        with np.load(cache_folder() / f"{key}.npz", allow_pickle=False) as kept:
            return {name: kept[name] for name in kept.files}
    except BROKEN_ARRAYS:
        return None


def store(key: str, arrays: dict[str, NDArray]) -> None:
    """Keep arrays under `key`; a cache that cannot be written is no error."""
    try:
        with atomic_path(cache_folder() / f"{key}.npz") as temporary:
            np.savez(temporary, **arrays)  # type: ignore[arg-type]
    except OSError:
        return
