"""Embed all clips that a corpus has audio for, into `embeddings/<name>.h5` of the corpus.

Clips are decoded and prepared in worker processes, and go through the network in batches. Every
hundred clips or so are kept as a part beside the target, whole or absent; at the end all parts
and what the target had before are joined to one file, which takes its place by renaming. Killed
at any moment and started again, the work goes on after the last finished part.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from biasmir_utils.cluster import WORKERS_END, connect, one_at_a_time
from biasmir_utils.corpus import Corpus, check_path_names, open_embedding_file, read_keys
from biasmir_utils.embeddings.base import (
    AUDIO_PACKAGES,
    Embedding,
    Frames,
    FrontEnd,
    is_silent,
    local_path,
    read_audio,
)
from biasmir_utils.embeddings.names import load
from biasmir_utils.errors import ArgumentError, AudioError, ClusterError, CorpusError, ModelError
from biasmir_utils.files import BROKEN_ARRAYS, atomic_path, locked, write_json

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Clip = tuple[str, str]
"""A dataset and a clip of it."""
_FEW = 8
"""So few clips are prepared here: starting a worker takes longer."""
_WAITING_PER_WORKER = 4
"""Clips in a worker's hands or waiting for the network, at least."""
_WAITING = 48
_WAITING_BYTES = 64 << 20
"""What may wait for the network altogether, so that workers go on while it is busy."""
_CLIPS_IN_A_BATCH = 16
_BATCH_BYTES = 32 << 20
_CLIPS_IN_A_PART = 100
_PART_BYTES = 64 << 20
_TASKS_PER_WORKER = 4
"""On a cluster, at least, where there are enough clips: then none waits long for the last one."""
_CACHE_BYTES = 32 << 20
"""Of HDF5, for each file: clips are read and written one by one, and several share a chunk."""
_RECORD = "biasmir_record"
"""The attribute of an embedding file that marks it as made here, and tells what made it."""
_SILENT = "silence; embedded all the same"
_LISTED = 20
"""Clips left out that a summary names; the table has all."""


@dataclass
class ExtractionReport:
    """What an extraction did.

    Attributes
    ----------
    embedding : str
    file : pathlib.Path
        The embedding file.
    n_embedded : int
        Clips embedded now.
    n_before : int
        Clips found embedded already.
    n_without_audio : int
        Clips of the table that name no sound file.
    notes : pandas.DataFrame
        Columns `dataset`, `clip`, `audio`, `status` (`skipped` or `silent`) and `reason`, for
        the whole embedding file.
    seconds : float
        Time taken by the embedding.
    audio_seconds : float
        Length of the sound embedded in that time.
    corpus : Corpus
        The corpus, read anew.
    """

    embedding: str
    file: Path
    n_embedded: int
    n_before: int
    n_without_audio: int
    notes: pd.DataFrame
    seconds: float
    audio_seconds: float
    corpus: Corpus = field(repr=False)

    @property
    def skipped(self) -> pd.DataFrame:
        """The clips left out, with reasons."""
        return self.notes[self.notes["status"] == "skipped"].reset_index(drop=True)

    @property
    def notes_file(self) -> Path:
        """Where the table of left-out and silent clips is, if there are any."""
        return self.file.with_suffix(".notes.csv")

    def summary(self) -> str:
        """Return a text for people: counts, speed, and the clips left out with reasons."""
        line = f"{self.embedding}: {_clips(self.n_embedded)} embedded"
        if self.n_embedded and self.seconds:
            line += (
                f" in {self.seconds:.1f} s ({self.n_embedded / self.seconds:.1f} clips a second, "
                f"{self.audio_seconds / self.seconds:.0f} s of sound a second)"
            )
        lines = [f"{line}, {self.n_before} there already"]
        if self.n_without_audio:
            lines.append(f"  {_clips(self.n_without_audio)} without a sound file")
        skipped = self.skipped
        if n_silent := len(self.notes) - len(skipped):
            lines.append(f"  {_clips(n_silent)} of silence, embedded all the same")
        if len(skipped):
            lines.append(f"  {_clips(len(skipped))} left out (--retry tries them again):")
            shown = skipped.head(_LISTED).itertuples()
            lines += [f"    {row.dataset}/{row.clip}: {row.reason}" for row in shown]
            if len(skipped) > _LISTED:
                lines.append(f"    and {len(skipped) - _LISTED} more")
        lines.append(f"  in {self.file}")
        if len(self.notes):
            lines.append(f"  table of left-out and silent clips: {self.notes_file}")
        return "\n".join(lines)


