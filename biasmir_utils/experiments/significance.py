"""Tests of paired differences, and what to do when there are many of them.

References
----------
F. Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1, 1945.
S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
Statistics 6, 1979.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata, wilcoxon

MAX_EXACT = 50


def paired_wilcoxon(differences: ArrayLike) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test.

    Parameters
    ----------
    differences : array-like, (n_pairs,)
        NaN is left out, zeros too, as Wilcoxon did. The p-value is exact for up to 50 pairs,
        with ties as well, and an approximation by the normal distribution for more.

    Returns
    -------
    float
        1 if all differences are zero, NaN if there is none.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan")
    values = values[values != 0]
    if not len(values):
        return 1.0
    if len(values) > MAX_EXACT:
        return float(wilcoxon(values, method="approx").pvalue)
    # Ranks of tied values are halves, so twice the ranks are whole numbers. Without an effect
    # each has either sign alike: the number of ways to reach each sum of positive ranks.
    ranks = np.rint(2 * rankdata(np.abs(values))).astype(int)
    ways = np.zeros(ranks.sum() + 1)
    ways[0] = 1.0
    for rank in ranks:
        ways[rank:] = ways[rank:] + ways[: len(ways) - rank]
    ways /= ways.sum()
    reached = int(ranks[values > 0].sum())
    one_side = min(ways[: reached + 1].sum(), ways[reached:].sum())
    return float(min(1.0, 2 * one_side))


def smallest_p(n_pairs: int) -> float:
    """Return the smallest p-value that the exact test can give for a number of pairs."""
    return min(1.0, 2.0 ** (1 - n_pairs))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return Holm's adjusted p-values of a family of tests.

    The k-th smallest of m is multiplied by m - k + 1, and none is smaller than one before it.
    NaN stays NaN and does not count.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted
