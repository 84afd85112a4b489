"""What labels of the target are worth, and both datasets in training, on the three bundled corpora.

Run: ``python benchmarks/few_labels.py`` (half an hour on one core with the two
embeddings of the default; ``--seeds 1``: a fifth).
Results: `benchmarks/results/few_labels.md`, with the commit that made them.
"""

from __future__ import annotations

import argparse
import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd

from biasmir_utils import versions
from biasmir_utils.corpus import Corpus
from biasmir_utils.experiments import label_worth, plan_evaluation, run_plan

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "few_labels.md"
CORRECTIONS = (
    *("none", "shift", "center", "meanproj", "leace", "splince"),
    *("gaussian_ot", "gaussian_ot:to=partner"),
)
# Of each corpus the numbers of labels, as its training parts allow, and the two datasets.
CORPORA: dict[str, tuple[tuple[int, ...], tuple[str, str]]] = {
    "demo": ((10, 50, 200), ("solo", "band")),
    "recordings": ((10, 20, 50, 100), ("freesound", "studio")),
    "counterfactual": ((10, 50, 200), ("bandfont_bandchain", "solofont_solochain")),
}
METHODS = ["source only", "fewshot", "target only", "both"]
ABOUT = """Mean ROC-AUC over labels and both directions, tested across datasets on the same clips
throughout; the worst label; the gain against no correction and no label of the target, with 95 %
intervals from labels drawn again. fewshot: the source's training clips and n labelled ones of the
target, half of them with the label; target only: these n alone; both: the training clips of both
datasets. Worth: the number of labels with which fewshot first gains as much as the correction, with
its interval; none: the correction gains nothing; under, over: beyond the numbers measured."""


def measured(name: str, embeddings: list[str], labels: int | None, seeds: int) -> pd.DataFrame:
    """Return the table of `label_worth` of a bundled corpus."""
    corpus = Corpus.load(ROOT / "data" / name)
    sizes, pair = CORPORA[name]
    asked = {"labels": corpus.labels[:labels], "seeds": seeds, "few_labels": sizes}
    plan = plan_evaluation(corpus, embeddings, CORRECTIONS, **asked)
    plan = replace(plan, tasks=[task for task in plan.tasks if task.pair == pair])
    table = label_worth(run_plan(plan, jobs=1).few)
    order = table["embedding"].map(embeddings.index) * len(METHODS)
    return table.loc[(order + table["method"].map(METHODS.index)).sort_values(kind="stable").index]


def line(row: pd.Series) -> str:
    """Return a line of the table."""
    across = row["method"] == "source only"
    trained = row["correction"] if across or row["method"] == "both" else row["method"]
    if not across:
        trained = (
            f"both, {trained}" if row["method"] == "both" else f"{trained}, n = {row['n']:.0f}"
        )
    plain = across and row["correction"] == "none"
    gain = "" if plain else f"{row['gain']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
    ends = f"[{row['worth_low']}, {row['worth_high']}]"
    worth = f"{row['worth']} {ends}" if across and not plain else ""
    cells = (row["embedding"], trained, f"{row['roc_auc']:.3f}", f"{row['worst']:.3f}", gain, worth)
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", nargs="+", choices=list(CORPORA), default=list(CORPORA))
    parser.add_argument("--embedding", nargs="+", default=["musicnn", "mfcc"])
    parser.add_argument("--labels", type=int, help="so many of each corpus; default all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    tools = ", ".join(f"{name} {one}" for name, one in versions("numpy", "scikit-learn").items())
    seeds = f"{arguments.seeds} seeds from 42 on, two draws of the labelled clips each; {tools}."
    text = ["# What labels of the target are worth", "", *ABOUT.splitlines(), "", seeds]
    for name in arguments.corpus:
        table = measured(name, arguments.embedding, arguments.labels, arguments.seeds)
        sets, labels = " and ".join(CORPORA[name][1]), table["n_labels"].max()
        text += ["", f"## {name}: {sets}, {labels} labels", "", f"Commit {commit}.", ""]
        text += ["| embedding | trained with | ROC-AUC | worst label | gain | worth in labels |"]
        text += ["|---|---|---:|---:|---:|---:|"]
        text += [line(row) for _, row in table.iterrows()]
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text("\n".join([*text, ""]), encoding="utf-8")
    print(f"Written: {arguments.out}")


if __name__ == "__main__":
    main()
