"""The set-up says in one line what to do when it cannot go on, and does nothing twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.base_prefix + "/bin/python3"
LOCK = ("constraints.txt", "requirements-nodeps.txt", "pyproject.toml")

pytestmark = pytest.mark.skipif(
    os.name != "posix" or not shutil.which("make"), reason="needs make and a POSIX shell"
)


@pytest.fixture
def clone(tmp_path):
    """The files that the set-up reads, in a folder of their own."""
    for name in ("Makefile", *LOCK):
        shutil.copy2(ROOT / name, tmp_path)
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    return tmp_path


def run(clone: Path, *command: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command,
        cwd=clone,
        env=dict(os.environ) | {"NEED_GB": "0"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def script(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def python_that_notes(path: Path, before: str = "") -> Path:
    """A stand-in that writes down what modules it is asked to run, and runs none of them."""
    script(path, f'{before}\n[ "$1" = -m ] || exec {PYTHON} "$@"\necho "$@" >> noted')
    return path


def refusal(clone: Path, *variables: str, **environment: str) -> str:
    """Run `make book`, which has to fail, and return the line that says why."""
    done = run(clone, "make", "book", *variables, **environment)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1, done.stderr
    assert said[0].startswith("Set-up stopped: ")
    assert not (clone / ".venv").exists()
    return said[0]


def test_a_python_that_does_not_fit_is_named(clone):
    old = script(clone / "python-old", f'[ "$1" = -c ] && echo 3.10 || exec {PYTHON} "$@"')
    said = refusal(clone, f"PYTHON={old}")
    assert "Python 3.11 to 3.13 is needed" in said
    assert "python-old is 3.10" in said
    assert "nonesuch is not there" in refusal(clone, "PYTHON=nonesuch")


def test_no_python_at_all(clone):
    tools = clone / "tools"
    tools.mkdir()
    for name in ("make", "sh", "awk", "df", "dirname", "grep", "touch"):
        os.symlink(shutil.which(name), tools / name)
    said = refusal(clone, PATH=str(tools))
    assert "python3 is not there" in said
    assert "sudo apt install python3.11-venv" in said


def test_no_venv_module(clone):
    """As on Debian without python3-venv: ensurepip cannot be imported."""
    (clone / "shadow").mkdir()
    (clone / "shadow" / "ensurepip.py").write_text("raise ImportError('not installed')\n")
    said = refusal(clone, f"PYTHON={PYTHON}", PYTHONPATH=str(clone / "shadow"))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"sudo apt install python{version}-venv" in said


def test_too_little_disk(clone):
    said = refusal(clone, f"PYTHON={PYTHON}", "NEED_GB=1000000")
    assert "1000000 GB of disk are needed" in said


def test_only_an_environment_is_emptied(clone):
    """One that does not fit is made anew; a folder of another kind keeps what is in it."""
    python = python_that_notes(clone / "python")
    for folder in ("mine", "old"):
        (clone / folder).mkdir()
    (clone / "old" / "pyvenv.cfg").touch()
    for folder in ("mine", "old"):
        assert run(clone, "sh", ".ci/setup.sh", "venv", folder, str(python)).returncode == 0
    assert (clone / "noted").read_text().splitlines() == ["-m venv mine", "-m venv --clear old"]


@pytest.mark.parametrize("uv", [True, False])
def test_pip_steps_in_where_uv_does_not_work(clone, uv):
    fails = '[ "$2" = uv ] && exit 1'
    python_that_notes(clone / ".venv" / "bin" / "python", before="" if uv else fails)
    done = run(clone, "sh", ".ci/setup.sh", "install", ".venv", "-c", "constraints.txt", "one")
    assert done.returncode == 0
    last = (clone / "noted").read_text().splitlines()[-1]
    assert last.startswith("-m uv pip install" if uv else "-m pip install")
    assert last.endswith("-c constraints.txt one")


def set_up(clone: Path) -> None:
    """Put both stamps in place."""
    (clone / ".venv").mkdir()
    for number, name in enumerate((".book", ".test")):
        (clone / ".venv" / name).touch()
        os.utime(clone / ".venv" / name, (2e9 + number, 2e9 + number))


@pytest.mark.parametrize("changed", LOCK)
def test_done_is_done(clone, changed):
    """Only a change of what is installed starts it anew; the book needs the first step alone."""
    assert "test,dev" not in run(clone, "make", "--dry-run", "book").stdout
    set_up(clone)
    assert "setup.sh" not in run(clone, "make", "--dry-run", "setup").stdout
    os.utime(clone / changed, (2e9 + 9, 2e9 + 9))
    steps = run(clone, "make", "--dry-run", "setup").stdout
    assert "tensorflow-cpu,book]" in steps
    assert "--no-deps -r requirements-nodeps.txt" in steps
    assert "test,dev]" in steps


def test_benchmarks_leave_the_results_that_are_kept_alone(clone):
    """Where a network or a package is missing, a table has fewer rows than the one kept."""
    set_up(clone)
    script(clone / ".venv" / "bin" / "python", f'exec {sys.executable} "$@"')
    names = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))
    (clone / "benchmarks").mkdir()
    for name in names:
        assert 'add_argument("--out"' in (ROOT / "benchmarks" / f"{name}.py").read_text()
        (clone / "benchmarks" / f"{name}.py").write_text("import sys\nprint(sys.argv[1:])\n")
    said = run(clone, "make", "bench").stdout
    for name in names:
        assert f"['--out', '_build/bench/{name}.md']" in said
