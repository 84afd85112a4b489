"""What each correction promises, on random data of every shape (hypothesis)."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from sklearn.base import clone

from biasmir_utils.corrections import (
    CORAL,
    LEACE,
    METHODS,
    SPLINCE,
    DomainCenter,
    DomainLDA,
    GaussianOT,
    KernelCorrection,
    MeanProjection,
)

SETTINGS = settings(max_examples=40, deadline=None)
DOSED = [method.make for method in METHODS.values() if "alpha" in method.make.options]
EQUAL_MEANS = [
    *(LEACE(shrinkage=share) for share in ("auto", 0.0, 0.2, 1.0)),
    *(MeanProjection(), DomainCenter(), DomainCenter(scale=True)),
]


@st.composite
def rows(
    draw: Any, *, most: int = 60, d: int = 12, domains: int = 3, least_each: int = 2
) -> tuple[Any, Any]:
    """Rows of two or three domains: shifted, stretched, imbalanced, sometimes fewer than features.

    Some features may be constant or repeat another.
    """
    k = draw(st.integers(2, domains))
    counts = [draw(st.integers(least_each, most)) for _ in range(k)]
    width = draw(st.integers(1, d))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    codes = rng.permutation(np.repeat(np.arange(k), counts))
    X = rng.normal(size=(len(codes), width)) @ rng.normal(size=(width, width))
    X *= rng.uniform(0.5, 2.0, (k, width))[codes]
    X += (rng.normal(size=(k, width)) * rng.uniform(0, 5))[codes] + 10 * rng.normal(size=width)
    if width > 2 and draw(st.booleans()):
        X[:, 0] = rng.normal()
    if width > 2 and draw(st.booleans()):
        X[:, 1] = X[:, 2]
    return X, np.array(["a", "b", "c"])[codes]


def any_rows(least_each: int = 3) -> Any:
    """Return rows of any shape: more than features, or fewer."""
    return st.one_of(rows(least_each=least_each), rows(most=8, d=40, least_each=least_each))


def fitted(make: Any, X: Any, domain: Any, **more: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make().fit(X, np.arange(len(X)) % 2, sample_domain=domain, **more)


@SETTINGS
@given(any_rows(1), st.sampled_from([*EQUAL_MEANS]))
def test_means_are_equal_afterwards(data: Any, correction: Any) -> None:
    X, domain = data
    out = fitted(lambda: clone(correction), X, domain).transform(X, sample_domain=domain)
    means = np.array([out[domain == name].mean(axis=0) for name in np.unique(domain)])
    tol = 1e-8 if isinstance(correction, LEACE) else 1e-9
    np.testing.assert_allclose(means - means[0], 0, atol=tol)


@SETTINGS
@given(rows(d=6, domains=3, most=60, least_each=12))
def test_leace_changes_least_among_projections_that_erase(data: Any) -> None:
    X, domain = data
    change = ((fitted(lambda: LEACE(shrinkage=0.0), X, domain).transform(X) - X) ** 2).sum()
    # Any other linear map that erases has the differences of means in its kernel; here are the
    # projections with no more than these, along random complements and the orthogonal one.
    center = X - X.mean(axis=0)
    means = np.array([center[domain == name].mean(axis=0) for name in np.unique(domain)])
    right = np.linalg.svd(means)[2][: np.linalg.matrix_rank(means, tol=1e-9)]
    rng = np.random.default_rng(0)
    for left in [right, *rng.normal(size=(5, *right.shape))]:
        assume(np.linalg.cond(left @ right.T) < 1e6)
        other = center - center @ left.T @ np.linalg.solve(right @ left.T, right)
        assert change <= ((other - center) ** 2).sum() * (1 + 1e-9)


@SETTINGS
@given(rows(d=8, domains=3, least_each=12), st.sampled_from(["auto", 0.0, 0.3]), st.integers(0, 99))
def test_splince_erases_and_keeps_the_labels(data: Any, shrinkage: Any, seed: int) -> None:
    X, domain = data
    X = X[:, np.unique(np.round(X, 9), axis=1, return_index=True)[1]]
    X = X[:, np.ptp(X, axis=0) > 0]
    assume(X.shape[1] > 4)
    rng, scale = np.random.default_rng(seed), np.abs(X).max()
    labels = rng.integers(0, 2, (len(X), 2)).astype(float)
    labels[:2] = [[0, 1], [1, 0]]
    erasure = SPLINCE(shrinkage=shrinkage).fit(X, labels, sample_domain=domain)
    out, centred = erasure.transform(X), X - X.mean(axis=0)
    means = np.array([out[domain == name].mean(axis=0) for name in np.unique(domain)])
    np.testing.assert_allclose((means - means[0]) / scale, 0, atol=1e-7)
    np.testing.assert_allclose((labels - labels.mean(axis=0)).T @ (out - X) / scale, 0, atol=1e-6)
    if shrinkage == 0.0:
        # Any other linear map with both properties reads off a row, beside what this one reads,
        # something that neither differences nor labels have a covariance with, and moves it.
        fixed = np.vstack([erasure.coef_, (labels - labels.mean(axis=0)).T @ centred])
        free = np.linalg.svd(fixed)[2][np.linalg.matrix_rank(fixed) :]
        change = out - X
        for _ in range(5):
            other = centred @ (rng.normal(size=(len(free), X.shape[1])).T @ free).T
            size = rng.normal() * np.linalg.norm(change) / np.linalg.norm(other)
            assert ((change + size * other) ** 2).sum() >= (change**2).sum() * (1 - 1e-9)


@SETTINGS
@given(rows(d=6, least_each=12), st.sampled_from([CORAL, GaussianOT]), st.booleans())
def test_aligned_domains_have_equal_means_and_covariances(
    data: Any, make: Any, to_one: bool
) -> None:
    X, domain = data
    X = X[:, np.unique(np.round(X, 9), axis=1, return_index=True)[1]]
    assume(X.shape[1] == 1 or all(np.linalg.cond(np.cov(X[domain == n].T)) < 1e7 for n in "ab"))
    X = X[:, X.std(axis=0) > 0]
    assume(X.shape[1] > 0)
    options = {"shrinkage": 0.0, **({"to": "b"} if to_one else {})}
    transformer = fitted(lambda: make(**options), X, domain)
    out = transformer.transform(X, sample_domain=domain)
    covariances = [np.cov(out[domain == name].T, bias=True) for name in np.unique(domain)]
    means = np.array([out[domain == name].mean(axis=0) for name in np.unique(domain)])
    np.testing.assert_allclose(means - means[0], 0, atol=1e-7)
    scale = np.abs(covariances[0]).max()
    for covariance in covariances[1:]:
        np.testing.assert_allclose(covariance / scale, covariances[0] / scale, atol=1e-6)
    if to_one:
        np.testing.assert_allclose(out[domain == "b"], X[domain == "b"], atol=1e-6)


@pytest.mark.parametrize("make", DOSED)
@settings(max_examples=10, deadline=None)
@given(data=any_rows(), alpha=st.floats(0, 1))
def test_the_dose_is_a_share_of_the_way(make: Any, data: Any, alpha: float) -> None:
    X, domain = data
    assume(make is not SPLINCE or X.shape[1] > 3)  # else there may be nothing beside the labels
    part, full = (
        fitted(lambda a=a: make(alpha=a), X, domain).transform(X, sample_domain=domain)
        for a in (alpha, 1.0)
    )
    scale = np.abs(X).max()
    np.testing.assert_allclose(part / scale, (X + alpha * (full - X)) / scale, atol=1e-9)


@pytest.mark.parametrize("make", [lambda: LEACE(shrinkage=0.0), DomainLDA])
@pytest.mark.parametrize("unit", [1e-8, 1e15])
def test_the_unit_of_rows_with_a_constant_and_a_repeated_feature(make: Any, unit: float) -> None:
    rng = np.random.default_rng(0)
    domain = np.repeat(["a", "b"], [30, 43])
    X = rng.normal(size=(73, 5)) + (domain == "b")[:, None]
    X[:, 0], X[:, 1] = 0.3, X[:, 2]
    one, other = (make().fit_transform(X * u, sample_domain=domain) / u for u in (1.0, unit))
    np.testing.assert_allclose(other, one, atol=1e-12)


@SETTINGS
@given(rows(least_each=4), st.sampled_from([MeanProjection, LEACE]), st.integers(0, 99))
def test_grouped_forms_make_means_equal_in_each_group(data: Any, make: Any, seed: int) -> None:
    X, domain = data
    group = np.random.default_rng(seed).choice(["rock", "jazz"], len(X))
    group[:2], group[domain == "a"] = "rock", "rock"
    assume(len(np.unique(domain[group == "rock"])) > 1)
    out = fitted(make, X, domain, sample_group=group).transform(X)
    for name in np.unique(group):
        members = group == name
        found = np.unique(domain[members])
        means = np.array([out[members & (domain == d)].mean(axis=0) for d in found])
        np.testing.assert_allclose(means - means[0], 0, atol=1e-6)


@SETTINGS
@given(rows(domains=2, least_each=8), st.sampled_from([MeanProjection, LEACE]), st.data())
def test_conditional_forms_remove_what_labels_do_not_explain(
    data: Any, make: Any, draw: Any
) -> None:
    X, domain = data
    rng = np.random.default_rng(draw.draw(st.integers(0, 99)))
    y = rng.integers(0, 3, len(X))
    transformer = make(given="label")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformer.fit(X, y, sample_domain=domain)
    out = transformer.transform(X)
    indicator = (domain == "b").astype(float)
    for value in np.unique(y):
        indicator[y == value] -= indicator[y == value].mean()
    scale = np.abs(X).max()
    assert np.abs(indicator @ (out - out.mean(axis=0))).max() / len(X) < 1e-8 * scale


@SETTINGS
@given(any_rows(1))
def test_nothing_is_nan_or_a_clear_error(data: Any) -> None:
    X, domain = data
    for make in (*(method.make for method in METHODS.values()), KernelCorrection):
        try:
            out = fitted(make, X, domain).transform(X, sample_domain=domain)
        except ValueError as error:
            assert re.search("singular|bandwidth", str(error))  # noqa: PT017
            continue
        assert np.isfinite(out).all()
        assert out.shape == X.shape or make is KernelCorrection
