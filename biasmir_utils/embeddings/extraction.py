"""Embed all clips that a corpus has audio for, into `embeddings/<name>.h5` of the corpus.

Clips are prepared in worker processes (`preparing`), embedded in batches, kept in parts
(`parts`) and joined at the end (`joining`). Killed at any moment and started again, the work
goes on after the last finished part.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from biasmir_utils.corpus import Corpus
from biasmir_utils.embeddings.base import Embedding, Features
from biasmir_utils.embeddings.extraction_report import ExtractionReport, make_report, write_notes
from biasmir_utils.embeddings.joining import join, target_contents, target_record
from biasmir_utils.embeddings.parts import (
    Contents,
    Key,
    Part,
    PartStore,
    check_same_source,
    folder_of,
)
from biasmir_utils.embeddings.preparing import Prepared, prepare_all
from biasmir_utils.embeddings.registry import load
from biasmir_utils.errors import ArgumentError, CorpusError

CLIPS_IN_A_BATCH = 16
BATCH_BYTES = 32 << 20
CLIPS_IN_A_PART = 100
PART_BYTES = 64 << 20
FEW = 8
"""So few clips are prepared here: starting a worker takes longer."""
SILENT = "silence; embedded all the same"


def extract(
    corpus: Corpus | str | os.PathLike[str],
    embedding: str | Embedding,
    *,
    model: str | Path | None = None,
    download: bool = False,
    hop: float | None = None,
    jobs: int = 0,
    pool: bool = False,
    dtype: str = "float32",
    retry: bool = False,
    progress: bool = True,
) -> ExtractionReport:
    """Embed the clips that a corpus has audio for, and register the file in the corpus.

    Only clips that are missing are embedded. A clip that is unreadable, empty or too short is
    left out with its reason; silence is embedded and noted. Finished parts are kept beside
    the target, and a run that was killed goes on after them.

    Parameters
    ----------
    corpus : Corpus or path
    embedding : str or Embedding
        A name of `available()`, or a loaded embedding.
    model, download, hop
        As in `load`; only for a name.
    jobs : int
        Worker processes that decode and resample beside the network; 0 = none. See
        `prepare_all` on scripts that use them.
    pool : bool
        Keep the mean over frames of each clip instead of its frames.
    dtype : {'float32', 'float16'}
        How features are stored.
    retry : bool
        Try clips again that were left out before.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    ExtractionReport

    Raises
    ------
    CorpusError
        If the corpus has an embedding of that name from another source, or a file of that
        name that extraction did not make, or names no sound file; nothing is changed then.
    ArgumentError, ModelError, DownloadError
        As `load`; and for arguments that do not fit.
    """
    if not isinstance(corpus, Corpus):
        corpus = Corpus.load(corpus)
    if dtype not in ("float32", "float16"):
        raise ArgumentError(f"dtype: expected 'float32' or 'float16', found {dtype!r}")
    if jobs < 0:
        raise ArgumentError(f"jobs: expected 0 or more worker processes, found {jobs}")
    if isinstance(embedding, Embedding) and (model is not None or download or hop is not None):
        raise ArgumentError(
            "model, download and hop go with the name of an embedding; this one is loaded already"
        )
    name = embedding if isinstance(embedding, str) else embedding.name
    stored = {"pooling": "mean over frames" if pool else "none", "dtype": dtype}
    target = corpus.path / "embeddings" / f"{name}.h5"

    kept = _check_target(corpus, name, target)
    if kept is not None:
        check_same_source(
            {"stored": kept.get("stored")}, {"stored": stored}, f"{target}, embedding {name!r}"
        )
    before = target_contents(target, name) if kept is not None else Contents()
    clips = _clips_with_audio(corpus)
    if not clips:
        raise CorpusError(
            f"{corpus.path}: none of the {len(corpus.clips)} clips names a sound file in the "
            f"column 'audio', so there is nothing to embed; use the embeddings that are there"
        )
    missing = _missing(clips, before, retry)
    leftover = folder_of(target).is_dir()
    asked = model is not None or hop is not None
    if isinstance(embedding, str) and (missing or leftover or asked):
        embedding = load(embedding, model=model, download=download, hop=hop)
    if isinstance(embedding, Embedding):
        record = {**embedding.record, "stored": stored}
        if kept is not None:
            check_same_source(kept, record, f"{target}, embedding {name!r}")
            record = kept
        if missing or leftover:
            return _extract(corpus, embedding, target, clips, record, jobs, retry, progress)
    if kept is not None and name not in corpus.embedding_names:
        corpus = corpus.add_embedding_file(target, {name: kept}, made_here=True)
    return make_report(corpus, name, target, before, 0, len(before.rows), 0.0, 0.0)


def _extract(
    corpus: Corpus,
    embedding: Embedding,
    target: Path,
    clips: dict[Key, Path],
    record: dict[str, Any],
    jobs: int,
    retry: bool,
    progress: bool,
) -> ExtractionReport:
    """Embed what is missing; the store's lock is held from here to the end."""
    name, started = embedding.name, time.perf_counter()
    with PartStore.hold(target, name, record) as store:
        contents = target_contents(target, name) if target.is_file() else Contents()
        written = contents.tried() - set(contents.skipped if retry else ())
        contents.update(store.contents())
        n_before = len(contents.rows)
        missing = _missing(clips, contents, retry)
        audio_seconds = 0.0
        if missing:
            paths = [clips[key] for key in missing]
            workers = 0 if len(paths) <= FEW else jobs
            with closing(prepare_all(embedding.front_end, paths, workers)) as prepared:
                shown = _progress(zip(missing, prepared, strict=True), len(missing), name, progress)
                for part, seconds in _parts(shown, embedding, record["stored"]):
                    store.write(part)
                    audio_seconds += seconds
            contents.update(store.contents())
        elapsed = time.perf_counter() - started
        if contents.tried() - written or not target.is_file():
            dtype = record["stored"]["dtype"]
            order = list(corpus.clips[["dataset", "clip"]].itertuples(index=False, name=None))
            join(target, name, contents, order, corpus.datasets, record, dtype)
        # Read anew: another process may have added another embedding meanwhile.
        corpus = Corpus.load(corpus.path)
        if not _registered(corpus, name):
            corpus = corpus.add_embedding_file(target, {name: record}, made_here=True)
        n_embedded = len(contents.rows) - n_before
        report = make_report(
            corpus, name, target, contents, n_embedded, n_before, elapsed, audio_seconds
        )
        write_notes(report)
        store.remove()
    return report


