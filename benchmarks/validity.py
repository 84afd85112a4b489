"""Whether what the program says of falls, intervals, chance and groups holds where it is known.

Run: ``python benchmarks/validity.py`` (two minutes on a core with nothing else to do; ``--full``
draws six to thirty times as many worlds). Each world is a corpus drawn at random
whose truth is known: tracks of clips that resemble each other, two datasets of one and the same
distribution (for the common shift their means lie apart). Results:
`benchmarks/results/validity.md`.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.metrics import adjusted_rand_score

from biasmir_utils import versions
from biasmir_utils.corpus import Corpus, CorpusWriter, Target, write_embedding_file
from biasmir_utils.corrections import DomainWarning, SharedClusters, fit_correction
from biasmir_utils.experiments import (
    KEY_COLUMNS,
    LogisticRecogniser,
    bootstrap_scores,
    changes,
    damage,
    dataset_shift,
    evaluate,
    falls,
    refit_scores,
)

RESULTS = Path(__file__).parent / "results" / "validity.md"
TRACK_SHARE = 0.8
"""Share of the variance within a dataset that clips of one track have in common."""
DIMENSIONS = 40

Lines = list[str]


def draw(
    rng: np.random.Generator,
    tracks: int,
    clips: int,
    signal: float = 0.0,
    positive: float = 0.5,
    offset: Any = 0.0,
) -> tuple[Any, Any, Any]:
    """Draw tracks of equally many clips: rows, whether the label is present, and the track."""
    y = rng.permutation(np.arange(tracks) < round(positive * tracks))
    centres = rng.normal(0, TRACK_SHARE**0.5, (tracks, DIMENSIONS)) + offset
    centres[:, 0] += signal * y
    track = np.repeat(np.arange(tracks), clips)
    X = centres[track] + rng.normal(0, (1 - TRACK_SHARE) ** 0.5, (len(track), DIMENSIONS))
    return X, y[track], track


def world(folder: Path, parts: Sequence[tuple[str, str, tuple[Any, Any, Any]]]) -> Corpus:
    """Write a corpus of one label out of drawn parts, each with its dataset and split."""
    tables, rows = [], []
    for dataset, split, (X, y, track) in parts:
        names = [f"{split}{number:05d}" for number in range(len(X))]
        table = pd.DataFrame({"dataset": dataset, "split": split, "clip": names, "x": y * 1.0})
        tables.append(table.assign(track=[f"{split}{number}" for number in track]))
        rows.append(X.astype(np.float32))
    table, X = pd.concat(tables, ignore_index=True), np.concatenate(rows)
    datasets = list(dict.fromkeys(table["dataset"]))
    about = {"name": "world", "title": "A world", "datasets": datasets, "groups": []}
    place = Path(tempfile.mkdtemp(dir=folder))
    writer = CorpusWriter(place / "corpus", targets=[Target("x", "label")], **about)
    corpus = writer.write(table)
    file = corpus.path / "embeddings" / "e.h5"
    parts_of = corpus.clips.groupby("dataset")
    content = {name: (own["clip"].tolist(), X[own.index]) for name, own in parts_of}
    write_embedding_file(file, "e", content)
    return corpus.add_embedding_file(file, made_here=True)


def together(parts: Sequence[tuple[Any, Any, Any]]) -> tuple[Any, Any, Any]:
    """Return rows, dataset and track of drawn parts, each a dataset."""
    domain = np.repeat(np.arange(len(parts)), [len(X) for X, *_ in parts])
    return (
        np.concatenate([X for X, *_ in parts]),
        domain,
        np.concatenate([track for *_, track in parts]),
    )


def mean_and_error(values: Sequence[float]) -> str:
    """Return mean and standard error of values that were drawn independently."""
    return f"{np.mean(values):+.3f} ± {np.std(values, ddof=1) / len(values) ** 0.5:.3f}"


def markdown(*heading: str) -> Lines:
    """Return the first two lines of a table whose first column is text."""
    return [f"| {' | '.join(heading)} |", "|---|" + "---:|" * (len(heading) - 1)]


def common_shift(worlds: int, folder: Path) -> Lines:
    """Tell what one vector, subtracted from all clips, changes across the datasets."""
    found: dict[tuple[str, str], list[float]] = {}
    for seed in range(worlds):
        rng = np.random.default_rng([1, seed])
        apart = rng.normal(0, 0.5, DIMENSIONS)
        parts = [
            (name, split, draw(rng, 60, 4, 2.0, 0.3, (place + 1) * apart))
            for place, name in enumerate("ab")
            for split in ("train", "test")
        ]
        corpus = world(folder, parts)
        for recogniser in ("logistic", "logistic:intercept=free"):
            own = evaluate(
                corpus, "e", ["none", "shift"], recogniser=recogniser, seed=seed, jobs=1
            ).results
            for metric in ("roc_auc", "balanced_accuracy"):
                change = changes(own, metric=metric).query("train_set != test_set")["change"]
                found.setdefault((recogniser, metric), []).append(change.mean())
    lines = markdown("recogniser", "change of ROC-AUC", "of balanced accuracy")
    for recogniser in dict.fromkeys(name for name, _ in found):
        told = [mean_and_error(found[recogniser, m]) for m in ("roc_auc", "balanced_accuracy")]
        lines.append(f"| {recogniser} | {' | '.join(told)} |")
    return lines


def placebos(worlds: int, folder: Path) -> Lines:
    """Tell what corrections move where there is nothing to correct, beside their controls."""
    lines = markdown("correction", "variance moved", "by its placebo", "by a random projection")
    for name in ("leace", "meanproj"):
        moved = []
        for seed in range(worlds):
            rng = np.random.default_rng([2, seed])
            parts = [draw(rng, 100, 4) for _ in range(2)]
            X, domain, track = together(parts)
            X /= np.arange(1, DIMENSIONS + 1)  # as in embeddings, few directions hold most of it
            told = {"sample_domain": domain, "sample_track": track}
            fits = [
                fit_correction(spec, X, **told, random_state=seed, draw=seed)
                for spec in (name, f"placebo:{name}")
            ]
            own, placebo = (
                damage(X, fit.transform(X, sample_domain=domain), 1)["variance_moved"]
                for fit in fits
            )
            moved.append((own.value, placebo.value, own.control))
        told_of = " | ".join(f"{value:.3f}" for value in np.mean(moved, axis=0))
        lines.append(f"| {name} | {told_of} |")
    return lines


def unequal_tracks(worlds: int, folder: Path) -> Lines:
    """Falls between datasets of one distribution, 50 training tracks against 250."""
    found: dict[tuple[str, str], list[Any]] = {}
    for seed in range(worlds):
        rng = np.random.default_rng([3, seed])
        corpus = world(
            folder,
            [
                (name, split, draw(rng, n, 4, signal=2.0))
                for name, of_training in (("few", 50), ("many", 250))
                for split, n in (("train", of_training), ("test", 100))
            ],
        )
        for match in ("clips", "tracks"):
            modes = ("global", "unlabelled")
            table = evaluate(corpus, "e", modes=modes, match=match, seed=seed, jobs=1).results
            own = falls(table).set_index(["mode", "test_set"])["fall"]
            for mode in ("none", "unlabelled"):
                both = own[mode]["few"], own[mode]["many"]
                found.setdefault((mode, match), []).append((*both, np.mean(both)))
    lines = markdown("mode, matched by", "fall on the few", "fall on the many", "mean of both")
    for (mode, match), values in found.items():
        told = " | ".join(mean_and_error(column) for column in zip(*values, strict=True))
        lines.append(f"| {mode.replace('none', 'global')}, {match} | {told} |")
    return lines


def positive_tracks(worlds: int, folder: Path) -> Lines:
    """Coverage of one label's interval by the number of its positive test tracks."""
    lines = markdown(
        "positive tracks", "coverage of 95 %", "intervals that are given", "coverage of these"
    )
    for n_positive in (3, 5, 10, 20, 40):
        covered, given = [], []
        for seed in range(worlds):
            rng = np.random.default_rng([4, n_positive, seed])
            parts = [draw(rng, n, 4, 1.5, share) for n, share in ((n_positive, 1.0), (60, 0.0))]
            scores = pd.DataFrame(
                {
                    "y_true": np.concatenate([y for _, y, _ in parts]).astype(int),
                    "score": np.concatenate([X[:, 0] for X, _, _ in parts]),
                    "track": np.concatenate(
                        [track + 1000 * k for k, (*_, track) in enumerate(parts)]
                    ),
                }
            ).assign(**dict.fromkeys(KEY_COLUMNS, "a"))
            draws = bootstrap_scores(scores, n_replicates=500, seed=seed)
            low, high = np.nanquantile(draws.replicates, [0.025, 0.975])
            covered.append(low <= norm.cdf(1.5 / 2**0.5) <= high)
            given.append(bool(draws.intervals()["low"].notna().all()))
        of_given = np.array(covered)[given]
        told = f"{of_given.mean():.2f}" if len(of_given) else ""
        lines.append(f"| {n_positive} | {np.mean(covered):.2f} | {np.mean(given):.2f} | {told} |")
    return lines


