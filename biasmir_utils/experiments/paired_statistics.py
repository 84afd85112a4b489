"""Statistics of paired embeddings under many weightings of the pieces, for bootstraps by track.

A weighting says how often each piece counts. All functions take weightings as the rows of a
matrix, the first of them the pieces themselves (`track_weights`), and return one value for each.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.resampled import shared_track_weights

FloatArray = NDArray[np.float64]


def track_weights(track: ArrayLike, n_replicates: int, seed: int) -> FloatArray:
    """Return how often each piece counts: first once each, then as bootstraps by track drew it.

    Returns
    -------
    ndarray, (1 + n_replicates, n_pieces)
    """
    if n_replicates < 1:
        raise ArgumentError(f"n_replicates must be at least 1, found {n_replicates}")
    tracks = np.asarray(track)
    weights = shared_track_weights(np.unique(tracks), tracks, n_replicates, seed)
    return weights.astype(np.float64)


def weighted_mean(W: FloatArray, values: FloatArray) -> FloatArray:
    """Return the mean of rows under each weighting: (n_weightings, ...)."""
    total = W.sum(axis=1)
    means: FloatArray = (W @ values) / (total[:, np.newaxis] if values.ndim > 1 else total)
    return means


def weighted_mean_of_rows(W: FloatArray, values: FloatArray) -> FloatArray:
    """Return the mean of values, (n_weightings, n_pieces), each row under its own weighting."""
    means: FloatArray = (W * values).sum(axis=1) / W.sum(axis=1)
    return means


def mean_product(W: FloatArray, one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the inner product of two mean rows under each weighting, unbiased.

    The means are of the same pieces, a row of each for a piece. Their product would be too large
    by the covariance of the rows, summed over features, / n. So it is the mean of the products of
    one row with the other rows of *different* pieces; a piece that was drawn twice is not two.
    """
    products = np.einsum("ij,ij->i", one, other)
    together = np.einsum("ij,ij->i", W @ one, W @ other) - np.square(W) @ products
    return ratio(together, np.square(W.sum(axis=1)) - np.square(W).sum(axis=1))


def squared_mean_length(W: FloatArray, rows: FloatArray) -> FloatArray:
    """Return the squared length of the mean row under each weighting: see `mean_product`."""
    return mean_product(W, rows, rows)


def products_with_others(
    W: FloatArray, rows: FloatArray, track: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return the product of each row with the mean of the other tracks' rows, and its square.

    A row that had a part in the mean would agree with it too well. And the square of a product
    with a noisy mean is too large, even when the row had none: so what is returned as the square
    is the mean, over pairs of different other tracks, of the product of the products with both.

    Parameters
    ----------
    W : ndarray, (n_weightings, n_pieces)
        Equal for the pieces of a track.
    rows : ndarray, (n_pieces, n_features)
    track : array-like, (n_pieces,)

    Returns
    -------
    products, squares : ndarray, (n_weightings, n_pieces)
        NaN where there are no other tracks, or no two.
    """
    codes, names = category_codes(track)
    _, first = np.unique(codes, return_index=True)
    drawn, sizes = W[:, first], np.bincount(codes)
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, codes, rows)
    products = rows @ sums.T
    own = W * products[np.arange(len(rows)), codes]
    own_size = W * sizes[codes]
    product = drawn @ products.T - own
    square = np.square(product) - (np.square(drawn) @ np.square(products).T - np.square(own))
    n = (drawn @ sizes)[:, np.newaxis] - own_size
    pairs = np.square(n) - (np.square(drawn) @ np.square(sizes))[:, np.newaxis]
    pairs += np.square(own_size)
    return ratio(product, n), ratio(square, pairs)


def ratio(numerator: FloatArray, denominator: ArrayLike) -> FloatArray:
    """Divide, where the denominator is positive; elsewhere NaN."""
    below = np.asarray(denominator, dtype=np.float64)
    empty = np.full(np.broadcast_shapes(numerator.shape, below.shape), np.nan)
    return np.divide(numerator, below, out=empty, where=below > 0)


def root(values: FloatArray) -> FloatArray:
    """Return the square root, of what is below zero 0."""
    roots: FloatArray = np.sqrt(np.maximum(values, 0))
    return roots


def between_variance(W: FloatArray, rows: FloatArray, category: ArrayLike) -> FloatArray:
    """Return the variance between categories' means, summed over features, noise taken off.

    The variance component of a one-way analysis of variance, (MS_between - MS_within) / n_0,
    under each weighting; NaN for a single category. As in `mean_product`, a piece that was drawn
    twice is not two: the noise of a mean of n rows is that of the different ones among them.

    References
    ----------
    S. R. Searle, G. Casella, C. E. McCulloch, Variance Components, 1992, section 3.6.
    """
    codes, names = category_codes(category)
    rows = rows - rows.mean(axis=0)
    of_means, own, effective = np.zeros((3, len(W)))
    for code in range(len(names)):
        w = W[:, codes == code]
        count = np.maximum(w.sum(axis=1), 1)
        of_means += np.square(w @ rows[codes == code]).sum(axis=1) / count
        own += np.square(w).sum(axis=1) / count
        effective += np.square(w.sum(axis=1))
    n = W.sum(axis=1)
    between = of_means - n * np.square(weighted_mean(W, rows)).sum(axis=1)
    within = W @ np.square(rows).sum(axis=1) - of_means
    noise = ratio(within, n - own)
    share = own - np.square(W).sum(axis=1) / n  # categories - 1, if all pieces count once
    return ratio(between - share * noise, n - effective / n)


def with_intervals(
    statistics: Mapping[str, FloatArray],
    level: float = 0.95,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    centred: bool = True,
) -> pd.DataFrame:
    """Make a table of statistics: the first value of each is the estimate, the rest replicates.

    Parameters
    ----------
    statistics : mapping of str to ndarray, (1 + n_replicates,)
    level : float
        Of the intervals, in (0, 1).
    bounds : tuple of float
        Smallest and largest value that is possible; estimates and intervals end there.
    centred : bool
        Whether quantiles are moved by the difference between the estimate and the mean of the
        replicates. Not for ratios and roots: where their parts are biased in the replicates, to
        move the result is too late, and where these are unbiased, there is no need.

    Returns
    -------
    pandas.DataFrame
        Columns `quantity`, `value`, `low`, `high`.
    """
    if not 0 < level < 1:
        raise ArgumentError(f"level must lie between 0 and 1, found {level}")
    tail = (1 - level) / 2
    rows = []
    for name, values in statistics.items():
        estimate, replicates = float(values[0]), values[1:][np.isfinite(values[1:])]
        low = high = float("nan")
        if len(replicates) and np.isfinite(estimate):
            moved = replicates + (estimate - replicates.mean() if centred else 0)
            ends = np.quantile(moved, [tail, 1 - tail])
            low, high = (float(end) for end in np.clip(ends, *bounds))
        value = float(np.clip(estimate, *bounds))
        rows.append({"quantity": name, "value": value, "low": low, "high": high})
    return pd.DataFrame(rows)


def category_codes(category: ArrayLike) -> tuple[NDArray[np.intp], list[str]]:
    """Return a code for each piece, and the sorted names of the codes."""
    names, codes = np.unique(np.asarray(category).astype(str), return_inverse=True)
    return codes, names.tolist()
