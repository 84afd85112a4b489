"""Evaluation and extraction on Dask clusters of real processes, some of which are killed."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from test_extraction import make_corpus

from biasmir_utils import __version__, cluster
from biasmir_utils.cli import main
from biasmir_utils.cluster import connect
from biasmir_utils.corpus import Corpus
from biasmir_utils.embeddings import extract, load
from biasmir_utils.embeddings.parts import PartStore
from biasmir_utils.embeddings.shards import Model, embed_shard, shard_size
from biasmir_utils.errors import ArgumentError, ClusterError, ModelError
from biasmir_utils.experiments import TaskStore, evaluate, plan_evaluation, run_plan

distributed = pytest.importorskip("distributed")


@contextmanager
def started(n_workers=2, failures=3, **options):
    """A cluster of processes here: its address, and a client that watches it."""
    import dask

    settings = {"distributed.scheduler.allowed-failures": failures}
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=n_workers,
            **{"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
            | options,
        ) as running,
        distributed.Client(running, set_as_default=False) as client,
    ):
        yield running.scheduler_address, client


@pytest.fixture(scope="module")
def two():
    """A cluster of two worker processes; a killed one is replaced."""
    with started() as found:
        yield found


@pytest.fixture(scope="module")
def intolerant():
    """A cluster that gives a task up when one worker ended during it."""
    with started(failures=0) as found:
        yield found


@pytest.fixture(scope="module")
def empty():
    """A scheduler without workers."""
    with started(n_workers=0) as found:
        yield found


class KillAfterFirst:
    """Kills a busy worker, by SIGKILL, when the first result is kept."""

    def __init__(self, monkeypatch, client, owner, method):
        self.client = client
        self.pids = client.run(os.getpid)
        self.kept = 0
        self.held_by_victim = ()
        keep = getattr(owner, method)

        def wrapped(store, *arguments):
            keep(store, *arguments)
            self.kept += 1
            if self.kept == 1:
                self.kill()

        monkeypatch.setattr(owner, method, wrapped)

    def kill(self):
        busy = self.client.processing()
        victim = max(busy, key=lambda worker: len(busy[worker]))
        self.held_by_victim = busy[victim]
        os.kill(self.pids[victim], signal.SIGKILL)


GRID = {"corrections": "paper", "modes": ["global", "classwise"]}


def assert_same(one, other):
    pd.testing.assert_frame_equal(one.results, other.results, check_exact=True)
    pd.testing.assert_frame_equal(one.scores, other.scores, check_exact=True)
    assert one.record == other.record
    for table in ("summary", "changes", "task", "shift") if one.report else ():
        expected = getattr(other.report, table)
        pd.testing.assert_frame_equal(getattr(one.report, table), expected, check_exact=True)


# Evaluation


def test_an_evaluation_in_which_a_worker_is_killed(tiny_corpus, tmp_path, two, monkeypatch):
    address, client = two
    plan = plan_evaluation(Corpus.load(tiny_corpus), ["toy", "toy2"], **GRID, report=True)
    serial = run_plan(plan, scores=True, jobs=1)
    client.wait_for_workers(2)
    killing = KillAfterFirst(monkeypatch, client, TaskStore, "save")
    found = run_plan(plan, scores=True, resume=tmp_path / "tasks", scheduler=address)
    assert killing.held_by_victim, "the worker was to be killed while it had work"
    assert killing.kept == len(plan.tasks) == 8
    assert_same(found, serial)
    # What was kept serves a later run, here or there, and then no cluster is asked.
    again = run_plan(plan, scores=True, resume=tmp_path / "tasks", scheduler="tcp://no.such:1")
    assert_same(again, serial)


def test_an_evaluation_goes_on_where_it_was_stopped(tiny_corpus, tmp_path, two, monkeypatch):
    address, client = two
    plan = plan_evaluation(Corpus.load(tiny_corpus), "toy", ["none", "lda"])
    keep = TaskStore.save

    def stop(store, *arguments):
        keep(store, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TaskStore, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            run_plan(plan, scores=True, resume=tmp_path / "tasks", scheduler=address)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "tasks").glob("*.json")}
    assert len(kept) == 1 < len(plan.tasks)
    found = run_plan(plan, scores=True, resume=tmp_path / "tasks", scheduler=address)
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert_same(found, run_plan(plan, scores=True, jobs=1))
    # Nothing of either run is left on the cluster.
    client.run_on_scheduler(_wait_until_forgotten)


async def _wait_until_forgotten(dask_scheduler):
    while dask_scheduler.tasks:
        await asyncio.sleep(0.01)


def test_workers_that_end_again_and_again(tiny_corpus, tmp_path, intolerant, monkeypatch):
    address, client = intolerant
    plan = plan_evaluation(Corpus.load(tiny_corpus), ["toy", "toy2"], **GRID)
    client.wait_for_workers(2)
    KillAfterFirst(monkeypatch, client, TaskStore, "save")
    with pytest.raises(ClusterError, match=r"several workers ended during the task toy.*memory"):
        run_plan(plan, resume=tmp_path / "tasks", scheduler=address)
    assert list((tmp_path / "tasks").glob("*.json"))


def test_local_workers_through_the_command(tiny_corpus, tmp_path):
    grid = ["--correction", "none", "lda", "--scores"]
    for name, options in {"here": ["--jobs", "1"], "there": ["--scheduler", "local"]}.items():
        out = tmp_path / f"{name}.csv"
        command = ["evaluate", str(tiny_corpus), "--embedding", "toy", *grid, "--out", str(out)]
        done = CliRunner().invoke(main, [*command, *options])
        assert done.exit_code == 0, done.output
    assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "there.csv").read_bytes()


# Extraction


@pytest.fixture
def sounds(tmp_path) -> Corpus:
    """Forty clips: sound, and some that are left out or noted."""
    rng = np.random.default_rng(1)
    clips = {}
    for index in range(40):
        waveform = 0.1 * rng.standard_normal(8_000 + 100 * index)
        clips[f"c{index:02}.wav"] = (waveform, 16_000, {"subtype": "FLOAT"})
    clips["c07.wav"] = b"no sound"
    clips["c21.wav"] = None  # named in the table, not on the disk
    clips["c30.wav"] = (np.zeros(16_000), 16_000, {"subtype": "PCM_16"})
    return make_corpus(tmp_path / "sounds", clips)


def contents(file: Path) -> dict:
    found = {}
    with h5py.File(file) as opened:
        opened.visititems(
            lambda name, item: (
                found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return found


def assert_same_file(one: Path, other: Path):
    first, second = contents(one), contents(other)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    notes = [path.with_suffix(".notes.csv").read_text() for path in (one, other)]
    assert notes[0] == notes[1]


@pytest.fixture
def serial(sounds, tmp_path) -> Path:
    """The embedding file of a run without a cluster, of a copy of the corpus."""
    copy = Path(shutil.copytree(sounds.path, tmp_path / "copy"))
    return extract(copy, "mfcc", jobs=0, progress=False).file


def test_an_extraction_in_which_a_worker_is_killed(sounds, serial, two, monkeypatch):
    address, client = two
    client.wait_for_workers(2)
    killing = KillAfterFirst(monkeypatch, client, PartStore, "write")
    report = extract(sounds, "mfcc", progress=False, scheduler=address)
    assert killing.held_by_victim
    assert killing.kept == 8
    assert (report.n_embedded, report.n_before) == (38, 0)
    assert report.skipped["clip"].tolist() == ["c07", "c21"]
    assert_same_file(report.file, serial)
    assert not report.file.with_suffix(".parts").exists()


def test_an_extraction_goes_on_where_it_was_stopped(sounds, serial, two, monkeypatch):
    address, client = two
    client.wait_for_workers(2)
    keep = PartStore.write

    def stop(store, part):
        keep(store, part)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PartStore, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            extract(sounds, "mfcc", progress=False, scheduler=address)
    report = extract(sounds, "mfcc", progress=False, scheduler=address)
    assert 4 <= report.n_before <= 5
    assert report.n_before + report.n_embedded == 38
    assert_same_file(report.file, serial)


def test_clips_at_which_workers_end_are_embedded_here(
    sounds, serial, intolerant, monkeypatch, capsys
):
    address, client = intolerant
    client.wait_for_workers(2)
    killing = KillAfterFirst(monkeypatch, client, PartStore, "write")
    report = extract(sounds, "mfcc", progress=False, scheduler=address)
    assert killing.held_by_victim
    told = capsys.readouterr().err
    n_clips = 5 * len(killing.held_by_victim)
    assert f"several workers ended during {n_clips} clip(s), the first " in told
    assert_same_file(report.file, serial)


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc")
def test_workers_that_do_not_see_the_files(sounds, two, monkeypatch):
    """A path that leads each process into its own working folder."""
    address, _ = two
    monkeypatch.chdir(sounds.path.parent)
    elsewhere = Path("/proc/self/cwd") / sounds.path.name
    with pytest.raises(ClusterError, match=r"worker tcp://.*: /proc/self/cwd/sounds/audio/.* is "):
        extract(elsewhere, "mfcc", progress=False, scheduler=address)
    assert not list((sounds.path / "embeddings").glob("*.parts/part-*"))


def test_a_worker_that_has_another_model(sounds, two):
    address, _ = two
    record = load("mfcc").record
    record["parameters"] = {**record["parameters"], "n_mfcc": 99}
    with (
        connect(address) as found,
        pytest.raises(ModelError, match=r"mfcc: this worker has another .* \(on the worker tcp://"),
    ):
        list(found.run(embed_shard, [(0, (Model("mfcc"), {**record, "stored": {}}, {}))]))


def test_shards_are_small_where_there_are_few_clips():
    for n_workers in (1, 2, 8):
        for n_clips in (1, 7, 100, 1_000, 20_000):
            size = shard_size(n_clips, n_workers)
            assert 1 <= size <= 100
            assert size == 100 or -(-n_clips // size) >= min(n_clips, 3 * n_workers)
            assert size <= 16 or size == 100 or size % 16 == 0


def test_a_loaded_embedding_cannot_go_to_workers(sounds):
    with pytest.raises(ArgumentError, match="goes with the name of an embedding"):
        extract(sounds, load("mfcc"), scheduler="local")


# What is not as it should be


def test_an_address_that_nobody_answers(tiny_corpus, monkeypatch):
    monkeypatch.setattr(cluster, "SECONDS_TO_ANSWER", 1.0)
    before = set(threading.enumerate())
    for address in ("tcp://127.0.0.1:9", "127.0.0.1:9"):
        with pytest.raises(ClusterError, match=f"scheduler {address}: nobody answered within 1 s"):
            evaluate(Corpus.load(tiny_corpus), "toy", scheduler=address)
    assert set(threading.enumerate()) <= before  # nobody is left to complain in the end


def test_something_else_at_the_address_is_nobody_and_leaves_no_traceback(tmp_path):
    code = """