def gains(worlds: int, folder: Path) -> Lines:
    """Coverage of a gain's intervals: of these recognisers, and with the recognisers refitted."""
    corrections, both = ("shift", "leace"), ("label", "train_set", "test_set", "partner")
    apart, found = np.random.default_rng(7).normal(0, 0.5, DIMENSIONS), []

    def across(corpus: Corpus, seed: int) -> pd.DataFrame:
        """Return scores across datasets, of recognisers with one strength of the penalty."""
        clips, X = corpus.clips, corpus.embedding("e").astype(np.float64)
        domain, y = clips["dataset"].to_numpy(str), clips["x"].to_numpy(int)
        train, tables = (clips["split"] == "train").to_numpy(), []
        for name in ("none", *corrections):
            fitted = fit_correction(name, X[train], sample_domain=domain[train])
            rows = fitted.transform(X, sample_domain=domain)
            for own, other in (("a", "b"), ("b", "a")):
                at_home, test = train & (domain == own), ~train & (domain == other)
                model = LogisticRecogniser(Cs=(0.01,)).fit(rows[at_home], y[at_home])
                key = dict.fromkeys(KEY_COLUMNS, "x") | {"correction": name, "seed": seed}
                key |= {"train_set": own, "test_set": other, "partner": other}
                key |= {"track": clips["track"].to_numpy(str)[test], "y_true": y[test]}
                key |= {"score": model.decision_function(rows[test])}
                tables.append(pd.DataFrame(key))
        return pd.concat(tables, ignore_index=True)

    for seed in range(worlds):
        rng = np.random.default_rng([7, seed])
        parts = [
            (name, split, draw(rng, n, 4, 2.0, 0.3, (place + 1) * apart))
            for place, name in enumerate("ab")
            for split, n in (("train", 60), ("test", 40))
        ]
        corpus = world(folder, parts)
        drawn = {
            "test tracks": bootstrap_scores(across(corpus, seed), seed=seed).mean_over("seed"),
            # Two seeds, since here nothing depends on them.
            "test tracks and training tracks": refit_scores(
                corpus, across, n_refits=20, seed=seed, n_seeds=2
            ),
        }
        for name, draws in drawn.items():
            table = draws.changes().mean_over(*both).intervals()
            found.append(table[["correction", "value", "low", "high"]].assign(drawn=name))
    table = pd.concat(found, ignore_index=True)
    # What the methods gain: the mean over all worlds.
    truth = table.groupby("correction")["value"].transform("mean")
    table["covered"] = (table["low"] <= truth) & (truth <= table["high"])
    table["width"] = table["high"] - table["low"]
    lines = markdown("correction, drawn", "mean gain", "coverage of 95 %", "mean width")
    for key, own in table.groupby(["correction", "drawn"], sort=False):
        covered = f"{own['covered'].mean():.2f} | {own['width'].mean():.3f}"
        lines.append(f"| {', '.join(key)} | {mean_and_error(own['value'])} | {covered} |")
    return lines


