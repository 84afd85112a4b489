"""Evaluation and extraction on Dask clusters of real processes, some of which are killed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from running import run_command
from small_sounds import make_sound_corpus

import biasmir_utils
from biasmir_utils.cli import main
from biasmir_utils.corpus import Corpus
from biasmir_utils.embeddings import extract, load
from biasmir_utils.errors import ArgumentError, ClusterError, ModelError
from biasmir_utils.experiments import evaluate, plan_evaluation, run_plan

distributed = pytest.importorskip("distributed")
MODULE = "biasmir_utils.cluster"


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
def empty():
    """A scheduler without workers."""
    with started(n_workers=0) as found:
        yield found


def at_first_result(monkeypatch, act):
    """Call `act` when the first task or part is kept; return the list of all that are kept."""
    kept = []
    plain = os.replace

    def replace(temporary, target):
        plain(temporary, target)
        path = Path(target)
        if path.name.startswith("part-") or (path.parent.name == "tasks" and path.suffix == ".npz"):
            kept.append(path.name)
            if len(kept) == 1:
                act()

    monkeypatch.setattr(os, "replace", replace)
    return kept


def killer(client, killed):
    """A function that kills all workers, by SIGKILL: what only they have in memory is lost."""
    client.wait_for_workers(2)
    pids = client.run(os.getpid)

    def kill():
        for busy in client.processing().values():
            killed.extend(busy)
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)

    return kill


GRID = {"corrections": "paper", "modes": ["global", "classwise"]}


def assert_same(one, other):
    pd.testing.assert_frame_equal(one.results, other.results, check_exact=True)
    pd.testing.assert_frame_equal(one.scores, other.scores, check_exact=True)
    assert one.record == other.record
    for table in ("summary", "changes", "task", "shift") if one.report else ():
        expected = getattr(other.report, table)
        pd.testing.assert_frame_equal(getattr(one.report, table), expected, check_exact=True)


# Evaluation


def test_an_evaluation_in_which_the_workers_are_killed(corpus, tmp_path, two, monkeypatch):
    address, client = two
    plan = plan_evaluation(corpus, ["toy", "toy2"], **GRID, report=True)
    serial = run_plan(plan, scores=True, jobs=1)
    killed = []
    kept = at_first_result(monkeypatch, killer(client, killed))
    found = run_plan(plan, scores=True, resume=tmp_path / "tasks", scheduler=address)
    assert killed, "the workers were to be killed while they had work"
    assert len(kept) == len(plan.tasks) == 8
    assert_same(found, serial)
    # What was kept serves a later run, here or there, and then no cluster is asked.
    again = run_plan(plan, scores=True, resume=tmp_path / "tasks", scheduler="tcp://no.such:1")
    assert_same(again, serial)


def test_workers_that_end_again_and_again(corpus, tmp_path, monkeypatch):
    plan = plan_evaluation(corpus, ["toy", "toy2"], **GRID)
    with started(failures=0) as (address, client):
        at_first_result(monkeypatch, killer(client, []))
        with pytest.raises(ClusterError, match=r"several workers ended during one task.*memory"):
            run_plan(plan, resume=tmp_path / "tasks", scheduler=address)
    assert list((tmp_path / "tasks").glob("*.npz"))


def test_local_workers_through_the_command(tiny_corpus, tmp_path):
    grid = ["--correction", "none", "lda", "--scores"]
    command = ["evaluate", tiny_corpus, "--embedding", "toy", *grid]
    here, there = tmp_path / "here.csv", tmp_path / "there.csv"
    run_command(*command, "--jobs", 1, "--out", here)
    run_command(*command, "--scheduler", "local", "--out", there)
    assert here.read_bytes() == there.read_bytes()


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
    return make_sound_corpus(tmp_path / "sounds", clips)


def test_an_extraction_in_which_the_workers_are_killed(sounds, tmp_path, two, monkeypatch):
    address, client = two
    killed = []
    kept = at_first_result(monkeypatch, killer(client, killed))
    report = extract(sounds, "mfcc", progress=False, scheduler=address)
    assert killed
    assert len(kept) == 8, "39 clips by fives"
    assert (report.n_embedded, report.n_before) == (38, 0)
    assert report.skipped["clip"].tolist() == ["c07", "c21"]
    serial = extract(shutil.copytree(sounds.path, tmp_path / "copy"), "mfcc", progress=False)
    copied = Corpus.load(tmp_path / "copy")
    np.testing.assert_array_equal(report.corpus.embedding("mfcc"), copied.embedding("mfcc"))
    pd.testing.assert_frame_equal(report.notes, serial.notes)
    assert not report.file.with_suffix(".parts").exists()


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc")
def test_workers_that_do_not_see_the_files(sounds, two, monkeypatch):
    """A path that leads each process into its own working folder."""
    address, _ = two
    monkeypatch.chdir(sounds.path.parent)
    elsewhere = Path("/proc/self/cwd") / sounds.path.name
    with pytest.raises(ClusterError, match=r"worker tcp://.*: /proc/self/cwd/sounds/audio/.* is "):
        extract(elsewhere, "mfcc", progress=False, scheduler=address)
    assert not list((sounds.path / "embeddings").glob("*.parts/part-*"))


def test_a_worker_that_has_another_model(sounds, two, monkeypatch):
    monkeypatch.setitem(load("mfcc").front_end.features.__globals__["_SPECTRA"], "n_mels", 64)
    with pytest.raises(ModelError, match=r"worker tcp://.*: mfcc is another model there"):
        extract(sounds, "mfcc", progress=False, scheduler=two[0])


# What is not as it should be


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "127.0.0.1:9", "a mute server"])
def test_an_address_that_nobody_answers_leaves_no_traceback(address):
    code = """