import socket, sys
from biasmir_utils import cluster
from biasmir_utils.errors import ClusterError
cluster.SECONDS_TO_ANSWER = 1.0
mute = socket.create_server(("127.0.0.1", 0))
try:
    with cluster.connect(f"tcp://127.0.0.1:{mute.getsockname()[1]}"):
        pass
except ClusterError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "nobody answered within 1 s" in done.stdout
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("lokal", r"'lokal': no address; .*Did you mean 'local'\?"),
        ("Local", "Did you mean 'local'"),
        ("nonsense", "expected 'local', or protocol://host:port such as tcp://10.0.0.5:8786$"),
        ("tcp://127.0.0.1", "no address"),
        ("tcp://:8786", "no address"),
        ("", "no address"),
    ],
)
def test_an_address_that_is_none_is_said_at_once(address, told, tiny_corpus):
    with pytest.raises(ArgumentError, match=told):
        connect(address).__enter__()
    done = CliRunner().invoke(main, ["evaluate", str(tiny_corpus), "--scheduler", address])
    assert done.exit_code == 1
    assert "no address" in done.stderr


@pytest.mark.parametrize(
    "address",
    ["local", "tcp://10.0.0.5:8786", "node-7:8786", "tls://[::1]:8786", "ws://host:80/ws"],
)
def test_addresses_that_may_be_right(address):
    cluster.check_scheduler(address)