def chance_of_distances(worlds: int, folder: Path) -> Lines:
    """Mean gap and squared MMD of datasets without a difference, and their chance."""
    lines = markdown(
        "tracks x clips of each", "mean gap", "its chance", "squared MMD", "its chance"
    )
    for first, second in (((100, 1), (40, 10)), ((60, 1), (60, 12)), ((50, 4), (250, 4))):
        found = []
        for seed in range(worlds):
            rng = np.random.default_rng([5, *first, seed])
            parts = [draw(rng, *sizes) for sizes in (first, second)]
            shift = dataset_shift(
                *together(parts),
                measures=("mean_gap", "mmd2"),
                n_permutations=50,
                seed=seed,
            )
            found.append([v for one in shift.values() for v in (one.value, one.chance)])
        told = " | ".join(f"{value:.3f}" for value in np.mean(found, axis=0))
        sizes = " against ".join(f"{tracks} x {clips}" for tracks, clips in (first, second))
        lines.append(f"| {sizes} | {told} |")
    return lines


def groups(worlds: int, folder: Path) -> Lines:
    """Find groups where there are none, and where datasets share two unequally."""
    lines = markdown(
        "share of the first group in each dataset", "one group found", "adjusted Rand index"
    )
    for shares in ((1.0, 1.0), (0.5, 0.5), (0.8, 0.4), (0.9, 0.3)):
        single, agreement = [], []
        for seed in range(worlds):
            rng = np.random.default_rng([6, seed])
            domain = np.arange(800) % 2
            genre = rng.random(800) >= np.where(domain == 0, *shares)
            X = rng.normal(size=(800, 10)) + np.outer(genre, np.full(10, 4 * 10**-0.5))
            X += np.outer(domain, rng.normal(size=10))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DomainWarning)  # that there is one group
                found = SharedClusters(random_state=seed).fit(X, sample_domain=domain)
            single.append(found.n_groups_ == 1)
            agreement.append(adjusted_rand_score(genre, found.labels_))
        told = f"{np.mean(agreement):.2f}" if shares[0] < 1 else ""
        name = "no groups" if shares[0] == 1 else f"{shares[0]} and {shares[1]}"
        lines.append(f"| {name} | {np.mean(single):.2f} | {told} |")
    return lines


