"""How tests run a command, and what they do where something is absent."""

from __future__ import annotations

import os
import signal

import pytest
from click.testing import CliRunner

from biasmir_utils.cli import main

REQUIRED = os.environ.get("BIASMIR_REQUIRE_FIXTURES") == "1"


def absent(reason: str) -> None:
    """Skip the test, or fail it where everything must be there (in CI)."""
    if REQUIRED:
        pytest.fail(f"{reason} (required, since BIASMIR_REQUIRE_FIXTURES=1)", pytrace=False)
    pytest.skip(reason)


def let_hang_up() -> None:
    """In a program that a test starts (`preexec_fn`), undo that nohup lets it ignore a hang-up."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def run_command(*words: object) -> str:
    """Run a command of `biasmir`, which has to succeed; return what it said."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, f"biasmir {' '.join(map(str, words))}\n{done.output}"
    return done.output
