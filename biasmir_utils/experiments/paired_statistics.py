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


def squared_mean_length(W: FloatArray, rows: FloatArray) -> FloatArray:
    """Return the unbiased squared length of the mean row under each weighting."""
    n = W.sum(axis=1)
    square = np.square(weighted_mean(W, rows)).sum(axis=1)
    scatter = weighted_mean(W, np.square(rows).sum(axis=1)) - square
    lengths: FloatArray = square - np.maximum(scatter, 0) / np.maximum(n - 1, 1)
    return lengths


def between_variance(W: FloatArray, rows: FloatArray, category: ArrayLike) -> FloatArray:
    """Return the variance between categories' means, summed over features, noise taken off.

    The variance component of a one-way analysis of variance, (MS_between - MS_within) / n_0,
    under each weighting.

    References
    ----------
    S. R. Searle, G. Casella, C. E. McCulloch, Variance Components, 1992, section 3.6.
    """
    codes, names = category_codes(category)
    rows = rows - rows.mean(axis=0)
    counts = np.array([W[:, codes == code].sum(axis=1) for code in range(len(names))])
    of_means = np.zeros(len(W))
    for code in range(len(names)):
        inside = codes == code
        sums = W[:, inside] @ rows[inside]
        of_means += np.square(sums).sum(axis=1) / np.maximum(counts[code], 1)
    n, kinds = counts.sum(axis=0), (counts > 0).sum(axis=0)
    between = of_means - n * np.square(weighted_mean(W, rows)).sum(axis=1)
    within = W @ np.square(rows).sum(axis=1) - of_means
    noise = within / np.maximum(n - kinds, 1)
    effective = n - np.square(counts).sum(axis=0) / n
    variance: FloatArray = (between - (kinds - 1) * noise) / effective
    return variance


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
        Smallest and largest value that is possible; intervals end there.
    centred : bool
        Whether quantiles are moved by the difference between the estimate and the mean of the
        replicates. Not for ratios whose denominator may come near zero, which have no mean.

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
        rows.append({"quantity": name, "value": estimate, "low": low, "high": high})
    return pd.DataFrame(rows)


def category_codes(category: ArrayLike) -> tuple[NDArray[np.intp], list[str]]:
    """Return a code for each piece, and the sorted names of the codes."""
    names, codes = np.unique(np.asarray(category).astype(str), return_inverse=True)
    return codes, names.tolist()


def cosine(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the cosine of the angle between the rows of two matrices; NaN for a row of zeros."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products = np.einsum("ij,ij->i", a, b)
    return np.divide(products, lengths, out=np.full(len(a), np.nan), where=lengths > 0)
