"""`make setup` says in one line what to do when it cannot go on; tried for real."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.base_prefix + "/bin/python3"

pytestmark = pytest.mark.skipif(
    os.name != "posix" or not shutil.which("make"), reason="needs make and a POSIX shell"
)


@pytest.fixture
def clone(tmp_path):
    """The files that the set-up reads, in a folder of their own."""
    for name in ("Makefile", "constraints.txt", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, tmp_path)
    for folder in (".ci", "biasmir_utils"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.pyc"))
    return tmp_path


def refusal(clone: Path, *variables: str, **environment: str) -> str:
    """Run `make setup`, which has to fail, and return the line that says why."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(
        ["make", "setup", *variables],
        cwd=clone,
        env=clean | {"PIP_CONFIG_FILE": os.devnull} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1, done.stderr
    assert said[0].startswith("Set-up stopped: ")
    assert not (clone / ".venv" / ".setup-done").exists()
    return said[0]


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_python_that_is_too_old(clone, tmp_path):
    """A Python in all but its version, as an old one answers."""
    old = script(tmp_path / "python-old", f'[ "$1" = -c ] && echo 3.9 || exec {PYTHON} "$@"')
    said = refusal(clone, f"PYTHON={old}")
    assert "Python 3.10 to 3.13 is needed" in said
    assert "python-old is 3.9" in said
    assert not (clone / ".venv").exists()


def test_no_python_at_all(clone, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("make", "sh", "awk", "df", "dirname", "mktemp", "rm", "touch", "ls"):
        os.symlink(shutil.which(name), tools / name)
    said = refusal(clone, PATH=str(tools))
    assert "sudo apt install python3 python3-venv" in said


def test_a_name_that_is_no_python(clone):
    assert "nonesuch is not a Python that runs" in refusal(clone, "PYTHON=nonesuch")


def test_no_venv_module(clone, tmp_path):
    """As on Debian without python3-venv: ensurepip cannot be imported."""
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "ensurepip.py").write_text("raise ImportError('not installed')\n")
    said = refusal(clone, f"PYTHON={PYTHON}", PYTHONPATH=str(tmp_path / "shadow"))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"sudo apt install python{version}-venv" in said


def test_too_little_disk(clone):
    said = refusal(clone, f"PYTHON={PYTHON}", "NEED_GB=1000000")
    assert "needs 1000000 GB of disk" in said
    assert "are free here" in said


def test_no_network_and_a_second_try_goes_on_from_there(clone):
    """Port 9 of this machine answers nothing: what pip then says is explained."""
    offline = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    said = refusal(clone, f"PYTHON={PYTHON}", **offline)
    assert "the package index cannot be reached" in said
    assert "check the network" in said
    made = (clone / ".venv" / "pyvenv.cfg").stat().st_mtime_ns
    refusal(clone, f"PYTHON={PYTHON}", **offline)
    assert (clone / ".venv" / "pyvenv.cfg").stat().st_mtime_ns == made


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: Package 'x' requires a different Python: 3.9.1 not in '>=3.10'", "does not fit"),
        (
            "ERROR: Could not find a version that satisfies x==9 (from versions: 1, 2)\n"
            "ERROR: No matching distribution found for x==9",
            "not offered for this Python and machine (ERROR: No matching distribution",
        ),
        ("ERROR: something new", "pip failed (ERROR: something new)"),
    ],
)
def test_what_pip_says_is_explained(tmp_path, output, expected):
    """The step that runs pip, with pip's own words for failures that are slow to bring about."""
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "said").write_text(output + "\n")
    script(tmp_path / "venv" / "bin" / "python", f"cat {tmp_path}/said; exit 1")
    done = subprocess.run(
        ["sh", str(ROOT / ".ci" / "setup.sh"), "pip", str(tmp_path / "venv"), "everything", "x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_that_is_no_environment_is_left_alone(clone):
    (clone / "mine").mkdir()
    (clone / "mine" / "thesis.txt").write_text("years of work")
    said = refusal(clone, f"PYTHON={PYTHON}", "VENV=mine")
    assert "is not a virtual environment" in said
    assert (clone / "mine" / "thesis.txt").exists()


def set_up(clone: Path) -> None:
    """Put all stamps in place."""
    venv = clone / ".venv"
    venv.mkdir()
    stamps = (".created", ".requirements", ".musicnn", ".tinysoundfont", ".setup-done")
    for number, name in enumerate(stamps):
        (venv / name).touch()
        os.utime(venv / name, (2e9 + number, 2e9 + number))


def test_benchmarks_leave_the_results_that_are_kept_alone(clone):
    """Where a network or a package is missing, a table has fewer rows than the one kept."""
    set_up(clone)
    (clone / ".venv" / "bin").mkdir()
    script(clone / ".venv" / "bin" / "python", f'exec {sys.executable} "$@"')
    names = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))
    for name in names:
        assert 'add_argument("--out"' in (ROOT / "benchmarks" / f"{name}.py").read_text()
        target = clone / "benchmarks" / f"{name}.py"
        target.parent.mkdir(exist_ok=True)
        target.write_text("import sys\nprint(sys.argv[1:])\n")
    command = ["make", "bench"]
    said = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=True).stdout
    for name in names:
        assert f"['--out', '_build/bench/{name}.md']" in said


def test_done_is_done(clone):
    """With all stamps in place nothing is installed again, and only a change starts it anew."""
    set_up(clone)

    def plan() -> str:
        command = ["make", "--dry-run", "setup"]
        return subprocess.run(command, cwd=clone, capture_output=True, text=True, check=True).stdout

    assert "setup.sh" not in plan()
    os.utime(clone / "constraints.txt", (2e9 + 9, 2e9 + 9))
    steps = plan()
    assert "setup.sh pip" in steps
    assert "setup.sh venv" not in steps
