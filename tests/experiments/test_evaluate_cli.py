"""`biasmir evaluate`: its files, and going on after it was stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from test_stopping import FINISHED, GRID, stopped

import biasmir_utils
from biasmir_utils.cli import main
from biasmir_utils.corpus import Corpus
from biasmir_utils.experiments import (
    OutputPaths,
    TaskStore,
    plan_evaluation,
    read_table,
    run_plan,
    task_keys,
    write_evaluation,
)


def run(*arguments: object) -> str:
    done = CliRunner().invoke(main, ["evaluate", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


def test_evaluate_writes_results_record_and_scores(tiny_corpus, tmp_path):
    out = tmp_path / "made" / "r.csv"
    output = run(
        tiny_corpus, "--embedding", "toy", "toy2", "--correction", "none", "lda",
        "--mode", "global", "classwise", "--labels", "piano", "--out", out,
        "--scores", "--jobs", 1, "--seed", 7,
    )  # fmt: skip
    results = read_table(out)
    assert len(results) == 2 * 3 * 4
    assert "alpha>beta" in output
    assert "fall beta>alpha" in output
    assert "toy2 lda classwise" in output
    record = json.loads((tmp_path / "made" / "r.json").read_text())
    assert record["parameters"] == {
        "corpus": "tiny",
        "embeddings": ["toy", "toy2"],
        "corrections": ["none", "lda"],
        "modes": ["global", "classwise"],
        "labels": ["piano"],
        "recogniser": "logistic",
        "seed": 7,
        "seeds": [7],
        "match": "clips",
        "target": ["labels"],
    }
    assert record["left_out"] == {"alpha": 0, "beta": 2}
    assert record["files"] == ["r.json", "r.scores.parquet", "r.csv"]
    assert {"biasmir_utils", "numpy", "scikit-learn"} <= set(record["versions"])
    assert record["data"] == Corpus.load(tiny_corpus).data_sums()
    scores = pd.read_parquet(tmp_path / "made" / "r.scores.parquet")
    assert len(scores) == results["n_test"].sum()
    left = {path.name for path in (tmp_path / "made").iterdir()}
    assert left == {"r.csv", "r.json", "r.scores.parquet"}


@pytest.mark.parametrize("corrections", [["lda", "center"], ["none"]])
def test_a_full_report_writes_files_and_names_them(tiny_corpus, tmp_path, corrections):
    folder = tmp_path / "made"
    arguments = [
        tiny_corpus, "--embedding", "toy", "--correction", *corrections, "--labels", "piano",
        "--out", folder / "r.csv", "--report", "full", "--jobs", 1,
    ]  # fmt: skip
    output = run(*arguments)
    (line,) = [one for one in output.splitlines() if one.startswith("Written: ")]
    named = line.removeprefix("Written: ").split(", ")
    assert sorted(named) == sorted(str(path) for path in folder.iterdir())
    assert named[-1] == str(folder / "r.csv")
    assert (folder / "r.report.png").is_file() == (len(corrections) > 1)
    tables = {path.name: read_table(path) for path in folder.glob("*.csv")}
    assert len(tables) == 7
    # Without a correction there are no changes, but their columns.
    assert {name for name, table in tables.items() if table.empty} <= {"r.changes.csv"}
    assert {"change", "low", "high", "p", "p_holm"} <= set(tables["r.changes.csv"])
    if corrections != ["none"]:
        assert len(tables["r.changes.csv"])
        assert tables["r.report.csv"]["correction"].tolist() == ["none", *corrections]
        assert "](r.report.png)" in (folder / "r.report.md").read_text(encoding="utf-8")
        assert (folder / "r.report.png").read_bytes().startswith(b"\x89PNG")
        assert "gain across" in output
        assert "clip table SHA-256" in output
        assert "[none, lda global, center global]" in run(*arguments, "--dry-run")


def test_few_labels_without_a_report_are_refused_before_any_work(tiny_corpus, tmp_path):
    arguments = [tiny_corpus, "--few-labels", 5, "--out", tmp_path / "r.csv"]
    done = CliRunner().invoke(main, ["evaluate", *map(str, arguments)])
    assert done.exit_code == 2
    assert "add --report full" in done.output


def test_tables_are_written_before_the_figure_is_drawn(tiny_corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("biasmir_utils.plots.gain_and_loss", lambda *_, **__: 1 / 0)
    arguments = [tiny_corpus, "--embedding", "toy", "--correction", "lda", "--labels", "piano"]
    arguments += ["--out", tmp_path / "r.csv", "--report", "full", "--jobs", 1]
    done = CliRunner().invoke(main, ["evaluate", *map(str, arguments)])
    assert isinstance(done.exception, ZeroDivisionError)
    assert len(list(tmp_path.glob("r.*"))) == 10
    assert len(read_table(tmp_path / "r.task.csv"))


def test_a_dry_run_tells_the_tasks_and_writes_nothing(tiny_corpus, tmp_path):
    output = run(
        tiny_corpus, "--embedding", "toy", "--correction", "paper", "--mode", "global",
        "classwise", "--out", tmp_path / "r.csv", "--dry-run", "--jobs", 2,
    )  # fmt: skip
    assert "[k, klda global, klda classwise, mklda global, mklda classwise]" in output
    assert output.splitlines()[-1] == "4 tasks, 40 recognisers"
    assert list(tmp_path.glob("r*")) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--embedding", "toy", "--out", "r.xlsx"], "expected .csv or .parquet"),
        (["--embedding", "nope", "--out", "r.csv"], "no embedding 'nope'"),
    ],
)
def test_errors_are_one_line(tiny_corpus, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["evaluate", str(tiny_corpus), *arguments])
    assert done.exit_code == 1
    assert told in done.output
    assert done.output.startswith("Error: ")
    assert "Traceback" not in done.output
    assert list(tmp_path.glob("r*")) == []


def test_a_killed_run_goes_on_where_it_was(tiny_corpus, tmp_path):
    whole, half = tmp_path / "whole.csv", tmp_path / "half.csv"
    run(tiny_corpus, *GRID, "--out", whole, "--jobs", 1, "--scores")
    tasks = OutputPaths(half).tasks
    command = ["evaluate", tiny_corpus, *GRID, "--out", half, "--jobs", 1, "--scores"]
    stopped(tmp_path, tasks, FINISHED, signal.SIGKILL, *command)
    kept = {path: path.stat().st_mtime_ns for path in tasks.glob(FINISHED)}
    assert 1 <= len(kept) < 8, "the run was to be killed between its first and its last task"
    assert not half.exists()

    plan = plan_evaluation(
        Corpus.load(tiny_corpus), ["toy", "toy2"], "paper", ["global", "classwise"]
    )
    found = run_plan(plan, scores=True, jobs=1, resume=tasks)
    assert len(list(tasks.glob(FINISHED))) == 8
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    write_evaluation(found, half)
    assert not tasks.exists()
    assert half.read_bytes() == whole.read_bytes()
    pd.testing.assert_frame_equal(
        pd.read_parquet(OutputPaths(half).scores), pd.read_parquet(OutputPaths(whole).scores)
    )


def test_finished_tasks_of_other_data_or_parameters_are_not_taken(tiny_corpus, tmp_path):
    def tasks_after(seed: int) -> int:
        plan = plan_evaluation(Corpus.load(tiny_corpus), "toy", seed=seed)
        run_plan(plan, jobs=1, resume=tmp_path / "tasks")
        return len(list((tmp_path / "tasks").glob("*.npz")))

    assert tasks_after(42) == 2
    assert tasks_after(42) == 2
    assert tasks_after(43) == 4
    table = pd.read_parquet(tiny_corpus / "clips.parquet")
    table.loc[0, "piano"] = 1 - table.loc[0, "piano"]
    table.to_parquet(tiny_corpus / "clips.parquet", index=False)
    # Of the two labels, one has changed.
    assert tasks_after(42) == 5
    # Clips of one name that are of one recording are judged in another way.
    description = json.loads((tiny_corpus / "corpus.json").read_text())
    (tiny_corpus / "corpus.json").write_text(json.dumps({**description, "shared_tracks": True}))
    assert tasks_after(42) == 7


def test_tasks_of_other_code_are_not_taken(tiny_corpus, tmp_path):
    package = Path(biasmir_utils.__file__).parent
    shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        "from biasmir_utils.corpus import Corpus\n"
        "from biasmir_utils.experiments import plan_evaluation, task_keys\n"
        f"print(task_keys(plan_evaluation(Corpus.load({str(tiny_corpus)!r}), 'toy')))\n"
    )

    def keys() -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-c", program]
        return subprocess.run(
            command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    before = keys()
    assert keys() == before
    with (tmp_path / package.name / "experiments" / "metrics.py").open("a") as file:
        file.write("# Another definition.\n")
    assert keys() != before


def test_a_damaged_task_file_is_done_again(tiny_corpus, tmp_path):
    plan = plan_evaluation(Corpus.load(tiny_corpus), "toy", labels=["piano"])
    (key,) = task_keys(plan)
    store, file = TaskStore(tmp_path / "tasks"), tmp_path / "tasks" / f"{key}.npz"
    first = run_plan(plan, jobs=1, resume=store.folder, scores=True)
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[100] ^= 0x10  # among what the first array holds
    for damaged in (whole[:-50], b"PK", b"", bytes(flipped)):
        file.write_bytes(damaged)
        assert store.load(key, True) is None
        again = run_plan(plan, jobs=1, resume=store.folder, scores=True)
        assert store.load(key, True) is not None
        pd.testing.assert_frame_equal(first.results, again.results, check_exact=True)
        pd.testing.assert_frame_equal(first.scores, again.scores, check_exact=True)


def test_tasks_kept_without_scores_do_not_serve_a_run_that_wants_them(tiny_corpus, tmp_path):
    plan = plan_evaluation(Corpus.load(tiny_corpus), "toy")
    run_plan(plan, jobs=1, resume=tmp_path / "tasks")
    found = run_plan(plan, jobs=1, resume=tmp_path / "tasks", scores=True)
    assert len(found.scores) == found.results["n_test"].sum()


def test_kept_tasks_are_counted_and_those_of_another_command_stay(tiny_corpus, tmp_path):
    out = tmp_path / "r.csv"
    tasks = OutputPaths(out).tasks
    plan = plan_evaluation(Corpus.load(tiny_corpus), "toy", "lda")
    run_plan(plan, jobs=1, resume=tasks)
    n_kept = len(plan.tasks)
    assert n_kept == 2
    same = [tiny_corpus, "--embedding", "toy", "--correction", "lda", "--out", out, "--jobs", 1]
    assert f"2 of them are finished and kept in {tasks}" in run(*same, "--dry-run")
    # What a killed run was writing is no finished task.
    (tasks / f".{task_keys(plan)[0]}.0.partial.npz").write_text("PK")
    assert f"2 of them are finished and kept in {tasks}" in run(*same, "--dry-run")
    other = [*same, "--seed", 7]
    assert "finished and kept" not in run(*other, "--dry-run")
    done = CliRunner().invoke(main, ["evaluate", *map(str, other)])
    assert done.exit_code == 0, done.output
    assert f"{tasks} has 2 finished task(s) of another command" in done.stderr
    assert len(list(tasks.glob(FINISHED))) == 2
    assert "2 of them are finished" in run(*same, "--dry-run")
    (tasks / "notes.npz").write_text("of somebody else")
    done = CliRunner().invoke(main, ["evaluate", *map(str, same)])
    assert "another command" not in done.stderr
    assert [path.name for path in tasks.iterdir()] == ["notes.npz"]


def test_files_of_an_earlier_run_are_replaced_all_together(tiny_corpus, tmp_path):
    common = [tiny_corpus, "--embedding", "toy", "--out", tmp_path / "r.csv", "--jobs", 1]
    run(*common, "--scores", "--correction", "none", "lda", "--report", "full")
    assert (tmp_path / "r.report.png").is_file()
    first = (tmp_path / "r.csv").read_bytes()
    (tmp_path / "r.txt").write_text("of somebody else")
    run(*common, "--seed", 7)
    # None of the files is of another run than the others.
    assert {path.name for path in tmp_path.glob("[r.]*")} == {"r.csv", "r.json", "r.txt"}
    assert (tmp_path / "r.csv").read_bytes() != first


def test_what_another_wrote_is_never_replaced(tiny_corpus, tmp_path):
    out, mine = tmp_path / "r.csv", tmp_path / "mine.json"
    common = ["--embedding", "toy", "--labels", "piano", "--jobs", 1]
    for _ in range(2):  # its own set it may replace
        run(tiny_corpus, *common, "--out", out)
    mine.write_text("{}")
    (tmp_path / "table.csv").write_text("clip,split\na,train\n")
    (tmp_path / "link.csv").symlink_to(mine)
    (tmp_path / "full.report.md").mkdir()
    (tmp_path / "busy.csv.tasks").write_text("of somebody else")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    there = "already, which it does not replace"
    for command, name, told in (
        ("evaluate", tiny_corpus / "corpus.csv", f"there is a corpus.json {there}"),
        ("evaluate", tmp_path / "r.parquet", f"there is a r.json {there}"),
        ("evaluate", tmp_path / "mine.csv", f"there is a mine.json {there}"),
        ("evaluate", tmp_path / "table.csv", f"there is a table.csv {there}"),
        ("evaluate", tmp_path / "link.csv", "link.csv cannot be written: it is a link"),
        ("evaluate", tmp_path / "full.csv", "full.report.md cannot be written: it is a folder"),
        ("evaluate", tmp_path / "busy.csv", "busy.csv.tasks is not a folder"),
        ("probe", tiny_corpus / "clips.parquet", "read as the corpus's clip table"),
        ("probe", tiny_corpus / "clips.csv", "read as the corpus's clip table"),
        ("compare", tmp_path / "r.csv", f"there is a r.csv {there}"),
        ("compare", tmp_path / "r.parquet", f"there is a r.json {there}"),
    ):
        source = [out] if command == "compare" else [tiny_corpus]
        dry = ["--dry-run"] if command == "evaluate" else []
        arguments = [command, *source, "--out", name, *dry]
        done = CliRunner().invoke(main, list(map(str, arguments)))
        assert done.exit_code == 1, (arguments, done.output)
        assert told in done.output
    assert before == {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")}


def test_the_help_lists_corrections_and_sets():
    text = run("--help")
    for name in ("gaussian_ot", "inlp", "mklda", "zscore", "standard"):
        assert name in text
    words = " ".join(text.split())
    assert "none lda mlda k klda mklda" in words
    assert "No set has the options alpha, groups=auto" in words
