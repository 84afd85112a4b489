"""The command that makes the bundled corpora, for tests."""

from __future__ import annotations

import subprocess
import sys

import demo


def run_demo(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `data/make/demo.py` with arguments, as a user does."""
    command = [sys.executable, demo.__file__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
