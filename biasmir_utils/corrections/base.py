"""What every correction has in common: its inputs, its dose, and the thin map it applies.

Conventions
-----------
- `X` is a matrix of embeddings, (n_samples, n_features), one row a clip (or a frame).
- `sample_domain` holds the domain (dataset) of each row, integers or strings. None means one
  domain: there is nothing to correct, the transformer is the identity, and a `DomainWarning`
  says so.
- `sample_group` holds the group (genre) of each row; a missing one (None, NaN) is a group of
  its own.
- `alpha` in [0, 1] is the dose: 0 leaves the rows as they are, 1 is the full correction, and
  between them the rows move that share of the way.

A linear correction is kept as a `ThinMap`, two matrices of as many rows as the correction has
directions. The n_features x n_features projection is never built.

Labels of rows: their domain and their group, checked and counted.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

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


FloatArray = npt.NDArray[np.floating[Any]]
FLOAT_DTYPES = (np.float64, np.float32)


@dataclass(frozen=True)
class ThinMap:
    """The map x -> x - dose * right' left (x - center), of rank r.

    Attributes
    ----------
    left : ndarray, (r, n_features)
        What is read off a row: its scores are `left @ (x - center)`.
    right : ndarray, (r, n_features)
        Along what the scores are subtracted. An orthogonal projection has `right == left`.
    center : ndarray, (n_features,), or None
        The point that stays where it is; None is the origin.
    """

    left: FloatArray
    right: FloatArray
    center: FloatArray | None = None

    @property
    def rank(self) -> int:
        """Number of directions that the map touches."""
        return int(self.left.shape[0])

    def __call__(self, X: FloatArray, dose: float = 1.0) -> FloatArray:
        """Return a new array, the rows of `X` after the map, in the dtype of `X`."""
        if self.rank == 0 or dose == 0:
            return X.copy()
        scores = X @ self.left.T.astype(X.dtype, copy=False)
        if self.center is not None:
            scores -= (self.left @ self.center).astype(X.dtype)
        scores *= X.dtype.type(dose)
        moved = scores @ self.right.astype(X.dtype, copy=False)
        return np.subtract(X, moved, out=moved)


def check_share(value: Any, name: str) -> float:
    """Return `value` as a float in [0, 1], or raise an `ArgumentError` that names it."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise ArgumentError(f"{name} must be a number in [0, 1], not {value!r}.")
    if not 0 <= float(value) <= 1:
        raise ArgumentError(f"{name} must lie in [0, 1], not {value!r}.")
    return float(value)


def orthonormal_rows(rows: FloatArray, tol: float) -> tuple[FloatArray, FloatArray]:
    """Return an orthonormal basis of the row space, and the singular values behind its rank.

    The rows are scaled to unit length first, so that the rank is a matter of their angles and
    not of their scales; rows of zeros are left out.

    Parameters
    ----------
    rows : ndarray, (n_rows, n_features)
    tol : float
        A direction counts when its singular value exceeds `tol` times the largest.

    Returns
    -------
    basis : ndarray, (rank, n_features)
    singular_values : ndarray
        Of the unit rows, descending; `basis` holds the right singular vectors of the first
        `rank` of them. A single row keeps its sign.
    """
    lengths = np.linalg.norm(rows, axis=1)
    units = rows[lengths > 0] / lengths[lengths > 0, np.newaxis]
    if len(units) <= 1:
        return units, np.ones(len(units))
    _, values, basis = np.linalg.svd(units, full_matrices=False)
    return basis[values > tol * values[0]], values


