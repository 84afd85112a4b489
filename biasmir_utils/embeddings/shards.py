"""Extraction on a cluster: each worker does some clips completely, from the file to the vectors.

Only names of files go to a worker, and vectors come back; the parts are kept where the run was
started, as those of any extraction.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from biasmir_utils.cluster import WorkersDied, connect
from biasmir_utils.embeddings.base import AUDIO_PACKAGES, Embedding, identity
from biasmir_utils.embeddings.batches import CLIPS_IN_A_BATCH, CLIPS_IN_A_PART, embed_parts
from biasmir_utils.embeddings.parts import Key, Part
from biasmir_utils.embeddings.preparing import prepare_all
from biasmir_utils.embeddings.registry import load
from biasmir_utils.errors import ClusterError, ModelError

SHARDS_PER_WORKER = 4
"""At least, where there are enough clips: then no worker waits long for the last one."""


@dataclass(frozen=True)
class Model:
    """What `registry.load` takes, so that each worker can load the network by itself."""

    name: str
    model: str | Path | None = None
    download: bool = False
    hop: float | None = None


@dataclass(frozen=True)
class _Embedded:
    """What a worker made of its clips, and the files that are not there for it."""

    parts: list[tuple[Part, float]]
    unseen: list[Path]
    where: str


def embed_on_cluster(
    scheduler: str,
    jobs: int | None,
    model: Model,
    embedding: Embedding,
    record: Mapping[str, Any],
    clips: Mapping[Key, Path],
) -> Iterator[tuple[Part, float]]:
    """Yield finished parts with the seconds of sound in them, as they come.

    Parameters
    ----------
    scheduler, jobs
        As for `cluster.connect`.
    model : Model
        What the workers load.
    embedding : Embedding
        The same, loaded here; its sums and parameters must be those that a worker has.
    record : dict
        The embedding's record, and how frames are `stored`.
    clips : dict of (dataset, clip) to path
        Absolute paths, as the workers see them.

    Raises
    ------
    ClusterError
        If the cluster cannot do it, as when a worker does not see the sound files.
    ModelError
        If a worker has no model or another one.
    """
    packages = (*AUDIO_PACKAGES, *embedding.packages)
    with connect(scheduler, jobs, packages) as cluster:
        size = shard_size(len(clips), cluster.n_workers)
        shards = list(_shards(clips, size))
        calls = ((number, (model, dict(record), shard)) for number, shard in enumerate(shards))
        left: dict[Key, Path] = {}
        for number, result in cluster.run(embed_shard, calls):
            if isinstance(result, WorkersDied):
                left.update(shards[number])
                continue
            for path in result.unseen:
                if path.exists():
                    raise ClusterError(
                        f"worker {result.where}: {path} is not there, though it is here; the "
                        f"corpus and its sound files must lie on a file system that all workers "
                        f"see under the same path"
                    )
            yield from result.parts
        say = cluster.say
    if left:
        # A file at which the decoder crashes, or too little memory there. Here files are decoded
        # in another process than the network's.
        dataset, clip = next(iter(left))
        say(
            f"several workers ended during {len(left)} clip(s), the first {dataset}/{clip}; they "
            f"are embedded here"
        )
        with closing(prepare_all(embedding.front_end, left.values(), 1)) as prepared:
            yield from embed_parts(zip(left, prepared, strict=True), embedding, record["stored"])


def shard_size(n_clips: int, n_workers: int) -> int:
    """Return how many clips a worker takes at once: a part, or fewer if there are few clips."""
    share = -(-n_clips // (SHARDS_PER_WORKER * max(1, n_workers)))
    if share > CLIPS_IN_A_BATCH:  # whole batches
        share -= share % CLIPS_IN_A_BATCH
    return min(CLIPS_IN_A_PART, max(1, share))


def embed_shard(model: Model, record: Mapping[str, Any], clips: Mapping[Key, Path]) -> _Embedded:
    """Embed some clips on a worker: decode, front end, network."""
    where = _this_worker()
    embedding = _loaded(model)
    here = {**embedding.record, "stored": record["stored"]}
    if identity(here) != identity(dict(record)):
        raise ModelError(
            f"{model.name}: this worker has another model, or other parameters, than the machine "
            f"where the extraction was started; give both the same file (--model)"
        )
    unseen = [path for path in clips.values() if not path.exists()]
    with closing(prepare_all(embedding.front_end, clips.values(), 0)) as prepared:
        parts = list(embed_parts(zip(clips, prepared, strict=True), embedding, record["stored"]))
    return _Embedded(parts, unseen, where)


@lru_cache(maxsize=1)
def _loaded(model: Model) -> Embedding:
    """Load a network once in a worker process."""
    return load(model.name, model=model.model, download=model.download, hop=model.hop)


def _shards(clips: Mapping[Key, Path], size: int) -> Iterator[dict[Key, Path]]:
    items = iter(clips.items())
    while shard := dict(itertools.islice(items, size)):
        yield shard


def _this_worker() -> str:
    """Return this worker's address, and let networks use as many threads as it has."""
    from distributed import get_worker

    worker = get_worker()
    threads = str(worker.state.nthreads)
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, threads)  # read when TensorFlow starts
    return str(worker.address)
