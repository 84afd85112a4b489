"""What `import biasmir_utils` costs beyond NumPy and pandas, which every user has loaded anyway.

Run: ``python benchmarks/import_time.py`` (about 20 seconds). Fresh processes import in turn `numpy`
and `pandas`, and these with `biasmir_utils`; processor time is that of the whole process. Results:
`benchmarks/results/import_time.md`.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from biasmir_utils import versions

RESULTS = Path(__file__).parent / "results" / "import_time.md"
ROUNDS = 11
LIMIT_SECONDS = 0.3


def processor_seconds(statement: str) -> float:
    """Return the processor time of a fresh Python that runs a statement."""
    before = os.times()
    subprocess.run([sys.executable, "-c", statement], check=True)
    after = os.times()
    own = after.children_user - before.children_user
    return own + after.children_system - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    without, with_it = "import numpy, pandas", "import numpy, pandas, biasmir_utils"
    processor_seconds(with_it)  # so that what is compiled at the first import is there
    rounds = [(processor_seconds(without), processor_seconds(with_it)) for _ in range(ROUNDS)]
    base, more = (statistics.median(part) for part in zip(*rounds, strict=True))
    added = statistics.median(b - a for a, b in rounds)
    verdict = "within" if added < LIMIT_SECONDS else "over"
    tools = ", ".join(f"{k} {v}" for k, v in versions("numpy", "pandas", "h5py").items())
    text = [
        "# What `import biasmir_utils` costs",
        "",
        f"Processor seconds of a fresh process, median of {ROUNDS} rounds, in turn.",
        "",
        "| imported | seconds |",
        "|---|---:|",
        f"| numpy, pandas | {base:.2f} |",
        f"| numpy, pandas, biasmir_utils | {more:.2f} |",
        f"| median difference | {added:.2f} |",
        "",
        f"That is {verdict} the {LIMIT_SECONDS} s that were asked for.",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores; {tools}.",
        "",
    ]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text("\n".join(text), encoding="utf-8")
    print(f"Written: {arguments.out}")


if __name__ == "__main__":
    main()
