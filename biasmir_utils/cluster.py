"""Work on a Dask cluster: on several machines, or in several processes of this one.

A call whose worker was killed is done again on another one. Dask is imported only when a cluster
is asked for.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import logging
import multiprocessing
import os
import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from biasmir_utils.errors import ArgumentError, ClusterError, did_you_mean
from biasmir_utils.files import versions

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"
WORKERS_END = (
    "worker processes end as they start; put the main script's code under "
    '`if __name__ == "__main__":`'
)
_ADDRESS = re.compile(
    r"inproc://\S+|([a-z][a-z0-9+.-]*://)?(\[[0-9a-f:.]+\]|[^\s/:\[\]]+):\d{1,5}(/\S*)?", re.I
)
_SECONDS_TO_ANSWER = 10.0
"""How long a scheduler may take to answer, and then to have a worker."""
_SECONDS_OF_PATIENCE = 60.0
"""How long a scheduler that has work may be silent, or be without any worker."""
_turn = threading.Lock()
"""Held by the one call that a worker does at a time, however many threads it has."""


@functools.cache
def end_with_parent() -> None:
    """Let this worker process end when the one that started it has ended, also by SIGKILL."""
    parent: Any = multiprocessing.parent_process()

    def wait() -> None:
        try:
            parent.join()
        except ValueError:  # joblib's workers have no handle of it
            while os.getppid() == parent.pid:
                time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@dataclass(frozen=True)
class Workers:
    """The workers of a cluster, all with the versions of here.

    Attributes
    ----------
    client : distributed.Client
        The connection to the scheduler.
    scheduler : str
        As `connect` was given it.
    versions : dict of str to str
        The versions that decide the numbers; a worker that joins later has to have them, too.
    """

    client: Client
    scheduler: str
    versions: dict[str, str]

    def __len__(self) -> int:
        try:
            asked = self.client.scheduler.ncores
            return len(self.client.sync(asked, callback_timeout=_SECONDS_OF_PATIENCE))
        except OSError as error:
            silent = f"no answer within {_SECONDS_OF_PATIENCE:.0f} s ({type(error).__name__})"
            raise self._lost(silent) from error

    def _lost(self, why: str) -> ClusterError:
        return ClusterError(
            f"scheduler {self.scheduler}: {why}; what is finished is kept, and the same call goes "
            f"on from there, also without a scheduler"
        )

    def results(
        self, function: Callable[..., Any], calls: Iterable[Sequence[Any]], data: Sequence[Any] = ()
    ) -> Generator[Any, None, None]:
        """Yield what `function` returns for each call, in the order in which they finish.

        Joblib's backend for Dask would make a client in each worker, and scatter the data, which
        are lost with the one worker that may hold them; such calls it waits for without end.

        Parameters
        ----------
        function : callable
            Of a module that workers can import.
        calls : iterable of sequences
            The arguments of each call; taken as workers get free.
        data : sequence of arrays
            What many calls have as an argument: sent once, and kept by the workers.

        Raises
        ------
        ClusterError
            If the connection is lost, the scheduler is silent or without workers for long,
            several workers end during one call, or a worker that joined later has other versions.
        """
        import dask
        from distributed import KilledWorker, wait

        def submit(called: Callable[..., Any], *arguments: Any) -> Any:
            return self.client.submit(called, *arguments, pure=False)

        # Results of a call, not scattered: Dask does the call again when they are lost.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            sent = {id(array): submit(np.asarray, array) for array in data}
        futures = (
            submit(_checked, self.versions, function, *(sent.get(id(x), x) for x in call))
            for call in calls
        )
        # At least one, also while all workers are being replaced.
        running, seen = list(islice(futures, max(1, 2 * len(self)))), time.monotonic()
        fetch = _SECONDS_TO_ANSWER
        try:
            while running:
                try:
                    with self.client.as_current():
                        wait(running, _SECONDS_TO_ANSWER, "FIRST_COMPLETED")
                    future = next(one for one in running if one.done())
                    fetch *= 2  # each try begins anew, and large results take long on slow lines
                    result = future.result(fetch)
                except TimeoutError:
                    if any(one.status == "error" for one in running):
                        raise  # that of a call
                    if len(self):
                        seen = time.monotonic()
                    elif time.monotonic() > seen + _SECONDS_OF_PATIENCE:
                        alone = f"came within {_SECONDS_OF_PATIENCE:.0f} s"
                        raise self._lost(f"all its workers are gone, no other {alone}") from None
                    continue
                seen, fetch = time.monotonic(), _SECONDS_TO_ANSWER
                running.remove(future)
                running.extend(islice(futures, 1))
                yield result
        except KilledWorker as error:
            ended = "several workers ended during one task (have they enough memory?)"
            raise self._lost(ended) from error
        except CancelledError as error:
            raise self._lost("the connection was lost, or the work cancelled there") from error


def _checked(expected: dict[str, str], function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function on a worker that may have joined after `connect` looked at all of them."""
    from distributed import get_worker

    _check_versions(get_worker().address, versions(*expected), expected)
    # The number of threads of the linear algebra and the collected warnings belong to the whole
    # process, and networks take their memory once.
    with _turn:
        return function(*arguments)


