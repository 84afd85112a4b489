"""A correction fitted to frames that do not fit into memory.

Run: ``python benchmarks/moments.py`` (about 2 minutes on 2 cores with nothing else to do, and 4.2
GB of free disk for a file that is removed in the end). It writes an embedding file of 2,000,000
frames of 1,024 dimensions in float16, and fits `leace` to it in one pass: in a fresh process, whose
peak memory is that of the pass and its imports, with a cold page cache where the system lets it be
dropped; then again with Dask, two processes of one thread. Results:
`benchmarks/results/moments.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from biasmir_utils import versions
from biasmir_utils.corpus import Corpus, CorpusWriter, Target

RESULTS = Path(__file__).parent / "results" / "moments.md"
DATASETS = ("one", "two")
FRAMES_OF_A_CLIP = 100
LIMIT_GB = 2.0


def write_corpus(folder: Path, frames: int, d: int, seed: int = 0) -> Path:
    """Write a corpus of clips of 100 frames, half of it for each dataset."""
    rng = np.random.default_rng(seed)
    of_each = frames // len(DATASETS) // FRAMES_OF_A_CLIP
    names = [f"clip{number:06d}" for number in range(of_each)]
    table = pd.concat(
        pd.DataFrame({"dataset": dataset, "clip": names, "split": "train", "x": 1.0})
        for dataset in DATASETS
    )
    writer = CorpusWriter(
        folder,
        name="frames",
        title="Frames",
        datasets=DATASETS,
        groups=[],
        targets=[Target("x", "label")],
    )
    corpus = writer.write(table)
    keys = np.repeat(np.array(names, dtype="S10"), FRAMES_OF_A_CLIP)
    file = folder / "frames.h5"
    with h5py.File(file, "w") as content:
        for dataset in DATASETS:
            group = content.create_group(f"{dataset}/frames")
            features = group.create_dataset(
                "features", (len(keys), d), dtype="float16", chunks=(256, d)
            )
            offset = rng.normal(size=d).astype(np.float32)
            for start in range(0, len(keys), 1 << 16):
                stop = min(start + (1 << 16), len(keys))
                rows = rng.standard_normal((stop - start, d), dtype=np.float32)
                features[start:stop] = (rows + offset).astype(np.float16)
            group.create_dataset("keys", data=keys)
    corpus.add_embedding_file(file)
    return file


def drop_from_cache(file: Path) -> bool:
    """Ask the system to forget the file's pages; False where it cannot."""
    if not hasattr(os, "posix_fadvise"):
        return False
    with open(file, "rb") as handle:
        os.fsync(handle.fileno())
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def serial(folder: Path) -> dict[str, Any]:
    """Fit in this process, and say what it took."""
    import resource

    from biasmir_utils.corrections import LEACE, moments_of_corpus

    corpus = Corpus.load(folder)
    start, used = time.perf_counter(), time.process_time()
    moments = moments_of_corpus(corpus, "frames")
    read, used = time.perf_counter() - start, time.process_time() - used
    fitted = LEACE().fit_moments(moments)
    return {
        "seconds": read,
        "processor": used,
        "solving": time.perf_counter() - start - read,
        "peak_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "left": fitted.left_.tolist(),
    }


def with_dask(folder: Path, workers: int) -> dict[str, Any]:
    """Sum the moments on a local cluster."""
    from distributed import Client, LocalCluster

    from biasmir_utils.corrections import LEACE, moments_of_corpus

    corpus = Corpus.load(folder)
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
        client.get_executor() as executor,
    ):
        before = sum(client.run(_processor_seconds).values())
        start = time.perf_counter()
        moments = moments_of_corpus(corpus, "frames", executor=executor)
        seconds = time.perf_counter() - start
        used = sum(client.run(_processor_seconds).values()) - before
        peaks = client.run(_peak_kb)
    fitted = LEACE().fit_moments(moments)
    return {
        "seconds": seconds,
        "processor": used,
        "peaks_kb": list(peaks.values()),
        "left": fitted.left_.tolist(),
    }


