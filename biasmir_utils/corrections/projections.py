"""Corrections that take directions out, the same for every row: what tells the domains apart.

`DomainLDA` is the paper's; `MeanProjection` and `LEACE` make the domains' means equal; `INLP`
takes out linear classifiers, and `RandomProjection` any directions, as a control.

What tells domains apart in the mean are covariances of the features with the domain, up to a
factor: for two domains the difference of their means; with groups one for each group; and, given
a covariate, the covariance with what of the domain the covariate does not explain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import scale
from sklearn.utils import check_random_state

from biasmir_utils.corrections import base
from biasmir_utils.corrections.base import FloatArray, Labels, Method, parameter
from biasmir_utils.corrections.covariance import (
    Dense,
    DiagonalPlusRows,
    SingularCovarianceError,
    shrunk,
    total_covariance,
    within_domain_covariance,
)
from biasmir_utils.corrections.moments import MomentCorrection, Moments
from biasmir_utils.errors import ArgumentError

# Share of a difference that must be left beside what is kept.
LEAST_APART = 1e-8


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


def comparable_groups(
    counts: npt.NDArray[np.integer[Any]], groups: list[Any], domains: list[Any]
) -> list[tuple[int, npt.NDArray[np.intp]]]:
    """Return the groups that at least two domains share, with the domains that each has.

    Parameters
    ----------
    counts : ndarray of int, (n_groups, n_domains)
        Rows of each group in each domain, or whether there are any.
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
            base.warn(f"group {group!r} has no rows in domain {lacking}, so it {outcome}.")
        if len(present) > 1:
            found.append((g, present))
    if not found:
        raise ArgumentError(
            "no group has rows of two domains, so no group gives a direction; the groups are "
            f"{', '.join(repr(name) for name in groups[:8])}. Check that sample_group names "
            "subsets that the domains share, or fit without groups."
        )
    return found


def in_each_group(
    X: FloatArray, domains: Labels | None, groups: Labels | None, find: Callable[..., FloatArray]
) -> tuple[FloatArray, list[Any]]:
    """Return the vectors that are found in each group, one after the other, and their groups.

    Parameters
    ----------
    X : ndarray, (n_samples, n_features)
    domains, groups : Labels or None
        Of each row. Without groups all rows are one, by the name of None.
    find : callable
        Takes a group's name, its rows of X, and their domains, and returns the group's vectors.
    """
    vectors: list[FloatArray] = [np.empty((0, X.shape[1]))]
    of_group: list[Any] = []
    if domains is not None:
        groups = groups or Labels(np.zeros(len(X), dtype=np.intp), [None])
        counts = base.cell_counts(groups.codes, len(groups.names), domains)
        for g, _ in comparable_groups(counts, groups.names, domains.names):
            rows = groups.codes == g if len(groups.names) > 1 else slice(None)
            vectors.append(find(groups.names[g], rows, domains[rows]))
            of_group += [groups.names[g]] * len(vectors[-1])
    return np.concatenate(vectors), of_group


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
    domains, groups = moments.domains, moments.groups
    if len(domains) < 2:
        return np.empty((0, moments.n_features)), []
    counts = np.array([[(d, group) in moments.cells for d in domains] for group in groups])
    rows, of_group = [], []
    for g, present in comparable_groups(counts, groups, domains):
        first, *others = (moments.cells[domains[d], groups[g]].mean for d in present)
        rows += [mean - first for mean in others]
        of_group += [groups[g]] * len(others)
    return without_rounding(np.array(rows), moments.largest), of_group


