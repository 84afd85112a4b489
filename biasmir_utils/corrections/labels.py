"""Labels of rows: their domain and their group, checked and counted."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from biasmir_utils.errors import ArgumentError


class DomainWarning(UserWarning):
    """A correction does something else than its arguments suggest, and says what and why."""


@dataclass(frozen=True)
class Labels:
    """Labels of rows as integers.

    Attributes
    ----------
    codes : ndarray of int, (n_samples,)
        Position of each row's label in `names`.
    names : list
        The distinct labels, sorted; None stands for a missing label and comes last.
    """

    codes: npt.NDArray[np.intp]
    names: list[Any]


def encode_labels(values: Any, n_samples: int, name: str, *, missing_is_label: bool) -> Labels:
    """Check one label a row and turn the labels into integers.

    Parameters
    ----------
    values : array-like, (n_samples,)
        Integers, strings or booleans; None and NaN are missing.
    n_samples : int
        Number of rows that the labels must be for.
    name : str
        Name of the argument, for messages.
    missing_is_label : bool
        Whether missing labels form a label of their own, or are an error.

    Raises
    ------
    ArgumentError
        If the shape is wrong or a label is missing that may not be.
    """
    array = np.asarray(values)
    if array.ndim != 1 or array.shape[0] != n_samples:
        raise ArgumentError(
            f"{name} must hold one label for each of the {n_samples} rows of X, "
            f"but its shape is {array.shape}."
        )
    missing = _missing(array)
    if missing.any() and not missing_is_label:
        raise ArgumentError(
            f"{name} is missing (None or NaN) in {int(missing.sum())} rows, the first of them "
            f"row {int(np.flatnonzero(missing)[0])}; drop these rows or name their label."
        )
    present = array[~missing]
    try:
        names, inverse = np.unique(present, return_inverse=True)
    except TypeError as error:
        kinds = sorted({type(value).__name__ for value in present.tolist()})
        raise ArgumentError(
            f"{name} mixes labels that cannot be put in order ({', '.join(kinds)}); "
            "use only integers or only strings."
        ) from error
    codes = np.full(n_samples, len(names), dtype=np.intp)
    codes[~missing] = inverse
    return Labels(codes, [*names.tolist(), *([None] if missing.any() else [])])


def domain_labels(sample_domain: Any, n_samples: int) -> Labels:
    """Return the domain of each row; none may be missing."""
    return encode_labels(sample_domain, n_samples, "sample_domain", missing_is_label=False)


def group_labels(sample_group: Any, n_samples: int) -> Labels:
    """Return the group of each row; missing ones are a group of their own."""
    return encode_labels(sample_group, n_samples, "sample_group", missing_is_label=True)


def _missing(array: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if array.dtype.kind == "f":
        return np.isnan(array)
    if array.dtype != object:
        return np.zeros(array.shape, dtype=bool)
    return np.fromiter((_is_missing(value) for value in array), bool, count=len(array))


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    try:
        return bool(value != value)  # only NaN differs from itself
    except TypeError:  # pandas.NA refuses to be compared
        return True


def comparable_groups(
    counts: npt.NDArray[np.integer[Any]], groups: list[Any], domains: list[Any]
) -> list[tuple[int, npt.NDArray[np.intp]]]:
    """Return the groups that at least two domains share, with the domains that each has.

    Parameters
    ----------
    counts : ndarray of int, (n_groups, n_domains)
        Rows of each group in each domain.
    groups, domains : list
        Names, for messages.

    Returns
    -------
    list of (int, ndarray of int)
        Position of the group, positions of its domains.

    Warns
    -----
    DomainWarning
        For each group that lacks a domain.

    Raises
    ------
    ArgumentError
        If no group has rows of two domains.
    """
    found = []
    for g, group in enumerate(groups):
        present = np.flatnonzero(counts[g])
        if len(present) < len(domains):
            lacking = ", ".join(repr(d) for k, d in enumerate(domains) if k not in present)
            outcome = "gives no direction" if len(present) < 2 else "is compared without it"
            warnings.warn(
                f"group {group!r} has no rows in domain {lacking}, so it {outcome}.",
                DomainWarning,
                stacklevel=4,
            )
        if len(present) > 1:
            found.append((g, present))
    if not found:
        raise ArgumentError(
            "no group has rows of two domains, so no group gives a direction; the groups are "
            f"{', '.join(repr(name) for name in groups[:8])}. Check that sample_group names "
            "subsets that the domains share, or fit without groups."
        )
    return found
