"""Tasks on a Dask cluster: on several machines, or in several processes of this one.

The work is sent as functions of this package and their arguments; results come back as they are
finished. A task whose worker was killed is done again on another one. Dask is imported only
when a cluster is asked for.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import logging
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from biasmir_utils.errors import ArgumentError, BiasMIRError, ClusterError, did_you_mean
from biasmir_utils.files import versions

if TYPE_CHECKING:
    from distributed import Client, Future

LOCAL = "local"
_ADDRESS = re.compile(
    r"inproc://\S+|([a-z][a-z0-9+.-]*://)?(\[[0-9a-f:.]+\]|[^\s/:\[\]]+):\d{1,5}(/\S*)?", re.I
)
SECONDS_TO_ANSWER = 10.0
"""How long a scheduler may take to answer, and then to have a worker."""
SECONDS_BETWEEN_LOOKS = 5.0
TASKS_PER_WORKER = 4
"""Tasks sent ahead for each worker: enough to keep it busy, few enough to hold in memory."""
WORKERS_END = (
    "worker processes end as they start; put the main script's code under "
    '`if __name__ == "__main__":`'
)
RETRIES = 2
"""How often a task that failed for a reason unknown to this package is tried again."""


@dataclass(frozen=True)
class WorkersDied:
    """Takes the place of a result when one worker after the other ended during that task."""


@contextmanager
def connect(
    scheduler: str,
    jobs: int | None = None,
    packages: Sequence[str] = (),
    say: Callable[[str], object] | None = None,
) -> Iterator[Cluster]:
    """Connect to a Dask scheduler, or start one here, for as long as the context lasts.

    Parameters
    ----------
    scheduler : str
        An address such as `tcp://10.0.0.5:8786`, or `local` for worker processes here.
    jobs : int, optional
        Worker processes of `local`; default all cores.
    packages : sequence of str
        Installed packages whose versions decide the numbers. A worker has to have those that
        are here.
    say : callable, optional
        Receives lines meant for the user; default: printed on stderr.

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
    import dask
    from distributed import Client, LocalCluster

    with ExitStack() as stack:
        if scheduler == LOCAL:
            # Looking at the workers' stacks every 10 ms, for a dashboard, would take a share of
            # the processor.
            stack.enter_context(dask.config.set({"distributed.worker.profile.enabled": False}))
            # Nothing is open to other machines, and memory is not limited: as with the other ways
            # of using several processes.
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
            stack.enter_context(cluster)
            client = stack.enter_context(Client(cluster, set_as_default=False))
        else:
            try:
                # A Client that cannot be made leaves threads behind, which complain in the end.
                _knock(scheduler)
                client = stack.enter_context(
                    Client(scheduler, timeout=SECONDS_TO_ANSWER, set_as_default=False)
                )
            except (OSError, ValueError, TypeError) as error:
                reason = f"{type(error).__name__}: {error}".removesuffix(": ")
                raise ClusterError(
                    f"scheduler {scheduler}: nobody answered within {SECONDS_TO_ANSWER:.0f} s "
                    f"({reason}); expected an address such as "
                    f"tcp://10.0.0.5:8786 of a running `dask scheduler`, or 'local'"
                ) from error
        try:
            client.wait_for_workers(1, timeout=SECONDS_TO_ANSWER)
        except TimeoutError as error:
            raise ClusterError(
                f"scheduler {scheduler}: it has no workers ({SECONDS_TO_ANSWER:.0f} s waited); "
                f"start some: dask worker {scheduler} --nthreads 1"
            ) from error
        expected = versions(*packages)
        _check_versions(client, packages, expected)
        yield Cluster(client, scheduler, expected, say or _print)


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


def _knock(scheduler: str) -> None:
    """Connect once, as a Client would, and leave again."""
    from distributed.comm import connect as open_comm
    from distributed.security import Security

    arguments = Security().get_connection_args("client")

    async def knock() -> None:
        comm = await open_comm(scheduler, timeout=SECONDS_TO_ANSWER, **arguments)
        comm.abort()

    # In a thread, since a notebook has an event loop already.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, asyncio.wait_for(knock(), SECONDS_TO_ANSWER)).result()


