"""Every correction keeps scikit-learn's conventions, and those of domain-aware transformers."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import biasmir_utils.corrections
from biasmir_utils.corrections import (
    METHODS,
    AutoGroups,
    DomainCenter,
    DomainLDA,
    DomainWarning,
    Fastfood,
    KernelCorrection,
    Moments,
    NoCorrection,
    SharedClusters,
    make_correction,
    parse_correction,
)
from biasmir_utils.errors import ArgumentError

CORRECTIONS = [method.make for method in METHODS.values()]
DOSED = [method.make for method in METHODS.values() if "alpha" in method.make.options]

# scikit-learn's checks fit without domains, and every correction warns of that.
quiet = pytest.mark.filterwarnings(
    "ignore::biasmir_utils.corrections.DomainWarning", "ignore::sklearn.exceptions.SkipTestWarning"
)


@quiet
@parametrize_with_checks(
    [
        *(make() for make in CORRECTIONS),
        *(make(given="label") for make in CORRECTIONS if "given" in make.options),
        SharedClusters(max_groups=3),
        AutoGroups(clusters=SharedClusters(min_rows=2)),
        DomainCenter(scale=True, unseen="own"),
        KernelCorrection(feature_map=Fastfood(8, sigma=1.0)),
        Fastfood(sigma=1.0),
        Fastfood(),
    ]
)
def test_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def two_domains(n: int = 60, d: int = 5, seed: int = 0) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(seed)
    domain = np.array(["a", "b"])[rng.integers(0, 2, n)]
    group = np.array(["rock", "jazz"])[rng.integers(0, 2, n)]
    y = rng.integers(0, 2, n)
    X = rng.normal(size=(n, d)) + np.outer(domain == "b", rng.normal(size=d))
    X[:, 0] += 2 * y
    return X, y, domain, group


@pytest.mark.parametrize("make", DOSED)
def test_without_domains_it_is_the_identity_and_says_so(make: Any) -> None:
    X, *_ = two_domains()
    for domain in (None, ["only"] * len(X)):
        with pytest.warns(DomainWarning, match="nothing to correct"):
            fitted = make().fit(X, sample_domain=domain)
        np.testing.assert_array_equal(fitted.transform(X), X)


def test_no_correction_does_not_warn() -> None:
    X, _, domain, _ = two_domains()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = NoCorrection().fit(X, sample_domain=domain).transform(X)
    np.testing.assert_array_equal(out, X)
    assert out is not X


@pytest.mark.parametrize("make", DOSED)
@pytest.mark.parametrize("alpha", [-0.1, 1.5, "x", None, True, float("nan")])
def test_a_dose_outside_of_its_range_is_named(make: Any, alpha: Any) -> None:
    X, _, domain, _ = two_domains()
    with pytest.raises(ArgumentError, match="alpha"):
        make(alpha=alpha).fit(X, sample_domain=domain)


@pytest.mark.parametrize("make", CORRECTIONS)
def test_float32_is_kept_and_agrees(make: Any) -> None:
    X, y, domain, _ = two_domains()
    single = X.astype(np.float32)
    out = make().fit_transform(single, y, sample_domain=domain)
    assert out.dtype == np.float32
    exact = make().fit_transform(single.astype(np.float64), y, sample_domain=domain)
    np.testing.assert_allclose(out, exact, atol=1e-5)


@pytest.mark.parametrize("make", CORRECTIONS)
def test_in_a_pipeline_with_metadata_routing(make: Any) -> None:
    X, y, domain, group = two_domains()
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler(), make(), LogisticRegression())
        pipeline.fit(X, y, sample_domain=domain, sample_group=group)
        routed = pipeline[:-1].transform(X, sample_domain=domain)
        assert pipeline.score(X, y, sample_domain=domain) > 0.6
    scaled = StandardScaler().fit_transform(X)
    direct = make().fit_transform(scaled, y, sample_domain=domain, sample_group=group)
    np.testing.assert_allclose(routed, direct, atol=1e-12)


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (["a", "b"], "one label for each of the 60 rows"),
        (np.zeros((60, 2)), "one label for each of the 60 rows"),
        ([None, *["a"] * 59], r"missing \(None or NaN\) in 1 rows, the first of them row 0"),
        (np.r_[np.zeros(59), np.nan], "the first of them row 59"),
        # numpy makes texts of these, where it may.
        ([*["a"] * 59, np.nan], "missing .* the first of them row 59"),
        (np.array([*["a"] * 59, np.nan]), "missing .* the first of them row 59"),
        (pd.Series([*["a"] * 59, pd.NA]), "missing .* the first of them row 59"),
        (np.array(["a", 1, *["b"] * 58], dtype=object), "mixes labels"),
        (("1", 1) * 30, r"mixes labels .*\(int, str\)"),
    ],
)
def test_domains_that_cannot_be_used_are_named(domain: Any, message: str) -> None:
    X, *_ = two_domains()
    with pytest.raises(ArgumentError, match=message):
        DomainLDA().fit(X, sample_domain=domain)


def test_a_domain_is_not_taken_for_an_unseen_one_because_it_is_no_text() -> None:
    X, _, domain, _ = two_domains()
    number = (domain == "b").astype(int)
    fitted = DomainCenter().fit(X, sample_domain=number.astype(str))
    with pytest.raises(ArgumentError, match="sample_domain has 0, the fit had '0'"):
        fitted.transform(X, sample_domain=number)
    moments = Moments(X.shape[1], "variance").update(X, number).update(X, number.astype(str))
    with pytest.raises(ArgumentError, match="mixes labels"):
        DomainCenter().fit_moments(moments)


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, pd.Categorical])
def test_domains_may_be_of_many_kinds(kind: Any) -> None:
    X, _, domain, group = two_domains()
    reference = DomainLDA().fit(X, sample_domain=domain, sample_group=group)
    other = DomainLDA().fit(X, sample_domain=kind(domain.tolist()), sample_group=kind(group))
    np.testing.assert_array_equal(other.coef_, reference.coef_)
    integers = DomainLDA().fit(X, sample_domain=(domain == "b").astype(int))
    assert integers.domains_ == [0, 1]


@pytest.mark.parametrize(
    "name", ["mlda", "leace:groups=group", "meanproj:groups=group", "random:groups=group", "mklda"]
)
def test_what_is_named_with_groups_is_not_fitted_without(name: str) -> None:
    X, _, domain, group = two_domains()
    for correction in (make_correction(name), clone(make_correction(name))):
        with pytest.raises(ArgumentError, match="groups=group needs the group of each row"):
            correction.fit(X, sample_domain=domain)
        if hasattr(correction, "fit_moments"):
            moments = Moments(X.shape[1], correction.required_scatter).update(X, domain)
            with pytest.raises(ArgumentError, match="groups=group needs"):
                correction.fit_moments(moments)
            with pytest.raises(ArgumentError, match="groups=group needs"):
                clone(correction).partial_fit(X, sample_domain=domain)
        correction.fit(X, sample_domain=domain, sample_group=group)
    # One domain: nothing to correct, whatever the groups.
    with pytest.warns(DomainWarning, match="nothing to correct"):
        make_correction(name).fit(X)


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("none", "source only"),
        ("random", "source only"),
        ("k", "unlabelled target"),
        ("lda", "unlabelled target"),
        ("mlda", "grouped target"),
        ("mlda:groups=auto", "unlabelled target"),
        ("leace:given=group", "grouped target"),
        ("leace:given=label", "labelled target"),
        ("coral", "unlabelled target"),
        ("splince", "labelled target"),
        ("placebo:mlda", "grouped target"),
    ],
)
def test_what_a_form_sees_of_the_target(name: str, used: str) -> None:
    assert parse_correction(name).information == used


@pytest.mark.parametrize(
    "module", [m.name for m in pkgutil.iter_modules(biasmir_utils.corrections.__path__)]
)
def test_the_examples_in_docstrings_run(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"biasmir_utils.corrections.{module}"))
    assert found.failed == 0