@contextmanager
def connect(
    scheduler: str, jobs: int | None = None, packages: Sequence[str] = ()
) -> Iterator[Workers]:
    """Reach, or start, the workers of a Dask cluster, and let go of them in the end.

    Parameters
    ----------
    scheduler : str
        An address such as `tcp://10.0.0.5:8786`, or `local` for worker processes here.
    jobs : int, optional
        Worker processes of `local`; default all cores.
    packages : sequence of str
        Installed packages whose versions decide the numbers. A worker has to have those that
        are here, also one that joins later.

    Yields
    ------
    Workers
        As many as there are at first; others may join.

    Raises
    ------
    ClusterError
        If nobody answers, there is no worker, or a worker has other versions.
    ArgumentError
        If Dask is not installed, the address is none, or the arguments do not fit each other.
    """
    check_scheduler(scheduler)
    if importlib.util.find_spec("distributed") is None:
        raise ArgumentError(
            "--scheduler needs the package distributed, which is not installed; install it "
            'with: pip install "biasmir_utils[distributed]"'
        )
    if scheduler != LOCAL and jobs is not None:
        raise ArgumentError(
            f"--jobs counts processes of this machine and does not go with --scheduler "
            f"{scheduler}; its workers are as many as were started there"
        )
    with _local(jobs) if scheduler == LOCAL else _client(scheduler) as client:
        try:
            client.wait_for_workers(1, timeout=_SECONDS_TO_ANSWER)
        except TimeoutError as error:
            raise ClusterError(
                f"scheduler {scheduler}: it has no workers ({_SECONDS_TO_ANSWER:.0f} s waited); "
                f"start some: dask worker {scheduler} --nthreads 1"
            ) from error
        expected = versions(*packages)
        # What is imported there tells, not what an installer wrote down of it.
        for worker, found in client.run(versions, *expected, on_error="return").items():
            if isinstance(found, Exception):
                raise ClusterError(
                    f"worker {worker}: biasmir_utils cannot be used in its Python "
                    f"({type(found).__name__}: {found}); install version "
                    f"{expected['biasmir_utils']} there, with the versions of constraints.txt"
                ) from found
            _check_versions(worker, found, expected)
        yield Workers(client, scheduler, expected)


def check_scheduler(scheduler: str) -> None:
    """Raise `ArgumentError` unless this is `local` or looks like an address.

    Parameters
    ----------
    scheduler : str
        Expected: `local`, `protocol://host:port` or `host:port`.
    """
    if scheduler == LOCAL or _ADDRESS.fullmatch(scheduler):
        return
    guess = did_you_mean(scheduler, [LOCAL])
    raise ArgumentError(
        f"--scheduler {scheduler!r}: no address; expected 'local', or protocol://host:port such as "
        f"tcp://10.0.0.5:8786{guess and '.'}{guess}"
    )


@contextmanager
def _local(jobs: int | None) -> Iterator[Client]:
    """Start worker processes here, as open to others and as limited as without Dask: not at all."""
    import dask
    from distributed import Client, LocalCluster

    # Looking at the workers' stacks every 10 ms, for a dashboard, would take a share of the
    # processor.
    with dask.config.set({"distributed.worker.profile.enabled": False}):
        try:
            cluster = LocalCluster(
                n_workers=jobs or os.cpu_count() or 1,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                memory_limit=None,
                silence_logs=logging.CRITICAL,
            )
        except RuntimeError as error:
            raise ArgumentError(
                f"--scheduler local: {WORKERS_END}, or leave the scheduler out"
            ) from error
        with cluster, Client(cluster, set_as_default=False) as client:
            yield client


@contextmanager
def _client(scheduler: str) -> Iterator[Client]:
    """Connect to a scheduler that runs already."""
    from distributed import Client
    from distributed.comm import connect as open_comm
    from distributed.security import Security

    async def knock() -> None:
        arguments = Security().get_connection_args("client")
        comm = await open_comm(scheduler, timeout=_SECONDS_TO_ANSWER, **arguments)
        comm.abort()

    try:
        # A Client that cannot be made leaves threads behind, which complain in the end. In a
        # thread, since a notebook has an event loop already.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, asyncio.wait_for(knock(), _SECONDS_TO_ANSWER)).result()
        client = Client(scheduler, timeout=_SECONDS_TO_ANSWER, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise ClusterError(
            f"scheduler {scheduler}: nobody answered within {_SECONDS_TO_ANSWER:.0f} s "
            f"({reason}); expected an address such as tcp://10.0.0.5:8786 of a running "
            f"`dask scheduler`, or 'local'"
        ) from error
    try:
        yield client
    finally:
        with suppress(TimeoutError):  # a silent scheduler, which was told of already
            client.close(_SECONDS_TO_ANSWER)


def _check_versions(worker: str, found: dict[str, str], expected: dict[str, str]) -> None:
    """Raise `ClusterError` for another version; of Python, the minor counts."""
    different = []
    for name, wanted in expected.items():
        there, counts = found.get(name, "none"), 2 if name == "python" else None
        if there.split(".")[:counts] != wanted.split(".")[:counts]:
            different.append(f"{name} {there} instead of {wanted}")
    if different:
        raise ClusterError(
            f"worker {worker}: versions differ from those here: {', '.join(different)}; the "
            f"numbers could differ too, so install the same there (constraints.txt)"
        )
