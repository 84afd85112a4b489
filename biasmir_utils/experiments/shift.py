"""What a correction leaves of the difference of two datasets, and what it does to the rows.

All of it is measured on rows that the correction was not fitted on, since on the rows of the fit
some corrections are perfect by construction: `LEACE` leaves exactly nothing for a linear probe
there, and more than nothing on fresh rows.

- `linear_probe`, `rbf_probe`: ROC-AUC of a probe of the dataset, cross-validated by track, see
  `separability`;
- `mean_gap`: distance of the two means, in units of the spread within the datasets (the root of
  the summed variances);
- `mmd2`: squared maximum mean discrepancy, unbiased, with a Gaussian kernel whose bandwidth is
  the median distance of the rows; it may be slightly negative where there is no difference.

Chance is the same measure with the datasets of whole tracks permuted. If both datasets hold the
same tracks (`paired`), only these count, twins stay in one fold of a probe, and chance swaps the
datasets within tracks: see `separability`.

References
----------
A. Gretton et al., "A kernel two-sample test", JMLR 13, 2012 (equation 3 is the unbiased form).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.separability import (
    N_FOLDS,
    compared_rows,
    dataset_separability,
    permuted_tracks,
    track_codes,
)

Array = NDArray[Any]
FloatArray = NDArray[np.float64]

PROBES = ("linear_probe", "rbf_probe")
SHIFT_MEASURES = (*PROBES, "mean_gap", "mmd2")
DAMAGE_MEASURES = ("variance_moved", "variance_kept", "rank")
SCALE_FLOOR = 0.1


@dataclass(frozen=True)
class Measured:
    """A measure of the difference of two datasets.

    Attributes
    ----------
    value : float
    chance : float
        Mean value with permuted datasets; NaN if none were asked for.
    chance_high : float
        Largest value with permuted datasets; NaN if none were asked for.
    """

    value: float
    chance: float = float("nan")
    chance_high: float = float("nan")


def domain_shift(
    X: ArrayLike,
    sample_domain: ArrayLike,
    sample_track: ArrayLike | None = None,
    *,
    n_permutations: int = 0,
    probe_permutations: int | None = None,
    scale: ArrayLike | None = None,
    paired: bool = False,
    seed: int = 0,
) -> dict[str, Measured]:
    """Return how far two datasets are apart, by each of `SHIFT_MEASURES`.

    Parameters
    ----------
    X : array-like, (n_clips, n_features)
    sample_domain : array-like, (n_clips,)
        Two datasets.
    sample_track : array-like, (n_clips,), optional
        Clips of one track are on one side of every fold of the probes; tracks of different
        datasets are different even if they have one name, unless `paired`.
    n_permutations : int
        How often to measure chance.
    probe_permutations : int, optional
        How often for the probes, which take long to train; default as often.
    scale : array-like, (n_features,), optional
        What the probes divide each feature by, see `probe_scale`; default that of `X`.
    paired : bool
        Whether a track of one name is the same track in both datasets: `Corpus.shared_tracks`.
        All measures are of the `separability.compared_rows` then.
    seed : int
        Of folds, random features and permutations.

    Returns
    -------
    dict of str to Measured
        NaN for a probe where a dataset has fewer tracks than the 5 folds, and for the probe with
        random features where most rows are equal, so that these have no bandwidth.

    Raises
    ------
    ArgumentError
        If there are not two datasets, or shapes differ.
    """
    rows, domain = _two(X, sample_domain)
    track = np.arange(len(rows)) if sample_track is None else np.asarray(sample_track, dtype=str)
    twins = None
    if paired and sample_track is not None:
        compared, twins = compared_rows(domain, track)
        rows, domain, track = rows[compared], domain[compared], track[compared]
    found = {}
    scale = probe_scale(rows) if scale is None else scale
    tracks = track_codes(domain, track)
    enough = min(len(np.unique(tracks[domain == code])) for code in (0, 1)) >= N_FOLDS
    for kind in ("linear", "rbf"):
        if not enough:
            found[f"{kind}_probe"] = Measured(float("nan"))
            continue
        try:
            (probe,) = dataset_separability(
                rows,
                domain,
                track,
                kind=kind,
                n_folds=N_FOLDS,
                n_permutations=n_permutations if probe_permutations is None else probe_permutations,
                scale=scale,
                paired=twins is not None,
                seed=seed,
            )
        except ArgumentError:
            if kind == "linear":  # what is wrong with the arguments is wrong for both
                raise
            found[f"{kind}_probe"] = Measured(float("nan"))
            continue
        found[f"{kind}_probe"] = _measured(np.r_[probe.roc_auc, probe.chance_roc_auc])
    second = np.vstack(
        [domain == 1, permuted_tracks(domain == 1, tracks, n_permutations, seed, twins)]
    ).astype(np.float64)
    found["mean_gap"] = _measured(_mean_gaps(rows, second))
    found["mmd2"] = _measured(_squared_mmds(rows, second))
    return found


def probe_scale(X: ArrayLike) -> FloatArray:
    """Return what probes divide each feature by, to be taken from rows before a correction.

    It is the standard deviation, but no less than a tenth of the root of the mean variance.
    Corrections move every feature a little along their directions, also those that hardly vary
    (silent units of a network); scaled by what they have become, these would show the dataset
    after a correction better than before it.
    """
    variance = np.asarray(X, dtype=np.float64).var(axis=0)
    floor = SCALE_FLOOR * np.sqrt(variance.mean())
    return np.maximum(np.sqrt(variance), floor if floor > 0 else 1.0)


def mean_gap(X: ArrayLike, sample_domain: ArrayLike) -> float:
    """Return the distance of two datasets' means over the spread within them.

    It is |mean_B - mean_A| / sqrt(sum of the features' variances around the own dataset's mean).
    Zero spread gives 0 for equal means and infinity otherwise.
    """
    rows, domain = _two(X, sample_domain)
    return float(_mean_gaps(rows, (domain == 1).astype(np.float64)[np.newaxis])[0])


def damage(
    before: Array, after: Array, rank: int, alpha: float = 1.0
) -> dict[str, tuple[float, float]]:
    """Return what a correction does to rows: each of `DAMAGE_MEASURES` and its control.

    Parameters
    ----------
    before, after : ndarray, (n_clips, n_features)
    rank : int
        Directions that the correction removes.
    alpha : float
        Its dose.

    Returns
    -------
    dict of str to (float, float)
        `variance_moved`, the total variance of x' - x over that of x: a translation that all rows
        have in common leaves every difference of rows as it is, and does not count. Beside it
        the expectation of that for the projection of a random subspace of the same rank and dose,
        ``alpha**2 * rank / n_features``. `variance_kept`, the total variance after over before,
        with the control ``1 - (2 * alpha - alpha**2) * rank / n_features``; `rank`. Controls are
        NaN for a correction that removes no direction.
    """
    before = np.asarray(before, dtype=np.float64)
    moved = np.asarray(after, dtype=np.float64) - before
    total = float(before.var(axis=0).sum())
    share = rank / before.shape[1] if rank else float("nan")
    if not total > 0:
        raise ArgumentError("the rows are all alike, so there is no variance to compare with")
    return {
        "variance_moved": (float(moved.var(axis=0).sum() / total), alpha**2 * share),
        "variance_kept": (
            float((before + moved).var(axis=0).sum() / total),
            1 - (2 * alpha - alpha**2) * share,
        ),
        "rank": (float(rank), float("nan")),
    }


def _two(X: ArrayLike, sample_domain: ArrayLike) -> tuple[FloatArray, NDArray[np.intp]]:
    """Return the rows, and 1 for those of the second dataset."""
    rows = np.asarray(X, dtype=np.float64)
    names, domain = np.unique(np.asarray(sample_domain), return_inverse=True)
    if len(names) != 2 or len(domain) != len(rows):
        raise ArgumentError(
            f"expected rows of two datasets, found {len(names)} datasets for {len(rows)} rows"
        )
    return rows, domain


def _measured(values: FloatArray) -> Measured:
    """Return the first value, and mean and largest of the others; NaN does not count there."""
    # A fold of few clips may hold one dataset only once these are permuted.
    chance = values[1:][~np.isnan(values[1:])]
    if not len(chance):
        return Measured(float(values[0]))
    return Measured(float(values[0]), float(chance.mean()), float(chance.max()))


def _mean_gaps(rows: FloatArray, second: FloatArray) -> FloatArray:
    """Return the gap under each labelling, rows of `second`: 1 for a row of the second dataset."""
    n_second = second.sum(axis=1)
    n_first = len(rows) - n_second
    center = rows.mean(axis=0)
    rows = rows - center
    # The mean of all is 0, so the first dataset's mean follows from the second's.
    of_second = (second @ rows) / n_second[:, np.newaxis]
    squared = np.einsum("ij,ij->i", of_second, of_second)
    distance = np.sqrt(squared) * (len(rows) / n_first)
    total = np.einsum("ij,ij->", rows, rows)
    within = (total - squared * n_second * len(rows) / n_first) / len(rows)
    spread = np.sqrt(np.maximum(within, 0.0))
    tiny = np.finfo(np.float64).tiny
    return np.where(distance > 0, distance / np.maximum(spread, tiny), 0.0)


def _squared_mmds(rows: FloatArray, second: FloatArray) -> FloatArray:
    norms = np.einsum("ij,ij->i", rows, rows)
    squared = np.maximum(norms[:, np.newaxis] + norms - 2 * rows @ rows.T, 0.0)
    median = float(np.median(squared[np.triu_indices(len(rows), 1)]))
    if not median > 0:
        return np.zeros(len(second))
    kernel = np.exp(-squared / (2 * median))
    np.fill_diagonal(kernel, 0.0)
    first = 1 - second
    n, m = first.sum(axis=1), second.sum(axis=1)
    from_second = second @ kernel
    inside_second = np.einsum("ij,ij->i", from_second, second)
    between = np.einsum("ij,ij->i", from_second, first)
    inside_first = kernel.sum() - 2 * between - inside_second
    with np.errstate(divide="ignore", invalid="ignore"):
        found: FloatArray = (
            inside_first / (n * (n - 1)) + inside_second / (m * (m - 1)) - 2 * between / (n * m)
        )
    # A single row has no distance to others of its dataset.
    return np.where(np.minimum(n, m) < 2, np.nan, found)
