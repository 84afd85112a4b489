"""Corrections one by one, where a number or an outcome is known."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.covariance import oas
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

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
    for make in (LEACE, MeanProjection, RandomProjection):
        assert make().fit(X, sample_domain=codes).rank_ == 2
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
        (np.zeros(7), "one label for each of the 400 rows"),
        (np.r_[0.0, np.nan, np.zeros(398)], "the label is NaN or infinite in row 1; leave"),
        (np.float64(1.0), "one label for each of the 400 rows"),
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
    for make in (DomainLDA, LEACE, MeanProjection):
        with pytest.warns(DomainWarning, match="means of the domains are equal"):
            out = make().fit_transform(X + 3.0, sample_domain=domain)
        np.testing.assert_array_equal(out, X + 3.0)


@pytest.mark.parametrize("make", [DomainCenter, CORAL, GaussianOT])
@pytest.mark.parametrize("d", [4, 600])
def test_rows_of_an_unseen_domain(make: Any, d: int) -> None:
    X, domain = shifted(d=d)
    new, names = np.random.default_rng(5).normal(size=(200, d)) * 3 - 7, ["new"] * 200
    own = make(unseen="own").fit(X, sample_domain=domain)
    moved = own.transform(new, sample_domain=names)
    np.testing.assert_allclose(moved.mean(axis=0), own.mean_, atol=1e-8)
    with pytest.warns(
        DomainWarning, match="moved to the target by the statistics of that dataset's rows"
    ):
        np.testing.assert_allclose(own.transform(new), moved, atol=1e-12)
    training = make().fit(X, sample_domain=domain)
    together = training.transform(new, sample_domain=names)
    with pytest.warns(DomainWarning, match="there is no map for that dataset.* are a, b"):
        np.testing.assert_array_equal(training.transform(new), together)
    # One by one, and among rows of the domains that were seen.
    mixed = training.transform(
        np.r_[X[:3], new[:3]], sample_domain=[*domain[:3], "new", "newer", "new"]
    )
    seen = training.transform(X[:3], sample_domain=domain[:3])
    np.testing.assert_allclose(mixed, np.r_[seen, together[:3]], atol=1e-9)


@pytest.mark.parametrize("make", [CORAL, GaussianOT])
def test_to_a_domain_by_name_and_domains_without_a_covariance(make: Any) -> None:
    X, domain = shifted()
    out = make(to="a").fit_transform(X, sample_domain=domain)
    np.testing.assert_allclose(out[domain == "a"], X[domain == "a"], atol=1e-8)
    integers = make(to="0").fit_transform(X, sample_domain=(domain == "b").astype(int))
    np.testing.assert_allclose(integers, out, atol=1e-10)
    with pytest.raises(ArgumentError, match="one of the domains 'a', 'b', not 'c'"):
        make(to="c").fit(X, sample_domain=domain)
    with pytest.raises(SingularCovarianceError, match="singular"):
        make(shrinkage=0.0).fit(X[:30], sample_domain=domain[:30])
    domain[3] = "c"
    with pytest.raises(SingularCovarianceError, match="domain 'c' is singular"):
        make().fit(X, sample_domain=domain)


def test_inlp_stays_in_the_span_of_few_rows() -> None:
    X, domain = shifted(n=30, d=80)
    fitted = INLP(n_classifiers=2).fit(X, sample_domain=domain)
    assert fitted.rank_ == len(fitted.accuracies_) == 2
    center = X - X.mean(axis=0)
    projector = np.linalg.pinv(center) @ center
    np.testing.assert_allclose(fitted.directions_ @ projector, fitted.directions_, atol=1e-8)


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


def test_kernel_correction_is_its_steps() -> None:
    X, domain = shifted(n=300, d=6)
    both = KernelCorrection(LEACE(), Fastfood(64)).fit(X, sample_domain=domain)
    standardised = X.copy()
    for name in "ab":
        part = X[domain == name]
        standardised[domain == name] = (part - part.mean(axis=0)) / part.std(axis=0)
    features = Fastfood(64).fit_transform(standardised)
    expected = LEACE().fit_transform(features, sample_domain=domain)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(both.transform(X, sample_domain=domain), expected, atol=1e-9)
    assert len(both.get_feature_names_out()) == 128
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    unknown = both.correction_.transform(both.feature_map_.transform(scaled))
    with pytest.warns(DomainWarning, match="transform without sample_domain"):
        np.testing.assert_allclose(both.transform(X), unknown, atol=1e-9)


@pytest.mark.parametrize(
    ("correction", "message"),
    [
        (LEACE(shrinkage="lw"), "shrinkage"),
        (MeanProjection(tol=2), r"tol must be a number in \[0, 1\], not 2"),
        (DomainCenter(unseen="all"), "unseen"),
        (INLP(n_classifiers=0), "n_classifiers must be a whole number from 1"),
        (INLP(C=0), "C must be a number above 0"),
        (Fastfood(sigma=0), "sigma must be 'median' or a number above 0"),
        (Fastfood(sigma=float("inf")), "sigma must be 'median' or a number above 0"),
        (Fastfood(n_components=2.5), "n_components"),
        (Fastfood(diagonal="uniform"), "diagonal"),
    ],
)
def test_bad_parameters_are_named(correction: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        correction.fit(shifted()[0])


@pytest.mark.parametrize(("n", "d"), [(60, 5), (8, 30), (5, 1)])
def test_covariances_and_maps_are_those_of_the_formulas(n: int, d: int) -> None:
    X = np.random.default_rng(0).gamma(2.0, size=(2 * n, d)) * np.arange(1, d + 1)
    domain = np.repeat(["a", "b"], n)
    fitted = GaussianOT(to="a").fit(X, sample_domain=domain)
    expected = oas(X[:n])[0] if d > 1 else X[:n].var(axis=0)[None]
    found = fitted.covariance_.rows_times(np.eye(d))
    np.testing.assert_allclose(found, expected, atol=1e-10 * np.abs(expected).max())
    # The map to the other domain, of new rows: of fewer rows than features, outside of their span.
    to_b = GaussianOT(to="b").fit(X, sample_domain=domain)
    half, target = sqrtm(found), to_b.covariance_.rows_times(np.eye(d))
    whiten = np.linalg.inv(half)
    optimal = whiten @ sqrtm(half @ target @ half) @ whiten
    new = np.random.default_rng(1).normal(size=(5, d)) * 10
    moved = (new - X[:n].mean(axis=0)) @ optimal + X[n:].mean(axis=0)
    out = to_b.transform(new, sample_domain=["a"] * 5)
    np.testing.assert_allclose(out, moved, atol=1e-7 * np.abs(moved).max())


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


@pytest.mark.parametrize(
    ("make", "mean", "covariance"), [(CORAL, BY_ROWS, WITHIN), (GaussianOT, ALIKE, BARYCENTRE)]
)
def test_the_target_of_a_large_and_a_small_domain(make: Any, mean: Any, covariance: Any) -> None:
    X, domain = three_to_one()
    fitted = make(shrinkage=0.0).fit(X, sample_domain=domain)
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


@pytest.mark.parametrize(
    ("n", "d", "domains"), [(300, 12, 2), (300, 12, 4), (500, 64, 3), (60, 3, 6), (40, 90, 2)]
)
def test_leace_equals_concept_erasure(n: int, d: int, domains: int) -> None:
    """Where that package is installed (extra `compare`): without its shrinkage and limit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns on import
        concept_erasure = pytest.importorskip("concept_erasure")
        torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    codes = rng.integers(0, domains, n)
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=(domains, d))[codes]
    ours = LEACE(shrinkage=0.0).fit_transform(X, sample_domain=codes)
    x, z = torch.from_numpy(X), torch.from_numpy(np.eye(domains)[codes])
    fitter = concept_erasure.LeaceFitter.fit(
        x, z, shrinkage=False, constrain_cov_trace=False, svd_tol=1e-6
    )
    np.testing.assert_allclose(ours, fitter.eraser(x).numpy(), atol=1e-6 * np.abs(X).max())
