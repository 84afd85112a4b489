"""Embed all clips that a corpus has audio for, into `embeddings/<name>.h5` of the corpus.

Clips are decoded and prepared in worker processes, and go through the network in batches. Every
hundred clips or so are kept as a part beside the target, whole or absent; at the end all parts
and what the target had before are joined to one file, which takes its place by renaming. Killed
at any moment and started again, the work goes on after the last finished part.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from biasmir_utils.cluster import WORKERS_END, connect, end_with_parent
from biasmir_utils.corpus import (
    Corpus,
    check_path_names,
    create_embedding_file,
    open_embedding_file,
    read_keys,
)
from biasmir_utils.embeddings.base import AUDIO_PACKAGES, Embedding, FrontEnd, decode
from biasmir_utils.embeddings.external import external_name
from biasmir_utils.embeddings.names import load
from biasmir_utils.errors import (
    ArgumentError,
    BiasMIRError,
    ClusterError,
    CorpusError,
    LockedError,
    ModelError,
)
from biasmir_utils.files import BROKEN_ARRAYS, atomic_path, found_path, locked

Clip = tuple[str, str]
"""A dataset and a clip of it."""
_FEW = 8
"""Clips for which it is worth to start a worker more."""
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
_SUM_BYTES = 32
"""A part ends with a SHA-256 of all before, which HDF5 does not look at."""
_LISTED = 20
"""Clips left out that a summary names; the table has all."""
_SILENCE_PEAK = 1e-5
"""Below this peak (-100 dB of full scale) a clip is noted as silent."""


@dataclass
class ExtractionReport:
    """What an extraction did.

    Attributes
    ----------
    embedding : str
        Its name.
    file : pathlib.Path
        The embedding file.
    n_embedded : int
        Clips embedded now.
    n_before : int
        Clips found embedded already.
    notes : pandas.DataFrame
        Columns `dataset`, `clip`, `audio`, `status` and `reason`, for the whole embedding file.
        `skipped` clips were left out; `silent` ones, and those `cut` off, are embedded.
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
    notes: pd.DataFrame
    seconds: float
    audio_seconds: float
    corpus: Corpus = field(repr=False)

    @property
    def n_without_audio(self) -> int:
        """Clips of the table that name no sound file."""
        return int(self.corpus.clips["audio"].isna().sum())

    @property
    def skipped(self) -> pd.DataFrame:
        """The clips left out, with reasons."""
        return self.notes[self.notes["status"] == "skipped"].reset_index(drop=True)

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
        for status, what in {
            "silent": "of silence, embedded all the same",
            "cut": "whose file breaks off, embedded all the same",
            "skipped": "left out (tried again once the file has changed, or where it was not the "
            "file's fault; all with --retry)",
        }.items():
            noted = self.notes[self.notes["status"] == status]
            if len(noted):
                lines.append(f"  {_clips(len(noted))} {what}:")
            shown = noted.head(_LISTED).itertuples()
            lines += [f"    {row.dataset}/{row.clip}: {row.reason}" for row in shown]
            if len(noted) > _LISTED:
                lines.append(f"    and {len(noted) - _LISTED} more")
        lines.append(f"  in {self.file}")
        for what, number in self.corpus.model_record(self.embedding).get("sums", {}).items():
            lines.append(f"  model: {what} {number}")
        if len(self.notes):
            lines.append(f"  table of these clips: {self.file.with_suffix('.notes.csv')}")
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

    Only clips that are missing are embedded. A clip that is unreadable, empty, too short or too
    long is left out with its reason; silence, and a file that breaks off, are embedded and noted.
    Finished parts are kept beside the target, and a run that was killed goes on after them. A
    clip that was left out is tried again once its file has changed; and by every run, if what
    failed may be the machine (a file that is not there, too little memory, a decoder that crashed).

    Parameters
    ----------
    corpus : Corpus or path
        The corpus, or its folder.
    embedding : str or Embedding
        A name as `load` takes it, or a loaded embedding. The corpus keeps `package.module:Name`
        as `Name`, and `load_model` of a module of HEAR under the module's name.
    model : str or path, optional
        A local model (folder or file), or an address, instead of the default one; only for a
        name. A SavedModel is a program: take only one you trust.
    download : bool
        Whether weights that are not on this machine may be downloaded; only for a name.
    hop : float, optional
        Seconds from one frame to the next, where it can be chosen (openl3); only for a name.
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
        Try all clips again that were left out before.
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
        name that extraction did not make, or names no sound file; nothing is changed then. If no
        sound file of a folder or a dataset is there, or no clip could be embedded at all.
    ArgumentError, ModelError, DownloadError
        As `load`; for arguments that do not fit; if the front end or the network fails with
        anything on this machine.
    ClusterError
        If the scheduler does not answer or its workers cannot do the work; finished parts stay.
    """
    from tqdm import tqdm

    asked: dict[str, Any] = {"model": model, "download": download, "hop": hop}
    if dtype not in ("float32", "float16"):
        raise ArgumentError(f"dtype: expected 'float32' or 'float16', found {dtype!r}")
    if jobs is not None and jobs < 0:
        raise ArgumentError(f"jobs: expected 0 or more worker processes, found {jobs}")
    if isinstance(embedding, Embedding) and (scheduler or any(asked.values())):
        raise ArgumentError(
            "model, download, hop and scheduler go with the name of an embedding; this one is "
            "loaded already"
        )
    corpus = corpus if isinstance(corpus, Corpus) else Corpus.load(corpus)
    name = external_name(embedding) if isinstance(embedding, str) else embedding.name
    asked["name"] = str(embedding)
    if model is not None and (path := Path(os.path.expanduser(model))).exists():
        asked["model"] = path.absolute()  # as workers will look for it
    check_path_names("embedding", [name], corpus.path)
    target = corpus.path / "embeddings" / f"{name}.h5"
    _check_target(corpus, name, target)
    record, kept = _read(target, name)
    clips = _clips_with_audio(corpus)
    missing = _missing(clips, kept, retry, target)
    again = _absent(clips, missing)  # what the next run tries again, and why
    unfinished = len(missing) > len(again) or target.with_suffix(".parts").is_dir()
    if isinstance(embedding, str) and (unfinished or model is not None or hop is not None):
        embedding = load(**asked)
    stored = {"pooling": "mean over frames" if pool else "none", "dtype": dtype}
    now = {**(embedding.record if isinstance(embedding, Embedding) else record), "stored": stored}
    _check_same_source(record, now, f"{target}, embedding {name!r}")
    record = record or now

    n_before, seconds, audio_seconds = _n_embedded(kept), 0.0, 0.0
    if unfinished and isinstance(embedding, Embedding):
        started = time.perf_counter()
        with _parts_of(target) as folder:
            # Read anew: another process may have held the folder until now.
            made_from, kept = _read(target, name)
            _check_same_source(made_from, record, f"{target}, embedding {name!r}")
            kept |= _kept_in_parts(folder, name, record)
            n_before = _n_embedded(kept)
            present = {clip: path for clip, path in clips.items() if clip not in again}
            wanted = _missing(present, kept, retry, target)
            show = functools.partial(
                tqdm,
                desc=name,
                unit="clip",
                disable=not progress,
                mininterval=0.1 if sys.stderr.isatty() else 30.0,
            )
            if scheduler is None:
                parts = _embedded_here(embedding, stored, wanted, jobs, show)
            else:
                parts = _embedded_there(embedding, record, wanted, scheduler, jobs, asked, show)
            with closing(parts):
                for part in parts if wanted else ():
                    _write(folder / f"part-{time.time_ns()}.h5", name, record, part)
                    again |= {one.clip: one for one in part if not one.lasting}
                    audio_seconds += sum(one.seconds for one in part)
            seconds = time.perf_counter() - started
            finished = _kept_in_parts(folder, name, record)
            kept |= finished  # newer even for clips that the target tells of already
            if finished:
                _write(target, name, record, _in_order(kept, corpus), compression="gzip")
            _write_notes(target, _notes({**kept, **again}, corpus))
    if again and not _n_embedded(kept):
        one = next(iter(again.values()))
        raise CorpusError(
            f"{corpus.path}: no clip could be embedded with {name}; {'/'.join(one.clip)}: "
            f"{one.remark}"
        )
    # Read anew: another process may have added another embedding meanwhile.
    corpus = Corpus.load(corpus.path)
    if name not in corpus.embedding_names:
        corpus = corpus.add_embedding_file(target, {name: record}, made_here=True)
    return ExtractionReport(
        embedding=name,
        file=target,
        n_embedded=_n_embedded(kept) - n_before,
        n_before=n_before,
        notes=_notes({**kept, **again}, corpus),
        seconds=seconds,
        audio_seconds=audio_seconds,
        corpus=corpus,
    )


class _Outcome(NamedTuple):
    """What became of a clip; without values or rows it was left out, and the remark tells why.

    Values are what the front end made, later the network's frames; those that a `file` has
    already stay there, in `rows`. What does not come of the clip's bytes for certain is not
    `lasting`: it is tried again.
    """

    clip: Clip
    values: NDArray[Any] | None
    remark: str = ""
    seconds: float = 0.0
    lasting: bool = True
    file: Path | None = None
    rows: range | None = None

    @property
    def n_frames(self) -> int:
        """How many frames there are of it, 0 if it was left out."""
        frames = self.values if self.rows is None else self.rows
        return 0 if frames is None else len(frames)


_Kept = dict[Clip, _Outcome]
_Parts = Generator[list[_Outcome], None, None]


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
    return {(dataset, clip): found_path(folder / audio) for dataset, clip, audio in rows}


def _absent(clips: Mapping[Clip, Path], missing: Iterable[Clip]) -> _Kept:
    """Return why the missing clips whose file is not there are left out.

    Where not one of several clips of a folder, or of a dataset, is there, it is no clip's fault.
    """
    absent = [clip for clip in missing if not clips[clip].exists()]
    for place_of in (lambda clip: str(clips[clip].parent), lambda clip: f"dataset {clip[0]!r}"):
        files: dict[str, list[Path]] = {place_of(clip): [] for clip in absent}
        for clip, path in clips.items() if absent else ():
            files.get(place_of(clip), []).append(path)
        for place, there in files.items():
            if len(there) > 1 and not any(path.exists() for path in there):
                raise CorpusError(
                    f"{place}: none of its {len(there)} sound files is there (such as {there[0]}); "
                    f"mount or fetch what holds them, or correct the clip table"
                )
    reason = "no such sound file; put it there, or correct the clip table"
    return {clip: _Outcome(clip, None, reason, lasting=False) for clip in absent}


def _check_target(corpus: Corpus, name: str, target: Path) -> None:
    """Raise `CorpusError` if the corpus has the embedding from another file."""
    for dataset in corpus.datasets:
        file = corpus.embedding_file(name, dataset)
        if file is not None and file.resolve() != target.resolve():
            raise CorpusError(
                f"{corpus.path}: embedding {name!r} comes from {file}, which extraction did not "
                f"make; vectors of two sources cannot share a name. Take that file out of "
                f"corpus.json, or extract into another corpus"
            )


def _check_same_source(
    kept: Mapping[str, Any],
    now: Mapping[str, Any],
    where: str,
    remedy: str = "remove the old ones first",
) -> None:
    """Raise `CorpusError` if two records would put different vectors under one name."""
    if difference := kept and _difference(kept, now):
        raise CorpusError(
            f"{where}: made from another source ({difference}). Vectors of two sources cannot "
            f"share a name: use the same model and options, or {remedy}"
        )


def _difference(kept: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return in words what differs of all that two runs must share to belong in one file.

    Versions and the name of the source are left out: sums and parameters decide the numbers.
    A record without sums is told apart by its source.
    """
    keys = ["dimension", "sample_rate", "hop", "window", "parameters", "stored", "sums"]
    if not kept.get("sums"):
        keys.append("source")
    old, new = (
        pd.json_normalize({key: record.get(key) or None for key in keys}).loc[0].to_dict()
        for record in (kept, now)
    )
    return "; ".join(
        f"{key}: {old.get(key)} there, {new.get(key)} now"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    )