import socket, sys
from biasmir_utils import cluster
from biasmir_utils.errors import ClusterError
cluster._SECONDS_TO_ANSWER = 1.0
mute = socket.create_server(("127.0.0.1", 0))
address = sys.argv[1].replace("a mute server", f"tcp://127.0.0.1:{mute.getsockname()[1]}")
try:
    with cluster.connect(address):
        pass
except ClusterError as error:
    print(str(error).replace(address, sys.argv[1]))
"""
    command = [sys.executable, "-c", code, address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert f"scheduler {address}: nobody answered within 1 s" in done.stdout
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("lokal", r"'lokal': no address; .*Did you mean 'local'\?"),
        ("nonsense", "expected 'local', or protocol://host:port such as tcp://10.0.0.5:8786$"),
        ("", "no address"),
    ],
)
def test_an_address_that_is_none_is_said_at_once(address, told, tiny_corpus):
    with pytest.raises(ArgumentError, match=told):
        evaluate(Corpus.load(tiny_corpus), "toy", scheduler=address)
    done = CliRunner().invoke(main, ["evaluate", str(tiny_corpus), "--scheduler", address])
    assert done.exit_code == 1
    assert "no address" in done.stderr


def test_a_scheduler_without_workers(empty, sounds, monkeypatch):
    address, _ = empty
    monkeypatch.setattr(f"{MODULE}._SECONDS_TO_ANSWER", 0.5)
    with pytest.raises(ClusterError, match=f"has no workers .*: dask worker {address}"):
        extract(sounds, "mfcc", progress=False, scheduler=address)


def test_no_dask(sounds, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ArgumentError, match=r'pip install "biasmir_utils\[distributed\]"'):
        extract(sounds, "mfcc", progress=False, scheduler="local")


def test_jobs_are_of_this_machine(sounds, two):
    with pytest.raises(ArgumentError, match="--jobs counts processes of this machine"):
        extract(sounds, "mfcc", progress=False, scheduler=two[0], jobs=2)


@contextmanager
def worker_in(folder, address):
    """A worker of one process that finds packages in a folder before those that are installed."""
    package = Path(biasmir_utils.__file__).parent
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1"]
    worker = subprocess.Popen(
        [*command, "--no-nanny", "--no-dashboard", "--local-directory", str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(package.parent)])},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield worker
    finally:
        worker.terminate()
        worker.wait()


def copy_of_the_package(folder):
    """The package as version 0.0.1."""
    package = Path(biasmir_utils.__file__).parent
    copy = folder / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("*.pyc"))
    text = (copy / "__init__.py").read_text()
    (copy / "__init__.py").write_text(text.replace(biasmir_utils.__version__, "0.0.1"))


@pytest.mark.parametrize("there", ["another version", "none"])
def test_a_worker_that_cannot_do_the_same(empty, sounds, tmp_path, there):
    address, client = empty
    if there == "none":
        (tmp_path / "biasmir_utils.py").write_text("raise ModuleNotFoundError('not installed')\n")
        told = r"worker tcp://.*: biasmir_utils cannot be used .* install version"
    else:
        copy_of_the_package(tmp_path)
        told = (
            r"worker tcp://.*: versions .*: biasmir_utils 0\.0\.1 instead of "
            f"{biasmir_utils.__version__};"
        )
    with worker_in(tmp_path, address):
        client.wait_for_workers(1, timeout=120)
        with pytest.raises(ClusterError, match=told):
            extract(sounds, "mfcc", progress=False, scheduler=address)


def test_a_worker_that_joins_later_is_looked_at_too(tmp_path):
    connect = import_module(MODULE).connect
    copy_of_the_package(tmp_path)
    with started(n_workers=1) as (address, client), connect(address) as workers:
        assert list(workers.results(abs, [[-1]])) == [1]
        first = list(client.scheduler_info()["workers"])
        with worker_in(tmp_path, address):
            client.wait_for_workers(2, timeout=120)
            client.retire_workers(first)
            told = r"worker tcp://.*: versions .* biasmir_utils 0\.0\.1 instead"
            with pytest.raises(ClusterError, match=told):
                list(workers.results(abs, [[-1]]))


def test_calls_wait_while_all_workers_are_replaced():
    connect, taken = import_module(MODULE).connect, threading.Event()

    def calls():
        for number in (-1, -2):
            taken.set()
            yield [number]

    with started(n_workers=1) as (address, client), connect(address) as workers:
        client.retire_workers(list(client.scheduler_info()["workers"]))
        assert not len(workers)
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(lambda: sorted(workers.results(abs, calls())))
            assert taken.wait(60)
            client.cluster.scale(2)
            assert found.result(120) == [1, 2]


def test_an_extraction_may_begin_while_all_workers_are_replaced(sounds, two, monkeypatch):
    monkeypatch.setattr(f"{MODULE}.Workers.__len__", lambda workers: 0)
    assert extract(sounds, "mfcc", progress=False, scheduler=two[0]).n_embedded == 38


def test_a_result_that_is_long_on_its_way(two, monkeypatch):
    with import_module(MODULE).connect(two[0]) as workers, monkeypatch.context() as patch:
        patch.setattr(f"{MODULE}._SECONDS_TO_ANSWER", 0.02)
        (found,) = workers.results(bytes, [[50_000_000]])
    assert found == bytes(50_000_000)


def test_a_scheduler_that_goes_away(sounds, monkeypatch):
    with started(n_workers=1) as (address, client):
        scheduler = client.cluster.scheduler
        at_first_result(monkeypatch, lambda: scheduler.loop.add_callback(scheduler.close))
        with pytest.raises(ClusterError, match=f"scheduler {address}: .*what is finished is kept"):
            extract(sounds, "mfcc", progress=False, scheduler=address)


@pytest.mark.parametrize(
    ("who", "number", "told"),
    [
        ("worker", signal.SIGKILL, r"all its workers are gone.* within 1 s; what is"),
        ("scheduler", signal.SIGSTOP, r"no answer within 1 s .*what is finished is kept"),
    ],
)
def test_nobody_is_waited_for_without_end(tmp_path, monkeypatch, who, number, told):
    def limit(what, seconds):
        monkeypatch.setattr(f"{MODULE}._SECONDS_{what}", seconds)

    program = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
    file = tmp_path / "scheduler.json"
    options = ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)]
    scheduler = subprocess.Popen([*program, *options], stderr=subprocess.DEVNULL)
    try:
        with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
            address = client.scheduler.address
        limit("TO_ANSWER", 60.0)
        with worker_in(tmp_path, address) as worker, import_module(MODULE).connect(address) as all:
            limit("TO_ANSWER", 1.0)
            results = all.results(abs, [[-number] for number in range(50)])
            assert next(results) in range(50)
            limit("OF_PATIENCE", 1.0)
            {"scheduler": scheduler, "worker": worker}[who].send_signal(number)
            with pytest.raises(ClusterError, match=told):
                list(results)
    finally:
        scheduler.kill()
        scheduler.wait()


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
