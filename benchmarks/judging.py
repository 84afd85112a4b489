"""Corrections judged against no correction, a common shift and a placebo, on two bundled corpora.

Run: ``python benchmarks/judging.py`` (some minutes). The table that it writes,
`benchmarks/results/judging.csv`, is what chapter 7 shows of all embeddings: the rows of
`Report.changes` across datasets, with the commit that made them.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
from pathlib import Path

import pandas as pd

from biasmir_utils.corpus import Corpus
from biasmir_utils.experiments import evaluate

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "judging.csv"
EMBEDDINGS = ("yamnet", "musicnn", "msd_vgg", "mfcc")
CORRECTIONS = ("none", "shift", "lda", "center", "leace", "coral", "gaussian_ot", "placebo:leace")
N_LABELS = 3
"""Of the demonstration corpus the first labels, as in the chapter; of the recordings all six."""
METRICS = ("roc_auc", "balanced_accuracy_source", "brier")
KEPT = ["embedding", "correction", "baseline", "metric", "before", "after", "change", "low", "high"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    out = parser.parse_args().out
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    tables = []
    for name, embedding in itertools.product(("demo", "recordings"), EMBEDDINGS):
        corpus = Corpus.load(ROOT / "data" / name)
        labels = corpus.labels[:N_LABELS] if name == "demo" else None
        report = evaluate(corpus, embedding, CORRECTIONS, labels=labels, report=True).report
        table = report.changes.query("where == 'across' and metric in @METRICS")[KEPT]
        tables.append(table.assign(corpus=name, commit=commit))
    pd.concat(tables).to_csv(out, index=False, float_format="%.5f")
    print(f"Written: {out}")


if __name__ == "__main__":
    main()