def _parts(
    prepared: Iterable[tuple[Key, Prepared]], embedding: Embedding, stored: dict[str, str]
) -> Iterator[tuple[Part, float]]:
    """Embed in batches, and yield finished parts with the seconds of sound in them."""
    part, seconds = Part(), 0.0
    batch: list[tuple[Key, Prepared]] = []
    size = 0
    for key, clip in prepared:
        if clip.features is None:
            part.skipped[key] = clip.reason
        else:
            batch.append((key, clip))
            size += clip.features.nbytes
        enough = len(part) + len(batch) >= CLIPS_IN_A_PART or part.nbytes >= PART_BYTES
        if len(batch) >= CLIPS_IN_A_BATCH or size >= BATCH_BYTES or enough:
            seconds += _embed_batch(batch, embedding, stored, part)
            batch, size = [], 0
        if enough:
            yield part, seconds
            part, seconds = Part(), 0.0
    seconds += _embed_batch(batch, embedding, stored, part)
    if len(part):
        yield part, seconds


def _embed_batch(
    batch: list[tuple[Key, Prepared]], embedding: Embedding, stored: dict[str, str], part: Part
) -> float:
    """Add a batch to a part; return the seconds of sound embedded."""
    if not batch:
        return 0.0
    inputs = [clip.features for _, clip in batch if clip.features is not None]
    seconds = 0.0
    for (key, clip), frames in zip(batch, embedding.run(inputs), strict=True):
        if not len(frames) or not np.isfinite(frames).all():
            part.skipped[key] = (
                "the network gave no frame"
                if not len(frames)
                else ("the network gave NaN or infinite values")
            )
            continue
        part.frames[key] = _as_stored(frames, stored, embedding.name)
        seconds += clip.seconds
        if clip.silent:
            part.noted[key] = SILENT
    return seconds


def _as_stored(frames: Features, stored: dict[str, str], name: str) -> Features:
    if stored["pooling"] != "none":
        frames = frames.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
    if stored["dtype"] == "float16" and np.abs(frames).max() > np.finfo(np.float16).max:
        raise ArgumentError(f"values of {name} are too large for float16; use float32")
    return frames


def _check_target(corpus: Corpus, name: str, target: Path) -> dict[str, Any] | None:
    """Return the record of an embedding file made here before; None if there is none."""
    for file in _registered(corpus, name):
        if file.resolve() != target.resolve():
            raise CorpusError(
                f"{corpus.path}: embedding {name!r} comes from {file}, which extraction did not "
                f"make; vectors of two sources cannot share a name. Take that file out of "
                f"corpus.json, or extract into another corpus"
            )
    if not target.is_file():
        return None
    record = target_record(target)
    if record is None:
        raise CorpusError(
            f"{target}: extraction did not make this file, and does not write into it; move it "
            f"elsewhere, or rename it"
        )
    return record


def _registered(corpus: Corpus, name: str) -> list[Path]:
    files = (corpus.embedding_file(name, dataset) for dataset in corpus.datasets)
    return list(dict.fromkeys(file for file in files if file is not None))


def _clips_with_audio(corpus: Corpus) -> dict[Key, Path]:
    table = corpus.clips.loc[corpus.clips["audio"].notna(), ["dataset", "clip", "audio"]]
    rows = table.itertuples(index=False, name=None)
    return {(dataset, clip): corpus.path / audio for dataset, clip, audio in rows}


def _missing(clips: dict[Key, Path], contents: Contents, retry: bool) -> list[Key]:
    done = set(contents.rows) if retry else contents.tried()
    return [key for key in clips if key not in done]


def _progress(items: Iterable[Any], total: int, name: str, show: bool) -> Iterable[Any]:
    from tqdm import tqdm

    interval = 0.1 if sys.stderr.isatty() else 30.0
    return tqdm(items, total=total, desc=name, unit="clip", disable=not show, mininterval=interval)
