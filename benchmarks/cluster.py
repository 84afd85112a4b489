"""Speed of `biasmir extract --scheduler local` with two workers against a run without Dask.

Run: ``python benchmarks/cluster.py`` (about 4 minutes on 2 cores). The clips are those of
`extraction.py`: 10 s of stereo at 44.1 kHz in Ogg Vorbis.

Both ways are the command itself in a process of its own, from the table of clips to the joined
file; so the start of Python, of the workers and of the networks counts, once for each run. What
a single clip costs is the difference between a long and a short run, divided by the clips that
one has more. From this follows what 1,000,000 clips would take; nobody ran that many.

Results: `benchmarks/results/cluster.md`.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from extraction import forget_embeddings, make_corpus, processor_seconds

from biasmir_utils import versions

RESULTS = Path(__file__).parent / "results" / "cluster.md"
NETWORKS = ("mfcc", "musicnn")
WAYS = {
    "serial": ["--jobs", "0"],
    "processes": ["--jobs", "1"],
    "2 workers": ["--scheduler", "local", "--jobs", "2"],
}
MILLION = 1_000_000


def run(folder: Path, name: str, options: list[str]) -> np.ndarray:
    """Run the command on a corpus without embeddings; return seconds taken, and of processors."""
    forget_embeddings(folder)
    program = "from biasmir_utils.cli import main\nif __name__ == '__main__':\n    main()\n"
    script = folder.parent / "biasmir_program.py"
    script.write_text(program)
    command = [sys.executable, script, "extract", folder, "--embedding", name, "--quiet", *options]
    start, processor = time.perf_counter(), processor_seconds()
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    return np.array([time.perf_counter() - start, processor_seconds() - processor])


def table(arguments: argparse.Namespace, temporary: Path) -> list[str]:
    lines = [
        "| embedding | way | short run, s | long run, s | clips/s | ms a clip | processor ms a "
        "clip | 1,000,000 clips: hours | core hours |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    sizes = (arguments.clips // 4, arguments.clips)
    folders = []
    for size in sizes:
        folder = temporary / str(size)
        make_corpus(folder, size)
        folders.append(folder)
    for name in arguments.networks:
        best: dict[tuple[str, int], np.ndarray] = {}
        for turn in range(arguments.rounds):
            for way in arguments.ways:
                for size, folder in zip(sizes, folders, strict=True):
                    found = run(folder, name, WAYS[way])
                    print(f"{name} {way} {size}, round {turn + 1}: {found[0]:.1f} s", flush=True)
                    best[way, size] = np.minimum(found, best.get((way, size), found))
        for way in arguments.ways:
            short, long = (best[way, size] for size in sizes)
            seconds, processor = (long - short) / (sizes[1] - sizes[0])
            lines.append(
                f"| {name} | {way} | {short[0]:.1f} | {long[0]:.1f} | {1 / seconds:.1f} | "
                f"{1e3 * seconds:.0f} | {1e3 * processor:.0f} | {seconds * MILLION / 3600:.0f} | "
                f"{processor * MILLION / 3600:.0f} |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--remark", default="", help="What else the machine was doing.")
    arguments = parser.parse_args()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        lines = table(arguments, Path(temporary))
    about = versions("dask", "distributed", "tensorflow", "librosa")
    load = f"Load of the machine (1 minute) before {before:.1f}, after {os.getloadavg()[0]:.1f}."
    measured = (
        f"{arguments.clips // 4} and {arguments.clips} clips of 10 s (stereo, 44.1 kHz, Ogg "
        f"Vorbis); {os.cpu_count()} cores, {platform.machine()}. {load} {arguments.remark}"
    )
    text = "\n".join(
        [
            "# Extraction on workers",
            "",
            measured.strip(),
            "",
            *lines,
            "",
            "`serial`: one process does everything. `processes`: one process decodes beside the "
            "network, the default on 2 cores (mfcc, which has none, gets two by default). "
            "`2 workers`: `--scheduler local --jobs 2`, each does "
            "its clips completely. A clip's time is the difference of the two runs, so that "
            "starting is left out. The last two columns are such times multiplied, not measured: "
            "N workers with a core each, and a file system that keeps up, take the core hours "
            "divided by N. Where the machine had other work, time passed is that of a busy "
            "machine, and processor time tells more.",
            "",
            f"Versions: {', '.join(f'{name} {version}' for name, version in about.items())}.",
            "",
        ]
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