def _clips(n: int) -> str:
    return "1 clip" if n == 1 else f"{n} clips"


def extract(
    corpus: Corpus | str | os.PathLike[str],
    embedding: str | Embedding,
    *,
    model: str | Path | None = None,
    download: bool = False,
    hop: float | None = None,
    jobs: int | None = 0,
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
    jobs : int or None
        Worker processes that decode and resample beside the network; 0 for none, None for all
        cores but the network's. They import the main script anew, so a script that asks for
        them needs the usual guard `if __name__ == "__main__":`. With the scheduler `local`, the
        workers that do all of the work; 0 or None for all cores.
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
    _check_arguments(embedding, model, download, hop, jobs, dtype, scheduler)
    if not isinstance(corpus, Corpus):
        corpus = Corpus.load(corpus)
    name = embedding if isinstance(embedding, str) else embedding.name
    if model is not None and local_path(model, name).exists():
        model = local_path(model, name).absolute()  # as workers will look for it
    check_path_names("embedding", [name], corpus.path)
    stored = {"pooling": "mean over frames" if pool else "none", "dtype": dtype}
    target = corpus.path / "embeddings" / f"{name}.h5"

    record = _record_of_target(corpus, name, target)
    if record is not None:
        kept = {"stored": record.get("stored")}
        _check_same_source(kept, {"stored": stored}, f"{target}, embedding {name!r}")
    clips = _clips_with_audio(corpus)
    before = _kept_in_target(target, name) if record is not None else {}
    unfinished = bool(_missing(clips, before, retry)) or _parts_folder(target).is_dir()
    if isinstance(embedding, str) and (unfinished or model is not None or hop is not None):
        embedding = load(embedding, model=model, download=download, hop=hop)
    if isinstance(embedding, Embedding):
        now = {**embedding.record, "stored": stored}
        if record is not None:
            _check_same_source(record, now, f"{target}, embedding {name!r}")
        record = record or now
        if unfinished:
            asked = {"name": name, "model": model, "download": download, "hop": hop}
            work = _Work(embedding, record, jobs, progress, scheduler, asked)
            return _extract(corpus, work, target, clips, retry)
    if record is not None and name not in corpus.embedding_names:
        corpus = corpus.add_embedding_file(target, {name: record}, made_here=True)
    return _report(corpus, name, target, before, _n_embedded(before), 0.0, 0.0)


def _check_arguments(
    embedding: str | Embedding,
    model: str | Path | None,
    download: bool,
    hop: float | None,
    jobs: int | None,
    dtype: str,
    scheduler: str | None,
) -> None:
    """Raise `ArgumentError` for arguments of `extract` that cannot be used."""
    if dtype not in ("float32", "float16"):
        raise ArgumentError(f"dtype: expected 'float32' or 'float16', found {dtype!r}")
    if jobs is not None and jobs < 0:
        raise ArgumentError(f"jobs: expected 0 or more worker processes, found {jobs}")
    if isinstance(embedding, str):
        return
    if model is not None or download or hop is not None:
        raise ArgumentError(
            "model, download and hop go with the name of an embedding; this one is loaded already"
        )
    if scheduler is not None:
        raise ArgumentError(
            "scheduler goes with the name of an embedding, which each worker loads by itself"
        )


def _extract(
    corpus: Corpus, work: _Work, target: Path, clips: dict[Clip, Path], retry: bool
) -> ExtractionReport:
    """Embed what is missing; the lock of the parts is held from here to the end."""
    name, record, started = work.embedding.name, work.record, time.perf_counter()
    with _held(target, record) as folder:
        kept = _kept_in_target(target, name) if target.is_file() else {}
        finished = _kept_in_parts(folder)
        kept.update(finished)
        n_before = _n_embedded(kept)
        audio_seconds = 0.0
        if missing := _missing(clips, kept, retry):
            with closing(work.parts({clip: clips[clip] for clip in missing})) as parts:
                for part in parts:
                    _write_part(folder, part)
                    audio_seconds += sum(one.seconds for one in part)
            finished = _kept_in_parts(folder)
            kept.update(finished)
        elapsed = time.perf_counter() - started
        # The parts say something newer even of clips that the target tells of already.
        if finished or not target.is_file():
            _join(target, name, kept, corpus, record)
        # Read anew: another process may have added another embedding meanwhile.
        corpus = Corpus.load(corpus.path)
        if not _registered(corpus, name):
            corpus = corpus.add_embedding_file(target, {name: record}, made_here=True)
        report = _report(corpus, name, target, kept, n_before, elapsed, audio_seconds)
        if len(report.notes):
            with atomic_path(report.notes_file) as temporary:
                report.notes.to_csv(temporary, index=False)
        else:
            report.notes_file.unlink(missing_ok=True)
        for path in folder.glob("part-*.npz"):
            path.unlink()
        # The record last, so that what is left is always understood.
        (folder / "record.json").unlink()
        return report


def _report(
    corpus: Corpus,
    name: str,
    target: Path,
    kept: Mapping[Clip, _Kept],
    n_before: int,
    seconds: float,
    audio_seconds: float,
) -> ExtractionReport:
    """Describe what an embedding file has now, and how it came to that."""
    rows = [
        (*clip, "silent" if kept[clip].n_frames else "skipped", kept[clip].remark)
        for clip in _in_order(kept, corpus)
        if kept[clip].remark
    ]
    rows.sort(key=lambda row: row[2] == "silent")
    notes = pd.DataFrame(rows, columns=["dataset", "clip", "status", "reason"])
    notes = notes.merge(corpus.clips[["dataset", "clip", "audio"]], how="left")
    return ExtractionReport(
        embedding=name,
        file=target,
        n_embedded=_n_embedded(kept) - n_before,
        n_before=n_before,
        n_without_audio=int(corpus.clips["audio"].isna().sum()),
        notes=notes[["dataset", "clip", "audio", "status", "reason"]],
        seconds=seconds,
        audio_seconds=audio_seconds,
        corpus=corpus,
    )


# What the corpus has, and what may be written into it


def _clips_with_audio(corpus: Corpus) -> dict[Clip, Path]:
    """Return the sound file of each clip that names one, as workers elsewhere will look for it."""
    table = corpus.clips.loc[corpus.clips["audio"].notna(), ["dataset", "clip", "audio"]]
    if table.empty:
        raise CorpusError(
            f"{corpus.path}: none of the {len(corpus.clips)} clips names a sound file in the "
            f"column 'audio', so there is nothing to embed; use the embeddings that are there"
        )
    folder = corpus.path.absolute()
    rows = table.itertuples(index=False, name=None)
    return {(dataset, clip): folder / audio for dataset, clip, audio in rows}


def _registered(corpus: Corpus, name: str) -> list[Path]:
    """Return the files from which a corpus takes an embedding."""
    files = (corpus.embedding_file(name, dataset) for dataset in corpus.datasets)
    return list(dict.fromkeys(file for file in files if file is not None))


def _record_of_target(corpus: Corpus, name: str, target: Path) -> dict[str, Any] | None:
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
    with open_embedding_file(target) as opened:
        text = opened.attrs.get(_RECORD)
    if text is None:
        raise CorpusError(
            f"{target}: extraction did not make this file, and does not write into it. "
            + (_rendered_anew(corpus) or "Move it elsewhere, or rename it")
        )
    return json.loads(text)


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


def _check_same_source(
    kept: Mapping[str, Any],
    now: Mapping[str, Any],
    where: str,
    remedy: str = "remove the old ones first",
) -> None:
    """Raise `CorpusError` if two records would put different vectors under one name."""
    difference = "; ".join(_differences("", _identity(kept), _identity(now)))
    if difference:
        raise CorpusError(
            f"{where}: made from another source ({difference}). Vectors of two sources cannot "
            f"share a name: use the same model and options, or {remedy}"
        )


def _identity(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a record that two runs must share to belong in one file.

    Versions and the name of the source are left out: sums and parameters decide the numbers.
    A record without sums is told apart by its source.
    """
    keys = ["dimension", "sample_rate", "hop", "window", "parameters", "stored", "sums"]
    if not record.get("sums"):
        keys.append("source")
    return {key: record.get(key) for key in keys}


def _differences(name: str, old: Any, new: Any) -> list[str]:
    """Return in words what differs, and nothing of what is alike inside of two dicts."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [
            text
            for key in {**old, **new}
            for text in _differences(f"{name}.{key}", old.get(key), new.get(key))
        ]
    return [] if old == new else [f"{name.removeprefix('.')}: {old} there, {new} now"]


# From sound files to parts


@dataclass(frozen=True)
class _Prepared:
    """The network's input that a front end made of a sound file, or why there is none."""

    features: NDArray[Any] | None
    seconds: float = 0.0
    remark: str = ""


class _Embedded(NamedTuple):
    """What became of a clip: its frames, or None and the reason; silence is remarked on."""

    clip: Clip
    frames: Frames | None
    remark: str
    seconds: float = 0.0


@dataclass(frozen=True)
class _Work:
    """How clips are to be embedded; the fields are those of `extract`, `asked` is for `load`."""

    embedding: Embedding
    record: dict[str, Any]
    jobs: int | None
    progress: bool
    scheduler: str | None
    asked: dict[str, Any]

    def parts(self, clips: dict[Clip, Path]) -> Generator[list[_Embedded], None, None]:
        """Yield what became of all clips, some at a time."""
        from tqdm import tqdm

        interval = 0.1 if sys.stderr.isatty() else 30.0
        with tqdm(
            total=len(clips),
            desc=self.embedding.name,
            unit="clip",
            disable=not self.progress,
            mininterval=interval,
        ) as bar:
            if self.scheduler is None:
                yield from self._embedded_here(clips, self.jobs, bar)
            else:
                # What is not there for us is left out; all else the workers must see.
                there = {clip: path for clip, path in clips.items() if path.exists()}
                absent = {clip: path for clip, path in clips.items() if clip not in there}
                yield from self._embedded_there(there, bar)
                yield from self._embedded_here(absent, 0, bar)

    def _embedded_here(
        self, clips: dict[Clip, Path], jobs: int | None, bar: Any
    ) -> Generator[list[_Embedded], None, None]:
        if jobs is None:
            jobs = _default_jobs(self.embedding.has_network)
        workers = 0 if len(clips) <= _FEW else jobs
        with closing(_prepare_all(self.embedding.front_end, clips.values(), workers)) as prepared:

            def counted() -> Iterator[tuple[Clip, _Prepared]]:
                for clip, one in zip(clips, prepared, strict=True):
                    yield clip, one
                    bar.update()

            yield from _embed(counted(), self.embedding, self.record["stored"])

    def _embedded_there(
        self, clips: dict[Clip, Path], bar: Any
    ) -> Generator[list[_Embedded], None, None]:
        assert self.scheduler is not None
        packages = (*AUDIO_PACKAGES, *self.embedding.packages)
        with connect(self.scheduler, self.jobs or None, packages) as workers:
            items = list(clips.items())
            size = _clips_in_a_task(len(items), len(workers))
            calls = (
                (self.asked, self.record, dict(items[start : start + size]))
                for start in range(0, len(items), size)
            )
            with closing(workers.results(_embed_on_worker, calls)) as finished:
                for parts in finished:
                    for part in parts:
                        yield part
                        bar.update(len(part))


def _default_jobs(has_network: bool) -> int:
    """Return how many workers to run: beside a network, or of an embedding that is a front end.

    One core is the network's. Without a network this process only waits, and librosa uses one
    thread: one worker would be no faster than none, so all cores get one.
    """
    cores = os.cpu_count() or 2
    if has_network:
        return max(1, min(8, cores - 1))
    return cores if cores > 1 else 0


def _clips_in_a_task(n_clips: int, n_workers: int) -> int:
    """Return how many clips a worker of a cluster takes at once: a part, or fewer if few."""
    share = -(-n_clips // (_TASKS_PER_WORKER * n_workers))
    if share > _CLIPS_IN_A_BATCH:  # whole batches
        share -= share % _CLIPS_IN_A_BATCH
    return min(_CLIPS_IN_A_PART, max(1, share))


@one_at_a_time
def _embed_on_worker(
    asked: dict[str, Any], record: Mapping[str, Any], clips: Mapping[Clip, Path]
) -> list[list[_Embedded]]:
    """Embed some clips on a worker of a cluster: decode, front end, network."""
    from distributed import get_worker

    worker = get_worker()
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, str(worker.state.nthreads))  # read when TensorFlow starts
    embedding = _load_once(**asked)
    if _identity({**embedding.record, "stored": record["stored"]}) != _identity(record):
        raise ModelError(
            f"worker {worker.address}: {asked['name']} is another model there, or has other "
            f"parameters, than on the machine where the extraction was started; give both the "
            f"same file (--model)"
        )
    for path in clips.values():
        if not path.exists():
            raise ClusterError(
                f"worker {worker.address}: {path} is not there, though it is here; the corpus "
                f"and its sound files must lie on a file system that all workers see under the "
                f"same path"
            )
    prepared = _prepare_all(embedding.front_end, clips.values(), 0)
    return list(_embed(zip(clips, prepared, strict=True), embedding, record["stored"]))


@lru_cache(maxsize=1)
def _load_once(**asked: Any) -> Embedding:
    """Load a network once in a worker process."""
    return load(**asked)


def _embed(
    prepared: Iterable[tuple[Clip, _Prepared]], embedding: Embedding, stored: dict[str, str]
) -> Iterator[list[_Embedded]]:
    """Embed in batches across clips, and yield what became of them a part at a time."""
    part: list[_Embedded] = []
    batch: list[tuple[Clip, _Prepared]] = []
    for clip, one in prepared:
        if one.features is None:
            part.append(_Embedded(clip, None, one.remark))
        else:
            batch.append((clip, one))
        n_bytes = sum(done.frames.nbytes for done in part if done.frames is not None)
        enough = len(part) + len(batch) >= _CLIPS_IN_A_PART or n_bytes >= _PART_BYTES
        waiting = sum(one.features.nbytes for _, one in batch if one.features is not None)
        if enough or len(batch) >= _CLIPS_IN_A_BATCH or waiting >= _BATCH_BYTES:
            part += _embed_batch(batch, embedding, stored)
            batch = []
        if enough:
            yield part
            part = []
    part += _embed_batch(batch, embedding, stored)
    if part:
        yield part


def _embed_batch(
    batch: list[tuple[Clip, _Prepared]], embedding: Embedding, stored: dict[str, str]
) -> list[_Embedded]:
    """Run the network on a batch, and check what it gives."""
    if not batch:
        return []
    inputs = [one.features for _, one in batch if one.features is not None]
    done = []
    for (clip, one), frames in zip(batch, embedding.run(inputs), strict=True):
        if not len(frames):
            done.append(_Embedded(clip, None, "the network gave no frame"))
        elif not np.isfinite(frames).all():
            done.append(_Embedded(clip, None, "the network gave NaN or infinite values"))
        else:
            if stored["pooling"] != "none":
                frames = frames.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
            if stored["dtype"] == "float16" and np.abs(frames).max() > np.finfo(np.float16).max:
                raise ArgumentError(
                    f"{'/'.join(clip)}: values of {embedding.name} are too large for float16; "
                    f"use float32"
                )
            done.append(_Embedded(clip, frames, one.remark, one.seconds))
    return done


def _prepare(front_end: FrontEnd, path: Path) -> _Prepared:
    """Decode one file and run the front end; a clip that cannot be used is no exception."""
    try:
        waveform, sample_rate = read_audio(path)
        # One thread, since there are as many workers as cores, and since the last bits of a
        # matrix product depend on the number of threads.
        with _thread_pools().limit(limits=1):
            features = front_end(waveform, sample_rate)
    except (ImportError, MemoryError):  # the machine's trouble, not the clip's
        raise
    except AudioError as error:
        return _Prepared(None, remark=str(error).removeprefix(f"{path}: "))
    except Exception as error:  # whatever a damaged file makes a library raise
        return _Prepared(None, remark=f"cannot be used ({type(error).__name__}: {error})")
    return _Prepared(features, len(waveform) / sample_rate, _SILENT if is_silent(waveform) else "")


@lru_cache(maxsize=1)
def _thread_pools() -> ThreadpoolController:
    """Find the thread pools of the linear algebra library, once: the search takes a while."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _prepare_all(
    front_end: FrontEnd, paths: Iterable[Path], jobs: int
) -> Generator[_Prepared, None, None]:
    """Yield `_prepare` of each file, in order, from worker processes, or from here if `jobs` is 0.

    Only a few wait at any time, so memory stays steady however slow the network is. A file that
    makes the decoder crash its process is tried once more on its own, and left out with a reason
    if that crashes too; the others are not lost.
    """
    if jobs == 0:
        yield from (_prepare(front_end, path) for path in paths)
        return
    remaining = iter(paths)
    waiting: deque[tuple[Path, Future[_Prepared]]] = deque()
    pool = _pool(front_end, jobs)
    room, largest = jobs * _WAITING_PER_WORKER, 1

    def send(path: Path) -> Future[_Prepared]:
        try:
            return pool.submit(_prepare_on_worker, path)
        except BrokenProcessPool as error:
            broken: Future[_Prepared] = Future()
            broken.set_exception(error)
            return broken

    try:
        while True:
            while len(waiting) < room and (path := next(remaining, None)) is not None:
                waiting.append((path, send(path)))
            if not waiting:
                return
            path, future = waiting.popleft()
            try:
                prepared = future.result()
            except BrokenProcessPool:
                pool.shutdown(wait=False, cancel_futures=True)
                prepared = _prepare_alone(front_end, path)
                pool = _pool(front_end, jobs)
                waiting = deque((path, send(path)) for path, _ in waiting)
            if prepared.features is not None:
                largest = max(largest, prepared.features.nbytes)
                room = max(jobs * _WAITING_PER_WORKER, min(_WAITING, _WAITING_BYTES // largest))
            yield prepared
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _prepare_alone(front_end: FrontEnd, path: Path) -> _Prepared:
    """Prepare the file at which a worker ended in a worker of its own."""
    with _pool(front_end, 1) as pool, suppress(BrokenProcessPool):
        return pool.submit(_prepare_on_worker, path).result()
    with _pool(front_end, 1) as pool:
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise ArgumentError(f"jobs: {WORKERS_END}, or use jobs=0") from error
    return _Prepared(None, remark="the decoder crashed on this file; convert it to WAV")


def _pool(front_end: FrontEnd, jobs: int) -> ProcessPoolExecutor:
    """Start workers that have the front end."""
    # Spawned, because a fork of a process in which TensorFlow runs threads can hang.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, context, initializer=_start_worker, initargs=(front_end,))


_front_end: FrontEnd | None = None


def _start_worker(front_end: FrontEnd) -> None:
    import signal
    import threading

    global _front_end
    _front_end = front_end
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent was killed; it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _prepare_on_worker(path: Path) -> _Prepared:
    assert _front_end is not None
    return _prepare(_front_end, path)


# Parts, and the file that they are joined to


class _Kept(NamedTuple):
    """Where a clip's frames are: rows of a part or of the target; none if it was left out."""

    source: Path
    start: int
    n_frames: int
    remark: str


def _missing(clips: Mapping[Clip, Path], kept: Mapping[Clip, _Kept], retry: bool) -> list[Clip]:
    """Return the clips to embed: those never tried, and with `retry` those left out."""
    return [clip for clip in clips if clip not in kept or (retry and not kept[clip].n_frames)]


def _n_embedded(kept: Mapping[Clip, _Kept]) -> int:
    return sum(one.n_frames > 0 for one in kept.values())


def _in_order(kept: Iterable[Clip], corpus: Corpus) -> list[Clip]:
    """Return clips in the order of the table; those that it lacks follow."""
    clips = zip(corpus.clips["dataset"], corpus.clips["clip"], strict=True)
    position = {clip: number for number, clip in enumerate(clips)}
    return sorted(kept, key=lambda clip: position.get(clip, len(position)))


def _parts_folder(target: Path) -> Path:
    return target.with_name(f"{target.stem}.parts")


@contextmanager
def _held(target: Path, record: Mapping[str, Any]) -> Iterator[Path]:
    """Hold the folder of a target's parts, for a model with this record."""
    folder = _parts_folder(target)
    kept, lock = folder / "record.json", folder / "lock"
    try:
        with locked(lock):
            if kept.is_file() and any(folder.glob("part-*.npz")):
                try:
                    before = json.loads(kept.read_text(encoding="utf-8"))
                except ValueError as error:
                    raise CorpusError(
                        f"{kept}: not valid JSON ({error}); remove the folder {folder} and start "
                        f"again"
                    ) from error
                where, remedy = f"{folder} (unfinished parts)", f"remove the folder {folder}"
                _check_same_source(before, record, where, remedy)
            else:
                write_json(kept, dict(record))
            # What a killed process was writing.
            for stale in [
                *folder.glob(".*.partial.*"),
                *target.parent.glob(f".{target.stem}.*.partial{target.suffix}"),
            ]:
                stale.unlink(missing_ok=True)
            yield folder
    except BlockingIOError as error:
        raise CorpusError(
            f"{folder}: another process is extracting this embedding for this corpus; wait for "
            f"it to end"
        ) from error
    if not kept.is_file():  # all is done: nothing but the lock is left
        with suppress(OSError):
            lock.unlink()
            folder.rmdir()


@contextmanager
def _on_disk(target: Path) -> Iterator[Path]:
    """As `atomic_path`; the file is on the disk before it takes the target's place."""
    with atomic_path(target) as temporary:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())


