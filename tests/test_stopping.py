"""Stopping a command by Ctrl-C or a signal: what it says, its exit code, no process left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from running import let_hang_up, run_command
from small_sounds import make_sound_corpus as make_corpus

import biasmir_utils
from biasmir_utils.corpus import Corpus
from biasmir_utils.experiments import OutputPaths

FINISHED = "[!.]*.npz"  # a file that is being written begins with a dot
GRID = ["--embedding", "toy", "toy2", "--correction", "paper", "--mode", "global", "classwise"]
PROGRAM = "from biasmir_utils.cli import main\nif __name__ == '__main__':\n    main()\n"


def stopped(tmp_path, folder, pattern, number, *arguments, script=None):
    """Start a command, signal it when its first finished work is there, and wait.

    Returns its exit code, what it said, and the worker processes that it had.
    """
    if script is None:
        script = tmp_path / "biasmir.py"
        script.write_text(PROGRAM)
    command = [sys.executable, script, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, **pipes, text=True, preexec_fn=let_hang_up)
    while process.poll() is None and not list(folder.glob(pattern)):
        time.sleep(0.005)
    assert process.poll() is None, process.communicate()
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, said = process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive, alive
    return process.returncode, said, workers


@pytest.mark.parametrize(
    ("options", "number", "code"),
    [
        (["--jobs", 2], signal.SIGTERM, 143),
        (["--jobs", 1], signal.SIGTERM, 143),
        (["--scheduler", "local", "--jobs", 2], signal.SIGTERM, 143),
        (["--scheduler", "local", "--jobs", 2], signal.SIGINT, 130),
        # Those that leave it no time to say anything, nor to end its workers.
        (["--jobs", 2], signal.SIGKILL, -signal.SIGKILL),
        (["--jobs", 2], signal.SIGHUP, -signal.SIGHUP),
    ],
)
def test_evaluate(tiny_corpus, tmp_path, options, number, code):
    if "--scheduler" in options:
        pytest.importorskip("distributed")
    out = tmp_path / "r.csv"
    tasks = OutputPaths(out).tasks
    returned, said, workers = stopped(
        tmp_path, tasks, FINISHED, number, "evaluate", tiny_corpus, *GRID, "--out", out, *options
    )
    assert returned == code, said
    told = f"of 8 tasks kept in {tasks}; the same command goes on from there."
    assert (told in said) == (code > 0)
    assert "Traceback" not in said
    assert not out.exists()
    assert len(workers) >= (2 if options[-1] == 2 else 0)
    assert 1 <= len(list(tasks.glob(FINISHED))) < 8


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_extract(tmp_path, number):
    pytest.importorskip("librosa")
    noise = 0.1 * np.random.default_rng(0).standard_normal(32_000)
    sounds = {f"c{i:03}.wav": (noise[i:], 16_000, {"subtype": "PCM_16"}) for i in range(600)}
    corpus = make_corpus(tmp_path / "corpus", sounds)
    parts = corpus.path / "embeddings" / "mfcc.parts"
    returned, said, workers = stopped(
        tmp_path, parts, "part-*.h5", number,
        "extract", corpus.path, "--embedding", "mfcc", "--jobs", 2, "--quiet",
    )  # fmt: skip
    assert returned == (143 if number == signal.SIGTERM else 130), said
    assert said.endswith(
        "Stopped; finished parts are kept, and the same command goes on from there.\n"
    )
    assert "Traceback" not in said
    assert len(workers) >= 2
    assert 1 <= len(list(parts.glob("part-*.h5"))) < 6
    assert Corpus.load(corpus.path).embedding_names == []


def test_ctrl_c_at_a_terminal_while_workers_still_import(tmp_path):
    """A terminal sends it to all processes of the command."""
    pytest.importorskip("librosa")
    sound = (0.1 * np.random.default_rng(0).standard_normal(32_000), 16_000, {"subtype": "PCM_16"})
    corpus = make_corpus(tmp_path / "corpus", {f"c{i:03}.wav": sound for i in range(40)})
    command = [sys.executable, "-m", "biasmir_utils", "extract", corpus.path]
    process = subprocess.Popen(
        [*command, "--embedding", "mfcc", "--jobs", "2", "--quiet"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    shown = psutil.Process(process.pid)
    workers = []
    while process.poll() is None and len(workers) < 2:
        workers = [one for one in shown.children() if "spawn_main" in " ".join(one.cmdline())]
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert said.startswith("\nStopped; finished parts are kept")
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("module", "number", "raised", "code"),
    [
        ("click", signal.SIGINT, "", 130),
        ("pandas", signal.SIGINT, "", 130),
        ("pandas", signal.SIGINT, "ImportError", 130),  # as libraries do whose import is broken off
        ("sklearn", signal.SIGTERM, "ImportError", 143),
    ],
)
def test_a_command_that_still_imports(tiny_corpus, tmp_path, module, number, raised, code):
    send = f"import signal\ntry:\n    signal.raise_signal({int(number)})\n"
    (tmp_path / f"{module}.py").write_text(f"{send}except KeyboardInterrupt:\n    raise {raised}\n")
    path = os.pathsep.join([str(tmp_path), str(Path(biasmir_utils.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-m", "biasmir_utils", "probe", tiny_corpus],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (code, "\nStopped.\n")


def test_a_command_that_is_not_stopped_keeps_its_signal_handler(tiny_corpus, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    out = tmp_path / "r.csv"
    run_command("evaluate", tiny_corpus, "--embedding", "toy", "--jobs", 1, "--out", out)
    assert signal.getsignal(signal.SIGTERM) is before
