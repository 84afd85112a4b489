"""Finished parts of an extraction, kept beside the target until they are joined to one file.

`<name>.parts/` holds `record.json` (what makes the vectors) and one `.npz` for each part, which
is whole or absent. `biasmir_utils.embeddings.joining` makes the target from them.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.embeddings.base import Features, identity
from biasmir_utils.errors import CorpusError
from biasmir_utils.files import BROKEN_ARRAYS, atomic_path, write_json

Key = tuple[str, str]
"""A dataset and a clip of it."""


@dataclass
class Part:
    """What became of some clips: frames, or the reason why there are none.

    Attributes
    ----------
    frames : dict of (dataset, clip) to ndarray of shape (frames, D)
    skipped : dict of (dataset, clip) to str
        Clips left out, with the reason.
    noted : dict of (dataset, clip) to str
        Clips embedded that deserve a look, with what was seen.
    """

    frames: dict[Key, Features] = field(default_factory=dict)
    skipped: dict[Key, str] = field(default_factory=dict)
    noted: dict[Key, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frames) + len(self.skipped)

    @property
    def nbytes(self) -> int:
        """Bytes of all frames."""
        return sum(frames.nbytes for frames in self.frames.values())


@dataclass
class Contents:
    """Which clips a set of files has, and where.

    Attributes
    ----------
    rows : dict of (dataset, clip) to (source, first row, count) runs
        In the order of the source; a source is a part or the target's group.
    skipped : dict of (dataset, clip) to str
    noted : dict of (dataset, clip) to str
    """

    rows: dict[Key, list[tuple[Path, int, int]]] = field(default_factory=dict)
    skipped: dict[Key, str] = field(default_factory=dict)
    noted: dict[Key, str] = field(default_factory=dict)

    def tried(self) -> set[Key]:
        """Return the clips that are embedded or were left out."""
        return set(self.rows) | set(self.skipped)

    def update(self, newer: Contents) -> None:
        """Take over what newer files say: a clip embedded there is no longer skipped."""
        for key in newer.tried():
            self.skipped.pop(key, None)
            self.noted.pop(key, None)
            if key in newer.rows:
                self.rows[key] = newer.rows[key]
        self.skipped.update(
            {key: why for key, why in newer.skipped.items() if key not in self.rows}
        )
        self.noted.update(newer.noted)


class PartStore:
    """The parts folder of one target file, held by one process at a time.

    Use `PartStore.hold`, which locks it.
    """

    def __init__(self, target: Path, embedding: str) -> None:
        self.target = target
        self.embedding = embedding
        self.folder = folder_of(target)

    @classmethod
    @contextmanager
    def hold(cls, target: Path, embedding: str, record: Mapping[str, Any]) -> Iterator[PartStore]:
        """Open the folder, or make it, for a model with this record.

        Raises
        ------
        CorpusError
            If another process holds it, or its parts were made by another model.
        """
        store = cls(target, embedding)
        store.folder.mkdir(parents=True, exist_ok=True)
        with _locked(store.folder / "lock"):
            kept = store.folder / "record.json"
            if kept.is_file() and any(store.folder.glob("part-*.npz")):
                check_same_source(
                    _read_json(kept),
                    record,
                    f"{store.folder} (unfinished parts)",
                    f"remove the folder {store.folder}",
                )
            else:
                write_json(kept, dict(record))
            # What a killed process was writing.
            for stale in [
                *store.folder.glob(".*.partial.*"),
                *target.parent.glob(f".{target.stem}.*.partial{target.suffix}"),
            ]:
                stale.unlink(missing_ok=True)
            yield store
        if not kept.is_file():  # removed: nothing but the lock is left
            with suppress(OSError):
                (store.folder / "lock").unlink()
                store.folder.rmdir()

    def write(self, part: Part) -> None:
        """Keep a finished part; it is whole on disk before this returns."""
        keys = [*part.frames, *part.skipped]
        name = hashlib.sha256(repr(keys).encode()).hexdigest()[:16]
        arrays: dict[str, NDArray[Any]] = {
            "counts": np.array([len(frames) for frames in part.frames.values()], np.int64),
            "features": np.concatenate(list(part.frames.values()))
            if part.frames
            else np.empty((0, 0), np.float32),
        }
        for kind, mapping in (("frames", part.frames), ("skipped", part.skipped)):
            arrays[f"{kind}_datasets"] = _texts([dataset for dataset, _ in mapping])
            arrays[f"{kind}_clips"] = _texts([clip for _, clip in mapping])
        arrays["reasons"] = _texts(list(part.skipped.values()))
        arrays["notes"] = _texts([part.noted.get(key, "") for key in part.frames])
        path = self.folder / f"part-{name}.npz"
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())

    def contents(self) -> Contents:
        """Return what the parts have; a damaged part counts as unfinished and is removed."""
        found = Contents()
        for path in sorted(self.folder.glob("part-*.npz"), key=lambda p: p.stat().st_mtime_ns):
            try:
                found.update(_part_contents(path))
            except BROKEN_ARRAYS:
                path.unlink()
        return found

    def remove(self) -> None:
        """Remove the folder, the record last, so that what is left is always understood."""
        for path in self.folder.glob("part-*.npz"):
            path.unlink()
        (self.folder / "record.json").unlink(missing_ok=True)


def folder_of(target: Path) -> Path:
    """Return the parts folder of a target file."""
    return target.with_name(f"{target.stem}.parts")


def check_same_source(
    kept: Mapping[str, Any],
    now: Mapping[str, Any],
    where: str,
    remedy: str = "remove the old ones first",
) -> None:
    """Raise `CorpusError` if two records would put different vectors under one name."""
    old, new = identity(dict(kept)), identity(dict(now))
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    if changed:
        difference = "; ".join(
            text for key in changed for text in _differences(key, old.get(key), new.get(key))
        )
        raise CorpusError(
            f"{where}: made from another source ({difference}). Vectors of two sources cannot "
            f"share a name: use the same model and options, or {remedy}"
        )


def _differences(name: str, old: Any, new: Any) -> list[str]:
    """Return in words what differs, and nothing of what is alike inside of two dicts."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return [f"{name}: {old} there, {new} now"]
    return [
        text
        for key in {**old, **new}
        if old.get(key) != new.get(key)
        for text in _differences(f"{name}.{key}", old.get(key), new.get(key))
    ]