def _write_part(folder: Path, part: Sequence[_Embedded]) -> None:
    """Keep a finished part."""
    found = [one.frames for one in part if one.frames is not None]
    arrays = {
        "datasets": np.array([one.clip[0] for one in part], dtype=str),
        "clips": np.array([one.clip[1] for one in part], dtype=str),
        "counts": np.array([0 if one.frames is None else len(one.frames) for one in part]),
        "remarks": np.array([one.remark for one in part], dtype=str),
        "features": np.concatenate(found) if found else np.empty((0, 0), np.float32),
    }
    name = hashlib.sha256(repr([one.clip for one in part]).encode()).hexdigest()[:16]
    with _on_disk(folder / f"part-{name}.npz") as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def _kept_in_parts(folder: Path) -> dict[Clip, _Kept]:
    """Return what the parts have; a damaged part counts as unfinished and is removed."""
    kept: dict[Clip, _Kept] = {}
    for path in sorted(folder.glob("part-*.npz"), key=lambda path: path.stat().st_mtime_ns):
        try:
            with np.load(path, allow_pickle=False) as arrays:
                columns = ("datasets", "clips", "counts", "remarks")
                rows = zip(*(arrays[column].tolist() for column in columns), strict=True)
                start = 0
                for dataset, clip, count, remark in list(rows):
                    kept[dataset, clip] = _Kept(path, start, count, remark)
                    start += count
                damaged = start != len(arrays["features"])
        except BROKEN_ARRAYS:
            damaged = True
        if damaged:
            path.unlink()
            kept = {clip: one for clip, one in kept.items() if one.source != path}
    return kept