class DomainTransformer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Base of the corrections: a scikit-learn transformer that knows the domain of each row.

    A subclass stores its parameters in `__init__`, learns in `_learn` and maps rows in
    `_correct`. In a pipeline with scikit-learn's metadata routing enabled, `sample_domain` and
    `sample_group` are requested by default; nothing is switched on globally.
    """

    __metadata_request__fit = {"sample_domain": True, "sample_group": True}  # noqa: RUF012
    __metadata_request__transform = {"sample_domain": True}  # noqa: RUF012

    _named_with_groups = False

    def fit(
        self, X: Any, y: Any = None, *, sample_domain: Any = None, sample_group: Any = None
    ) -> DomainTransformer:
        """Learn the correction.

        Parameters
        ----------
        X : array-like, (n_samples, n_features)
            Rows of all domains together.
        y : array-like, (n_samples, ...), or None
            Labels; ignored but for corrections that are conditional on them.
        sample_domain : array-like, (n_samples,), or None
            Domain of each row, integers or strings. None, or a single domain, gives the
            identity with a `DomainWarning`.
        sample_group : array-like, (n_samples,), or None
            Group of each row, for the grouped form; None is the form without groups.

        Returns
        -------
        self
        """
        X = validate_data(self, X, dtype=FLOAT_DTYPES)
        self._check_parameters()
        domains = None if sample_domain is None else domain_labels(sample_domain, len(X))
        groups = None if sample_group is None else group_labels(sample_group, len(X))
        self.domains_ = [] if domains is None else domains.names
        if len(self.domains_) < 2 and not isinstance(self, NoCorrection):
            self._warn_of_one_domain()
            domains = groups = None
        if domains is not None:
            self._check_groups(groups is not None)
        self._learn(X.astype(np.float64, copy=False), y, domains, groups)
        return self

    def transform(self, X: Any, *, sample_domain: Any = None) -> Any:
        """Return the corrected rows.

        Parameters
        ----------
        X : array-like, (n_samples, n_features)
        sample_domain : array-like, (n_samples,), or None
            Domain of each row. Projections ignore it; maps that depend on the domain take rows
            without it for those of one unseen domain, with a `DomainWarning`.

        Returns
        -------
        ndarray, (n_samples, n_features)
            New array, float32 for float32 input and float64 otherwise.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOAT_DTYPES, reset=False)
        return self._correct(X, sample_domain)

    def fit_transform(
        self, X: Any, y: Any = None, *, sample_domain: Any = None, sample_group: Any = None
    ) -> Any:
        """Fit to `X` and return it corrected; scikit-learn's own would lose the domains."""
        self.fit(X, y, sample_domain=sample_domain, sample_group=sample_group)
        return self.transform(X, sample_domain=sample_domain)

    @property
    def thin_map(self) -> ThinMap:
        """The fitted correction at full dose, where it is a `ThinMap`.

        A caller can then apply it to inner products of rows, without making the rows. Corrections
        that are no such map do not have the attribute.
        """
        raise AttributeError(f"{type(self).__name__} is not a thin map")

    def _check_groups(self, given: bool) -> None:
        """Raise an `ArgumentError` if the grouped form was asked for by name, without groups."""
        if self._named_with_groups and not given:
            raise ArgumentError(
                f"groups=group needs the group of each row, sample_group, to fit "
                f"{type(self).__name__}; without groups leave the option out, or take groups=auto."
            )

    def __sklearn_clone__(self) -> Any:
        # Not a parameter, since `sample_group` alone makes the grouped form; but a copy of what was
        # named `groups=group` must still be told of groups that are not there.
        fresh = super().__sklearn_clone__()
        fresh._named_with_groups = self._named_with_groups
        return fresh

    def _warn_of_one_domain(self) -> None:
        warnings.warn(
            f"{type(self).__name__} was fitted without sample_domain, or with one domain only: "
            "there is nothing to correct, and the rows will be left as they are.",
            DomainWarning,
            stacklevel=3,
        )

    def _check_parameters(self) -> None:
        """Raise an `ArgumentError` for parameters that no fit can use."""

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        """Learn from rows of at least two domains, or, with `domains` None, the identity."""
        raise NotImplementedError

    def _correct(self, X: FloatArray, sample_domain: Any) -> FloatArray:
        raise NotImplementedError

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class ThinCorrection:
    """Mixin of the corrections that do the same to every row, by a `ThinMap`.

    It is the orthogonal projection that takes out the orthonormal rows `directions_`, where a
    class gives no other.
    """

    alpha: float
    directions_: FloatArray

    @property
    def thin_map(self) -> ThinMap:
        """The correction at full dose."""
        return ThinMap(self.directions_, self.directions_)

    def _correct(self, X: FloatArray, sample_domain: Any) -> FloatArray:
        return self.thin_map(X, float(self.alpha))


class NoCorrection(DomainTransformer):
    r"""Leave every row as it is: the baseline that corrections are compared with.

    Notes
    -----
    .. math:: x' = x

    Information used: none.

    Guarantee: none.

    References
    ----------
    C. Wang, G. Richard and B. McFee, "Transfer learning and bias correction with pre-trained audio
    embeddings", ISMIR 2023: the uncorrected recognisers there.
    """

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        self.rank_ = 0

    @property
    def thin_map(self) -> ThinMap:
        """A map of rank 0."""
        return ThinMap(*np.empty((2, 0, self.n_features_in_)))

    def _correct(self, X: FloatArray, sample_domain: Any) -> FloatArray:
        return X.copy()
