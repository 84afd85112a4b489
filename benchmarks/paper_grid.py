"""The paper's whole experiment at its real size, on synthetic data in the layout of the real files.

Run: ``python benchmarks/paper_grid.py`` (about 20 minutes on 2 cores, 2.5 GB of disk, 4 GB of
memory; ``--quick`` leaves out scikit-learn at 8,192 dimensions, which takes half of it).

What is timed, each in processes of its own:

- pooling frames to clips, all three embeddings, from the 2.2 GB file;
- each correction (one mode, ten labels, four pairs), as the authors' notebooks print it;
- the whole grid: 3 embeddings x 6 corrections x 2 modes x 4 pairs x 10 labels;
- one task written directly with scikit-learn, against ours in the same run.

Times are wall-clock seconds with processor seconds beside them: the two tell whether the machine
was free. Memory is the peak over the process and its workers together (proportional set size).
Results: `benchmarks/results/paper_grid.md`.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import psutil
from threadpoolctl import threadpool_limits

from biasmir_utils import versions
from biasmir_utils.datasets import GENRES, INSTRUMENTS
from biasmir_utils.experiments import OutputPaths

RESULTS = Path(__file__).parent / "results" / "paper_grid.md"
PARTS = ("pooling", "grid", "corrections", "tasks")
EMBEDDINGS = {"vggish": (128, 2, 9), "openl3": (512, 2, 10), "yamnet": (1024, 2, 20)}
CORRECTIONS = ("none", "lda", "mlda", "k", "klda", "mklda")
# Seconds for one mode, printed in the authors' notebooks (None: not printed one by one).
AUTHORS = {
    "vggish": (13, 16, 16, 54, 99, 127),
    "openl3": (168, None, None, None, None, 50 * 60),
    "yamnet": (400, None, None, None, None, 22_167),
}
AUTHORS_BOTH_MODES = 2 * (1_558 + 35_759)

# IRMAS, clips of each code; its genres are drawn, the paper's page does not give their counts.
IRMAS = {
    "cel": 388, "cla": 505, "flu": 451, "gac": 637, "gel": 760, "org": 682, "pia": 721,
    "sax": 626, "tru": 577, "vio": 580, "voi": 778,
}  # fmt: skip
IRMAS_GENRE_CODES = ("pop_roc", "jaz_blu", "cla", "cou_fol")
LATIN_VOICES = 42
IRMAS_TRAIN = 5_039
# OpenMIC: clips of the training part with a genre, by genre, and all with a genre in both parts.
OPENMIC_TRAIN = dict(zip(GENRES, (2996, 1247, 1022, 1573), strict=True))
OPENMIC_TEST = 2_491
OPENMIC_SPLIT = (14_915, 5_085)
# About two of the twenty classes are observed in a clip, and present in two of five.
OBSERVED, PRESENT = 2.06 / 20, 0.43
OTHERS = (
    "accordion", "banjo", "bass", "cymbals", "drums", "mallet_percussion", "mandolin",
    "synthesizer", "trombone", "ukulele",
)  # fmt: skip


def make_root(root: Path, seed: int = 0) -> None:
    """Write the files of the paper, with synthetic content, under `root`."""
    rng = np.random.default_rng(seed)
    (root / "paper").mkdir(parents=True)
    (root / "openmic-2018" / "partitions").mkdir(parents=True)
    irmas, irmas_labels = make_irmas(root, rng)
    openmic, openmic_labels = make_openmic(root, rng)
    directions = rng.normal(size=(len(INSTRUMENTS), 48))
    shift = rng.normal(size=48)
    latent = {
        "irmas": rng.normal(size=(len(irmas), 48)) + 0.5 * irmas_labels @ directions,
        "openmic": rng.normal(size=(len(openmic), 48))
        + 0.35 * openmic_labels @ directions
        + 0.5 * shift,
    }
    keys = {"irmas": irmas, "openmic": openmic}
    with h5py.File(root / "paper" / "embeddings.h5", "w") as file:
        for name, (dimension, *frames) in EMBEDDINGS.items():
            mixing = rng.normal(size=(48, dimension)).astype(np.float32) / 7
            for (dataset, clips), n_frames in zip(keys.items(), frames, strict=True):
                group = file.create_group(f"{dataset}/{name}")
                group["keys"] = np.repeat(np.array(clips, dtype="S"), n_frames)
                features = group.create_dataset(
                    "features", (len(clips) * n_frames, dimension), "float32"
                )
                for start in range(0, len(clips), 1000):
                    rows = latent[dataset][start : start + 1000].astype(np.float32) @ mixing
                    rows = np.repeat(rows, n_frames, axis=0)
                    rows += rng.standard_normal(rows.shape, dtype=np.float32)
                    # Embeddings of rectified networks are not negative, and mostly small.
                    features[start * n_frames : start * n_frames + len(rows)] = np.maximum(rows, 0)


def make_irmas(root: Path, rng: np.random.Generator) -> tuple[list[str], Any]:
    names, labels = [], []
    codes = dict(zip(IRMAS, ("cello", "clarinet", "flute", *["guitar"] * 2, "organ", "piano",
                             "saxophone", "trumpet", "violin", "voice"), strict=True))  # fmt: skip
    for code, n in IRMAS.items():
        genres = rng.choice(IRMAS_GENRE_CODES, n, p=[0.3, 0.25, 0.3, 0.15])
        if code == "voi":
            genres[:LATIN_VOICES] = "lat_sou"
        for i, genre in enumerate(genres):
            names.append(f"{i // 2:03d}__[{code}][nod][{genre}]{i // 2:04d}__{i % 2 + 1}")
            labels.append([float(codes[code] == name) for name in INSTRUMENTS])
    tracks = sorted({name.rpartition("__")[0] for name in names})
    train = set(rng.permutation(tracks)[: round(len(tracks) * IRMAS_TRAIN / len(names))].tolist())
    for split, inside in (("train", True), ("test", False)):
        chosen = [name for name in names if (name.rpartition("__")[0] in train) is inside]
        path = root / "paper" / f"irmas_{split}.csv"
        path.write_text("".join(f"{name}\n" * 2 for name in chosen))
    return names, np.array(labels)


def make_openmic(root: Path, rng: np.random.Generator) -> tuple[list[str], Any]:
    titles = {
        "pop_rock": "Rock", "jazz_blue": "Jazz", "classical": "Classical", "country_folk": "Folk",
    }  # fmt: skip
    total = sum(OPENMIC_TRAIN.values())
    drawn = rng.choice(GENRES, OPENMIC_TEST, p=[n / total for n in OPENMIC_TRAIN.values()])
    genres = [genre for genre, n in OPENMIC_TRAIN.items() for _ in range(n)]
    genres += [None] * (OPENMIC_SPLIT[0] - total) + drawn.tolist()
    genres += [None] * (OPENMIC_SPLIT[1] - OPENMIC_TEST)
    keys = [f"{number:06d}_{1000 * (number % 200)}" for number in rng.permutation(len(genres))]
    folder = root / "openmic-2018"
    pd.DataFrame(
        {
            "track_id": [key.partition("_")[0] for key in keys],
            "track_genres": [
                str([{"genre_id": "1", "genre_title": titles.get(genre, "Experimental")}])
                for genre in genres
            ],
            "sample_key": keys,
            "start_time": [key.partition("_")[2] for key in keys],
        }
    ).to_csv(folder / "openmic-2018-metadata.csv", index=False)
    for split, part in (("train", keys[: OPENMIC_SPLIT[0]]), ("test", keys[OPENMIC_SPLIT[0] :])):
        path = folder / "partitions" / f"split01_{split}.csv"
        path.write_text("".join(f"{key}\n" for key in part))
    classes = sorted([*INSTRUMENTS, *OTHERS])
    (folder / "class-map.json").write_text(json.dumps({c: i for i, c in enumerate(classes)}))
    present = rng.random((len(keys), len(classes))) < PRESENT
    observed = rng.random(present.shape) < OBSERVED
    likelihood = np.where(present, rng.uniform(0.5, 1, present.shape), rng.uniform(0, 0.5))
    clip, column = np.nonzero(observed)
    pd.DataFrame(
        {
            "sample_key": np.array(keys)[clip],
            "instrument": np.array(classes)[column],
            "relevance": likelihood[clip, column],
            "num_responses": 3,
        }
    ).to_csv(folder / "openmic-2018-aggregated-labels.csv", index=False)
    return keys, present[:, [classes.index(name) for name in INSTRUMENTS]].astype(float)


def measure(command: list[str], folder: Path) -> dict[str, float]:
    """Run a command; return wall and processor seconds and the peak memory of its processes."""
    environment = {**os.environ, "BIASMIR_CACHE": str(folder / "cache")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start, peak = time.perf_counter(), 0
    process = psutil.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, sum(memory_of(process)))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "cpu": cpu, "memory": peak / 2**30}


def memory_of(process: psutil.Process) -> Iterator[int]:
    """Yield the proportional set size of a process and of each of its descendants."""
    try:
        everyone = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for one in everyone:
        try:
            yield one.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue


def evaluate_command(corpus: Path, out: Path, *arguments: str) -> list[str]:
    # A run that was stopped would be gone on with.
    shutil.rmtree(OutputPaths(out).tasks, ignore_errors=True)
    program = "from biasmir_utils.cli import main; main()"
    start = [sys.executable, "-c", program, "evaluate", str(corpus), "--out", str(out)]
    return [*start, *arguments]


def time_pooling(corpus: Path, folder: Path) -> dict[str, float]:
    code = (
        "import sys; from biasmir_utils.corpus import Corpus\n"
        "corpus = Corpus.load(sys.argv[1])\n"
        "for name in corpus.embedding_names: corpus.embedding(name)\n"
    )
    return measure([sys.executable, "-c", code, str(corpus)], folder)


def time_corrections(corpus: Path, folder: Path, jobs: int) -> list[dict[str, Any]]:
    rows = []
    for embedding in EMBEDDINGS:
        for correction, authors in zip(CORRECTIONS, AUTHORS[embedding], strict=True):
            out = folder / "one.csv"
            found = measure(
                evaluate_command(
                    corpus, out, "--embedding", embedding, "--correction", correction,
                    "--mode", "global", "--jobs", str(jobs),
                ),
                folder,
            )  # fmt: skip
            auc = pd.read_csv(out)["roc_auc"].mean()
            row = {"embedding": embedding, "correction": correction, **found}
            rows.append({**row, "authors": authors, "mean ROC-AUC": auc})
    return rows


def time_grid(corpus: Path, folder: Path, jobs: int) -> dict[str, Any]:
    out = folder / "grid.csv"
    found = measure(
        evaluate_command(
            corpus, out, "--embedding", *EMBEDDINGS, "--correction", *CORRECTIONS,
            "--mode", "global", "classwise", "--jobs", str(jobs),
        ),
        folder,
    )  # fmt: skip
    results = pd.read_csv(out)
    return {**found, "rows": len(results), "n_train": float(results["n_train"].median())}


def time_one_task(n: int, n_features: int, seed: int = 0) -> dict[str, float]:
    """One label and correction `lda`: both training sets, both test sets, one thread."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GridSearchCV

    from biasmir_utils.corrections import DomainLDA
    from biasmir_utils.experiments import PAPER_C, LogisticRecogniser, Span

    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(48, n_features)) / 7
    direction, shift = rng.normal(size=(2, 48))

    def draw(rows: int, domain: int) -> tuple[Any, Any]:
        y = (np.arange(rows) < rows * 0.43).astype(int)
        latent = rng.normal(size=(rows, 48)) + 0.35 * np.outer(y, direction) + 0.5 * domain * shift
        return latent @ mixing + 0.3 * rng.normal(size=(rows, n_features)), y

    train, test = [draw(n, d) for d in (0, 1)], [draw(400, d) for d in (0, 1)]
    X, domain = np.concatenate([t[0] for t in train]), np.repeat([0, 1], n)
    aucs: dict[str, list[float]] = {"direct": [], "ours": []}
    seconds = {}
    with threadpool_limits(1):
        start = time.process_time()
        lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(X, domain)
        v = lda.coef_[0] / np.linalg.norm(lda.coef_[0])
        projection = np.eye(n_features) - np.outer(v, v)
        for rows, y in train:
            model = LogisticRegression(solver="liblinear", class_weight="balanced")
            search = GridSearchCV(model, {"C": PAPER_C}, scoring="roc_auc", cv=3)
            search.fit(rows @ projection, y)
            for test_rows, y_test in test:
                score = search.decision_function(test_rows @ projection)
                aucs["direct"].append(roc_auc_score(y_test, score))
        seconds["direct"] = time.process_time() - start
        start = time.process_time()
        correction = DomainLDA().fit(X, sample_domain=domain)
        for rows, y in train:
            span = Span.of(rows).move(correction.thin_map)
            ours = LogisticRecogniser().fit_span(span, y)
            for test_rows, y_test in test:
                score = ours.decision_function(correction.transform(test_rows))
                aucs["ours"].append(roc_auc_score(y_test, score))
        seconds["ours"] = time.process_time() - start
    difference = np.abs(np.subtract(aucs["direct"], aucs["ours"])).mean()
    ratio = seconds["direct"] / seconds["ours"]
    return {**seconds, "ratio": ratio, "difference": float(difference)}