@lru_cache(maxsize=2)
def part_features(path: Path) -> NDArray[Any]:
    """Return the rows of a part; the last two parts read stay in memory."""
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["features"]


def _part_contents(path: Path) -> Contents:
    found = Contents()
    with np.load(path, allow_pickle=False) as arrays:
        keys = zip(arrays["frames_datasets"].tolist(), arrays["frames_clips"].tolist(), strict=True)
        counts = arrays["counts"]
        starts = np.cumsum(counts) - counts
        for key, start, count, note in zip(
            keys, starts.tolist(), counts.tolist(), arrays["notes"].tolist(), strict=True
        ):
            found.rows[key] = [(path, start, count)]
            if note:
                found.noted[key] = note
        left_out = zip(
            arrays["skipped_datasets"].tolist(), arrays["skipped_clips"].tolist(), strict=True
        )
        found.skipped = dict(zip(left_out, arrays["reasons"].tolist(), strict=True))
    return found


def _texts(texts: Sequence[str]) -> NDArray[np.str_]:
    return np.array(texts, dtype=str)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorpusError(
            f"{path}: not valid JSON ({error}); remove the folder {path.parent} and start again"
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that the system releases when the process ends, however it ends."""
    with open(path, "a+b") as file:
        try:
            if sys.platform == "win32":
                import msvcrt

                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CorpusError(
                f"{path.parent}: another process is extracting this embedding for this corpus; "
                f"wait for it to end"
            ) from error
        yield