def conditional_differences(X: FloatArray, domains: Labels, covariate: FloatArray) -> FloatArray:
    """Return the covariances of the features with the domain, given a covariate.

    The domain's indicators are regressed on the covariate, and the features' covariances with
    the residuals are returned: zero where domains differ only because the covariate does.

    Parameters
    ----------
    X : ndarray, (n_samples, n_features)
        Rows of embeddings, or of features made of them.
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
        base.warn(
            "the domain is determined by what it is conditioned on, so nothing is left to remove."
        )
        return np.zeros((residuals.shape[1], X.shape[1]))
    rows = residuals.T @ (X - X.mean(axis=0)) / len(X)
    return without_rounding(rows, base.largest_values(X))


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
    if not isinstance(values, Labels):
        array = np.asarray(values)
        if array.ndim > 1 or (array.ndim == 1 and array.dtype.kind == "f"):
            numbers = array.reshape(len(array), -1).astype(np.float64)
            wrong = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
            if len(wrong):
                raise ArgumentError(
                    f"the {name} is NaN or infinite in row {wrong[0]}; leave it out."
                )
            if len(numbers) == n_samples:
                return np.asarray(scale(numbers))
    labels = Labels.of(values, n_samples, name)
    return np.eye(len(labels.names))[labels.codes]


def without_rounding(rows: FloatArray, largest: npt.NDArray[Any]) -> FloatArray:
    """Set to zero what does not exceed the rounding of the largest value of its feature."""
    rows[np.abs(rows) <= base.rounding(largest)] = 0.0
    return rows


def lda_coefficients(
    X: FloatArray, codes: npt.NDArray[np.intp], shrinkage: Any = "auto"
) -> FloatArray:
    """Return the coefficients of a linear discriminant analysis between domains.

    Row k - 1 is ``S^-1 (mean_k - mean_0)`` with the pooled, shrunk covariance S within the
    domains and priors from the numbers of rows. For two domains it is the `coef_` of
    scikit-learn's ``LinearDiscriminantAnalysis(solver='eigen', shrinkage='auto')``; for more,
    the rows span what the differences of its `coef_` span. With n < D the system is solved in
    n dimensions, otherwise in D; there is no eigenproblem.

    Parameters
    ----------
    X : array-like, (n_samples, n_features)
        Rows of embeddings, or of features made of them.
    codes : array of int, (n_samples,)
        Domain of each row, 0 to K - 1, each occurring.
    shrinkage : 'auto' or float in [0, 1]
        'auto' is the Ledoit-Wolf formula on each standardised domain.

    Returns
    -------
    ndarray, (K - 1, n_features)
        A row is zero where two means differ by no more than rounding.

    Raises
    ------
    SingularCovarianceError
        If S is singular.
    """
    X = np.asarray(X, dtype=np.float64)
    means, covariance = within_domain_covariance(X, codes, shrinkage)
    # Of a constant feature the rounding must go, too: its variance here is 1 (see the covariance),
    # so that in large units the rounding alone would make a direction.
    differences = without_rounding(means[1:] - means[0], base.largest_values(X))
    return covariance.solve(differences)


class DifferenceProjection(base.ThinCorrection):
    """Mixin of the corrections that find one vector a pair of domains, in each group if any."""

    tol: float
    given: str | None = None

    def _keep(self, rows: FloatArray, of_group: list[Any]) -> None:
        """Keep the vectors, and what they span as what is projected out."""
        self.coef_, self.coef_groups_ = rows, of_group
        self.directions_, self.singular_values_ = orthonormal_rows(rows, self.tol)
        self.rank_ = len(self.directions_)
        self._warn_of_equal_means(rows)

    def _warn_of_equal_means(self, rows: FloatArray) -> None:
        if self.given is None and len(rows) and not rows.any():
            base.warn("the means of the domains are equal, so there is no direction to remove.")


@Method(
    "lda",
    "project out the LDA direction between the datasets (the paper's)",
    has_groups=True,
    aliases={
        "mlda": "lda:groups=group",
        "klda": "lda:kernel=fastfood",
        "mklda": "lda:groups=group,kernel=fastfood",
    },
    sets={"paper": ("lda", "mlda", "klda", "mklda"), "standard": ("lda", "mlda", "klda")},
    place=1,
)
class DomainLDA(DifferenceProjection, base.DomainTransformer):
    r"""Project out the directions of a linear discriminant analysis between domains.

    With two domains A and B, w = S^-1 (mean_B - mean_A) and ``v = w / |w|``, a row x becomes
    ``x - alpha (v'x) v``: `lda` in the paper. With `sample_group` one such w is computed in
    each group, and the span of all of them is projected out: `mlda`. With more than two
    domains, the K - 1 directions of the multi-class analysis are (one pooled S for all
    domains), in each group for the domains that it has.

    Needs rows of both domains, no labels, and no domain at transform time.

    Parameters
    ----------
    alpha : float, default 1.0
        Dose in [0, 1]; 0 is the identity, 1 the projection.
    shrinkage : 'auto' or float in [0, 1], default 'auto'
        Shrinkage of each domain's covariance: the Ledoit-Wolf formula on the standardised
        domain (the paper's), or a fixed share.
    tol : float, default 1e-6
        A direction counts towards the rank when the singular value of the stacked unit
        directions exceeds `tol` times the largest.
    singular : {'error', 'warn'}, default 'error'
        What to do with a group whose shrunk covariance is singular (for instance one row in
        each domain): raise an error, or warn and leave it without a direction.

    Attributes
    ----------
    directions_ : ndarray, (rank_, n_features)
        Orthonormal rows that span what is projected out.
    rank_ : int
        Number of directions.
    coef_ : ndarray, (n_coefficients, n_features)
        The coefficient vectors as they come out of the analysis, one group after the other; W
        in the paper.
    coef_groups_ : list
        Group of each row of `coef_`; None without groups, and for missing group labels.
    singular_values_ : ndarray
        Singular values of the rows of `coef_` at unit length.
    domains_ : list
        The domains seen in `fit`.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of str
        Names of the features, where X had them.

    Warns
    -----
    DomainWarning
        If there is one domain only, if a group lacks a domain, or if the domains' means are
        equal.

    Raises
    ------
    SingularCovarianceError
        If the shrunk covariance is singular; the message names the group.
    ArgumentError
        If no group has rows of two domains, or a parameter has an impossible value.

    Notes
    -----
    With two domains, their means :math:`\bar x_A, \bar x_B` and the shrunk covariance S within
    them,

    .. math::

        x' = x - \alpha\, v v^\top x, \qquad v = w / \lVert w \rVert, \qquad
        w = S^{-1} (\bar x_B - \bar x_A),

    and with groups ``V V' x`` in place of ``v v' x``, the columns of V an orthonormal basis of the
    directions of all groups.

    Information used: unlabelled rows of all domains, with their domain;
    with `sample_group` the groups of these rows as well. Nothing at transform time.

    Guarantee: with alpha 1, nothing is left along the directions, on any row: v'x' = 0. None on
    the means, which often stay apart (not if v is parallel to their difference, and shrinkage
    makes it nearly that), nor on what a linear classifier of the domain then finds.

    References
    ----------
    C. Wang, G. Richard and B. McFee, "Transfer learning and bias correction with pre-trained
    audio embeddings", ISMIR 2023, Equations 1 to 3. O. Ledoit and M. Wolf, "A well-conditioned
    estimator for large-dimensional covariance matrices", Journal of Multivariate Analysis 88,
    2004, for the shrinkage.

    Examples
    --------
    >>> import numpy as np
    >>> from biasmir_utils.corrections import DomainLDA
    >>> rng = np.random.default_rng(0)
    >>> domain = np.repeat(["a", "b"], 50)
    >>> X = rng.normal(size=(100, 3)) + np.outer(domain == "b", [4.0, 0.0, 0.0])
    >>> correction = DomainLDA().fit(X, sample_domain=domain)
    >>> correction.rank_
    1
    >>> corrected = correction.transform(X)
    >>> bool(np.allclose(corrected @ correction.directions_.T, 0))
    True

    In a pipeline, scikit-learn's metadata routing brings the domains to the correction; switched on
    for these lines only, it changes nothing elsewhere.

    >>> import sklearn
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> y = (X[:, 2] > 0).astype(int)
    >>> with sklearn.config_context(enable_metadata_routing=True):
    ...     pipeline = make_pipeline(StandardScaler(), DomainLDA(), LogisticRegression())
    ...     pipeline = pipeline.fit(X, y, sample_domain=domain)
    ...     accuracy = pipeline.score(X, y)
    >>> accuracy > 0.9
    True
    >>> pipeline["domainlda"].domains_
    ['a', 'b']
    """

    alpha: float = parameter(base.SHARE, default=1.0, kw_only=False)
    shrinkage: Any = parameter(base.SHRINKAGE, default="auto")
    tol: float = parameter(base.SHARE, default=1e-6)
    singular: str = parameter(base.Option(("error", "warn")), default="error")

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        def find(group: Any, rows: Any, part: Labels) -> FloatArray:
            try:
                return lda_coefficients(X[rows], part.codes, self.shrinkage)
            except SingularCovarianceError as error:
                if groups is None:
                    raise
                if self.singular == "error":
                    raise SingularCovarianceError(f"group {group!r}: {error}") from None
                base.warn(f"group {group!r} gives no direction: {error}")
                return np.empty((0, X.shape[1]))

        self._keep(*in_each_group(X, domains, groups, find))


class DifferenceCorrection(DifferenceProjection, MomentCorrection):
    """Base of the corrections that remove differences of means.

    With ``given='label'`` the domain is conditioned on `y`, with ``given='group'`` on
    `sample_group`, which then makes no groups.
    """

    alpha: float = parameter(base.SHARE, default=1.0, kw_only=False)
    tol: float = parameter(base.SHARE, default=1e-6)
    given: str | None = parameter(base.Option((None, "label", "group")), default=None)

    @property
    def moments_suffice(self) -> bool:
        """Whether the correction can be fitted from moments, as it can without `given`."""
        return self.given is None

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        if domains is None or (self.given is None and len(X) >= X.shape[1]):
            super()._learn(X, y, domains, groups)
        elif self.given is None:  # of fewer rows than features, moments would be the larger
            means = Moments(X.shape[1]).update(X, domains, groups)
            self._learn_differences(X, *mean_differences(means))
        else:
            by_group = self.given == "group"
            covariate = covariate_columns(groups if by_group else y, len(X), self.given)

            def find(group: Any, rows: Any, part: Labels) -> FloatArray:
                return conditional_differences(X[rows], part, covariate[rows])

            groups = None if by_group else groups
            self._learn_differences(X, *in_each_group(X, domains, groups, find))

    def _learn_differences(self, X: FloatArray, rows: FloatArray, of_group: list[Any]) -> None:
        """Learn from the rows and their differences, not from moments."""
        self._keep(rows, of_group)


@Method(
    "meanproj",
    "project out the difference of the datasets' means",
    has_groups=True,
    sets={
        "standard": ("meanproj", "placebo:meanproj"),
        "all": ("meanproj:groups=group", "meanproj:given=label"),
    },
    place=3,
)
class MeanProjection(DifferenceCorrection):
    r"""Project out the differences of the domains' means, orthogonally.

    With two domains, delta = mean_B - mean_A and ``u = delta / |delta|``, a row x becomes
    ``x - alpha (u'x) u``; with K domains the K - 1 differences are projected out (spectral
    attribute removal with the domain as attribute), and with `sample_group` the differences in
    all groups.

    Needs rows of both domains, no labels (unless given) and no domain at transform time.

    Parameters
    ----------
    alpha : float, default 1.0
        Dose in [0, 1]; 0 is the identity, 1 the projection.
    tol : float, default 1e-6
        A difference counts towards the rank when the singular value of the stacked unit
        differences exceeds `tol` times the largest.
    given : {'label', 'group'} or None, default None
        Condition on the labels or the groups: the covariance of the features with what of the
        domain they do not explain is projected out, instead of the difference of means.

    Attributes
    ----------
    directions_ : ndarray, (rank_, n_features)
        Orthonormal rows that span what is projected out.
    rank_ : int
        Number of directions that are taken out.
    coef_ : ndarray, (n_differences, n_features)
        The differences, one group after the other.
    coef_groups_ : list
        Group of each row of `coef_`; None without groups.
    singular_values_ : ndarray
        Singular values of the rows of `coef_` at unit length.
    domains_ : list
        The domains seen in `fit`, sorted.

    Notes
    -----
    With the columns of U an orthonormal basis of the differences of the domains' means (of two
    domains one, :math:`u = \delta / \lVert\delta\rVert`),

    .. math:: x' = x - \alpha\, U U^\top x.

    Information used: unlabelled rows of all domains, with their domain;
    with `sample_group` or ``given='group'`` the groups of these rows as well, with
    ``given='label'`` their labels. Nothing at transform time.

    Guarantee: with alpha 1 the domains have equal means on the rows of `fit` (with groups, within
    each group that is shared; not over all rows, where groups are in other shares in each
    domain). So no affine predictor of the domain has a lower expected loss there than the best
    constant, for the squared, the logistic and any other convex loss. That is no statement on
    accuracy or ROC-AUC: domains of equal means may differ in their spread. It removes more of the
    features' variance than `LEACE`, which guarantees the same. With `given`, the same for what of
    the domain the labels or groups do not explain.

    References
    ----------
    S. Shao, Y. Ziser and S. B. Cohen, "Gold doesn't always glitter: spectral removal of linear and
    nonlinear guarded attribute information", EACL 2023. N. Belrose et al., "LEACE: perfect linear
    concept erasure in closed form", NeurIPS 2023, Theorem 3.1, for what equal means guarantee.
    """

    def _solve(self, moments: Moments) -> None:
        self._keep(*mean_differences(moments))


class Erasure(DifferenceProjection):
    """Mixin of the corrections that read one thing off a row and subtract along another."""

    mean_: FloatArray
    left_: FloatArray

    def _erase(
        self,
        rows: FloatArray,
        of_group: list[Any],
        covariance: Dense | DiagonalPlusRows | None,
        largest: FloatArray,
        mean: FloatArray,
        kept: FloatArray | None = None,
    ) -> None:
        """Learn to erase differences of means; what is read has no covariance with `kept`."""
        self.coef_, self.coef_groups_, self.mean_ = rows, of_group, mean
        self.left_ = self.directions_ = np.empty((0, rows.shape[1]))
        self._warn_of_equal_means(rows)
        if covariance is not None and rows.any():
            covariance = covariance.without(covariance.variance <= base.rounding(largest) ** 2)
            # The rank is decided in standard deviations; features without one have no part in the
            # directions, not even by the rounding of the basis.
            deviation = np.sqrt(covariance.variance)
            units = np.divide(rows, deviation, out=np.zeros_like(rows), where=deviation > 0)
            basis = orthonormal_rows(units, self.tol)[0] * deviation
            self.directions_ = np.ascontiguousarray(np.linalg.qr(basis.T)[0].T)
            wanted = self.directions_ if kept is None else np.vstack([self.directions_, kept])
            try:
                solved = covariance.solve(wanted)
            except SingularCovarianceError:
                solved = covariance.pseudo_solve(wanted)
            if kept is not None:
                solved = self._apart(solved, kept)
            self.left_ = np.linalg.solve(self.directions_ @ solved.T, solved)
        self.rank_ = len(self.directions_)

    def _apart(self, solved: FloatArray, kept: FloatArray) -> FloatArray:
        """Return the first of the solutions without what has a covariance with `kept`."""
        own, other = np.split(solved, [len(self.directions_)])
        apart = own - own @ kept.T @ np.linalg.pinv(other @ kept.T, hermitian=True) @ other
        left, of = self.directions_ @ apart.T, self.directions_ @ own.T
        if np.linalg.eigvals(np.linalg.solve(of, left)).real.min() < LEAST_APART:
            raise ArgumentError(
                "singular: the datasets differ along the covariance of the features with the label "
                "only, which cannot be both erased and kept."
            )
        return apart

    @property
    def thin_map(self) -> base.ThinMap:
        """The erasure at full dose."""
        return base.ThinMap(self.left_, self.directions_, self.mean_)


@Method(
    "leace",
    "erase the difference of the datasets' means with the least change",
    has_groups=True,
    sets={
        "standard": ("leace", "leace:groups=group", "placebo:leace"),
        "all": ("leace:given=label", "leace:given=group", "leace:kernel=fastfood"),
    },
    place=4,
)
class LEACE(Erasure, DifferenceCorrection):
    r"""Remove the differences of the domains' means with the least change of the rows.

    With S the covariance of all rows, mu their mean and the columns of Q an orthonormal basis
    of the differences between the domains' means, a row x becomes
    ``x - alpha Q (Q' S^-1 Q)^-1 Q' S^-1 (x - mu)``. For two domains that is the score of the
    paper's LDA, w'(x - mu) with w = S^-1 delta, subtracted along delta instead of along w:
    ``x - alpha delta w'(x - mu) / (w' delta)``. With `sample_group` the differences in all groups
    are removed together.

    Needs rows of both domains, no labels (unless given) and no domain at transform time.

    Parameters
    ----------
    alpha : float, default 1.0
        Dose in [0, 1]; 0 is the identity, 1 the erasure.
    shrinkage : 'auto' or float in [0, 1], default 'auto'
        Share of S that is replaced by its mean variance on the diagonal: by the oracle
        approximating formula, or fixed. With 0 and a singular S the pseudo-inverse is taken.
        With 1 the map is `MeanProjection`, around mu.
    tol : float, default 1e-8
        A difference counts towards the rank when the singular value of the stacked unit
        differences (in standard deviations of each feature) exceeds `tol` times the largest.
    given : {'label', 'group'} or None, default None
        Condition on the labels or the groups: what is removed is the covariance of the
        features with what of the domain they do not explain.

    Attributes
    ----------
    left_ : ndarray, (rank_, n_features)
        What is read off a centred row: ``(Q' S^-1 Q)^-1 Q' S^-1``.
    directions_ : ndarray, (rank_, n_features)
        The orthonormal rows Q' along which the rows move.
    mean_ : ndarray, (n_features,)
        mu, which stays where it is.
    rank_ : int
        Number of directions that are taken out.
    coef_ : ndarray, (n_differences, n_features)
        The differences, one group after the other.
    coef_groups_ : list
        Group of each row of `coef_`; None without groups.
    domains_ : list
        The domains seen in `fit`, sorted.

    Notes
    -----
    For two domains, with :math:`\delta` the difference of their means,

    .. math:: x' = x - \alpha\, \delta\, \frac{w^\top (x - \mu)}{w^\top \delta},
        \qquad w = S^{-1} \delta,

    and in general, with the columns of Q an orthonormal basis of all differences,

    .. math:: x' = x - \alpha\, Q (Q^\top S^{-1} Q)^{-1} Q^\top S^{-1} (x - \mu).

    S may be the covariance of all rows or that within the domains: for two domains both give the
    same map, before shrinkage.

    Information used: unlabelled rows of all domains, with their domain;
    with `sample_group` or ``given='group'`` the groups of these rows as well, with
    ``given='label'`` their labels. Nothing at transform time.

    Guarantee: with alpha 1, and whatever the shrinkage, the features have no covariance with the
    domain on the rows of `fit` (with groups, none within each group that is shared; over all rows
    there may be one, where groups are in other shares in each domain). So no affine predictor of
    the domain has a lower expected loss there than the best constant, for the squared, the
    logistic and any other convex loss. That is no statement on accuracy or ROC-AUC: domains of
    equal means may differ in their spread, and a threshold may then tell them apart better than
    chance. On fresh rows it holds as nearly as the means were estimated. Without shrinkage and
    groups it is, among the affine maps with this property, the one that changes the rows least in
    mean squared distance; with groups it would be with the covariance of all rows in place of the
    one within the domains, which is used here and gives another map. With `given`, all of this
    holds for what of the domain the labels or groups do not explain.

    References
    ----------
    N. Belrose et al., "LEACE: perfect linear concept erasure in closed form", NeurIPS 2023,
    Theorem 3.1 for the losses, Theorem 4.3 for the map. Y. Chen, A. Wiesel, Y. C. Eldar and A. O.
    Hero, "Shrinkage algorithms for MMSE covariance estimation", IEEE Transactions on Signal
    Processing 58, 2010, for the shrinkage.

    Examples
    --------
    >>> import numpy as np
    >>> from biasmir_utils.corrections import LEACE
    >>> rng = np.random.default_rng(0)
    >>> domain = np.repeat(["a", "b"], 50)
    >>> X = rng.normal(size=(100, 3)) + np.outer(domain == "b", [4.0, 0.0, 1.0])
    >>> erased = LEACE().fit_transform(X, sample_domain=domain)
    >>> bool(np.allclose(erased[:50].mean(axis=0), erased[50:].mean(axis=0)))
    True
    """

    shrinkage: Any = parameter(base.SHRINKAGE, default="auto")
    tol: float = parameter(base.SHARE, default=1e-8)
    required_scatter = "pooled"

    def _learn_differences(self, X: FloatArray, rows: FloatArray, of_group: list[Any]) -> None:
        covariance = total_covariance(X, self.shrinkage)
        self._erase(rows, of_group, covariance, base.largest_values(X), X.mean(axis=0))

    def _solve(self, moments: Moments) -> None:
        rows, of_group = mean_differences(moments)
        n, covariance = moments.n_features, None
        if len(rows):
            total = moments.total_covariance()
            covariance = Dense(shrunk(total, moments.count, n, self.shrinkage)[0])
        mean = moments.mean() if len(rows) else np.zeros(n)
        self._erase(rows, of_group, covariance, moments.largest, mean)


@Method(
    "splince",
    "erase as leace does, and keep the covariance with the labels",
    information="labelled target",
    place=4.5,
)
class SPLINCE(Erasure, base.DomainTransformer):
    r"""Remove the differences of the domains' means, and keep the covariance with the labels.

    With S the covariance of all rows, mu their mean, delta the difference of the domains' means
    and the columns of K the covariances of the features with the labels, a row x becomes
    ``x - alpha delta u'(x - mu) / (u' delta)`` with
    ``u = S^-1 (delta - K (K' S^-1 K)^-1 K' S^-1 delta)``: as `LEACE`, but what is read off a row
    has no covariance with the labels. With more domains the differences are removed together.

    Needs rows of both domains with their labels, and no domain at transform time.

    Parameters
    ----------
    alpha : float, default 1.0
        Dose in [0, 1]; 0 is the identity, 1 the erasure.
    shrinkage : 'auto' or float in [0, 1], default 'auto'
        As in `LEACE`.
    tol : float, default 1e-8
        As in `LEACE`.

    Attributes
    ----------
    left_ : ndarray, (rank_, n_features)
        What is read off a centred row.
    directions_ : ndarray, (rank_, n_features)
        The orthonormal rows along which the rows move.
    mean_ : ndarray, (n_features,)
        mu, which stays where it is.
    rank_ : int
        Number of directions that are taken out.
    coef_ : ndarray, (n_differences, n_features)
        The differences of the means.
    domains_ : list
        The domains seen in `fit`, sorted.

    Raises
    ------
    ArgumentError
        In `fit` without labels, and where the domains differ along K only.

    Notes
    -----
    For two domains, with :math:`\delta` the difference of their means and K the covariances with
    the labels,

    .. math:: x' = x - \alpha\, \delta\, \frac{u^\top (x - \mu)}{u^\top \delta},
        \qquad u = S^{-1} \bigl(\delta - K (K^\top S^{-1} K)^{-1} K^\top S^{-1} \delta\bigr).

    Information used: rows of all domains, with their domain and their labels. Nothing at transform
    time.

    Guarantee: with alpha 1, and whatever the shrinkage, the features have no covariance with the
    domain on the rows of `fit`, as after `LEACE`, and that with the labels is the one of before.
    Without shrinkage it is, among the affine maps with both properties, the one that changes the
    rows least in mean squared distance. On fresh rows all that holds as nearly as the means and
    covariances were estimated. That a recogniser gets better is not said.

    References
    ----------
    F. Holstege, S. Ravfogel and B. Wouters, "Preserving task-relevant information under linear
    concept removal", NeurIPS 2025.
    """

    alpha: float = parameter(base.SHARE, default=1.0, kw_only=False)
    shrinkage: Any = parameter(base.SHRINKAGE, default="auto")
    tol: float = parameter(base.SHARE, default=1e-8)
    needs_labels = True

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        mean, largest = X.mean(axis=0), base.largest_values(X)
        if domains is None:
            self._erase(np.empty((0, X.shape[1])), [], None, largest, mean)
            return
        labels = covariate_columns(y, len(X), "label")
        kept = (labels - labels.mean(axis=0)).T @ (X - mean) / len(X)
        rows, of_group = mean_differences(Moments(X.shape[1]).update(X, domains))
        covariance = total_covariance(X, self.shrinkage)
        self._erase(rows, of_group, covariance, largest, mean, without_rounding(kept, largest))


@Method("inlp", "project out linear classifiers of the dataset, one after the other", place=7)
class INLP(base.ThinCorrection, base.DomainTransformer):
    r"""Project out the weights of linear domain classifiers, one after the other.

    A logistic regression is trained to tell the domains apart, its weights are projected out,
    another one is trained on what remains, and so on: here for comparison, `LEACE` erases the
    same information in closed form with one direction.

    Needs rows of both domains, no labels and no domain at transform time. With fewer rows than
    features it takes out direction after direction, since some linear classifier always succeeds.

    Parameters
    ----------
    alpha : float, default 1.0
        Dose in [0, 1]; 0 is the identity, 1 the projection.
    n_classifiers : int, default 20
        How many at most.
    tol : float, default 0.05
        The iteration stops when the balanced accuracy on the rows of `fit` is at most
        1 / n_domains + tol.
    C : float, default 1.0
        Inverse strength of the classifiers' penalty, on rows scaled to a mean variance of 1.

    Attributes
    ----------
    directions_ : ndarray, (rank_, n_features)
        Orthonormal rows that span what is projected out.
    rank_ : int
        Number of directions that are taken out.
    accuracies_ : list of float
        Balanced accuracy of each classifier on the rows that it was fitted on.
    domains_ : list
        The domains seen in `fit`, sorted.

    Notes
    -----
    With :math:`q_1` the weights of the first classifier, and :math:`q_{k+1}` those of one that is
    trained on the rows after :math:`I - Q_k Q_k^\top`, where the columns of :math:`Q_k` are an
    orthonormal basis of :math:`q_1, \dots, q_k`,

    .. math:: x' = x - \alpha\, Q_k Q_k^\top x,

    with the last of the bases.

    Information used: unlabelled rows of all domains, with their domain.
    Nothing at transform time.

    Guarantee: with alpha 1, and if the iteration stopped before `n_classifiers`, that the last of
    these classifiers had a balanced accuracy of at most 1 / n_domains + tol on the rows of `fit`.
    None on other classifiers, on the means, which may stay apart, or on other rows.

    References
    ----------
    S. Ravfogel, Y. Elazar, H. Gonen, M. Twiton and Y. Goldberg, "Null it out: guarding protected
    attributes by iterative nullspace projection", ACL 2020.
    """

    alpha: float = parameter(base.SHARE, default=1.0, kw_only=False)
    n_classifiers: int = parameter(base.Option(low=1, whole=True), default=20)
    tol: float = parameter(base.SHARE, default=0.05)
    C: float = parameter(base.POSITIVE, default=1.0)

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        self.directions_: FloatArray = np.empty((0, X.shape[1]))
        self.accuracies_: list[float] = []
        if domains is not None:
            self._iterate(X - X.mean(axis=0), domains)
        self.rank_ = len(self.directions_)

    def _iterate(self, X: FloatArray, domains: Labels) -> None:
        # With fewer rows than features, work in coordinates of their span: an L2 penalty keeps
        # the weights there.
        basis: FloatArray | None = None
        if len(X) < X.shape[1]:
            basis = np.linalg.qr(X.T)[0].T
            X = X @ basis.T
        deviation = np.sqrt((X**2).sum() / (len(X) * self.n_features_in_))
        left = X / (deviation or 1.0)
        weights = np.empty((0, X.shape[1]))
        for _ in range(self.n_classifiers):
            classifier = LogisticRegression(C=self.C, class_weight="balanced", max_iter=2000)
            classifier.fit(left, domains.codes)
            accuracy = balanced_accuracy_score(domains.codes, classifier.predict(left))
            self.accuracies_.append(float(accuracy))
            if accuracy <= 1 / len(domains.names) + self.tol:
                break
            weights = np.vstack([weights, classifier.coef_])
            removed, _ = orthonormal_rows(weights, 1e-8)
            left = base.ThinMap(removed, removed)(left)
        weights = weights if basis is None else weights @ basis
        self.directions_, _ = orthonormal_rows(weights, 1e-8)


@Method(
    "random",
    "project out a random subspace of the same rank (the control)",
    information="source only",
    has_groups=True,
    sets={"standard": ("random",), "all": ("random:groups=group",)},
    place=8,
)
class RandomProjection(base.ThinCorrection, base.DomainTransformer):
    r"""Project out a random subspace: what the removal of any directions would do.

    The control for the other projections: of the same rank, but blind to the domain.

    Parameters
    ----------
    alpha : float, default 1.0
        Dose in [0, 1].
    rank : int or None, default None
        Dimension of the subspace; None is that of `MeanProjection` on the same rows: the number
        of domains minus one, with `sample_group` in each group.
    random_state : int, RandomState or None, default 0
        Seed of the subspace.

    Attributes
    ----------
    directions_ : ndarray, (rank_, n_features)
        Orthonormal rows, uniformly distributed.
    rank_ : int
        Number of directions that are taken out.
    domains_ : list
        The domains seen in `fit`, sorted.

    Notes
    -----
    With R an orthonormal basis (D x rank) of a subspace drawn uniformly,

    .. math:: x' = x - \alpha\, R R^\top x.

    On average over the draws a share rank / D of the summed squares of the rows is removed. One
    fit is one draw: how much another would change a result, only other values of `random_state`
    show.

    Information used: of the rows none; the number of domains, and of groups that they share,
    decides the rank.

    Guarantee: none. It is the control.

    References
    ----------
    Y. Elazar, S. Ravfogel, A. Jacovi and Y. Goldberg, "Amnesic probing: behavioral explanation
    with amnesic counterfactuals", TACL 9, 2021: removal of random directions as the control of a
    removal. F. Mezzadri, "How to generate random matrices from the classical compact groups",
    Notices of the AMS 54, 2007: uniform subspaces from the QR factors of Gaussian matrices.
    """

    alpha: float = parameter(base.SHARE, default=1.0, kw_only=False)
    rank: int | None = parameter(base.Option((None,), low=0, whole=True), default=None)
    random_state: Any = parameter(base.SEED, default=0)
    sees_domains = False

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        rank = 0 if domains is None else self.rank
        if rank is None:
            rank = len(mean_differences(Moments(X.shape[1]).update(X, domains, groups))[0])
        gaussian = check_random_state(self.random_state).standard_normal(
            (X.shape[1], min(rank, X.shape[1]))
        )
        self.directions_: FloatArray = np.asarray(np.linalg.qr(gaussian)[0].T)
        self.rank_ = len(self.directions_)
