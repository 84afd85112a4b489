"""Domains of different sizes: who counts by rows, who alike, and what a target then is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from biasmir_utils.corrections import CORAL, INLP, DomainCenter, GaussianOT

MEANS = {"a": np.array([1.0, 0.0, -2.0]), "b": np.array([5.0, -2.0, 0.0])}
AXES = np.linalg.qr(np.random.default_rng(8).normal(size=(3, 3)))[0]
COVARIANCES = {
    name: AXES @ np.diag(variances) @ AXES.T
    for name, variances in {"a": [1.0, 4.0, 9.0], "b": [9.0, 1.0, 4.0]}.items()
}


def three_to_one() -> tuple[Any, Any]:
    """300 rows of a and 100 of b, with exactly these means and covariances."""
    domain = np.repeat(["a", "b"], [300, 100])
    X = np.random.default_rng(0).normal(size=(400, 3))
    for name in "ab":
        rows = X[domain == name]
        rows = rows - rows.mean(axis=0)
        rows = np.linalg.solve(np.linalg.cholesky(np.cov(rows.T, bias=True)), rows.T).T
        X[domain == name] = rows @ np.linalg.cholesky(COVARIANCES[name]).T + MEANS[name]
    return X, domain


BY_ROWS = (3 * MEANS["a"] + MEANS["b"]) / 4
ALIKE = (MEANS["a"] + MEANS["b"]) / 2
WITHIN = (3 * COVARIANCES["a"] + COVARIANCES["b"]) / 4
# Of covariances with the same axes the barycentre has the mean standard deviations.
BARYCENTRE = AXES @ np.diag(np.array([(1 + 3) / 2, (2 + 1) / 2, (3 + 2) / 2]) ** 2) @ AXES.T
TARGETS = [
    (lambda: CORAL(shrinkage=0.0), BY_ROWS, WITHIN),
    (lambda: GaussianOT(shrinkage=0.0), ALIKE, BARYCENTRE),
]


@pytest.mark.parametrize(("make", "mean", "covariance"), TARGETS, ids=["coral", "gaussian_ot"])
def test_the_target_of_a_large_and_a_small_domain(make: Any, mean: Any, covariance: Any) -> None:
    X, domain = three_to_one()
    fitted = make().fit(X, sample_domain=domain)
    out = fitted.transform(X, sample_domain=domain)
    np.testing.assert_allclose(fitted.mean_, mean, atol=1e-9)
    for name in "ab":
        rows = out[domain == name]
        np.testing.assert_allclose(rows.mean(axis=0), mean, atol=1e-9)
        np.testing.assert_allclose(np.cov(rows.T, bias=True), covariance, atol=1e-9)


def test_inlp_with_three_domains_of_which_two_are_small() -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [1200, 120, 120])
    X = rng.normal(size=(len(codes), 20))
    X += 1.5 * np.eye(3, 20)[codes]
    fitted = INLP(tol=0.05).fit(X, sample_domain=codes)
    # The first finds the small domains, too: one that counts rows would call nearly all large.
    assert fitted.accuracies_[0] > 0.7
    assert all(accuracy > 1 / 3 + 0.05 for accuracy in fitted.accuracies_[:-1])
    assert fitted.accuracies_[-1] <= 1 / 3 + 0.05
    assert 2 <= fitted.rank_ < 20
    left = fitted.transform(X)
    probe = LogisticRegression(class_weight="balanced", max_iter=2000).fit(left, codes)
    assert balanced_accuracy_score(codes, probe.predict(left)) <= 1 / 3 + 0.06


def test_scaled_centring_of_a_large_and_a_small_domain() -> None:
    X, domain = three_to_one()
    fitted = DomainCenter(scale=True).fit(X, sample_domain=domain)
    deviation = np.sqrt(np.diagonal(WITHIN))
    for names in (domain, ["new"] * len(X)):
        out = fitted.transform(X, sample_domain=names)
        np.testing.assert_allclose(out.mean(axis=0), BY_ROWS, atol=1e-9)
        np.testing.assert_allclose(out.std(axis=0), deviation, atol=1e-9)
