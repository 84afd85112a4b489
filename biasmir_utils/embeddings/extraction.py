"""Embed all clips that a corpus has audio for, into `embeddings/<name>.h5` of the corpus.

Clips are prepared in worker processes (`preparing`), embedded in batches, kept in parts
(`parts`) and joined at the end (`joining`). Killed at any moment and started again, the work
goes on after the last finished part.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biasmir_utils.corpus import Corpus, check_path_names
from biasmir_utils.embeddings.base import Embedding, local_path
from biasmir_utils.embeddings.batches import embed_parts
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
from biasmir_utils.embeddings.preparing import prepare_all
from biasmir_utils.embeddings.registry import load
from biasmir_utils.embeddings.shards import Model, embed_on_cluster
from biasmir_utils.errors import ArgumentError, CorpusError

if TYPE_CHECKING:
    from tqdm import tqdm

FEW = 8
"""So few clips are prepared here: starting a worker takes longer."""


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
    scheduler: str | None = None,
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
        `prepare_all` on scripts that use them. With the scheduler `local`, the workers that do
        all of the work; 0 = all cores.
    pool : bool
        Keep the mean over frames of each clip instead of its frames.
    dtype : {'float32', 'float16'}
        How features are stored.
    retry : bool
        Try clips again that were left out before.
    progress : bool
        Show a progress bar on stderr.
    scheduler : str, optional
        Address of a Dask scheduler whose workers embed the clips, or `local` to start some here;
        only for a name. Workers see the sound files under the same paths, and have the model
        where it is here, or in a cache of their own.

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
    ClusterError
        If the scheduler does not answer or its workers cannot do the work; finished parts stay.
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
    if isinstance(embedding, Embedding) and scheduler is not None:
        raise ArgumentError(
            "scheduler goes with the name of an embedding, which each worker loads by itself"
        )
    name = embedding if isinstance(embedding, str) else embedding.name
    if model is not None and local_path(model, name).exists():
        model = local_path(model, name).absolute()  # as workers will look for it
    check_path_names("embedding", [name], corpus.path)
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
            work = _Work(
                embedding, record, jobs, progress, scheduler, Model(name, model, download, hop)
            )
            return _extract(corpus, work, target, clips, retry)
    if kept is not None and name not in corpus.embedding_names:
        corpus = corpus.add_embedding_file(target, {name: kept}, made_here=True)
    return make_report(corpus, name, target, before, 0, len(before.rows), 0.0, 0.0)


@dataclass(frozen=True)
class _Work:
    """How clips are to be embedded; the fields are those of `extract`."""

    embedding: Embedding
    record: dict[str, Any]
    jobs: int
    progress: bool
    scheduler: str | None
    model: Model

    def parts(self, clips: dict[Key, Path]) -> Generator[tuple[Part, float], None, None]:
        """Yield finished parts with the seconds of sound in them."""
        name, stored = self.embedding.name, self.record["stored"]
        bar = _progress(len(clips), name, self.progress)
        if self.scheduler is not None:
            with bar:
                for part, seconds in embed_on_cluster(
                    self.scheduler,
                    self.jobs or None,
                    self.model,
                    self.embedding,
                    self.record,
                    clips,
                ):
                    bar.update(len(part))
                    yield part, seconds
            return
        workers = 0 if len(clips) <= FEW else self.jobs
        prepared = prepare_all(self.embedding.front_end, list(clips.values()), workers)
        with bar, closing(prepared):
            counted = _counted(zip(clips, prepared, strict=True), bar)
            yield from embed_parts(counted, self.embedding, stored)


def _extract(
    corpus: Corpus, work: _Work, target: Path, clips: dict[Key, Path], retry: bool
) -> ExtractionReport:
    """Embed what is missing; the store's lock is held from here to the end."""
    name, record, started = work.embedding.name, work.record, time.perf_counter()
    with PartStore.hold(target, name, record) as store:
        contents = target_contents(target, name) if target.is_file() else Contents()
        finished = store.contents()
        contents.update(finished)
        n_before = len(contents.rows)
        missing = _missing(clips, contents, retry)
        audio_seconds = 0.0
        if missing:
            with closing(work.parts({key: clips[key] for key in missing})) as parts:
                for part, seconds in parts:
                    store.write(part)
                    audio_seconds += seconds
            finished = store.contents()
            contents.update(finished)
        elapsed = time.perf_counter() - started
        # The parts say something newer even of clips that the target tells of already.
        if finished.tried() or not target.is_file():
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


def _check_target(corpus: Corpus, name: str, target: Path) -> dict[str, Any] | None:
    """Return the record of an embedding file made here before; None if there is none."""
    for file in _registered(corpus, name):
        if file.resolve() != target.resolve():
            raise CorpusError(
                f"{corpus.path}: embedding {name!r} comes from {file}, which extraction did not "
                f"make; vectors of two sources cannot share a name. "
                + (
                    _rendered_anew(corpus)
                    or "Take that file out of corpus.json, or extract into another corpus"
                )
            )
    if not target.is_file():
        return None
    record = target_record(target)
    if record is None:
        raise CorpusError(
            f"{target}: extraction did not make this file, and does not write into it. "
            + (_rendered_anew(corpus) or "Move it elsewhere, or rename it")
        )
    return record


def _rendered_anew(corpus: Corpus) -> str:
    """Return what to do with a bundled part of a rendered corpus; empty for any other."""
    command = str(corpus.description.provenance.get("command", ""))
    n_audio, n_clips = int(corpus.clips["audio"].notna().sum()), len(corpus.clips)
    if not command.startswith("python data/make/demo.py") or n_audio == n_clips:
        return ""
    return (
        f"The embeddings came with this corpus, of whose {n_clips:,} clips {n_audio:,} have audio "
        f"here: to embed all of them yourself, render the whole (`{command}`) and extract in the "
        f"folder OUT"
    )


def _registered(corpus: Corpus, name: str) -> list[Path]:
    files = (corpus.embedding_file(name, dataset) for dataset in corpus.datasets)
    return list(dict.fromkeys(file for file in files if file is not None))


def _clips_with_audio(corpus: Corpus) -> dict[Key, Path]:
    table = corpus.clips.loc[corpus.clips["audio"].notna(), ["dataset", "clip", "audio"]]
    rows = table.itertuples(index=False, name=None)
    folder = corpus.path.absolute()  # as workers elsewhere will look for it
    return {(dataset, clip): folder / audio for dataset, clip, audio in rows}


def _missing(clips: dict[Key, Path], contents: Contents, retry: bool) -> list[Key]:
    done = set(contents.rows) if retry else contents.tried()
    return [key for key in clips if key not in done]


def _progress(total: int, name: str, show: bool) -> tqdm[Any]:
    from tqdm import tqdm

    interval = 0.1 if sys.stderr.isatty() else 30.0
    return tqdm(total=total, desc=name, unit="clip", disable=not show, mininterval=interval)


def _counted(items: Iterable[Any], bar: tqdm[Any]) -> Generator[Any, None, None]:
    for item in items:
        yield item
        bar.update()
