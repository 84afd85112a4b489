"""Speed and memory of `biasmir extract` against the plain loop, for each network.

Run: ``python benchmarks/extraction.py --model yamnet=FOLDER`` (about 10 minutes on 2 cores).
YAMNet, VGGish and OpenL3 take part if their model is given. The clips are 10 s of stereo at
44.1 kHz in Ogg Vorbis, as OpenMIC's are; OpenL3, which takes seconds for a clip, gets a tenth
of them.

The plain loop is what one would write: `librosa.load(path, sr=...)`, then the network, clip by
clip; for YAMNet and VGGish that is the SavedModel called directly. Both ways run in a process
of their own, which embeds one clip before the clock starts, so that imports and loading a
network do not count; the start of worker processes and the joining of parts do. They take
turns, and the shortest of the rounds counts, because the machine may be doing other things;
processor time, of which a busy machine changes less, is given beside it. Memory is the resident
set of the network's process and its workers, added up (pages that they share count twice),
every 0.2 s.

Results: `benchmarks/results/extraction.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils import versions
from biasmir_utils.corpus import Corpus, CorpusWriter, Target

RESULTS = Path(__file__).parent / "results" / "extraction.md"
SECONDS = 10
SAMPLE_RATE = 44_100
NETWORKS = ("musicnn", "msd_vgg", "mfcc")
WITH_MODEL = ("yamnet", "vggish", "openl3")


def make_corpus(folder: Path, n_clips: int, n_different: int = 16) -> None:
    """Write a corpus of `n_clips` clips, copies of `n_different` sounds."""
    import soundfile

    rng = np.random.default_rng(0)
    (folder / "audio").mkdir(parents=True)
    t = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    rows = []
    for i in range(n_clips):
        path = folder / "audio" / f"{i:06}.ogg"
        if i < n_different:
            tones = sum(np.sin(2 * np.pi * f * t) / 12 for f in rng.uniform(80, 6_000, 6))
            sound = tones[:, None] + rng.normal(scale=0.05, size=(len(t), 2))
            with (
                open(path, "wb") as file,
                soundfile.SoundFile(file, "w", SAMPLE_RATE, 2, format="OGG") as out,
            ):
                for start in range(0, len(sound), SAMPLE_RATE):
                    out.write(sound[start : start + SAMPLE_RATE])
        else:
            shutil.copy(folder / "audio" / f"{i % n_different:06}.ogg", path)
        name = path.stem
        rows.append(
            {
                "dataset": "noise",
                "clip": name,
                "track": name,
                "split": "train",
                "group": "any",
                "audio": f"audio/{name}.ogg",
                "tone": 1.0,
            }
        )
    writer = CorpusWriter(
        folder,
        name="noise",
        title="Noise and tones",
        datasets=["noise"],
        groups=["any"],
        targets=[Target("tone", "label")],
    )
    writer.write(pd.DataFrame(rows))


def forget_embeddings(folder: Path) -> None:
    """Make a corpus one without embeddings again."""
    shutil.rmtree(folder / "embeddings", ignore_errors=True)
    description = json.loads((folder / "corpus.json").read_text())
    description.update(embedding_files=[], embedding_models={})
    (folder / "corpus.json").write_text(json.dumps(description))


def processor_seconds() -> float:
    """Return the processor time of this process and of its workers that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def run_plain(corpus: Corpus, name: str, model: str | None, n_clips: int) -> dict[str, float]:
    """Load, resample and call the network, clip by clip; return the time taken."""
    import librosa

    from biasmir_utils.embeddings import load

    embedding = load(name, model)
    if name in ("yamnet", "vggish"):
        import tensorflow as tf

        network = tf.saved_model.load(model)

        def embed(sound: Any) -> Any:
            output = network(sound)
            return (output[1] if name == "yamnet" else output).numpy()
    else:

        def embed(sound: Any) -> Any:
            return embedding.embed(sound, embedding.sample_rate)

    def one(index: int) -> Any:
        sound, _ = librosa.load(corpus.audio_path(index), sr=embedding.sample_rate)
        return embed(sound)

    one(0)
    start, processor = time.perf_counter(), processor_seconds()
    frames = [one(index) for index in range(n_clips)]
    assert len(frames) == n_clips
    return {
        "seconds": time.perf_counter() - start,
        "processor": processor_seconds() - processor,
    }


