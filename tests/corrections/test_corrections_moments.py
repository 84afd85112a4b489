"""Running moments: chunks and sums of moments equal the whole; what they refuse."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biasmir_utils.corrections import (
    CORAL,
    LEACE,
    DomainWarning,
    GaussianOT,
    MeanProjection,
    Moments,
)
from biasmir_utils.errors import ArgumentError


def rows(n: int = 90, d: int = 4, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    domain = rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1])
    group = rng.choice(["rock", "jazz", None], n)
    return rng.normal(size=(n, d)) * 3 + 1e4 + (domain == "b")[:, None], domain, group


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 90), max_size=6), st.sampled_from(["none", "variance", "domain"]))
def test_chunks_and_sums_equal_the_whole(cuts: list[int], scatter: str) -> None:
    X, domain, group = rows()
    edges = sorted({0, 90, *cuts})
    chunks = [slice(a, b) for a, b in itertools.pairwise(edges)]
    whole = Moments(4, scatter).update(X, domain, group)
    stream, total = Moments(4, scatter), Moments(4, scatter)
    for chunk in chunks:
        stream.update(X[chunk], domain[chunk], group[chunk])
        total = total + Moments(4, scatter).update(X[chunk], domain[chunk], group[chunk])
    for moments in (stream, total):
        assert moments.cells.keys() == whole.cells.keys()
        for key, cell in whole.cells.items():
            assert moments.cells[key].count == cell.count
            np.testing.assert_allclose(moments.cells[key].mean, cell.mean, rtol=1e-12)
            if cell.scatter is not None:
                np.testing.assert_allclose(moments.cells[key].scatter, cell.scatter, rtol=1e-6)
        np.testing.assert_array_equal(moments.largest, np.abs(X).max(axis=0))


@pytest.mark.parametrize("scatter", ["pooled", "domain"])
@pytest.mark.parametrize("grouped", [False, True])
def test_covariances_are_numpys(scatter: str, grouped: bool) -> None:
    X, domain, group = rows()
    moments = Moments(4, scatter)
    for part in np.array_split(np.arange(90), 5):
        moments.update(X[part], domain[part], group[part] if grouped else None)
    np.testing.assert_allclose(moments.total_covariance(), np.cov(X.T, bias=True), rtol=1e-6)
    centered = X.copy()
    for name in "abc":
        centered[domain == name] -= X[domain == name].mean(axis=0)
    np.testing.assert_allclose(
        moments.within_covariance(), np.cov(centered.T, bias=True), rtol=1e-6, atol=1e-9
    )
    np.testing.assert_allclose(moments.mean(), X.mean(axis=0), rtol=1e-12)
    cell = moments.of_domain("b")
    assert cell.count == (domain == "b").sum()
    np.testing.assert_allclose(cell.mean, X[domain == "b"].mean(axis=0), rtol=1e-12)


def test_partial_fit_where_moments_do_not_suffice() -> None:
    X, domain, _ = rows(n=20, d=30)
    with pytest.raises(ArgumentError, match="kept no moments"):
        LEACE().fit(X, sample_domain=domain).partial_fit(X, sample_domain=domain)
    with pytest.raises(ArgumentError, match="needs all rows at once"):
        LEACE(given="label").partial_fit(X, np.zeros(20), sample_domain=domain)


@pytest.mark.filterwarnings("ignore:group .* has no rows")
def test_groups_may_share_their_domains_late() -> None:
    rng = np.random.default_rng(0)
    domain, group = np.repeat(["a", "b", "b"], 20), np.repeat(["rock", "jazz", "rock"], 20)
    X = rng.normal(size=(60, 4)) + (domain == "b")[:, None]
    chunks = [slice(0, 20), slice(20, 40), slice(40, 60)]
    for make in (LEACE, MeanProjection):
        stream = make()
        for chunk, ends in zip(chunks, ("one domain", "not yet", "solved"), strict=True):
            part = X[chunk], domain[chunk], group[chunk]
            if ends == "not yet":
                with pytest.warns(DomainWarning, match="40 rows so far do not determine.*no group"):
                    stream.partial_fit(part[0], sample_domain=part[1], sample_group=part[2])
            else:
                stream.partial_fit(part[0], sample_domain=part[1], sample_group=part[2])
            assert stream.rank_ == (ends == "solved")
            if ends != "solved":
                np.testing.assert_array_equal(stream.transform(X), X)
        assert stream._moments is not None
        assert stream._moments.count == 60
        whole = make().fit(X, sample_domain=domain, sample_group=group)
        np.testing.assert_allclose(stream.transform(X), whole.transform(X), atol=1e-10)


@pytest.mark.parametrize("make", [CORAL, GaussianOT])
def test_a_covariance_may_come_late(make: Any) -> None:
    X, domain, _ = rows()
    order = np.argsort(domain, kind="stable")
    X, domain = X[order] - 1e4, domain[order]
    first = int((domain == "a").sum())
    late = [slice(0, first + 1), slice(first + 1, first + 9), slice(first + 9, 90)]
    stream = make(to="c")
    with pytest.warns(DomainWarning, match=f"{first + 1} rows so far.*domain 'b' is singular"):
        stream.partial_fit(X[late[0]], sample_domain=domain[late[0]])
    np.testing.assert_array_equal(stream.transform(X, sample_domain=domain), X)
    with pytest.warns(DomainWarning, match="rows so far.*'a', 'b', not 'c'"):
        stream.partial_fit(X[late[1]], sample_domain=domain[late[1]])
    np.testing.assert_array_equal(stream.transform(X, sample_domain=domain), X)
    stream.partial_fit(X[late[2]], sample_domain=domain[late[2]])
    whole = make(to="c").fit(X, sample_domain=domain)
    corrected = whole.transform(X, sample_domain=domain)
    np.testing.assert_allclose(stream.transform(X, sample_domain=domain), corrected, atol=1e-8)
    # One row of a new domain: what was solved before does not stay behind as if it were the whole.
    with pytest.warns(DomainWarning, match="91 rows so far.*domain 'd' is singular"):
        stream.partial_fit(X[:1], sample_domain=["d"])
    np.testing.assert_array_equal(stream.transform(X, sample_domain=domain), X)
    assert not hasattr(stream, "covariance_")


def test_a_fit_that_ends_in_an_error_leaves_no_rows_behind() -> None:
    X, domain, _ = rows()
    coral = CORAL()
    with pytest.raises(ArgumentError, match="singular"):
        coral.fit(X[:41], sample_domain=["a"] * 40 + ["b"])
    coral.partial_fit(X, sample_domain=domain)
    assert coral._moments is not None
    assert coral._moments.count == 90
