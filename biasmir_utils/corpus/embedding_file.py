"""Embedding files: `/<dataset>/<embedding>/features` and `/keys` in HDF5.

This is the layout of the file that the paper's authors published, so theirs is read in place.
Several rows with one key are the frames of one clip. Files that BiasMIR writes may also hold
`skipped_keys` and `skipped_reasons`: the clips that were tried and left out.

Means over the frames of large files are kept between runs in the cache (`cache_folder`).
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from biasmir_utils.corpus.clip_table import as_texts
from biasmir_utils.corpus.description import as_text, check_path_names
from biasmir_utils.errors import BiasMIRError, CorpusError
from biasmir_utils.files import BROKEN_ARRAYS, atomic_path

CHUNK_BYTES = 64 << 20
SMALL_BYTES = 8 << 20
# Reading a smaller file again costs less than a cache entry is worth.
SMALLEST_CACHED = 64 << 20


@contextmanager
def open_embedding_file(path: Path, names: Sequence[str] = ()) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, all of whose numbers lie in the file itself.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    names : sequence of str
        The dataset, or dataset and embedding, to look into; by default all are checked.

    Raises
    ------
    CorpusError
        If it is missing, cannot be read (also later, inside the `with`), leads to other files or
        has parts that were never written.
    """
    if not path.is_file():
        raise CorpusError(
            f"{path}: no such embedding file; put it back, or take it out of corpus.json"
        )
    try:
        with h5py.File(path, "r") as file:
            _check_storage(file, path, names)
            yield file
    except BiasMIRError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise CorpusError(
            f"{path}: not a readable HDF5 file, perhaps truncated or damaged ({error}); fetch or "
            f"make it anew"
        ) from error


def _check_storage(
    group: h5py.Group, path: Path, names: Sequence[str] = (), depth: int = 3
) -> None:
    """Raise `CorpusError` if datasets, embeddings or their arrays are not whole, or elsewhere."""
    for name in group:
        if names and as_text(name) != names[0]:
            continue
        is_link = not isinstance(group.get(name, getlink=True), h5py.HardLink)
        member = None if is_link else group[name]
        if isinstance(member, h5py.Group) and depth > 1:
            _check_storage(member, path, names[1:], depth - 1)
        fault = _fault(member) if isinstance(member, h5py.Dataset) else ""
        if is_link or fault:
            raise CorpusError(
                f"{path}: {group.name.rstrip('/')}/{name} {fault or 'is a link'}; write the "
                f"file anew with all its numbers in it, as they are or with gzip"
            )


