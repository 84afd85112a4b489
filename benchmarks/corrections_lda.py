"""Cost of the paper's corrections against scikit-learn: the LDA direction, the random features.

Run: ``python benchmarks/corrections_lda.py`` (about 10 minutes, 4 GB; ``--quick`` leaves out
scikit-learn's solver at 8,192 dimensions, which takes most of both).

One thread, processor seconds, the best of several runs (one run where it takes minutes), rows
drawn from correlated Gaussians of two domains. Results: `benchmarks/results/corrections_lda.md`.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.kernel_approximation import RBFSampler
from sklearn.metrics.pairwise import rbf_kernel
from threadpoolctl import threadpool_limits

from biasmir_utils import versions
from biasmir_utils.corrections import DomainLDA, Fastfood, median_distance

RESULTS = Path(__file__).parent / "results" / "corrections_lda.md"
ROWS = (300, 600, 1200)
DIMENSIONS = (128, 1024, 8192)


def seconds(function: Callable[[], Any], repeats: int = 5) -> tuple[float, Any]:
    """Return the least processor time of several calls, and what the last returned."""
    best, value = np.inf, None
    for _ in range(repeats):
        value = None
        start = time.process_time()
        value = function()
        best = min(best, time.process_time() - start)
        if best > 5:
            break
    return best, value


def two_domains(n: int, d: int, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    domain = np.arange(n) % 2
    scales = rng.uniform(0.5, 2.0, d)
    shared = rng.normal(size=(n, 32)) @ rng.normal(size=(32, d)) / 6
    X = (rng.normal(size=(n, d)) + shared) * scales
    return X + np.outer(domain, rng.normal(scale=0.3, size=d)), domain


def direct(X: Any, domain: Any) -> tuple[Any, Any]:
    """Go the direct way: eigen solver, then a D x D projection."""
    lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(X, domain)
    v = lda.coef_[0] / np.linalg.norm(lda.coef_[0])
    return lda.coef_[0], X @ (np.eye(len(v)) - np.outer(v, v))


def lda_lines(quick: bool) -> list[str]:
    lines = [
        "| rows | features | DomainLDA, s | scikit-learn, s | ratio | difference of directions |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for d in DIMENSIONS:
        for n in ROWS:
            X, domain = two_domains(n, d)
            ours, fitted = seconds(partial(DomainLDA().fit, X, sample_domain=domain))
            move, _ = seconds(partial(fitted.transform, X))
            ours += move
            if d == DIMENSIONS[-1] and (quick or n != ROWS[-1]):
                lines.append(f"| {n:,} | {d:,} | {ours:.4f} | not run | | |")
            else:
                theirs, (coef, _) = seconds(partial(direct, X, domain), repeats=3)
                gap = np.abs(coef / np.linalg.norm(coef) - fitted.directions_[0]).max()
                lines.append(
                    f"| {n:,} | {d:,} | {ours:.4f} | {theirs:.3f} | {theirs / ours:,.0f} "
                    f"| {gap:.0e} |"
                )
            print(lines[-1], flush=True)
    return lines


def fastfood_lines() -> list[str]:
    lines = [
        "| dtype | rows | dimensions | features | Fastfood, s | RBFSampler, s | ratio "
        "| error: Fastfood | orthogonal | RBFSampler |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for dtype in (np.float64, np.float32):
        for d in (128, 512, 753, 1024):
            X, _ = two_domains(1200, d)
            X = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(dtype)
            sigma = median_distance(X)
            n_features = 8 << (d - 1).bit_length()
            gamma = 1 / (2 * sigma**2)
            makers: list[Callable[..., Any]] = [
                partial(Fastfood, sigma=sigma),
                partial(Fastfood, sigma=sigma, diagonal="signs"),
                partial(RBFSampler, gamma=gamma, n_components=n_features),
            ]
            cost = [seconds(partial(drawn_and_mapped, make, X))[0] for make in makers]
            error = [kernel_error(X, make, gamma) for make in makers]
            lines.append(
                f"| {np.dtype(dtype).name} | {len(X):,} | {d:,} | {n_features:,} "
                f"| {cost[0]:.4f} | {cost[2]:.4f} | {cost[2] / cost[0]:.1f} "
                f"| {error[0]:.4f} | {error[1]:.4f} | {error[2]:.4f} |"
            )
            print(lines[-1], flush=True)
    return lines


def drawn_and_mapped(make: Callable[..., Any], X: Any) -> Any:
    return make(random_state=0).fit_transform(X)


def kernel_error(X: Any, make: Callable[..., Any], gamma: float, draws: int = 10) -> float:
    """Return the root mean square error of the kernel over pairs of 300 rows and draws."""
    part = X[:300]
    exact = rbf_kernel(part.astype(np.float64), gamma=gamma)
    pairs = np.triu_indices(len(part), 1)
    squares = []
    for seed in range(draws):
        features = make(random_state=seed).fit(part).transform(part)
        squares.append(((features @ features.T - exact)[pairs] ** 2).mean())
    return float(np.sqrt(np.mean(squares)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with threadpool_limits(1):
        random_features = fastfood_lines()
        directions = lda_lines(arguments.quick)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    machine = f"{platform.machine()}, {os.cpu_count()} cores, one used"
    tools = ", ".join(
        f"{name} {version}"
        for name, version in versions("numpy", "scipy", "scikit-learn").items()
        if name != "biasmir_utils"
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(
        "\n".join(
            [
                "# The paper's corrections against scikit-learn",
                "",
                f"Processor seconds of one thread ({machine}; {tools}).",
                "",
                "## The LDA direction: fit and project",
                "",
                "scikit-learn: `LinearDiscriminantAnalysis(solver='eigen', shrinkage='auto')` and",
                f"a D x D projection. Largest memory of the run: {peak:.1f} GB.",
                "",
                *directions,
                "",
                "## Random features: draw and map",
                "",
                "As many features from `RBFSampler` as from `Fastfood`; error: root mean square",
                "of the approximated minus the exact kernel over pairs of 300 rows and 10 draws.",
                "`orthogonal` is `Fastfood(diagonal='signs')`, which costs the same.",
                "",
                *random_features,
                "",
            ]
        ),
        encoding="utf-8",
    )
    print(f"Written: {arguments.out}")


if __name__ == "__main__":
    main()