def _processor_seconds() -> float:
    import biasmir_utils.corrections  # noqa: F401  (imports are not counted)

    return time.process_time()


def _peak_kb() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measured(what: str, folder: Path, workers: int) -> dict[str, Any]:
    """Run a part in a process of its own."""
    command = [sys.executable, __file__, "--part", what, "--folder", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--workers", str(workers)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(frames: int, d: int, workers: int, scratch: Path | None) -> list[str]:
    with tempfile.TemporaryDirectory(dir=scratch) as temporary:
        needed = 2.1 * frames * d
        if shutil.disk_usage(temporary).free < needed:
            raise SystemExit(f"{temporary}: less than {needed / 1e9:.1f} GB free; see --scratch")
        folder = Path(temporary) / "corpus"
        print(f"writing {frames:,} frames of {d:,} dimensions", flush=True)
        start = time.perf_counter()
        file = write_corpus(folder, frames, d)
        size = file.stat().st_size
        print(f"written in {time.perf_counter() - start:.0f} s, {size / 1e9:.2f} GB", flush=True)
        cold = drop_from_cache(file)
        alone = measured("serial", folder, workers)
        print({key: value for key, value in alone.items() if key != "left"}, flush=True)
        drop_from_cache(file)
        shared = measured("dask", folder, workers)
        print({key: value for key, value in shared.items() if key != "left"}, flush=True)
    gap = np.abs(np.array(alone["left"]) - np.array(shared["left"])).max()
    relative = gap / np.abs(alone["left"]).max()
    peak = alone["peak_kb"] * 1024 / 1e9
    worst = max(shared["peaks_kb"]) * 1024 / 1e9
    verdict = "within" if peak < LIMIT_GB else "above"
    same = (
        "is the same to the last digit" if not gap else f"differs by {relative:.1e} of its largest"
    )
    used = ("numpy", "scipy", "scikit-learn", "h5py", "distributed")
    tools = ", ".join(f"{k} {v}" for k, v in versions(*used).items() if k != "biasmir_utils")
    table = [
        f"| {name} | {n} | {part['seconds']:.0f} | {part['processor']:.0f} "
        f"| {size / 1e6 / part['seconds']:.0f} | {size / 1e6 / part['processor']:.0f} "
        f"| {memory:.2f} |"
        for name, n, part, memory in (
            ("serial", 1, alone, peak),
            ("Dask, local cluster", workers, shared, worst),
        )
    ]
    return [
        "# A correction fitted to frames that do not fit into memory",
        "",
        f"`leace` on {frames:,} frames of {d:,} dimensions, float16, {size / 1e9:.2f} GB;",
        "one pass, one thread of arithmetic in each process, the file",
        f"{'not' if cold else 'perhaps'} in the page cache when it starts. Processor seconds do",
        "not depend on what else the machine does; seconds do.",
        "",
        "| | processes | seconds | processor seconds | MB/s of the file | MB per processor second "
        "| peak memory of a process, GB |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *table,
        "",
        f"Solving for the correction afterwards: {alone['solving']:.1f} s. Peak memory is",
        f"{verdict} the {LIMIT_GB:.0f} GB that were asked for. What the two runs read off a row",
        f"(`left_`) {same}.",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores, average load at the end "
        f"{os.getloadavg()[0]:.1f}; {tools}.",
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=2_000_000)
    parser.add_argument("--dimensions", type=int, default=1024)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, help="folder for the file of 4.2 GB")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--part", choices=["serial", "dask"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part == "serial":
        print(json.dumps(serial(arguments.folder)))
    elif arguments.part == "dask":
        print(json.dumps(with_dask(arguments.folder, arguments.workers)))
    else:
        text = run(arguments.frames, arguments.dimensions, arguments.workers, arguments.scratch)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text("\n".join(text), encoding="utf-8")
        print(f"Written: {arguments.out}")


if __name__ == "__main__":
    main()