def test_a_scheduler_without_workers(empty, monkeypatch):
    address, _ = empty
    monkeypatch.setattr(cluster, "SECONDS_TO_ANSWER", 0.5)
    with pytest.raises(ClusterError, match=f"has no workers .*: dask worker {address}"):
        connect(address).__enter__()

    class OldTimeoutError(Exception):
        """What asyncio raises before Python 3.11: not the builtin of that name."""

    def wait_for_workers(self, *_, **__):
        raise OldTimeoutError

    names = {name: getattr(asyncio, name) for name in ("run", "wait_for")}
    old = SimpleNamespace(TimeoutError=OldTimeoutError, **names)
    monkeypatch.setattr(cluster, "asyncio", old)
    monkeypatch.setattr(distributed.Client, "wait_for_workers", wait_for_workers)
    with pytest.raises(ClusterError, match=f"has no workers .*: dask worker {address}"):
        connect(address).__enter__()


def test_no_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ArgumentError, match=r'pip install "biasmir_utils\[distributed\]"'):
        connect("local").__enter__()


def test_jobs_are_of_this_machine(two):
    with pytest.raises(ArgumentError, match="--jobs counts processes of this machine"):
        connect(two[0], jobs=2).__enter__()


@contextmanager
def worker_of(address, client, folder):
    """A worker of one process that finds packages in a folder before those that are installed."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1"]
    worker = subprocess.Popen(
        [*command, "--no-nanny", "--no-dashboard", "--local-directory", str(folder)],
        cwd=folder,
        stderr=subprocess.DEVNULL,
    )
    n_before = len(client.nthreads())
    try:
        yield
    finally:
        worker.terminate()
        worker.wait()
        client.run_on_scheduler(_wait_until_gone, n_before)


async def _wait_until_gone(n_left, dask_scheduler):
    while len(dask_scheduler.workers) > n_left:
        await asyncio.sleep(0.01)


def copy_of_the_package(folder, version):
    package = Path(cluster.__file__).parent
    shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("*.pyc"))
    (folder / package.name / "_version.py").write_text(f"__version__ = {version!r}\n")


def test_a_worker_with_another_version(empty, tmp_path):
    address, client = empty
    copy_of_the_package(tmp_path, "0.0.1")
    with worker_of(address, client, tmp_path):
        client.wait_for_workers(1, timeout=60)
        told = f"worker tcp://.*: versions .*: biasmir_utils 0.0.1 instead of {__version__};"
        with pytest.raises(ClusterError, match=told):
            connect(address).__enter__()


def test_a_worker_without_the_package(empty, tmp_path):
    address, client = empty
    (tmp_path / "biasmir_utils.py").write_text("raise ModuleNotFoundError('not installed')\n")
    with worker_of(address, client, tmp_path):
        client.wait_for_workers(1, timeout=60)
        told = r"worker tcp://.*: biasmir_utils cannot be used .* install version"
        with pytest.raises(ClusterError, match=told):
            connect(address).__enter__()


def test_the_package_that_runs_tells_its_version_and_not_old_metadata(empty, tmp_path):
    """As where a clone was updated after `pip install -e`."""
    address, client = empty
    shadow = tmp_path / "biasmir_utils-0.0.1.dist-info"
    shadow.mkdir()
    (shadow / "METADATA").write_text("Metadata-Version: 2.1\nName: biasmir_utils\nVersion: 0.0.1\n")
    with worker_of(address, client, tmp_path):
        client.wait_for_workers(1, timeout=60)
        with connect(address) as found:
            assert dict(found.run(cluster._same, [(0, (1,))])) == {0: 1}


def test_a_worker_that_joins_later_is_looked_at_too(tmp_path):
    copy_of_the_package(tmp_path, "0.0.1")
    with started(n_workers=1) as (address, client), connect(address) as found:
        assert dict(found.run(cluster._same, [(0, (1,))])) == {0: 1}
        first = list(client.scheduler_info()["workers"])
        with worker_of(address, client, tmp_path):
            client.wait_for_workers(2, timeout=60)
            client.retire_workers(first)
            told = r"versions .* biasmir_utils 0\.0\.1 instead .* \(on the worker tcp://"
            with pytest.raises(ClusterError, match=told):
                list(found.run(cluster._same, [(0, (1,))]))


def test_a_script_without_the_guard_is_told_so(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from biasmir_utils.cluster import connect\n"
        "from biasmir_utils.errors import ArgumentError\n"
        "try:\n"
        "    with connect('local', 1):\n"
        "        pass\n"
        "except ArgumentError as error:\n"
        "    print('refused:', error)\n"
    )
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert "refused: --scheduler local: worker processes end as they start" in run.stdout, run


def _add(first, second):
    return first + sum(second.values())


def _refuse(text):
    raise ArgumentError(text)


def test_calls_results_and_errors(capsys):
    one = started(n_workers=1, threads_per_worker=2, processes=False)
    with one as (address, _), connect(address) as found:
        assert "its 2 threads are of no use" in capsys.readouterr().err
        held = found.hold(10)
        calls = ((n, (n, {"held": held, "plain": 1})) for n in range(30))
        assert dict(found.run(_add, calls)) == {n: n + 11 for n in range(30)}
        with pytest.raises(ArgumentError, match=r"^no \(on the worker inproc://"):
            list(found.run(_refuse, [(0, ("no",))]))
        with pytest.raises(TypeError):
            list(found.run(_add, [(0, ("text", {"held": 1}))]))


def test_a_scheduler_that_goes_away(monkeypatch):
    monkeypatch.setattr(cluster, "SECONDS_TO_ANSWER", 2.0)
    with started(n_workers=1) as (address, client), connect(address) as found:
        calls = ((n, (n, {})) for n in range(10_000))
        running = found.run(_add, calls)
        assert next(running)[1] >= 0
        client.cluster.scheduler.loop.add_callback(client.cluster.scheduler.close)
        with pytest.raises(ClusterError, match=f"scheduler {address}: .*what is finished is kept"):
            list(running)


def test_the_commands_of_the_page_are_understood(repository):
    from distributed.cli import dask_scheduler, dask_worker

    page = (repository / "book" / "cluster.md").read_text(encoding="utf-8")
    lines = re.findall(r"^(biasmir|dask) (.*)$", page, re.M)
    assert {program for program, _ in lines} == {"biasmir", "dask"}
    dask = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}
    for program, words in lines:
        name, *arguments = shlex.split(words)
        command = main.get_command(None, name) if program == "biasmir" else dask[name]
        command.make_context(name, arguments)
