"""The benchmark of what is said where the truth is known runs, in its smallest form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_it_runs_and_writes_a_table_for_each_part(repository: Path, tmp_path: Path) -> None:
    script, out = repository / "benchmarks" / "validity.py", tmp_path / "v.md"
    subprocess.run([sys.executable, script, "--smallest", "--out", out], check=True)
    assert out.read_text().count("\n|---") == out.read_text().count("\n## ") == 7
