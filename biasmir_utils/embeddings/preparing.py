"""Decoding, resampling and front ends of many clips, in worker processes beside the network.

Clips come out in the order they went in, and only a few wait at any time: memory stays steady
however slow the network is.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from biasmir_utils.cluster import WORKERS_END
from biasmir_utils.embeddings.audio import is_silent, read_audio
from biasmir_utils.embeddings.base import FrontEnd
from biasmir_utils.errors import ArgumentError, AudioError

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

WAITING_PER_WORKER = 4
"""Clips in a worker's hands or waiting for the network, at least."""
WAITING = 48
WAITING_BYTES = 64 << 20
"""What may wait for the network altogether, so that workers go on while it is busy."""


@dataclass(frozen=True)
class Prepared:
    """What a front end made of one sound file.

    Attributes
    ----------
    features : ndarray or None
        The network's input; None if the clip cannot be used.
    seconds : float
        Length of the sound, 0 if unknown.
    silent : bool
        Whether the clip is silence.
    reason : str
        Why it cannot be used; empty if it can.
    """

    features: NDArray[Any] | None
    seconds: float = 0.0
    silent: bool = False
    reason: str = ""


def prepare(front_end: FrontEnd, path: Path) -> Prepared:
    """Decode one file and run the front end; a clip that cannot be used is no exception."""
    try:
        waveform, sample_rate = read_audio(path)
        seconds = len(waveform) / sample_rate
        # One thread, since there are as many workers as cores, and since the last bits of a
        # matrix product depend on the number of threads.
        with _thread_pools().limit(limits=1):
            features = front_end(waveform, sample_rate)
    except (ImportError, MemoryError):  # the machine's trouble, not the clip's
        raise
    except AudioError as error:
        return Prepared(None, reason=_without_path(error, path))
    except Exception as error:  # whatever a damaged file makes a library raise
        return Prepared(None, reason=f"cannot be used ({type(error).__name__}: {error})")
    return Prepared(features, seconds, is_silent(waveform))


def prepare_all(
    front_end: FrontEnd, paths: Iterable[Path], jobs: int
) -> Generator[Prepared, None, None]:
    """Yield `prepare` of each file, in order.

    Parameters
    ----------
    front_end : FrontEnd
        Sent to each worker once.
    paths : iterable of path
        The sound files.
    jobs : int
        Worker processes; 0 does the work in this process. Worker processes import the main
        script anew, so a script that calls this needs the usual guard
        `if __name__ == "__main__":`.

    Notes
    -----
    A file that makes the decoder crash its process is tried once more on its own, and left
    out with a reason if that crashes too; the others are not lost.

    Raises
    ------
    ArgumentError
        If worker processes cannot start at all, as without that guard.
    """
    if jobs == 0:
        for path in paths:
            yield prepare(front_end, path)
        return
    remaining = iter(paths)
    waiting: deque[tuple[Path, Future[Prepared]]] = deque()
    pool = _pool(front_end, jobs)
    room = jobs * WAITING_PER_WORKER
    largest = 1
    try:
        while True:
            try:
                while len(waiting) < room:
                    path = next(remaining)
                    try:
                        future = pool.submit(_prepare_here, path)
                    except BrokenProcessPool:
                        future = Future()
                        future.set_exception(BrokenProcessPool())
                    waiting.append((path, future))
            except StopIteration:
                pass
            if not waiting:
                return
            path, future = waiting.popleft()
            try:
                prepared = future.result()
            except BrokenProcessPool:
                pool.shutdown(wait=False, cancel_futures=True)
                prepared = _prepare_alone(front_end, path)
                pool = _pool(front_end, jobs)
                waiting = deque((path, pool.submit(_prepare_here, path)) for path, _ in waiting)
            if prepared.features is not None:
                largest = max(largest, prepared.features.nbytes)
                room = max(jobs * WAITING_PER_WORKER, min(WAITING, WAITING_BYTES // largest))
            yield prepared
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def default_jobs(network: bool = True) -> int:
    """Return how many workers to run: beside a network, or of an embedding that is a front end.

    One core is the network's. Without a network this process only waits, and librosa uses one
    thread: one worker would be no faster than none, so all cores get one.
    """
    cores = os.cpu_count() or 2
    if network:
        return max(1, min(8, cores - 1))
    return cores if cores > 1 else 0


@lru_cache(maxsize=1)
def _thread_pools() -> ThreadpoolController:
    """Find the thread pools of the linear algebra library, once: the search takes a while."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


_front_end: FrontEnd | None = None


def _pool(front_end: FrontEnd, jobs: int) -> ProcessPoolExecutor:
    # Spawned, because a fork of a process in which TensorFlow runs threads can hang.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, context, initializer=_start_worker, initargs=(front_end,))


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


def _prepare_here(path: Path) -> Prepared:
    assert _front_end is not None
    return prepare(_front_end, path)


def _prepare_alone(front_end: FrontEnd, path: Path) -> Prepared:
    """Prepare the file at which a worker ended in a worker of its own."""
    with _pool(front_end, 1) as pool:
        try:
            return pool.submit(_prepare_here, path).result()
        except BrokenProcessPool:
            pass
    with _pool(front_end, 1) as pool:
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise ArgumentError(f"jobs: {WORKERS_END}, or use jobs=0") from error
    return Prepared(None, reason="the decoder crashed on this file; convert it to WAV")


def _without_path(error: AudioError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")
