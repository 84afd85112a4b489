"""What tells domains apart in the mean: the vectors that projections of the mean remove.

All of them are covariances of the features with the domain, up to a factor: for two domains
the difference of their means; with groups one for each group; and, given a covariate, the
covariance with what of the domain the covariate does not explain.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from biasmir_utils.corrections.base import FloatArray
from biasmir_utils.corrections.labels import (
    DomainWarning,
    Labels,
    comparable_groups,
    encode_labels,
)
from biasmir_utils.corrections.moments import Moments
from biasmir_utils.errors import ArgumentError

GIVEN = ("label", "group")


def mean_differences(moments: Moments) -> tuple[FloatArray, list[Any]]:
    """Return the differences of the domains' means, within each group if there are groups.

    Parameters
    ----------
    moments : Moments
        Of one domain or none, there are no differences.

    Returns
    -------
    rows : ndarray, (n_differences, n_features)
        Means of the second and later domains minus that of the first, group after group; zero
        where they differ by no more than rounding.
    of_group : list
        Group of each row, None without groups.
    """
    domains = moments.domains
    if len(domains) < 2:
        return np.empty((0, moments.n_features)), []
    groups = moments.groups
    counts = np.array([[_count(moments, domain, group) for domain in domains] for group in groups])
    chosen = (
        comparable_groups(counts, groups, domains)
        if moments.grouped
        else [(0, np.arange(len(domains)))]
    )
    rows, of_group = [], []
    for g, present in chosen:
        means = [moments.cells[domains[d], groups[g]].mean for d in present]
        for mean in means[1:]:
            rows.append(mean - means[0])
            of_group.append(groups[g])
    return without_rounding(np.array(rows), moments.largest), of_group


def _count(moments: Moments, domain: Any, group: Any) -> int:
    cell = moments.cells.get((domain, group))
    return 0 if cell is None else cell.count


def conditional_differences(X: FloatArray, domains: Labels, covariate: FloatArray) -> FloatArray:
    """Return the covariances of the features with the domain, given a covariate.

    The domain's indicators are regressed on the covariate, and the features' covariances with
    the residuals are returned: zero where domains differ only because the covariate does.

    Parameters
    ----------
    X : ndarray, (n_samples, n_features)
    domains : Labels
    covariate : ndarray, (n_samples, n_columns)
        From `covariate_columns`.

    Returns
    -------
    ndarray, (n_domains - 1, n_features)
    """
    indicators = np.eye(len(domains.names))[domains.codes][:, 1:]
    design = np.column_stack([np.ones(len(X)), covariate])
    coefficients, *_ = np.linalg.lstsq(design, indicators, rcond=None)
    residuals = indicators - design @ coefficients
    if np.abs(residuals).max() < 1e-9:
        warnings.warn(
            "the domain is determined by what it is conditioned on, so nothing is left to remove.",
            DomainWarning,
            stacklevel=5,
        )
        return np.zeros((residuals.shape[1], X.shape[1]))
    rows = residuals.T @ (X - X.mean(axis=0)) / len(X)
    return without_rounding(rows, np.abs(X).max(axis=0))


def covariate_columns(values: Any, n_samples: int, name: str) -> FloatArray:
    """Turn a covariate, an array or `Labels`, into columns of numbers.

    `Labels` and one-dimensional integers, booleans and strings are categories, a column each;
    floating-point numbers and matrices (for instance indicators of several labels) enter as
    they are, at unit variance.

    Raises
    ------
    ArgumentError
        If the covariate is missing, has another number of rows or holds NaN.
    """
    if values is None:
        raise ArgumentError(
            f"the correction is conditional on the {name}, but fit got none; pass "
            f"{'y' if name == 'label' else 'sample_group'}."
        )
    if isinstance(values, Labels):
        return np.eye(len(values.names))[values.codes]
    array = np.asarray(values)
    if array.ndim not in (1, 2) or len(array) != n_samples:
        raise ArgumentError(
            f"the {name} to condition on must have {n_samples} rows, its shape is {array.shape}."
        )
    if array.ndim == 1 and array.dtype.kind != "f":
        labels = encode_labels(array, n_samples, name, missing_is_label=True)
        return np.eye(len(labels.names))[labels.codes]
    numbers = array.reshape(n_samples, -1).astype(np.float64)
    if not np.isfinite(numbers).all():
        raise ArgumentError(
            f"the {name} to condition on is NaN or infinite in row "
            f"{int(np.flatnonzero(~np.isfinite(numbers).all(axis=1))[0])}; leave such rows out."
        )
    numbers = numbers - numbers.mean(axis=0)
    deviation = numbers.std(axis=0)
    return numbers / np.where(deviation > 0, deviation, 1.0)


def without_rounding(rows: FloatArray, largest: npt.NDArray[Any]) -> FloatArray:
    """Set to zero what does not exceed the rounding of the largest value of its feature."""
    rows[np.abs(rows) <= rounding(largest)] = 0.0
    return rows


def rounding(largest: npt.NDArray[Any]) -> FloatArray:
    """Return below what differences of means are rounding, given the features' largest values."""
    return np.asarray(32 * np.finfo(np.float64).eps * largest)
