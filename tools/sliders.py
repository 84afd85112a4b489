"""The data of the page with two sliders: the dose of a correction, the threshold on scores.

tools/build.py calls `write_data` at every build; it writes a script, as tools/explorer.py does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import DomainLDA
from biasmir_utils.experiments import evaluate

FOLDER = Path("book", "extra", "sliders")
DOSES = np.linspace(0, 1, 21)
# Those of the chapter on corrections: how the second dataset is shifted, where the task lies, how
# far the points scatter, and how far positives of the first lie aside by chance.
TOYS: dict[str, dict[str, Any]] = {
    "a shift beside the task": {"shift": (3, 0), "task": (0, 2.5), "spurious": 2},
    "a shift along the task": {"shift": (0, 3), "task": (0, 2.5)},
    "a faint direction": {"shift": (2.5, 0.5), "task": (4, 0), "scatter": (1, 0.05)},
}
EMBEDDING, LABEL = "musicnn", "saxophone"


def toy(
    shift: tuple[float, float],
    task: tuple[float, float],
    scatter: tuple[float, float] = (1, 1),
    spurious: float = 0,
    n: int = 80,
) -> tuple[NDArray[np.float64], NDArray[np.str_], NDArray[np.bool_]]:
    """Draw points of two datasets in the plane, as the chapter on corrections does."""
    rng = np.random.default_rng(0)
    domain, y = np.repeat(["A", "B"], n), rng.random(2 * n) < 0.5
    X = rng.normal(size=(2 * n, 2)) * scatter + np.outer(y, task)
    X[domain == "A", 0] += spurious * y[domain == "A"]
    X[domain == "B"] += shift
    return X, domain, y


def doses(X: NDArray[Any], domain: NDArray[Any], y: NDArray[Any]) -> dict[str, Any]:
    """Return the points, where a full dose of `lda` puts them, and the recogniser at each dose."""
    full = DomainLDA().fit(X, sample_domain=domain).transform(X)
    a, b = domain == "A", domain == "B"
    steps = []
    for dose in DOSES:
        moved = X + dose * (full - X)
        model = LogisticRegression().fit(moved[a], y[a])
        score = model.decision_function(moved[b])
        steps.append(
            {
                "line": [*model.coef_[0].round(4), round(float(model.intercept_[0]), 4)],
                "auc": round(float(roc_auc_score(y[b], score)), 3),
                "balanced": round(float(balanced_accuracy_score(y[b], score > 0)), 3),
            }
        )
    points, ends = X.round(3).tolist(), np.asarray(full).round(3).tolist()
    return {"from": points, "to": ends, "b": b.tolist(), "y": y.tolist(), "steps": steps}


def thresholds(corpus: Corpus) -> dict[str, Any]:
    """Return the scores of one test set by recognisers from the same dataset and the other."""
    scores = evaluate(corpus, EMBEDDING, labels=[LABEL], seed=42, scores=True).scores
    assert scores is not None, "they were asked for"
    first, second = corpus.datasets
    sides = []
    for title, train in (("the same dataset", first), ("the other dataset", second)):
        part = scores[(scores["train_set"] == train) & (scores["test_set"] == first)]
        score, y = part["score"].round(3).tolist(), part["y_true"].astype(bool).tolist()
        auc = round(float(roc_auc_score(y, part["score"])), 3)
        sides.append({"title": f"trained on {title}", "score": score, "y": y, "auc": auc})
    return {"label": LABEL, "embedding": EMBEDDING, "test_set": first, "sides": sides}


def write_data(folder: Path, corpus: Corpus) -> Path:
    """Write `data.js`, with all that the page's script needs."""
    data = {
        "toys": {name: doses(*toy(**recipe)) for name, recipe in TOYS.items()},
        "threshold": thresholds(corpus),
    }
    target = folder / "data.js"
    text = json.dumps(data, separators=(",", ":"))
    target.write_text(f"window.BIASMIR_SLIDERS = {text};\n", encoding="ascii")
    return target