def _kept_in_target(target: Path, name: str) -> dict[Clip, _Kept]:
    """Return what an embedding file that extraction made has."""
    kept: dict[Clip, _Kept] = {}
    with open_embedding_file(target) as file:
        for dataset in file:
            group = file[f"{dataset}/{name}"]
            remarks = {
                clip: remark
                for kind in ("skipped", "noted")
                if f"{kind}_keys" in group
                for clip, remark in zip(
                    read_keys(group, f"{kind}_keys").tolist(),
                    read_keys(group, f"{kind}_reasons").tolist(),
                    strict=True,
                )
            }
            clips, starts, counts = np.unique(
                read_keys(group), return_index=True, return_counts=True
            )
            for number in np.argsort(starts):
                clip, start, count = clips[number], starts[number], counts[number]
                remark = remarks.pop(str(clip), "")
                kept[dataset, str(clip)] = _Kept(target, int(start), int(count), remark)
            for clip, reason in remarks.items():
                kept[dataset, clip] = _Kept(target, 0, 0, reason)
    return kept


def _join(
    target: Path,
    name: str,
    kept: Mapping[Clip, _Kept],
    corpus: Corpus,
    record: Mapping[str, Any],
) -> None:
    """Write the target anew from its parts and from itself, and rename it into place.

    Rows are written clip by clip in the order of the clip table, so memory does not grow with
    the number of clips.
    """
    of_dataset: dict[str, list[Clip]] = {dataset: [] for dataset in corpus.datasets}
    for clip in _in_order(kept, corpus):
        of_dataset.setdefault(clip[0], []).append(clip)
    before = h5py.File(target, "r", rdcc_nbytes=_CACHE_BYTES) if target.is_file() else None
    with (
        _on_disk(target) as temporary,
        before or nullcontext(),
        h5py.File(temporary, "w", rdcc_nbytes=_CACHE_BYTES) as file,
    ):
        file.attrs[_RECORD] = json.dumps(dict(record))
        for dataset, clips in of_dataset.items():
            if clips:
                group = file.create_group(f"{dataset}/{name}")
                old = None if before is None else before.get(f"{group.name}/features")
                _write_group(group, {clip[1]: kept[clip] for clip in clips}, record, old)


