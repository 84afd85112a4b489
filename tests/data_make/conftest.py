"""The command that makes the bundled corpora, as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

import demo


@pytest.fixture(scope="session")
def run_demo() -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs `data/make/demo.py` with arguments."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, demo.__file__, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run
