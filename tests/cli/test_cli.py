"""The command line as a whole; each command has its tests beside its topic."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from biasmir_utils.cli import main
from biasmir_utils.corpus import Corpus
from biasmir_utils.errors import ArgumentError


@pytest.mark.parametrize("command", main.commands)
def test_every_command_explains_itself(command):
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Usage: main {command}")


def test_info_prints_the_summary(tiny_corpus):
    result = CliRunner().invoke(main, ["info", str(tiny_corpus)])
    assert result.exit_code == 0
    assert "A tiny corpus for tests (tiny)" in result.output


ENDS = {
    "ours": (ArgumentError("no such \x1b[2Jname"), r"no such \\x1b\[2Jname"),
    "a file": (PermissionError(13, "Permission denied", "a.csv"), "a.csv: Permission denied"),
    "a folder": (
        FileExistsError(17, "File exists", "out"),
        "out: a file is where a folder is expected; choose another place, or remove it",
    ),
    "two files": (OSError(13, "no", "a", None, "b"), "a -> b: Permission denied"),
    "a library's": (OSError("Can't write\ndata (errno = 28)"), r"Can't write data \(errno = 28\)"),
    "memory": (MemoryError("Unable to allocate 7 TiB"), "not enough memory: Unable .* 7 TiB"),
    "a text": (UnicodeEncodeError("utf-8", "c-\udcff", 2, 3, "no"), r"'c-\\udcff': bytes that .*"),
}


@pytest.mark.parametrize(("error", "told"), ENDS.values(), ids=ENDS)
def test_an_error_is_one_line_without_a_traceback(tmp_path, monkeypatch, error, told):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(Corpus, "load", fail)
    done = CliRunner().invoke(main, ["info", str(tmp_path)])
    assert done.exit_code == 1
    assert re.fullmatch(f"Error: {told}\n", done.stderr)


def test_warnings_are_lines_without_control_characters(tiny_corpus, monkeypatch):
    warn = functools.partial(warnings.warn, "of \x1b[2J", stacklevel=1)
    monkeypatch.setattr(Corpus, "summary", lambda self: warn() or "")
    done = CliRunner().invoke(main, ["info", str(tiny_corpus)])
    assert (done.exit_code, done.stderr) == (0, "Warning: of \\x1b[2J\n")


def test_names_are_found_in_any_unicode_form(tiny_corpus, tmp_path):
    about = (tiny_corpus / "corpus.json").read_text()
    (tiny_corpus / "corpus.json").write_text(about.replace('"piano"', '"caf\u00e9"'))
    table = pd.read_parquet(tiny_corpus / "clips.parquet").rename(columns={"piano": "caf\u00e9"})
    table.to_parquet(tiny_corpus / "clips.parquet", index=False)
    name, out = "cafe\u0301", ["--out", str(tmp_path / "out.csv")]
    evaluation = ["evaluate", str(tiny_corpus), "--embedding", "toy", "--dry-run", *out]
    conditional = ["correct", str(tiny_corpus), "--embedding", "toy", "--out", str(tmp_path / "c")]
    conditional += ["--correction", "leace:given=label", "--label", name]
    for command in ([*evaluation, "--labels", name], conditional):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output


def test_a_full_disk_names_the_file(tiny_corpus, tmp_path, monkeypatch):
    def write(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", write)
    out = tmp_path / "r.csv"
    command = ["probe", str(tiny_corpus), "--permutations", "0", "--out", str(out)]
    done = CliRunner().invoke(main, command)
    assert (done.exit_code, done.stderr) == (1, f"Error: {out}: No space left on device\n")
    assert [path.name for path in tmp_path.iterdir()] == [tiny_corpus.name]


TITLE = "é ピアノ \x1b]0;title\x07 \u202e"


def program(corpus, *, then="", **environment):
    """Run the program's `info` in a shell; return its exit code, output and errors."""
    command = (
        f"{shlex.quote(sys.executable)} -m biasmir_utils info {shlex.quote(str(corpus))} {then}"
    )
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({"PYTHONIOENCODING": "utf-8"}, "é ピアノ"),
        ({"PYTHONIOENCODING": "cp1252:strict"}, r"é \u30d4\u30a2\u30ce"),
        ({"PYTHONIOENCODING": "ascii"}, r"\xe9 \u30d4\u30a2\u30ce"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "é ピアノ"),
    ],
    ids=["utf-8", "cp1252", "ascii", "names of files in ASCII"],
)
def test_text_of_any_data_can_be_printed(tiny_corpus, tmp_path, environment, shown):
    corpus = tmp_path / "c-ü"
    shutil.copytree(tiny_corpus, corpus)
    about = json.loads((corpus / "corpus.json").read_text())
    (corpus / "corpus.json").write_text(json.dumps(about | {"title": TITLE}))
    code, out, err = program(corpus, **environment)
    encoding = environment.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    expected = shown + r" \x1b]0;title\x07 \u202e"
    assert (code, out.decode(encoding).partition(" (")[0], err) == (0, expected, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("then", "told"),
    [("| true", b""), ("> /dev/full", b"Error: standard output: No space left on device\n")],
)
def test_a_pipe_that_closes_or_a_log_that_is_full(tiny_corpus, then, told):
    assert program(tiny_corpus, then=then) == (1, b"", told)


def test_importing_and_asking_for_help_loads_nothing_heavy():
    code = (
        "import sys, biasmir_utils, biasmir_utils.cli as cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "heavy = {'numpy', 'pandas', 'tensorflow', 'librosa', 'matplotlib', 'soundfile', 'numba'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert "LOADED []" in output