def _fault(data: h5py.Dataset) -> str:
    """Tell why the numbers of an array cannot all be read from its own file, if so."""
    storage = data.id.get_create_plist()
    filters = [storage.get_filter(number) for number in range(storage.get_nfilters())]
    for code, _, _, name in filters:
        if not h5py.h5z.filter_avail(code):
            said = f" ({name.decode()})" if name else ""
            return f"is compressed by filter {code}{said}, which is not installed here"
    if data.is_virtual or data.external:
        return "lies in other files"
    if data.chunks is None:
        needed, there = (data.size or 0) * data.dtype.itemsize, data.id.get_storage_size()
    else:
        blocks = zip(data.shape, data.chunks, strict=True)
        needed, there = math.prod(-(-n // size) for n, size in blocks), data.id.get_num_chunks()
    return "has parts that were never written" if there < needed else ""


@contextmanager
def open_embedding(path: Path, dataset: str, embedding: str) -> Iterator[h5py.Group]:
    """Open the group of an embedding, whose names are matched as `as_text` has them."""
    with open_embedding_file(path, (dataset, embedding)) as group:
        for wanted in (dataset, embedding):
            group = group[next((name for name in group if as_text(name) == wanted), wanted)]
        yield group


def list_embeddings(path: Path, datasets: Sequence[str]) -> dict[tuple[str, str], int]:
    """Return the dimension of each `(dataset, embedding)` in a file.

    Raises
    ------
    CorpusError
        If a group lacks `features` or `keys`, their lengths differ, or the features are not a
        matrix of floats with at least one column.
    """
    found: dict[tuple[str, str], int] = {}
    with open_embedding_file(path) as file:
        groups = {as_text(name): group for name, group in file.items()}
        for dataset in datasets:
            group = groups.get(dataset)
            for name, member in group.items() if isinstance(group, h5py.Group) else ():
                where = f"{path}, {member.name}"
                if not isinstance(member, h5py.Group) or not {"features", "keys"} <= set(member):
                    raise CorpusError(f"{where}: expected the datasets 'features' and 'keys'")
                features, keys = member["features"], member["keys"]
                if features.ndim != 2 or features.shape[1] < 1 or features.dtype.kind != "f":
                    raise CorpusError(
                        f"{where}/features: expected floats, rows x dimensions, found "
                        f"{features.dtype} of shape {features.shape}"
                    )
                if keys.shape != (len(features),):
                    raise CorpusError(
                        f"{where}: {len(features)} rows of features but keys of shape {keys.shape};"
                        f" each row needs the name of its clip"
                    )
                found[dataset, as_text(name)] = int(features.shape[1])
    return found


def read_keys(group: h5py.Group, name: str = "keys", rows: slice = slice(None)) -> NDArray[np.str_]:
    """Return the clip names of a group's rows (see `as_text`) as an array of texts."""
    keys = pd.Series(group[name][rows].tolist(), name=name, dtype=object)
    where = f"{group.file.filename}, {group.name}"
    return as_texts(keys, where).fillna("").to_numpy(str)


def _mean_over_frames(
    path: Path, dataset: str, embedding: str, clips: Sequence[str]
) -> tuple[NDArray[np.float32], int]:
    """Average the frames of each clip in one pass: sums in float64, and one block of rows."""
    with open_embedding(path, dataset, embedding) as group:
        features = group["features"]
        keys = read_keys(group)
        clip_of_row = pd.Index(clips).get_indexer(pd.Index(keys))
        sums = np.zeros((len(clips), features.shape[1]))
        counts = np.bincount(clip_of_row[clip_of_row >= 0], minlength=len(clips))
        step = max(1, CHUNK_BYTES // (8 * features.shape[1]))
        for start in range(0, len(features), step):
            owners = clip_of_row[start : start + step]
            order = np.argsort(owners, kind="stable")
            order = order[owners[order] >= 0]
            if not len(order):
                continue
            block = features[start : start + step].astype(np.float64)
            owners = owners[order]
            starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
            sums[owners[starts]] += np.add.reduceat(block[order], starts, axis=0)
    broken = ~np.isfinite(sums).all(axis=1)
    if broken.any():
        clip = clips[int(np.flatnonzero(broken)[0])]
        raise CorpusError(
            f"{path}: dataset {dataset!r}, embedding {embedding!r}, clip {clip!r}: the features "
            f"hold NaN or infinite values ({int(broken.sum())} such clips); extract it anew"
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (sums / counts[:, None]).astype(np.float32)
    return means, len(set(keys[clip_of_row < 0]))


def cache_folder() -> Path:
    """Return the folder of the cache: `$BIASMIR_CACHE`, or the user's cache folder."""
    if given := os.environ.get("BIASMIR_CACHE"):
        return Path(given)
    # Late: in a notebook, importing pooch makes tqdm warn that there are no widgets.
    import pooch

    return Path(pooch.os_cache("biasmir"))


def pooled_embedding(
    path: Path, dataset: str, embedding: str, clips: Sequence[str]
) -> tuple[NDArray[np.float32], int]:
    """Average the frames of each clip, in bounded memory; of a large file once for all runs.

    Parameters
    ----------
    path, dataset, embedding
        The group `/<dataset>/<embedding>` of the file, whose rows may stand in any order.
    clips : sequence of str, length n
        The clips wanted, in this order.

    Returns
    -------
    means : ndarray of shape (n, D), float32
        NaN for a clip with no frames in the file.
    n_unlisted : int
        Clips of the file that are not in `clips`.

    Raises
    ------
    CorpusError
        If a feature of a wanted clip is NaN or infinite; it names the clip.
    """
    status = path.stat()
    if status.st_size < SMALLEST_CACHED:
        return _mean_over_frames(path, dataset, embedding, clips)
    listing = hashlib.sha256("\0".join(clips).encode()).hexdigest()
    identity = [str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ino]
    asked = [*identity, dataset, embedding, listing, "mean over frames, 1"]
    kept = cache_folder() / f"{hashlib.sha256(repr(asked).encode()).hexdigest()}.npz"
    try:
        with np.load(kept, allow_pickle=False) as arrays:
            return arrays["means"], int(arrays["unlisted"])
    except BROKEN_ARRAYS:
        means, unlisted = _mean_over_frames(path, dataset, embedding, clips)
    with suppress(OSError), atomic_path(kept) as temporary:  # a cache that cannot be written
        np.savez(temporary, means=means, unlisted=unlisted)
    return means, unlisted


def read_frames(path: Path, dataset: str, embedding: str, clip: str) -> NDArray[np.float32]:
    """Return the frames of one clip, of shape (frames, D), in the order of the file."""
    with open_embedding(path, dataset, embedding) as group:
        return group["features"][read_keys(group) == clip].astype(np.float32)


def read_skipped(path: Path, dataset: str, embedding: str) -> dict[str, str]:
    """Return the clips that extraction left out, with the reasons."""
    with open_embedding(path, dataset, embedding) as group:
        if "skipped_keys" not in group:
            return {}
        columns = [read_keys(group, f"skipped_{what}").tolist() for what in ("keys", "reasons")]
        return dict(zip(*columns, strict=True))


class _Output(io.FileIO):
    """A file that HDF5 can always close: it ends the process where a write fails on closing."""

    error: OSError | None = None

    def _try(self, action: Callable[..., int], *arguments: Any) -> int:
        """Do something, unless it or another thing failed."""
        try:
            return action(*arguments) if self.error is None else 0
        except OSError as error:
            self.error = error
            return 0

    def write(self, data: Any) -> int:
        """Write all, or remember why not."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        while len(rest) and self.error is None:
            rest = rest[self._try(super().write, rest) :]
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the size, or remember why not."""
        return self._try(super().truncate, size)


@contextmanager
def create_embedding_file(path: Path, **options: Any) -> Iterator[h5py.File]:
    """Open a new HDF5 file for writing; in the end it is on the disk, or an error is raised.

    Parameters
    ----------
    path : pathlib.Path
        The file, such as one of `atomic_path`; replaced if it exists.
    **options
        For `h5py.File`.

    Raises
    ------
    OSError
        Naming the file, if the disk is full, for instance.
    """
    with _Output(path, "w+") as output:
        try:
            with h5py.File(output, "w", **options) as file:
                yield file
        finally:
            if output.error is not None:
                output.error.filename = str(path)
                raise output.error
        os.fsync(output.fileno())


def write_embedding_file(
    path: Path,
    embedding: str,
    content: Mapping[str, tuple[Sequence[str], ArrayLike]],
    *,
    skipped: Mapping[str, Mapping[str, str]] | None = None,
    dtype: str = "float32",
) -> None:
    """Write an embedding file with one embedding, atomically.

    Parameters
    ----------
    path : pathlib.Path
        The file; replaced as a whole if it exists.
    embedding : str
        Name of the embedding.
    content : dict of str to (keys, features)
        For each dataset the clip of each row, and the features of shape (rows, D).
    skipped : dict of str to dict, optional
        For each dataset the clips left out, with the reason.
    dtype : {'float32', 'float16'}
        How features are stored, with gzip compression.
    """
    check_path_names("dataset", content, path)
    check_path_names("embedding", [embedding], path)
    with atomic_path(path) as temporary, create_embedding_file(temporary) as file:
        for dataset, (keys, features) in content.items():
            features = np.asarray(features, dtype=dtype)
            if features.ndim != 2 or len(keys) != len(features):
                raise CorpusError(
                    f"{path}, /{dataset}/{embedding}: {len(keys)} keys for features of shape "
                    f"{features.shape}; each row needs one key"
                )
            small = features.nbytes <= SMALL_BYTES
            # A small array is read as a whole, and its columns compress better than its rows.
            rows, columns = (len(features), 16) if small else (256, features.shape[1])
            storage = {
                "compression": 9 if small else 4,  # levels of gzip
                "shuffle": True,
                "chunks": (min(rows, len(features)), min(columns, features.shape[1])),
            }
            group = file.create_group(f"{dataset}/{embedding}")
            group.create_dataset("features", data=features, **storage if features.size else {})
            left_out = (skipped or {}).get(dataset, {})
            texts: dict[str, Iterable[str]] = {"keys": keys}
            if left_out:
                texts |= {"skipped_keys": left_out, "skipped_reasons": left_out.values()}
            for name, listed in texts.items():
                column = pd.Series(list(listed), name=name, dtype=object)
                encoded = as_texts(column, f"{path}, {group.name}").fillna("").map(str.encode)
                group.create_dataset(name, data=np.array(encoded.tolist(), dtype="S"))