# From sound files to parts


def _embedded_here(
    embedding: Embedding,
    stored: Mapping[str, str],
    clips: Mapping[Clip, Path],
    jobs: int | None,
    show: Callable[..., Any],
) -> _Parts:
    """Yield what became of all clips, some at a time; the front end may run in processes."""
    if jobs is None:
        # One core is the network's. Without a network this process only waits, and librosa uses
        # one thread: one worker would be no faster than none, so all cores get one.
        cores = os.cpu_count() or 2
        jobs = max(1, min(8, cores - 1)) if embedding.has_network else cores * (cores > 1)
    workers = min(jobs, -(-len(clips) // _FEW))
    with closing(_prepare_all(embedding.front_end, clips, workers)) as prepared:
        yield from _embed(show(prepared, total=len(clips)), embedding, stored)


def _embedded_there(
    embedding: Embedding,
    record: Mapping[str, Any],
    clips: Mapping[Clip, Path],
    scheduler: str,
    jobs: int | None,
    asked: Mapping[str, Any],
    show: Callable[..., Any],
) -> _Parts:
    """Yield what became of all clips, some at a time; the workers of a cluster do it."""
    with connect(scheduler, jobs or None, (*AUDIO_PACKAGES, *embedding.packages)) as workers:
        there = list(clips.items())
        size = -(-len(there) // (_TASKS_PER_WORKER * max(1, len(workers))))
        if size > _CLIPS_IN_A_BATCH:  # whole batches
            size -= size % _CLIPS_IN_A_BATCH
        size = min(_CLIPS_IN_A_PART, max(1, size))
        calls = (
            (asked, record, dict(there[start : start + size]))
            for start in range(0, len(there), size)
        )
        finished = workers.results(_embed_on_worker, calls)
        with show(total=len(clips)) as shown, closing(finished):
            for part in itertools.chain.from_iterable(finished):
                yield part
                shown.update(len(part))


def _embed_on_worker(
    asked: Mapping[str, Any], record: Mapping[str, Any], clips: Mapping[Clip, Path]
) -> list[list[_Outcome]]:
    """Embed some clips on a worker of a cluster: decode, front end, network."""
    from distributed import get_worker

    worker = get_worker()
    for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(variable, str(worker.state.nthreads))  # read when TensorFlow starts
    embedding = _load_once(**asked)
    if difference := _difference(record, {**embedding.record, "stored": record["stored"]}):
        raise ModelError(
            f"worker {worker.address}: {embedding.name} is another model there, or has other "
            f"parameters, than on the machine where the extraction was started ({difference}); "
            f"give both the same file (--model)"
        )
    for path in clips.values():
        if not path.exists():
            raise ClusterError(
                f"worker {worker.address}: {path} is not there, though it is here; the corpus "
                f"and its sound files must lie on a file system that all workers see under the "
                f"same path"
            )
    return list(_embed(_prepare_all(embedding.front_end, clips, 0), embedding, record["stored"]))


_load_once = functools.lru_cache(maxsize=1)(load)
"""A worker process loads a network once."""


def _embed(prepared: Iterable[_Outcome], embedding: Embedding, stored: Mapping[str, str]) -> _Parts:
    """Embed in batches across clips, and yield what became of them a part at a time."""
    part: list[_Outcome] = []
    batch: list[_Outcome] = []
    for one in prepared:
        (part if one.values is None else batch).append(one)
        # Without those that the next run tries again, so that its parts are the same.
        n = len(batch) + sum(other.lasting for other in part)
        enough = n >= _CLIPS_IN_A_PART or _n_bytes(part) >= _PART_BYTES
        if enough or len(batch) >= _CLIPS_IN_A_BATCH or _n_bytes(batch) >= _BATCH_BYTES:
            part += _embed_batch(batch, embedding, stored)
            batch = []
        if enough:
            yield part
            part = []
    part += _embed_batch(batch, embedding, stored)
    if part:
        yield part


def _n_bytes(clips: Iterable[_Outcome]) -> int:
    return sum(one.values.nbytes for one in clips if one.values is not None)


def _embed_batch(
    batch: list[_Outcome], embedding: Embedding, stored: Mapping[str, str]
) -> list[_Outcome]:
    """Run the network on a batch, and check what it gives."""
    if not batch:
        return []
    done = []
    try:
        found = embedding.run([one.values for one in batch if one.values is not None])
        pairs = list(zip(batch, found, strict=True))
    except BiasMIRError:
        raise
    except Exception as error:
        if len(batch) > 1:  # to find which clip it is
            return [one for alone in batch for one in _embed_batch([alone], embedding, stored)]
        return [_failed(batch[0].clip, error, embedding.front_end, embedding.embed)]
    for one, frames in pairs:
        if not len(frames):
            done.append(_Outcome(one.clip, None, "the network gave no frame"))
        elif not np.isfinite(frames).all():
            done.append(_Outcome(one.clip, None, "the network gave NaN or infinite values"))
        else:
            if stored["pooling"] != "none":
                frames = frames.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
            if stored["dtype"] == "float16" and np.abs(frames).max() > np.finfo(np.float16).max:
                raise ArgumentError(
                    f"{'/'.join(one.clip)}: values of {embedding.name} are too large for "
                    f"float16; use float32"
                )
            done.append(one._replace(values=frames))
    return done


def _failed(
    clip: Clip, error: Exception, front_end: FrontEnd, on_noise: Callable[..., object]
) -> _Outcome:
    """Leave a clip out for now; `ModelError` if noise fails as well, for then it is the machine."""
    reason = f"{type(error).__name__}: {error}"
    seconds = max(1.0, 1.1 * front_end.shortest)
    noise = np.random.default_rng(0).normal(0, 0.1, int(seconds * front_end.sample_rate))
    try:
        import soundfile  # noqa: F401

        on_noise(noise, front_end.sample_rate)
    except Exception as again:
        raise ModelError(
            f"{'/'.join(clip)}: {reason}. Noise cannot be embedded either "
            f"({type(again).__name__}: {again}): is a package broken, or memory short? Finished "
            f"parts are kept, and the same call goes on from there"
        ) from error
    return _Outcome(clip, None, f"failed, and is tried again next time ({reason})", 0.0, False)


_thread_pools = functools.lru_cache(maxsize=1)(ThreadpoolController)
"""The thread pools of the linear algebra library; the search takes a while."""


def _prepare(front_end: FrontEnd, clip: Clip, path: Path) -> _Outcome:
    """Decode one file and run the front end; a clip that cannot be used is no exception."""
    try:
        mono, sample_rate, remark = decode(path, front_end.downmix)
        # One thread, since there are as many workers as cores, and since the last bits of a
        # matrix product depend on the number of threads.
        with _thread_pools().limit(limits=1):
            features = front_end(mono, sample_rate)
    except BiasMIRError as error:
        return _Outcome(clip, None, str(error), lasting=os.path.isfile(path))
    except Exception as error:  # of a library, of the system
        return _failed(clip, error, front_end, front_end)
    silent = max(mono.max(initial=0.0), -mono.min(initial=0.0)) < _SILENCE_PEAK
    if remarks := ["silence"] * bool(silent) + [remark] * bool(remark):
        remark = "; ".join([*remarks, "embedded all the same"])
    return _Outcome(clip, features, remark, len(mono) / sample_rate)


def _prepare_all(
    front_end: FrontEnd, clips: Mapping[Clip, Path], jobs: int
) -> Generator[_Outcome, None, None]:
    """Yield `_prepare` of each clip, in order, from worker processes, or from here if `jobs` is 0.

    Only a few wait at any time, so memory stays steady however slow the network is. A file that
    makes the decoder crash its process is tried once more on its own, and left out with a reason
    if that crashes too; the others are not lost.
    """
    if jobs == 0:
        yield from (_prepare(front_end, *item) for item in clips.items())
        return
    remaining = iter(clips.items())
    waiting: dict[tuple[Clip, Path], Any] = {}
    pool = _pool(jobs)
    room, largest = jobs * _WAITING_PER_WORKER, 1
    try:
        while True:
            waiting |= dict.fromkeys(itertools.islice(remaining, max(0, room - len(waiting))))
            if not waiting:
                return
            first = next(iter(waiting))
            try:
                for item, sent in waiting.items():
                    waiting[item] = sent or _submit(pool, _prepare, front_end, *item)
                prepared = waiting[first].result()
            except BrokenProcessPool:
                pool.shutdown(wait=False, cancel_futures=True)
                prepared = _prepare_alone(front_end, *first)
                pool, waiting = _pool(jobs), dict.fromkeys(waiting)
            del waiting[first]
            if prepared.values is not None:
                largest = max(largest, prepared.values.nbytes)
                room = max(jobs * _WAITING_PER_WORKER, min(_WAITING, _WAITING_BYTES // largest))
            yield prepared
    except BaseException:  # what workers still do, nobody waits for
        for worker in (pool._processes or {}).values():
            worker.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _prepare_alone(front_end: FrontEnd, clip: Clip, path: Path) -> _Outcome:
    """Prepare the file at which a worker ended in a worker of its own."""
    with _pool(1) as pool, suppress(BrokenProcessPool):
        return _submit(pool, _prepare, front_end, clip, path).result()
    with _pool(1) as pool:
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise ArgumentError(f"jobs: {WORKERS_END}, or use jobs=0") from error
    remark = "the decoder crashed on this file, or memory was short; convert it to WAV"
    return _Outcome(clip, None, remark, lasting=False)


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Spawned, because a fork of a process in which TensorFlow runs threads can hang.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, context, initializer=_start_worker)


def _submit(pool: ProcessPoolExecutor, *call: Any) -> Future[Any]:
    """Submit a call; a worker that starts for it is deaf to Ctrl-C, also while it still imports."""
    if sys.platform == "win32":
        return pool.submit(*call)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        return pool.submit(*call)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    """Let the parent decide what Ctrl-C means, and end when it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


# Parts, and the file that they are joined to


def _missing(
    clips: Mapping[Clip, Path], kept: _Kept, retry: bool, target: Path
) -> dict[Clip, Path]:
    """Return the clips to embed: never tried, or left out and newer than `target`, or to retry."""
    seen = target.stat().st_mtime if target.is_file() else math.inf

    def wanted(clip: Clip, path: Path) -> bool:
        if clip not in kept or kept[clip].n_frames:
            return clip not in kept
        return retry or (path.exists() and max(path.stat().st_mtime, path.stat().st_ctime) > seen)

    return {clip: path for clip, path in clips.items() if wanted(clip, path)}


def _n_embedded(kept: _Kept) -> int:
    return sum(one.n_frames > 0 for one in kept.values())


def _in_order(kept: _Kept, corpus: Corpus) -> list[_Outcome]:
    """Return clips in the order of the table; those that it lacks follow."""
    clips = zip(corpus.clips["dataset"], corpus.clips["clip"], strict=True)
    position = {clip: number for number, clip in enumerate(clips)}
    return sorted(kept.values(), key=lambda one: position.get(one.clip, len(position)))


def _notes(kept: _Kept, corpus: Corpus) -> pd.DataFrame:
    """Return the table of the clips that were left out, of those of silence, and of those cut."""
    rows = []
    for one in _in_order(kept, corpus):
        embedded = "silent" if one.remark.startswith("silence") else "cut"
        status = embedded if one.n_frames else "skipped"
        rows += [(*one.clip, status, one.remark)] * bool(one.remark)
    rows.sort(key=lambda row: row[2] != "skipped")
    notes = pd.DataFrame(rows, columns=["dataset", "clip", "status", "reason"])
    notes = notes.merge(corpus.clips[["dataset", "clip", "audio"]], how="left")
    return notes[["dataset", "clip", "audio", "status", "reason"]]


def _write_notes(target: Path, notes: pd.DataFrame) -> None:
    file = target.with_suffix(".notes.csv")
    if notes.empty:
        file.unlink(missing_ok=True)
        return
    with atomic_path(file) as temporary:
        notes.to_csv(temporary, index=False)


@contextmanager
def _parts_of(target: Path) -> Iterator[Path]:
    """Hold the folder of a target's parts, which are removed in the end."""
    folder = target.with_suffix(".parts")
    try:
        with locked(folder / "lock"):
            # What a killed process was writing.
            stale = *folder.glob(".*.partial.*"), *target.parent.glob(f".{target.stem}.*.h5")
            for path in stale:
                path.unlink(missing_ok=True)
            yield folder
            for part in folder.glob("part-*.h5"):
                part.unlink()
    except LockedError as error:
        raise CorpusError(
            f"{folder}: another process is extracting this embedding for this corpus; wait for "
            f"it to end"
        ) from error
    with suppress(OSError):
        folder.rmdir()


def _kept_in_parts(folder: Path, name: str, record: Mapping[str, Any]) -> _Kept:
    """Return what the parts have; a damaged part counts as unfinished and is removed."""
    kept: _Kept = {}
    for path in sorted(folder.glob("part-*.h5")):  # by time
        content = path.read_bytes()
        if hashlib.sha256(content[:-_SUM_BYTES]).digest() != content[-_SUM_BYTES:]:
            path.unlink()
            continue
        made_from, found = _read(path, name)
        _check_same_source(
            made_from, record, f"{folder} (unfinished parts)", f"remove the folder {folder}"
        )
        kept |= found
    return kept


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Raise `CorpusError` for what h5py raises inside a damaged file."""
    try:
        yield
    except (RuntimeError, TypeError, *BROKEN_ARRAYS) as error:
        raise CorpusError(f"{path}: is damaged ({error}); remove it, and extract anew") from error


def _read(path: Path, name: str) -> tuple[dict[str, Any], _Kept]:
    """Return the record and the clips of a part, or of an embedding file made here, if any."""
    kept: _Kept = {}
    if not path.is_file():
        return {}, kept
    with open_embedding_file(path) as file, _damage_named(path):
        if _RECORD not in file.attrs:
            raise CorpusError(
                f"{path}: extraction did not make this file, and does not write into it. Move it "
                f"elsewhere, or rename it"
            )
        record = json.loads(file.attrs[_RECORD])
        for dataset in file:
            group = file[f"{dataset}/{name}"]
            remarks: dict[str, str] = {}
            for kind in ("skipped", "noted"):
                if f"{kind}_keys" in group:
                    columns = (read_keys(group, f"{kind}_{of}") for of in ("keys", "reasons"))
                    remarks |= zip(*(column.tolist() for column in columns), strict=True)
            found = [_Outcome((dataset, clip), None, remark) for clip, remark in remarks.items()]
            keys = np.unique(read_keys(group), return_index=True, return_counts=True)
            for clip, start, count in zip(*(column.tolist() for column in keys), strict=True):
                rows, remark = range(start, start + count), remarks.get(clip, "")
                found.append(_Outcome((dataset, clip), None, remark, file=path, rows=rows))
            kept |= {one.clip: one for one in found}
    return record, kept


def _write(
    path: Path,
    name: str,
    record: Mapping[str, Any],
    clips: Iterable[_Outcome],
    compression: str | None = None,
) -> None:
    """Write what lasts into a part, or into the target, which may be among the sources.

    Rows are written clip by clip, so memory does not grow with the number of clips. The file is
    on the disk before it takes its place.
    """
    of_dataset: dict[str, list[_Outcome]] = {}
    for one in clips:
        if one.lasting:
            of_dataset.setdefault(one.clip[0], []).append(one)
    if not of_dataset:
        return
    opened = functools.lru_cache(maxsize=2)(functools.partial(h5py.File, rdcc_nbytes=_CACHE_BYTES))

    def frames_of(one: _Outcome, place: str) -> NDArray[Any] | None:
        if one.file is None or one.rows is None:
            return one.values
        with _damage_named(one.file):
            return opened(one.file)[place][one.rows.start : one.rows.stop]

    with atomic_path(path) as temporary:
        with create_embedding_file(temporary, rdcc_nbytes=_CACHE_BYTES) as file:
            file.attrs[_RECORD] = json.dumps(dict(record))
            for dataset, own in of_dataset.items():
                group = file.create_group(f"{dataset}/{name}")
                embedded = [one for one in own if one.n_frames]
                counts = np.array([one.n_frames for one in embedded], dtype=int)
                ends, dimension = counts.cumsum(), int(record["dimension"])
                packed = {
                    "chunks": (min(counts.sum(), 256), dimension),
                    "compression": compression,
                    "shuffle": True,
                }
                features = group.create_dataset(
                    "features",
                    shape=(counts.sum(), dimension),
                    dtype=record["stored"]["dtype"],
                    **packed if compression and len(counts) else {},
                )
                for one, end in zip(embedded, ends, strict=True):
                    features[end - one.n_frames : end] = frames_of(one, features.name)
                group["keys"] = np.repeat(_texts(one.clip[1] for one in embedded), counts)
                left_out = [one for one in own if not one.n_frames]
                for kind, among in {"skipped": left_out, "noted": embedded}.items():
                    if said := [one for one in among if one.remark]:
                        group[f"{kind}_keys"] = _texts(one.clip[1] for one in said)
                        group[f"{kind}_reasons"] = _texts(one.remark for one in said)
        opened.cache_clear()  # some systems replace no file that is open
        with open(temporary, "rb+") as written:
            if not compression:
                written.write(hashlib.file_digest(written, "sha256").digest())
            os.fsync(written.fileno())


def _texts(texts: Iterable[str]) -> NDArray[np.bytes_]:
    return np.array([text.encode("utf-8") for text in texts], dtype="S")
