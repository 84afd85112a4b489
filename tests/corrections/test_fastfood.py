"""`Fastfood` approximates the Gaussian kernel, and each of its parts is right."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.linalg import hadamard
from scipy.spatial.distance import pdist
from sklearn.metrics.pairwise import rbf_kernel

from biasmir_utils.corrections import Fastfood, median_distance
from biasmir_utils.errors import ArgumentError


def rows(n: int = 80, d: int = 64, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * rng.uniform(0.2, 2.0, d)


def kernel_error(X: Any, seeds: int = 6, **options: Any) -> float:
    """Root mean square error of the approximated kernel over pairs of rows and draws."""
    sigma = median_distance(X)
    exact = rbf_kernel(X, gamma=1 / (2 * sigma**2))
    pairs = np.triu_indices(len(X), 1)
    errors = []
    for seed in range(seeds):
        features = Fastfood(sigma=sigma, random_state=seed, **options).fit_transform(X)
        errors.append(((features @ features.T - exact)[pairs] ** 2).mean())
    return float(np.sqrt(np.mean(errors)))


@pytest.mark.parametrize(("n", "d"), [(2, 3), (3, 3), (40, 7), (601, 12)])
def test_median_distance_is_that_of_all_pairs(n: int, d: int) -> None:
    X = rows(n, d) + 100.0
    assert median_distance(X) == pytest.approx(np.median(pdist(X)), rel=1e-9)


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
@pytest.mark.parametrize("X", [np.zeros((0, 3)), np.zeros((1, 3)), np.ones((9, 3))])
def test_median_distance_that_does_not_exist(X: Any) -> None:
    with pytest.raises(ArgumentError, match=rf"n_samples={len(X)}.*there is one row, or most are"):
        median_distance(X)


@pytest.mark.parametrize("diagonal", ["gaussian", "signs"])
@pytest.mark.parametrize("d", [64, 47])
def test_error_falls_with_the_number_of_features(diagonal: str, d: int) -> None:
    X = rows(d=d)
    errors = [kernel_error(X, n_components=n, diagonal=diagonal) for n in (64, 256, 1024, 4096)]
    assert all(after < 0.7 * before for before, after in itertools.pairwise(errors))
    assert errors[-1] < 0.02


def test_signs_have_less_error_than_gaussians() -> None:
    X = rows(d=128)
    assert kernel_error(X, diagonal="signs") < 0.5 * kernel_error(X, diagonal="gaussian")


def test_basis_functions_are_those_of_the_formula() -> None:
    X = rows(n=4, d=8)
    fitted = Fastfood(n_components=8, sigma=1.5).fit(X)
    H = hadamard(8)
    B, G = np.diag(fitted.signs_[0]), np.diag(fitted.diagonals_[0])
    P = np.eye(8)[fitted.permutations_[0]]
    V = np.diag(fitted.lengths_[0]) @ H @ G @ P @ H @ B
    expected = np.hstack([np.cos(X @ V.T), np.sin(X @ V.T)]) / np.sqrt(8)
    np.testing.assert_allclose(fitted.transform(X), expected, atol=1e-12)
    # The rows are as long as Gaussian vectors of this bandwidth: chi-distributed over sigma.
    lengths = np.linalg.norm(V, axis=1) * 1.5
    assert ((lengths > 0.5) & (lengths < 6)).all()


def test_float32_agrees() -> None:
    X = rows(d=50).astype(np.float32)
    single = Fastfood().fit_transform(X)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, Fastfood().fit_transform(X.astype(float)), atol=1e-5)
