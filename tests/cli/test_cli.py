"""The command line as a whole; each command has its tests beside its topic."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from biasmir_utils.cli import main


@pytest.mark.parametrize("command", main.commands)
def test_every_command_explains_itself(command):
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Usage: main {command}")


def test_info_prints_the_summary(tiny_corpus):
    result = CliRunner().invoke(main, ["info", str(tiny_corpus)])
    assert result.exit_code == 0
    assert "A tiny corpus for tests (tiny)" in result.output


def test_an_error_is_one_line_without_a_traceback(tmp_path):
    result = CliRunner().invoke(main, ["info", str(tmp_path / "absent")])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1


def test_importing_and_asking_for_help_loads_nothing_heavy():
    code = (
        "import sys, biasmir_utils, biasmir_utils.cli as cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "heavy = {'tensorflow', 'librosa', 'matplotlib', 'seaborn', 'soundfile', 'numba', 'soxr'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert "LOADED []" in output
