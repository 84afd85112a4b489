"""`DomainLDA`: equal to scikit-learn's analysis, grouped, and clear where it cannot be."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from biasmir_utils.corrections import DomainLDA, DomainWarning, SingularCovarianceError
from biasmir_utils.errors import ArgumentError


def domains_of(n_first: int, n_second: int, d: int, seed: int = 0) -> tuple[Any, Any]:
    """Correlated Gaussian rows of two domains whose means differ, in random order."""
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.repeat([0, 1], [n_first, n_second]))
    X = rng.normal(size=(len(codes), d)) @ rng.normal(size=(d, d)) / np.sqrt(d)
    return X + np.outer(codes, rng.normal(size=d)) + 3 * rng.normal(size=d), codes


def reference(X: Any, codes: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of domains of one row
        return LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(X, codes).coef_


def assert_same_direction(found: Any, expected: Any, tol: float = 1e-6) -> None:
    found, expected = np.ravel(found), np.ravel(expected)
    found, expected = found / np.linalg.norm(found), expected / np.linalg.norm(expected)
    np.testing.assert_allclose(found, expected, atol=tol)


SIZES = [
    (40, 40, 10),
    (20, 25, 200),
    (150, 150, 301),  # n = 300, one below D
    (150, 151, 300),  # one above
    (60, 3, 90),
    (60, 1, 40),  # a domain of one row
    (1, 60, 100),
    (30, 30, 1),
]


@pytest.mark.parametrize(("n_first", "n_second", "d"), SIZES)
@pytest.mark.parametrize("trouble", ["none", "constant", "constant in one", "duplicates"])
def test_equals_scikit_learn(n_first: int, n_second: int, d: int, trouble: str) -> None:
    X, codes = domains_of(n_first, n_second, d)
    if trouble == "constant" and d > 1:
        X[:, d // 2] = 0.1  # a mean that is not exact in binary
    if trouble == "constant in one" and d > 1:
        X[codes == 1, d // 3] = -1.7
    if trouble == "duplicates":
        again = np.r_[np.arange(len(X)), np.arange(min(20, len(X))), np.zeros(5, dtype=int)]
        X, codes = X[again], codes[again]
    fitted = DomainLDA().fit(X, sample_domain=codes)
    assert_same_direction(fitted.coef_, reference(X, codes))
    assert_same_direction(fitted.directions_, reference(X, codes))
    assert fitted.rank_ == 1
    assert fitted.directions_.shape == (1, d)


@pytest.mark.parametrize("d", [5, 40])
def test_three_domains_span_what_scikit_learn_spans(d: int) -> None:
    rng = np.random.default_rng(0)
    domain = rng.choice(["x", "y", "z"], 90, p=[0.5, 0.3, 0.2])
    X = rng.normal(size=(90, d)) + rng.normal(size=(3, d))[np.searchsorted(["x", "y", "z"], domain)]
    fitted = DomainLDA().fit(X, sample_domain=domain)
    coef = reference(X, domain)
    differences = coef[1:] - coef[0]
    assert fitted.rank_ == 2
    inside = differences @ fitted.directions_.T @ fitted.directions_
    np.testing.assert_allclose(inside, differences, atol=1e-8 * np.abs(differences).max())


def grouped(sizes: dict[str, tuple[int, int]]) -> tuple[Any, Any, Any]:
    """Rows of domains a and b in groups of these sizes, shifted in each along another direction."""
    rng = np.random.default_rng(0)
    group = np.repeat([*sizes], [sum(counts) for counts in sizes.values()])
    domain = np.concatenate([np.repeat(["a", "b"], counts) for counts in sizes.values()])
    X = rng.normal(size=(len(group), 12))
    for name in sizes:
        X[(group == name) & (domain == "b")] += rng.normal(size=12)
    return X, domain, group


def test_groups_stack_one_direction_each() -> None:
    X, domain, group = grouped({"rock": (30, 20), "jazz": (25, 8), "folk": (9, 30)})
    fitted = DomainLDA().fit(X, sample_domain=domain, sample_group=group)
    assert fitted.coef_groups_ == ["folk", "jazz", "rock"]
    assert fitted.rank_ == 3
    for row, name in zip(fitted.coef_, fitted.coef_groups_, strict=True):
        members = group == name
        assert_same_direction(row, reference(X[members], domain[members]))
    np.testing.assert_allclose(fitted.directions_ @ fitted.directions_.T, np.eye(3), atol=1e-12)
    out = fitted.transform(X)
    np.testing.assert_allclose(out @ fitted.coef_.T, 0, atol=1e-10)


def test_parallel_directions_count_once() -> None:
    X, domain, group = grouped({"rock": (30, 20), "jazz": (25, 8)})
    rock = group == "rock"
    fitted = DomainLDA().fit(
        np.r_[X, X[rock]],
        sample_domain=np.r_[domain, domain[rock]],
        sample_group=np.r_[group, np.full(rock.sum(), "metal")],
    )
    assert len(fitted.coef_) == 3
    assert fitted.rank_ == 2
    assert fitted.singular_values_[2] < 1e-10
    same = DomainLDA().fit(X, sample_domain=domain, sample_group=group)
    np.testing.assert_allclose(fitted.transform(X), same.transform(X), atol=1e-10)


def test_a_group_that_one_domain_lacks() -> None:
    X, domain, group = grouped({"rock": (30, 20), "latin": (5, 0)})
    with pytest.warns(DomainWarning, match="group 'latin' has no rows in domain 'b'"):
        fitted = DomainLDA().fit(X, sample_domain=domain, sample_group=group)
    assert fitted.coef_groups_ == ["rock"]
    rock = group == "rock"
    alone = DomainLDA().fit(X[rock], sample_domain=domain[rock])
    np.testing.assert_allclose(fitted.directions_, alone.directions_, atol=1e-12)
    X, domain, group = grouped({"rock": (30, 0), "latin": (0, 5)})
    with (
        pytest.warns(DomainWarning),
        pytest.raises(ArgumentError, match="no group has rows of two domains"),
    ):
        DomainLDA().fit(X, sample_domain=domain, sample_group=group)


def test_what_is_singular() -> None:
    X, codes = domains_of(1, 1, 4)
    with pytest.raises(SingularCovarianceError, match="covariance of 2 rows with 4 features"):
        DomainLDA().fit(X, sample_domain=codes)
    X, codes = domains_of(50, 50, 6)
    for last in (X[:, 0] - 2 * X[:, 1], np.full(100, 0.1)):  # the mean of 0.1 is not exact
        wide = np.c_[X, last]
        with pytest.raises(SingularCovarianceError):
            DomainLDA(shrinkage=0.0).fit(wide, sample_domain=codes)
        assert np.isfinite(DomainLDA().fit(wide, sample_domain=codes).coef_).all()


def test_a_singular_group_is_named_or_left_out() -> None:
    X, domain, group = grouped({"rock": (30, 20), "latin": (1, 1)})
    with pytest.raises(SingularCovarianceError, match="group 'latin'"):
        DomainLDA().fit(X, sample_domain=domain, sample_group=group)
    with pytest.warns(DomainWarning, match="group 'latin' gives no direction"):
        fitted = DomainLDA(singular="warn").fit(X, sample_domain=domain, sample_group=group)
    assert fitted.coef_groups_ == ["rock"]