PARTS: dict[str, tuple[str, Callable[[int, Path], Lines], tuple[int, int, int]]] = {
    "shift": (
        "Changes by one vector that is subtracted from all clips",
        common_shift,
        (2, 4, 60),
    ),
    "placebo": ("Variance moved where there is nothing to correct", placebos, (2, 10, 60)),
    "tracks": (
        "Falls between datasets of one distribution, 50 training tracks against 250",
        unequal_tracks,
        (2, 4, 60),
    ),
    "positives": (
        "Intervals of one label by its positive test tracks",
        positive_tracks,
        (5, 100, 1000),
    ),
    "gains": (
        "Intervals of what a correction gains across datasets (one strength of the penalty, no "
        "resampling)",
        gains,
        (2, 4, 100),
    ),
    "chance": (
        "Chance of distances of datasets without a difference",
        chance_of_distances,
        (2, 10, 60),
    ),
    "groups": ("Groups that are found", groups, (2, 4, 30)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="as many worlds as the book's numbers")
    size.add_argument("--smallest", action="store_true", help="to see that it runs")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    place = 2 if arguments.full else 0 if arguments.smallest else 1
    lines = ["# Whether what is said holds where it is known", ""]
    start = time.perf_counter()
    for part in arguments.part:
        title, compute, sizes = PARTS[part]
        with tempfile.TemporaryDirectory() as folder:
            table = compute(sizes[place], Path(folder))
        lines += [f"## {title}", "", f"{sizes[place]} worlds.", "", *table, ""]
        print("\n".join(lines[-len(table) - 5 :]), flush=True)
    used = versions("numpy", "scipy", "scikit-learn")
    tools = ", ".join(f"{k} {v}" for k, v in used.items() if k != "biasmir_utils")
    about = f"{platform.machine()}, {os.cpu_count()} cores, {time.perf_counter() - start:.0f} s"
    lines.append(f"{about}; {tools}.")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
