"""Least-squares concept erasure: the mean difference removed with the least change.

References
----------
N. Belrose et al., "LEACE: perfect linear concept erasure in closed form", NeurIPS 2023,
Theorem 4.3. Y. Chen et al., "Shrinkage algorithms for MMSE covariance estimation", IEEE
Transactions on Signal Processing 58, 2010, for the shrinkage.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from biasmir_utils.corrections.base import FloatArray, ThinMap, check_share, orthonormal_rows
from biasmir_utils.corrections.covariance import (
    Dense,
    DiagonalPlusRows,
    SingularCovarianceError,
    shrunk,
    total_covariance,
)
from biasmir_utils.corrections.differences import mean_differences, rounding
from biasmir_utils.corrections.labels import Labels
from biasmir_utils.corrections.moments import Moments
from biasmir_utils.corrections.projections import DifferenceCorrection


class LEACE(DifferenceCorrection):
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
    coef_ : ndarray, (n_differences, n_features)
        The differences, one group after the other.
    coef_groups_ : list
        Group of each row of `coef_`; None without groups.
    domains_ : list

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
    chance. On fresh rows it holds as nearly as the means were estimated. Without shrinkage it is,
    among the affine maps with this property, the one that changes the rows least in mean squared
    distance. With `given`, all of this holds for what of the domain the labels or groups do not
    explain.

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

    _scatter = "pooled"

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        shrinkage: Any = "auto",
        tol: float = 1e-8,
        given: str | None = None,
    ) -> None:
        self.alpha = alpha
        self.shrinkage = shrinkage
        self.tol = tol
        self.given = given

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.shrinkage != "auto":
            check_share(self.shrinkage, "shrinkage")

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        if self.given is not None or domains is None or len(X) >= X.shape[1]:
            super()._learn(X, y, domains, groups)
            return
        # Fewer rows than features: the covariance stays in the rows.
        self._moments = None
        means = Moments(X.shape[1]).add(X, domains, groups)
        self._learn_differences(X, *mean_differences(means))

    def _learn_differences(self, X: FloatArray, rows: FloatArray, of_group: list[Any]) -> None:
        covariance = total_covariance(X, self.shrinkage)
        constant = covariance.variance <= rounding(np.abs(X).max(axis=0)) ** 2
        self._keep(rows, of_group, covariance.without(constant), X.mean(axis=0))

    def _solve(self, moments: Moments) -> None:
        rows, of_group = mean_differences(moments)
        if not len(rows):
            n = moments.n_features
            self._keep(rows, of_group, Dense(np.empty((n, n))), np.zeros(n))
            return
        covariance = shrunk(moments.total_covariance(), moments.count, self.shrinkage)
        constant = covariance.variance <= rounding(moments.largest) ** 2
        self._keep(rows, of_group, covariance.without(constant), moments.mean())

    def _keep(
        self,
        rows: FloatArray,
        of_group: list[Any],
        covariance: Dense | DiagonalPlusRows,
        mean: FloatArray,
    ) -> None:
        self.coef_, self.coef_groups_, self.mean_ = rows, of_group, mean
        self.left_: FloatArray = np.empty((0, rows.shape[1]))
        self.directions_: FloatArray = self.left_
        self._warn_of_equal_means(rows)
        if rows.any():
            self.directions_ = _span(rows, np.sqrt(covariance.variance), self.tol)
            solved = _solve(covariance, self.directions_)
            self.left_ = np.linalg.solve(self.directions_ @ solved.T, solved)
        self.rank_ = len(self.directions_)

    @property
    def thin_map(self) -> ThinMap:
        """The erasure at full dose."""
        return ThinMap(self.left_, self.directions_, self.mean_)


def _span(rows: FloatArray, deviation: FloatArray, tol: float) -> FloatArray:
    """Return an orthonormal basis of the rows; the rank is decided in standard deviations.

    Features without a deviation have no part in it, not even by the rounding of the basis.
    """
    rows = np.divide(rows, deviation, out=np.zeros_like(rows), where=deviation > 0)
    basis, _ = orthonormal_rows(rows, tol)
    return np.ascontiguousarray(np.linalg.qr((basis * deviation).T)[0].T)


def _solve(covariance: Dense | DiagonalPlusRows, right: FloatArray) -> FloatArray:
    try:
        return covariance.solve(right)
    except SingularCovarianceError:
        return covariance.pseudo_solve(right)
