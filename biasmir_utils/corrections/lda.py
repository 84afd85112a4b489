"""The paper's correction: the direction that tells two datasets apart, projected out.

References
----------
C. Wang, G. Richard and B. McFee, "Transfer learning and bias correction with pre-trained audio
embeddings", ISMIR 2023, Equations 1 to 3.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from biasmir_utils.corrections.base import (
    DomainTransformer,
    FloatArray,
    ThinCorrection,
    check_share,
    orthonormal_rows,
)
from biasmir_utils.corrections.covariance import (
    SingularCovarianceError,
    within_domain_covariance,
)
from biasmir_utils.corrections.differences import without_rounding
from biasmir_utils.corrections.labels import DomainWarning, Labels, comparable_groups
from biasmir_utils.errors import ArgumentError


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
    differences = without_rounding(means[1:] - means[0], np.abs(X).max(axis=0))
    return covariance.solve(differences)


class DomainLDA(ThinCorrection, DomainTransformer):
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
    the means, which stay apart unless v is parallel to their difference, nor on what a linear
    classifier of the domain then finds.

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

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        shrinkage: Any = "auto",
        tol: float = 1e-6,
        singular: str = "error",
    ) -> None:
        self.alpha = alpha
        self.shrinkage = shrinkage
        self.tol = tol
        self.singular = singular

    def _check_parameters(self) -> None:
        check_share(self.alpha, "alpha")
        check_share(self.tol, "tol")
        if self.shrinkage != "auto":
            check_share(self.shrinkage, "shrinkage")
        if self.singular not in ("error", "warn"):
            raise ArgumentError(f"singular must be 'error' or 'warn', not {self.singular!r}.")

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        rows: list[FloatArray] = [np.empty((0, X.shape[1]))]
        of_group: list[Any] = []
        if domains is not None and groups is None:
            rows.append(lda_coefficients(X, domains.codes, self.shrinkage))
            of_group.extend([None] * len(rows[-1]))
        elif domains is not None and groups is not None:
            for group, coefficients in self._group_coefficients(X, domains, groups):
                rows.append(coefficients)
                of_group.extend([group] * len(coefficients))
        self._keep(np.concatenate(rows), of_group)

    def _group_coefficients(
        self, X: FloatArray, domains: Labels, groups: Labels
    ) -> list[tuple[Any, FloatArray]]:
        counts = np.zeros((len(groups.names), len(domains.names)), dtype=int)
        np.add.at(counts, (groups.codes, domains.codes), 1)
        found: list[tuple[Any, FloatArray]] = []
        for code, _ in comparable_groups(counts, groups.names, domains.names):
            group, members = groups.names[code], groups.codes == code
            _, codes = np.unique(domains.codes[members], return_inverse=True)
            try:
                found.append((group, lda_coefficients(X[members], codes, self.shrinkage)))
            except SingularCovarianceError as error:
                if self.singular == "error":
                    raise SingularCovarianceError(f"group {group!r}: {error}") from None
                warnings.warn(
                    f"group {group!r} gives no direction: {error}", DomainWarning, stacklevel=4
                )
        return found

    def _keep(self, coef: FloatArray, of_group: list[Any]) -> None:
        self.coef_ = coef
        self.coef_groups_ = of_group
        self.directions_, self.singular_values_ = orthonormal_rows(coef, self.tol)
        self.rank_ = len(self.directions_)
        if len(coef) and not coef.any():
            warnings.warn(
                "the means of the domains are equal, so there is no direction to remove.",
                DomainWarning,
                stacklevel=4,
            )
