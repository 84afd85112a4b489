"""Cost of the corrections, and against the packages that have the same method.

Run: ``python benchmarks/corrections.py`` (about 3 minutes) where concept-erasure, fairlearn and
skada are installed (``pip install -e .[compare]``); what is missing is left out of the table.

Same rows, same process, one thread, processor seconds of fit and transform, the best of three.
Results: `benchmarks/results/corrections.md`.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from biasmir_utils import versions
from biasmir_utils.corrections import METHODS, make_correction

RESULTS = Path(__file__).parent / "results" / "corrections.md"
ROWS = 10_000
DIMENSIONS = (128, 1024)


def seconds(function: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Return the least processor time of several calls, and what the last returned."""
    best, value = np.inf, None
    for _ in range(repeats):
        value = None
        start = time.process_time()
        value = function()
        best = min(best, time.process_time() - start)
    return best, value


def two_domains(n: int, d: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    domain = (np.arange(n) % 3 == 0).astype(int)
    X = rng.normal(size=(n, d)) + rng.normal(size=(n, 32)) @ rng.normal(size=(32, d)) / 6
    return X + np.outer(domain, rng.normal(scale=0.3, size=d)), domain


def ours(name: str, X: Any, domain: Any) -> Any:
    labels = (X[:, 0] > 0).astype(int)  # which one of the methods needs
    return make_correction(name).fit_transform(X, labels, sample_domain=domain)


def concept_erasure_leace(X: Any, domain: Any) -> Any:
    import torch
    from concept_erasure import LeaceFitter

    torch.set_num_threads(1)
    x, z = torch.from_numpy(X), torch.from_numpy(np.eye(2)[domain])
    return LeaceFitter.fit(x, z).eraser(x).numpy()


def fairlearn_correlation_remover(X: Any, domain: Any) -> Any:
    from fairlearn.preprocessing import CorrelationRemover

    rows = np.column_stack([domain, X])
    return CorrelationRemover(sensitive_feature_ids=[0]).fit_transform(rows)


def skada_coral(X: Any, domain: Any) -> Any:
    from sklearn import config_context

    with config_context():  # skada switches metadata routing on for everybody
        from skada import CORALAdapter

        adapter = CORALAdapter(reg="auto")
        return adapter.fit_transform(X, sample_domain=np.where(domain == 1, 1, -2))


THEIRS: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "leace": ("concept-erasure, LeaceFitter", concept_erasure_leace),
    "center": ("fairlearn, CorrelationRemover", fairlearn_correlation_remover),
    "coral": ("skada, CORALAdapter", skada_coral),
}


def lines(rows: int) -> list[str]:
    table = [
        "| correction | features | ours, s | other package | its, s | ratio |",
        "|---|---:|---:|---|---:|---:|",
    ]
    for d in DIMENSIONS:
        X, domain = two_domains(rows, d)
        for name in [name for name in METHODS if name != "none"]:
            cost, _ = seconds(partial(ours, name, X, domain))
            label, other = THEIRS.get(name, ("", None))
            entry, ratio = "", ""
            if other is not None:
                try:
                    other(*two_domains(50, 4))  # imports and first calls are not counted
                    its, _ = seconds(partial(other, X, domain))
                    entry, ratio = f"{its:.3f}", f"{its / cost:.1f}"
                except ImportError as error:
                    entry = f"not installed ({error.name})"
            table.append(f"| {name} | {d:,} | {cost:.3f} | {label} | {entry} | {ratio} |")
            print(table[-1], flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        table = lines(arguments.rows)
    packages = ("numpy", "scipy", "scikit-learn", "concept-erasure", "torch", "fairlearn", "skada")
    tools = ", ".join(f"{k} {v}" for k, v in versions(*packages).items() if k != "biasmir_utils")
    text = [
        "# The corrections: cost, and against other packages",
        "",
        f"{arguments.rows:,} rows of float64, two domains; fit and transform, processor seconds of",
        f"one thread ({platform.machine()}, {os.cpu_count()} cores, one used; {tools}).",
        "",
        *table,
        "",
    ]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text("\n".join(text), encoding="utf-8")
    print(f"Written: {arguments.out}")


if __name__ == "__main__":
    main()
