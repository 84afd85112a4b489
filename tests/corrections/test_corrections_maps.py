"""Corrections one by one, where a number or an outcome is known."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.covariance import oas
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from biasmir_utils.corrections import (
    CORAL,
    INLP,
    LEACE,
    DomainCenter,
    DomainLDA,
    DomainWarning,
    Fastfood,
    GaussianOT,
    KernelCorrection,
    MeanProjection,
    RandomProjection,
    SingularCovarianceError,
    make_correction,
)
from biasmir_utils.errors import ArgumentError


def shifted(n: int = 400, d: int = 20, seed: int = 0) -> tuple[Any, Any]:
    """Correlated rows of two domains whose means differ, not along the LDA direction."""
    rng = np.random.default_rng(seed)
    domain = np.array(["a", "b"])[np.arange(n) % 2]
    X = rng.normal(size=(n, d)) * np.linspace(0.2, 4, d)
    return X + np.outer(domain == "b", np.ones(d)), domain


def separability(fitted: Any, d: int = 20) -> float:
    """Return the ROC-AUC of a linear probe of the domain, on rows that nothing was fitted on."""
    (train, y_train), (test, y_test) = shifted(seed=1, n=4000, d=d), shifted(seed=2, n=4000, d=d)
    probe = LogisticRegression(max_iter=2000).fit(fitted.transform(train), y_train)
    score = probe.decision_function(fitted.transform(test))
    return float(roc_auc_score(y_test == "b", score))


def test_lda_leaves_the_means_apart_and_leace_does_not() -> None:
    X, domain = shifted(n=4000)
    assert separability(DomainLDA().fit(X, sample_domain=domain)) > 0.95
    assert separability(LEACE().fit(X, sample_domain=domain)) < 0.6
    assert separability(MeanProjection().fit(X, sample_domain=domain)) < 0.6
    assert separability(INLP().fit(X, sample_domain=domain)) < 0.7
    assert separability(RandomProjection().fit(X, sample_domain=domain)) > 0.95


def test_leace_is_the_score_of_lda_along_the_difference_of_means() -> None:
    X, domain = shifted()
    leace = LEACE(shrinkage=0.0).fit(X, sample_domain=domain)
    w = DomainLDA(shrinkage=0.0).fit(X, sample_domain=domain).coef_[0]
    delta = X[domain == "b"].mean(axis=0) - X[domain == "a"].mean(axis=0)
    expected = X - np.outer((X - X.mean(axis=0)) @ w, delta) / (w @ delta)
    np.testing.assert_allclose(leace.transform(X), expected, atol=1e-10)


def test_three_domains_need_two_directions() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, 300)
    X = rng.normal(size=(300, 8)) + rng.normal(size=(3, 8))[codes]
    assert LEACE().fit(X, sample_domain=codes).rank_ == 2
    assert MeanProjection().fit(X, sample_domain=codes).rank_ == 2
    assert RandomProjection().fit(X, sample_domain=codes).rank_ == 2
    line = rng.normal(size=(300, 8)) * 0.1
    for code in range(3):
        line[codes == code] -= line[codes == code].mean(axis=0)
    line += np.outer(codes, np.ones(8))  # the means lie on a line
    assert MeanProjection().fit(line, sample_domain=codes).rank_ == 1
    assert LEACE().fit(line, sample_domain=codes).rank_ == 1


def test_conditioning_keeps_what_labels_explain() -> None:
    # The domains differ in how often the label occurs, and in an offset of feature 1.
    rng = np.random.default_rng(0)
    domain = rng.integers(0, 2, 4000)
    y = (rng.random(4000) < np.where(domain, 0.8, 0.2)).astype(int)
    X = rng.normal(size=(4000, 3))
    X[:, 0] += 5 * y
    X[:, 1] += 5 * domain
    plain = MeanProjection().fit(X, y, sample_domain=domain).directions_[0]
    given = MeanProjection(given="label").fit(X, y, sample_domain=domain).directions_[0]
    assert abs(plain[0]) > 0.4
    assert abs(given[0]) < 0.05
    by_group = MeanProjection(given="group").fit(X, sample_domain=domain, sample_group=y)
    np.testing.assert_allclose(by_group.directions_[0], given, atol=1e-12)
    assert by_group.coef_groups_ == [None]
    as_number = LEACE(given="label").fit(X, y.astype(float), sample_domain=domain)
    as_matrix = LEACE(given="label").fit(X, np.c_[y, 1 - y], sample_domain=domain)
    np.testing.assert_allclose(as_number.directions_, as_matrix.directions_, atol=1e-10)
    np.testing.assert_allclose(np.abs(as_number.directions_[0]), np.abs(given), atol=1e-10)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "pass y"),
        (np.zeros(7), "must have 400 rows"),
        (np.r_[np.nan, np.zeros(399)], "NaN or infinite in row 0"),
    ],
)
def test_labels_to_condition_on_that_cannot_be_used(y: Any, message: str) -> None:
    X, domain = shifted()
    with pytest.raises(ArgumentError, match=message):
        LEACE(given="label").fit(X, y, sample_domain=domain)


def test_a_domain_that_the_labels_determine() -> None:
    X, domain = shifted()
    with pytest.warns(DomainWarning, match="determined by"):
        fitted = LEACE(given="label").fit(X, domain, sample_domain=domain)
    assert fitted.rank_ == 0
    with pytest.raises(ArgumentError, match="pass sample_group"):
        MeanProjection(given="group").fit(X, sample_domain=domain)


def test_equal_means_are_left_alone() -> None:
    X, domain = shifted()
    for name in "ab":
        X[domain == name] -= X[domain == name].mean(axis=0)
    for make in (LEACE, MeanProjection):
        with pytest.warns(DomainWarning, match="means of the domains are equal"):
            out = make().fit_transform(X + 3.0, sample_domain=domain)
        np.testing.assert_array_equal(out, X + 3.0)


@pytest.mark.parametrize("make", [DomainCenter, CORAL, GaussianOT])
@pytest.mark.parametrize("d", [4, 600])
def test_rows_of_an_unseen_domain(make: Any, d: int) -> None:
    X, domain = shifted(d=d)
    other = np.random.default_rng(5).normal(size=(200, d)) * 3 - 7
    own = make(unseen="own").fit(X, sample_domain=domain)
    moved = own.transform(other, sample_domain=["new"] * 200)
    np.testing.assert_allclose(moved.mean(axis=0), own.mean_, atol=1e-8)
    with pytest.warns(DomainWarning, match="moved by their own statistics, all together"):
        np.testing.assert_allclose(own.transform(other), moved, atol=1e-12)
    training = make().fit(X, sample_domain=domain)
    new = ["new"] * 200
    together = training.transform(other, sample_domain=new)
    one_by_one = [training.transform(row[None], sample_domain=["new"]) for row in other[:5]]
    np.testing.assert_allclose(together[:5], np.vstack(one_by_one), atol=1e-9)
    with pytest.warns(DomainWarning, match="the statistics of all rows of the fit.* are a, b"):
        np.testing.assert_array_equal(training.transform(other), together)
    mixed = training.transform(
        np.r_[X[:3], other[:3]], sample_domain=[*domain[:3], "new", "newer", "new"]
    )
    np.testing.assert_allclose(
        mixed[:3], training.transform(X[:3], sample_domain=domain[:3]), atol=1e-9
    )
    np.testing.assert_allclose(mixed[3:], together[:3], atol=1e-9)


@pytest.mark.parametrize(
    "name", ["center", "coral", "gaussian_ot", "klda", "leace:kernel=fastfood", "k"]
)
def test_rows_whose_domain_is_not_told_are_warned_of(name: str) -> None:
    X, domain = shifted()
    fitted = make_correction(name).fit(X, sample_domain=domain)
    with pytest.warns(DomainWarning, match="transform without sample_domain") as told:
        fitted.transform(X)
    # One text, so that Python shows it once.
    assert len({str(one.message) for one in told}) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.transform(X, sample_domain=domain)
        fitted.transform(X, sample_domain=["new"] * len(X))


@pytest.mark.parametrize("make", [CORAL, GaussianOT])
def test_a_domain_of_one_row_has_no_covariance(make: Any) -> None:
    X, domain = shifted()
    domain = np.where(np.arange(len(X)) == 3, "single", domain)
    with pytest.raises(SingularCovarianceError, match="domain 'single' is singular"):
        make().fit(X, sample_domain=domain)
    with pytest.raises(SingularCovarianceError, match="singular"):
        make(shrinkage=0.0).fit(X[:30, :], sample_domain=np.arange(30) % 2)


@pytest.mark.parametrize("make", [CORAL, GaussianOT])
def test_to_a_domain_by_name(make: Any) -> None:
    X, domain = shifted()
    out = make(to="a").fit_transform(X, sample_domain=domain)
    np.testing.assert_allclose(out[domain == "a"], X[domain == "a"], atol=1e-8)
    integers = make(to="0").fit_transform(X, sample_domain=(domain == "b").astype(int))
    np.testing.assert_allclose(integers, out, atol=1e-10)
    with pytest.raises(ArgumentError, match="one of the domains 'a', 'b', not 'c'"):
        make(to="c").fit(X, sample_domain=domain)


def test_inlp_goes_on_until_chance() -> None:
    X, domain = shifted(n=2000)
    fitted = INLP().fit(X, sample_domain=domain)
    assert fitted.accuracies_[0] > 0.9
    assert fitted.accuracies_[-1] <= 0.55
    assert fitted.rank_ == len(fitted.accuracies_) - 1
    one = INLP(n_classifiers=1).fit(X, sample_domain=domain)
    assert one.rank_ == 1
    few, codes = shifted(n=30, d=80)
    in_span = INLP(n_classifiers=2).fit(few, sample_domain=codes)
    assert in_span.rank_ == 2
    center = few - few.mean(axis=0)
    projector = np.linalg.pinv(center) @ center
    np.testing.assert_allclose(in_span.directions_ @ projector, in_span.directions_, atol=1e-8)


def test_the_random_control_has_the_rank_of_what_it_controls() -> None:
    X, domain = shifted()
    group = np.random.default_rng(0).choice(["rock", "jazz", "folk"], len(X))
    grouped = RandomProjection().fit(X, sample_domain=domain, sample_group=group)
    assert grouped.rank_ == MeanProjection().fit(X, sample_domain=domain, sample_group=group).rank_
    assert RandomProjection(rank=50).fit(X, sample_domain=domain).rank_ == 20
    one, other = (
        RandomProjection(random_state=s).fit(X, sample_domain=domain).directions_ for s in (0, 1)
    )
    assert abs(float(one[0] @ other[0])) < 0.9
    with pytest.raises(ArgumentError, match="rank"):
        RandomProjection(rank=-1).fit(X, sample_domain=domain)


def test_kernel_correction_is_its_steps() -> None:
    X, domain = shifted(n=300, d=6)
    both = KernelCorrection(LEACE(), Fastfood(64)).fit(X, sample_domain=domain)
    standardised = X.copy()
    for name in "ab":
        part = standardised[domain == name]
        standardised[domain == name] = (part - part.mean(axis=0)) / part.std(axis=0)
    features = Fastfood(64).fit_transform(standardised)
    expected = LEACE().fit_transform(features, sample_domain=domain)
    np.testing.assert_allclose(both.transform(X, sample_domain=domain), expected, atol=1e-9)
    assert len(both.get_feature_names_out()) == 128
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    unknown = both.correction_.transform(both.feature_map_.transform(scaled))
    with pytest.warns(DomainWarning, match="transform without sample_domain"):
        np.testing.assert_allclose(both.transform(X), unknown, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (LEACE, {"given": "track"}, "given"),
        (LEACE, {"shrinkage": "lw"}, "shrinkage"),
        (MeanProjection, {"tol": 2}, "tol"),
        (DomainCenter, {"unseen": "all"}, "unseen"),
        (CORAL, {"shrinkage": -1}, "shrinkage"),
        (INLP, {"n_classifiers": 0}, "n_classifiers"),
        (INLP, {"C": 0}, "C must be"),
    ],
)
def test_bad_parameters_are_named(make: Any, options: dict[str, Any], message: str) -> None:
    X, domain = shifted()
    with pytest.raises(ArgumentError, match=message):
        make(**options).fit(X, sample_domain=domain)


@pytest.mark.parametrize(("n", "d"), [(60, 5), (8, 30), (5, 1)])
def test_covariances_are_shrunk_as_in_scikit_learn(n: int, d: int) -> None:
    X = np.random.default_rng(0).gamma(2.0, size=(2 * n, d)) * np.arange(1, d + 1)
    domain = np.repeat(["a", "b"], n)
    fitted = GaussianOT(to="a").fit(X, sample_domain=domain)
    expected = oas(X[:n])[0] if d > 1 else X[:n].var(axis=0)[None]
    found = fitted.covariance_.rows_times(np.eye(d))
    np.testing.assert_allclose(found, expected, atol=1e-10 * np.abs(expected).max())