def machine() -> str:
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((x.partition(":")[2].strip() for x in lines if "model name" in x), model)
    found = versions("numpy", "scipy", "scikit-learn")
    return f"{model}, {os.cpu_count()} cores; " + ", ".join(f"{k} {v}" for k, v in found.items())


def report(found: dict[str, Any]) -> str:
    pooling, grid = found["pooling"], found["grid"]
    lines = [
        "# The paper's grid",
        "",
        f"{machine()}; {found['jobs']} processes. Written by `benchmarks/paper_grid.py`.",
        "",
        "Synthetic corpus in the layout of the real files: 6,705 and 20,000 clips, "
        f"{found['size']:.1f} GB.",
        "",
        "| | wall, s | processor, s | peak memory, GB | goal |",
        "|---|---|---|---|---|",
        f"| pooling, three embeddings | {pooling['wall']:.1f} | {pooling['cpu']:.1f} "
        f"| {pooling['memory']:.2f} | 30 s, 3 GB |",
        f"| whole grid, {grid['rows']} rows | {grid['wall']:.1f} | {grid['cpu']:.1f} "
        f"| {grid['memory']:.2f} | 300 s, 4 GB |",
        "",
        f"The authors' program takes about {AUTHORS_BOTH_MODES:,} s for both modes, as its "
        f"notebooks print. A training set has {grid['n_train']:.0f} rows (median).",
        "",
        "## Each correction",
        "",
        "Ten labels, four pairs, mode global; start of the processes and reading included.",
        "",
        "| embedding | correction | wall, s | processor, s | authors, s | mean ROC-AUC |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["corrections"]:
        authors = "" if row["authors"] is None else f"{row['authors']:,.0f}"
        lines.append(
            f"| {row['embedding']} | {row['correction']} | {row['wall']:.1f} | {row['cpu']:.1f} "
            f"| {authors} | {row['mean ROC-AUC']:.3f} |"
        )
    lines += [
        "",
        "## One task against scikit-learn",
        "",
        "One label, correction `lda`, both training sets, both test sets, one thread, processor "
        "seconds. Direct: `LinearDiscriminantAnalysis(solver='eigen', shrinkage='auto')`, a dense "
        "projection, `GridSearchCV` over liblinear. Difference: mean absolute ROC-AUC (where C is "
        "large and the classes are separable, liblinear stops before its optimum).",
        "",
        "| n in each dataset | features | direct, s | ours, s | ratio | difference |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["tasks"]:
        lines.append(
            f"| {row['n']:.0f} | {row['features']:.0f} | {row['direct']:.2f} | {row['ours']:.3f} "
            f"| {row['ratio']:.0f} | {row['difference']:.5f} |"
        )
    lines += ["", *growth(pd.DataFrame(found["tasks"]))]
    return "\n".join(lines) + "\n"


def growth(tasks: pd.DataFrame) -> list[str]:
    """Return sentences on how the cost grows with n and D: slopes of the logarithms."""
    sentences = []
    for who in ("direct", "ours"):
        logs = np.log(tasks[["n", "features", who]].to_numpy(float))
        design = np.column_stack([logs[:, :2], np.ones(len(logs))])
        slopes = np.linalg.lstsq(design, logs[:, 2], rcond=None)[0]
        sentences.append(f"{who}: seconds grow as n^{slopes[0]:.1f} D^{slopes[1]:.1f}.")
    return sentences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where to put, and keep, the synthetic files")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="no scikit-learn at 8,192 dimensions")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    from biasmir_utils.datasets import prepare_paper

    # What was measured before stays, so that a part can be measured again by itself.
    numbers = arguments.out.with_suffix(".json")
    found = json.loads(numbers.read_text()) if numbers.is_file() else {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        root, corpus = folder / "root", folder / "corpus"
        if set(arguments.parts) != {"tasks"}:
            if not corpus.is_dir():
                make_root(root)
                print(prepare_paper(root, corpus).summary(), flush=True)
            found["size"] = (root / "paper" / "embeddings.h5").stat().st_size / 1e9
            found["jobs"] = arguments.jobs
        if "pooling" in arguments.parts:
            for kept in (folder / "cache").glob("*"):
                kept.unlink()
            found["pooling"] = time_pooling(corpus, folder)
        if "grid" in arguments.parts:
            found["grid"] = time_grid(corpus, folder, arguments.jobs)
        if "corrections" in arguments.parts:
            found["corrections"] = time_corrections(corpus, folder, arguments.jobs)
    if "tasks" in arguments.parts:
        sizes = (128, 1024) if arguments.quick else (128, 1024, 8192)
        found["tasks"] = [
            {"n": n, "features": d, **time_one_task(n, d)} for d in sizes for n in (300, 600, 1200)
        ]
    numbers.parent.mkdir(parents=True, exist_ok=True)
    numbers.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if all(part in found for part in PARTS):
        text = report(found)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text, encoding="utf-8")
        print(text)


if __name__ == "__main__":
    main()
