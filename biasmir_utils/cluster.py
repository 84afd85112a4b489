"""Work on a Dask cluster: on several machines, or in several processes of this one.

Inside `connect`, `joblib.Parallel` sends its calls to the workers. A call whose worker was killed
is done again on another one. Dask is imported only when a cluster is asked for.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

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
_P = ParamSpec("_P")
_R = TypeVar("_R")
_turn = threading.Lock()


@contextmanager
def connect(
    scheduler: str,
    jobs: int | None = None,
    packages: Sequence[str] = (),
    data: Sequence[Any] = (),
) -> Iterator[Client]:
    """Let the workers of a Dask cluster do the calls of `joblib.Parallel`, inside the context.

    Parameters
    ----------
    scheduler : str
        An address such as `tcp://10.0.0.5:8786`, or `local` for worker processes here.
    jobs : int, optional
        Worker processes of `local`; default all cores.
    packages : sequence of str
        Installed packages whose versions decide the numbers. A worker has to have those that
        are here, also one that joins later.
    data : sequence of arrays
        What many calls take as an argument of its own: sent once, and kept by each worker.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ClusterError
        If nobody answers, there is no worker, a worker has other versions, the connection is
        lost, or several workers end during one call.
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
    import joblib
    from distributed import KilledWorker

    with ExitStack() as stack:
        client = stack.enter_context(_local(jobs) if scheduler == LOCAL else _client(scheduler))
        try:
            client.wait_for_workers(1, timeout=_SECONDS_TO_ANSWER)
        except TimeoutError as error:
            raise ClusterError(
                f"scheduler {scheduler}: it has no workers ({_SECONDS_TO_ANSWER:.0f} s waited); "
                f"start some: dask worker {scheduler} --nthreads 1"
            ) from error
        expected = versions(*packages)
        _check_workers(client, expected)
        stack.enter_context(joblib.parallel_config(backend=_backend(client, data, expected)))
        try:
            yield client
        except KilledWorker as error:
            raise ClusterError(
                f"scheduler {scheduler}: several workers ended during one task; have they enough "
                f"memory? What is finished is kept, and the same call goes on from there, also "
                f"without a scheduler"
            ) from error
        except CancelledError as error:
            raise ClusterError(
                f"scheduler {scheduler}: the connection was lost, or the work was cancelled "
                f"there; what is finished is kept, the same call goes on from there"
            ) from error


def _backend(client: Client, data: Sequence[Any], expected: dict[str, str]) -> Any:
    """Return joblib's backend for Dask, without two faults (joblib 1.6).

    By itself it waits for ever for a call whose workers ended, and does everything in this
    process where a cluster has one worker.
    """
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        async def _collect(self) -> None:
            while self._continue:
                async for future, result in self.waiting_futures:
                    outcome = result[1] if future.status == "error" else result
                    self._results.pop(future).set_result(outcome)
                    self._callbacks.pop(future)(outcome)
                await asyncio.sleep(0.01)

        async def _to_func_args(self, func: Any) -> tuple[Any, Any]:
            batch, tasks = await super()._to_func_args(func)
            return _Checked(batch, expected), tasks

        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(2, super().effective_n_jobs(n_jobs))

        def retrieve_result_callback(self, out: Any) -> Any:
            if isinstance(out, BaseException):
                raise out
            return super().retrieve_result_callback(out)

    return Backend(client=client, scatter=list(data))


@dataclass(frozen=True)
class _Checked:
    """Calls for a worker that may have joined after `connect` looked at all of them."""

    batch: Callable[..., Any]
    expected: dict[str, str]

    def __call__(self, tasks: Any) -> Any:
        from distributed import get_worker

        _check_versions(get_worker().address, versions(*self.expected), self.expected)
        return self.batch(tasks)


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


def one_at_a_time(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let the threads of a worker call such functions one after the other: a decorator.

    The number of threads of the linear algebra and the collected warnings belong to the whole
    process, and networks take their memory once.
    """

    @functools.wraps(function)
    def waiting(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with _turn:
            return function(*args, **kwargs)

    return waiting


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
    with client:
        yield client


def _check_workers(client: Client, expected: dict[str, str]) -> None:
    """Refuse workers without the package, and those with other versions than here."""
    # What is imported there tells, not what an installer wrote down of it.
    for worker, found in client.run(versions, *expected, on_error="return").items():
        if isinstance(found, Exception):
            raise ClusterError(
                f"worker {worker}: biasmir_utils cannot be used in its Python "
                f"({type(found).__name__}: {found}); install version {expected['biasmir_utils']} "
                f"there, with the versions of constraints.txt"
            ) from found
        _check_versions(worker, found, expected)


def _check_versions(worker: str, found: dict[str, str], expected: dict[str, str]) -> None:
    """Raise `ClusterError` for another version; of Python, the minor counts."""
    different = [
        f"{name} {found.get(name, 'none')} instead of {wanted}"
        for name, wanted in expected.items()
        if _minor(name, found.get(name, "none")) != _minor(name, wanted)
    ]
    if different:
        raise ClusterError(
            f"worker {worker}: versions differ from those here: {', '.join(different)}; the "
            f"numbers could differ too, so install the same there (constraints.txt)"
        )


def _minor(name: str, version: str) -> str:
    return ".".join(version.split(".")[:2]) if name == "python" else version
