"""Corrections fitted by name: the rules that experiments and corpora share."""

from __future__ import annotations

import numpy as np
import pytest

from biasmir_utils.corrections import (
    DomainWarning,
    RandomProjection,
    SingularCovarianceError,
    fit_correction,
    make_correction,
)


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    domain, group = np.repeat(["a", "b"], 90), np.tile(["folk", "jazz", "rock"], 60)
    X = rng.normal(size=(180, 6)) + 5 * np.eye(3, 6)[np.unique(group, return_inverse=True)[1]]
    X[domain == "b"] += np.where(group == "folk", 1, -2)[domain == "b", None] * np.eye(6)[4]
    return X, domain, group


@pytest.mark.parametrize("name", ["leace", "leace:groups=group", "leace:given=label", "klda"])
def test_labels_and_groups_reach_those_that_ask_for_them(data, name):
    X, domain, group = data
    y = np.arange(180) % 2
    found = fit_correction(name, X, y, sample_domain=domain, sample_group=group, random_state=5)
    asked = {"sample_group": group} if "group=" in name or "groups=" in name else {}
    expected = make_correction(name, 5).fit(
        X, y if "label" in name else None, sample_domain=domain, **asked
    )
    np.testing.assert_allclose(
        found.transform(X, sample_domain=domain), expected.transform(X, sample_domain=domain)
    )


def test_a_group_with_too_few_rows_is_a_warning_unless_the_name_says_error(data):
    X, domain, group = data
    kept = np.flatnonzero((group != "jazz") | (np.arange(180) < 2) | (np.arange(180) > 176))
    part = {"sample_domain": domain[kept], "sample_group": group[kept]}
    with pytest.warns(DomainWarning, match="jazz"):
        fit_correction("mlda:shrinkage=0", X[kept], **part)
    with pytest.raises(SingularCovarianceError, match="jazz"):
        fit_correction("mlda:shrinkage=0,singular=error", X[kept], **part)


def test_the_draw_of_a_random_subspace(data):
    X, domain, _ = data

    def drawn(name: str, draw: int | None) -> np.ndarray:
        fitted = fit_correction(name, X, sample_domain=domain, draw=draw)
        assert isinstance(fitted, RandomProjection)
        return fitted.transform(X)

    np.testing.assert_array_equal(drawn("random", None), drawn("random:random_state=0", 7))
    np.testing.assert_array_equal(drawn("random", 7), drawn("random:random_state=7", 0))
    assert np.abs(drawn("random", 7) - drawn("random", 8)).max() > 0.1