def _write_group(
    group: h5py.Group, kept: dict[str, _Kept], record: Mapping[str, Any], old: Any
) -> None:
    """Write the clips of one dataset; `old` has the rows that are in no part."""
    total, dimension = sum(one.n_frames for one in kept.values()), int(record["dimension"])
    features = group.create_dataset(
        "features",
        shape=(total, dimension),
        dtype=record["stored"]["dtype"],
        chunks=(min(total, 256), dimension) if total else None,
        compression="gzip" if total else None,
        shuffle=bool(total),
    )
    embedded = {clip: one for clip, one in kept.items() if one.n_frames}
    part_features = lru_cache(maxsize=2)(_part_features)
    written = 0
    for one in embedded.values():
        rows = part_features(one.source) if one.source.suffix == ".npz" else old
        features[written : written + one.n_frames] = rows[one.start : one.start + one.n_frames]
        written += one.n_frames
    names = _bytes(list(embedded))
    counts = [one.n_frames for one in embedded.values()]
    group["keys"] = np.repeat(names, counts) if counts else names
    for kind, embedded_too in (("skipped", False), ("noted", True)):
        said = {
            clip: one.remark
            for clip, one in kept.items()
            if one.remark and bool(one.n_frames) == embedded_too
        }
        if said:
            group[f"{kind}_keys"] = _bytes(list(said))
            group[f"{kind}_reasons"] = _bytes(list(said.values()))


def _part_features(path: Path) -> Frames:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["features"]


def _bytes(texts: Sequence[str]) -> NDArray[np.bytes_]:
    encoded = [text.encode("utf-8") for text in texts]
    width = max((len(text) for text in encoded), default=1)
    return np.array(encoded, dtype=f"S{max(width, 1)}")