def run_extract(corpus: Corpus, name: str, model: str | None, n_clips: int) -> dict[str, float]:
    """Run `biasmir extract`'s function; return the time taken."""
    from biasmir_utils.embeddings import extract, load, read_audio

    embedding = load(name, model)
    path = corpus.audio_path(0)
    assert path is not None
    embedding.embed(*read_audio(path))
    start, processor = time.perf_counter(), processor_seconds()
    report = extract(corpus, embedding, jobs=None, progress=False)
    assert report.n_embedded == n_clips == len(corpus.clips)
    return {
        "seconds": time.perf_counter() - start,
        "processor": processor_seconds() - processor,
    }


def measure(way: str, name: str, model: str | None, folder: Path, n_clips: int) -> dict[str, Any]:
    """Run one way in a process of its own, and watch its memory."""
    import psutil

    forget_embeddings(folder)
    command = [sys.executable, __file__, "--way", way, "--networks", name]
    command += ["--folder", str(folder), "--clips", str(n_clips)]
    command += ["--model", f"{name}={model}"] if model else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    watched, memory = psutil.Process(process.pid), []
    while process.poll() is None:
        try:
            family = [watched, *watched.children(recursive=True)]
            memory.append(sum(member.memory_info().rss for member in family))
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.2)
    assert process.stdout is not None
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    found = json.loads(process.stdout.read())
    # The run proper is at the end; what comes before it loads the network.
    steady = np.array(memory[-max(4, int(found["seconds"] / 0.2)) :]) / 2**20
    quarters = [part.max() for part in np.array_split(steady, 4)]
    return {**found, "peak": max(memory) / 2**20, "quarters": quarters}


def table(arguments: argparse.Namespace, temporary: Path) -> list[str]:
    lines = [
        "| network | clips/s, plain | extract | ratio | sound, s/s | processor ms a clip, plain |"
        " extract | peak MB, plain | extract | extract, by quarter of the run |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for name in arguments.networks:
        model = arguments.models.get(name)
        n_clips = max(arguments.clips // 10, 10) if name == "openl3" else arguments.clips
        folder = temporary / str(n_clips)
        if not folder.exists():
            make_corpus(folder, n_clips)
        best: dict[str, dict[str, Any]] = {}
        for turn in range(arguments.rounds):
            for way in ("plain", "extract"):
                found = measure(way, name, model, folder, n_clips)
                print(name, way, f"round {turn + 1}: {found['seconds']:.1f} s", file=sys.stderr)
                if way not in best or found["seconds"] < best[way]["seconds"]:
                    best[way] = found
        speed = {way: n_clips / found["seconds"] for way, found in best.items()}
        cost = {way: 1e3 * found["processor"] / n_clips for way, found in best.items()}
        quarters = " ".join(f"{mb:.0f}" for mb in best["extract"]["quarters"])
        lines.append(
            f"| {name} | {speed['plain']:.1f} | {speed['extract']:.1f} | "
            f"{speed['extract'] / speed['plain']:.2f} | {speed['extract'] * SECONDS:.0f} | "
            f"{cost['plain']:.0f} | {cost['extract']:.0f} | "
            f"{best['plain']['peak']:.0f} | {best['extract']['peak']:.0f} | {quarters} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", choices=[*WITH_MODEL, *NETWORKS])
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help=f"a model for {', '.join(WITH_MODEL)}; can be repeated",
    )
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--way", choices=["plain", "extract"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.models = dict(entry.split("=", 1) for entry in arguments.model)
    if arguments.networks is None:
        arguments.networks = [name for name in WITH_MODEL if name in arguments.models]
        arguments.networks += NETWORKS
    if arguments.way:
        way = {"plain": run_plain, "extract": run_extract}[arguments.way]
        name = arguments.networks[0]
        corpus = Corpus.load(arguments.folder)
        found = way(corpus, name, arguments.models.get(name), arguments.clips)
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as temporary:
        lines = table(arguments, Path(temporary))
    packages = versions("numpy", "tensorflow", "librosa", "soundfile", "soxr")
    described = ", ".join(f"{name} {version}" for name, version in packages.items())
    head = [
        "# Extraction against the plain loop",
        "",
        f"{arguments.clips} clips of {SECONDS} s (Ogg Vorbis, stereo, 44.1 kHz), the better of "
        f"{arguments.rounds} rounds; {platform.machine()}, {os.cpu_count()} cores; {described}.",
        "",
    ]
    text = "\n".join([*head, *lines, ""])
    print(text)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
