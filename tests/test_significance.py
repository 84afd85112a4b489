"""Wilcoxon's test and Holm's correction, against their definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import rankdata, wilcoxon

from biasmir_utils.experiments.stats import holm, paired_wilcoxon, smallest_p


def by_enumeration(values: np.ndarray) -> float:
    """The two-sided p-value from all signs that the differences could have."""
    ranks = rankdata(np.abs(values))
    reached = ranks[values > 0].sum()
    sums = np.array([ranks @ s for s in itertools.product([0, 1], repeat=len(values))])
    return min(1.0, 2 * min((sums <= reached).mean(), (sums >= reached).mean()))


@pytest.mark.parametrize("seed", range(5))
def test_the_p_value_is_that_of_all_possible_signs(seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(0.5, 1, 9)
    assert paired_wilcoxon(values) == pytest.approx(by_enumeration(values))
    assert paired_wilcoxon(values) == pytest.approx(wilcoxon(values, method="exact").pvalue)
    tied = np.round(values, 0)
    tied = tied[tied != 0]
    assert paired_wilcoxon(tied) == pytest.approx(by_enumeration(tied))


def test_many_pairs_are_approximated():
    values = np.random.default_rng(0).normal(0.2, 1, 80)
    assert paired_wilcoxon(values) == wilcoxon(values, method="approx").pvalue


def test_zeros_and_missing_differences_do_not_count():
    assert paired_wilcoxon([0.1, 0.2, -0.3, 0.0, np.nan]) == paired_wilcoxon([0.1, 0.2, -0.3])
    assert paired_wilcoxon([0.0, 0.0]) == 1.0
    assert np.isnan(paired_wilcoxon([np.nan]))


def test_the_smallest_p_is_reached_when_all_labels_agree():
    for n in (1, 2, 5, 10):
        assert paired_wilcoxon(np.arange(1, n + 1)) == pytest.approx(smallest_p(n))


def test_holm_by_hand():
    # Sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.5 x 1; none smaller than the one before.
    np.testing.assert_allclose(holm([0.03, 0.5, 0.01, 0.02]), [0.06, 0.5, 0.04, 0.06])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1.0, 1.0])
    adjusted = holm([0.01, np.nan, 0.04])
    np.testing.assert_allclose(adjusted[[0, 2]], [0.02, 0.04])
    assert np.isnan(adjusted[1])