class Cluster:
    """A connection to workers that are as they should be; see `connect`.

    Parameters
    ----------
    client : distributed.Client
    address : str
        As the user gave it.
    expected : dict of str to str
        Versions that a worker must have.
    say : callable
        Receives lines meant for the user.
    """

    def __init__(
        self,
        client: Client,
        address: str,
        expected: dict[str, str],
        say: Callable[[str], object],
    ) -> None:
        self.client = client
        self.address = address
        self._expected = expected
        self.say = say
        self._workers: dict[str, int] = {}
        self._looked = float("-inf")
        threads = max(self._threads().values(), default=1)
        if threads > 1:
            say(
                f"scheduler {address}: a worker process does one task at a time; its {threads} "
                f"threads are of no use: start more processes (--nworkers) with --nthreads 1"
            )

    @property
    def n_workers(self) -> int:
        """Worker processes at the moment."""
        return len(self._threads())

    def hold(self, value: Any) -> Future:
        """Put a value on the cluster that many calls of `run` take among their arguments.

        It is sent once. The scheduler keeps it, so it does not go with the worker that has it,
        as scattered data would.
        """
        import warnings

        with warnings.catch_warnings():
            # Dask advises to scatter what is large.
            warnings.filterwarnings("ignore", message="Sending large graph")
            return self.client.submit(_same, value, pure=False)

    def run(
        self, function: Callable[..., Any], calls: Iterable[tuple[Any, Sequence[Any]]]
    ) -> Iterator[tuple[Any, Any]]:
        """Yield the name of each call and its result as they come.

        Parameters
        ----------
        function : callable
            Of this package, so that workers can import it. Calling it again does no harm: this
            happens when a worker is lost.
        calls : iterable of (name, arguments)
            Taken as they can be sent. Arguments may be, or hold in dicts, what `hold` returned.

        Yields
        ------
        (name, result)
            The result is a `WorkersDied` if worker after worker ended during the call.

        Raises
        ------
        BiasMIRError
            As raised by the function, or `ClusterError` if the scheduler is gone.
        """
        running: dict[Any, tuple[Any, Future]] = {}
        done: queue.Queue[Future] = queue.Queue()
        remaining = iter(calls)
        try:
            while True:
                room = TASKS_PER_WORKER * max(1, self.n_workers) - len(running)
                for name, arguments in itertools.islice(remaining, max(0, room)):
                    future = self.client.submit(
                        _on_worker,
                        self._expected,
                        function,
                        *arguments,
                        pure=False,
                        retries=RETRIES,
                    )
                    running[future.key] = (name, future)
                    future.add_done_callback(done.put)
                if not running:
                    return
                name, future = running.pop(self._next(done).key)
                yield name, self._result(future)
        finally:
            if running and self.client.status == "running":
                self.client.cancel([future for _, future in running.values()])

    def _next(self, done: queue.Queue[Future]) -> Future:
        """Wait for a task that is done, and say so when nobody is left to do it."""
        told = False
        while True:
            try:
                return done.get(timeout=SECONDS_BETWEEN_LOOKS)
            except queue.Empty:
                if not self._threads() and not told:
                    self.say(
                        f"scheduler {self.address}: no worker is left; waiting for one (Ctrl-C "
                        f"stops, what is finished is kept)"
                    )
                    told = True

    def _result(self, future: Future) -> Any:
        from concurrent.futures import CancelledError

        from distributed import KilledWorker

        try:
            result = future.result()
        except KilledWorker:
            return WorkersDied()
        except (CancelledError, OSError) as error:
            if isinstance(error, OSError) and future.status == "error":
                raise  # of the task itself
            raise ClusterError(
                f"scheduler {self.address}: the connection was lost, or the work was cancelled "
                f"there; what is finished is kept, the same call goes on from there"
            ) from error
        if isinstance(result, _Refused):
            raise type(result.error)(f"{result.error} (on the worker {result.worker})")
        return result

    def _threads(self) -> dict[str, int]:
        """Return the threads of each worker, as they were a few seconds ago at most."""
        if time.monotonic() - self._looked > SECONDS_BETWEEN_LOOKS:
            try:
                self._workers = dict(self.client.nthreads())
            except OSError as error:
                raise ClusterError(
                    f"scheduler {self.address}: it no longer answers; what is finished is kept"
                ) from error
            self._looked = time.monotonic()
        return self._workers


@dataclass(frozen=True)
class _Refused:
    """An error of this package on a worker: trying again would not help."""

    error: BiasMIRError
    worker: str


_one_at_a_time = threading.Lock()


def _on_worker(expected: dict[str, str], function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function on a worker, one at a time in each process.

    The number of threads of the linear algebra and the collected warnings belong to the whole
    process, and networks take their memory once.
    """
    from distributed import get_worker

    with _one_at_a_time:
        try:
            # Workers that joined after `connect` have not been looked at.
            different = _differences(versions(*expected), expected)
            if different:
                raise ClusterError(f"versions differ from those here: {different}")
            return function(*arguments)
        except BiasMIRError as error:
            return _Refused(error, get_worker().address)


def _same(value: Any) -> Any:
    return value


def _check_versions(client: Client, packages: Sequence[str], expected: dict[str, str]) -> None:
    # What is imported there tells, not what an installer wrote down of it.
    there = client.run(versions, *packages, on_error="return")
    for worker, found in there.items():
        if isinstance(found, Exception):
            raise ClusterError(
                f"worker {worker}: biasmir_utils cannot be used in its Python "
                f"({type(found).__name__}: {found}); install version {expected['biasmir_utils']} "
                f"there, with the versions of constraints.txt"
            ) from found
        different = _differences(found, expected)
        if different:
            raise ClusterError(
                f"worker {worker}: versions differ from those here: {different}; the numbers "
                f"could differ too, so install the same there (constraints.txt)"
            )


def _differences(found: dict[str, str], expected: dict[str, str]) -> str:
    """Return in words which versions are not the expected ones; of Python, the minor counts."""
    texts = []
    for name, wanted in expected.items():
        has = found.get(name, "none")
        if name == "python":
            wanted, has = _minor(wanted), _minor(has)
        if has != wanted:
            texts.append(f"{name} {has} instead of {wanted}")
    return ", ".join(texts)


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _print(line: str) -> None:
    print(line, file=sys.stderr)
