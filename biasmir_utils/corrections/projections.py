"""Orthogonal projections of the mean difference, and a random one to compare with."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from biasmir_utils.corrections.base import (
    DomainTransformer,
    FloatArray,
    ThinCorrection,
    check_share,
    orthonormal_rows,
)
from biasmir_utils.corrections.differences import (
    GIVEN,
    conditional_differences,
    covariate_columns,
    mean_differences,
)
from biasmir_utils.corrections.labels import DomainWarning, Labels, comparable_groups
from biasmir_utils.corrections.moments import Moments
from biasmir_utils.corrections.streaming import MomentCorrection
from biasmir_utils.errors import ArgumentError


class DifferenceCorrection(ThinCorrection, MomentCorrection):
    """Base of the corrections that remove differences of means: see `differences`.

    With ``given='label'`` the domain is conditioned on `y`, with ``given='group'`` on
    `sample_group`, which then makes no groups.
    """

    tol: float
    given: str | None

    def _check_parameters(self) -> None:
        check_share(self.alpha, "alpha")
        check_share(self.tol, "tol")
        if self.given is not None and self.given not in GIVEN:
            raise ArgumentError(f"given must be 'label', 'group' or None, not {self.given!r}.")

    @property
    def moments_suffice(self) -> bool:
        """Whether the correction can be fitted from moments, as it can without `given`."""
        return self.given is None

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        if self.given is None or domains is None:
            super()._learn(X, y, domains, groups)
            return
        self._moments = None
        covariate = covariate_columns(groups if self.given == "group" else y, len(X), self.given)
        if self.given == "group":
            groups = None
        rows, of_group = [], []
        for group, members in _members(domains, groups):
            names = np.unique(domains.codes[members], return_inverse=True)
            part = Labels(names[1], [domains.names[k] for k in names[0]])
            found = conditional_differences(X[members], part, covariate[members])
            rows.append(found)
            of_group.extend([group] * len(found))
        self._learn_differences(X, np.concatenate(rows), of_group)

    def _learn_differences(self, X: FloatArray, rows: FloatArray, of_group: list[Any]) -> None:
        """Learn from the rows and their differences, not from moments."""
        raise NotImplementedError

    def _warn_of_equal_means(self, rows: FloatArray) -> None:
        if self.given is None and len(rows) and not rows.any():
            warnings.warn(
                "the means of the domains are equal, so there is no direction to remove.",
                DomainWarning,
                stacklevel=5,
            )


def _members(domains: Labels, groups: Labels | None) -> list[tuple[Any, Any]]:
    """Return the groups that can be compared with masks of their rows; None is all rows."""
    if groups is None:
        return [(None, np.ones(len(domains.codes), dtype=bool))]
    counts = np.zeros((len(groups.names), len(domains.names)), dtype=int)
    np.add.at(counts, (groups.codes, domains.codes), 1)
    return [
        (groups.names[g], groups.codes == g)
        for g, _ in comparable_groups(counts, groups.names, domains.names)
    ]


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
    coef_ : ndarray, (n_differences, n_features)
        The differences, one group after the other.
    coef_groups_ : list
        Group of each row of `coef_`; None without groups.
    singular_values_ : ndarray
        Singular values of the rows of `coef_` at unit length.
    domains_ : list

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

    def __init__(self, alpha: float = 1.0, *, tol: float = 1e-6, given: str | None = None) -> None:
        self.alpha = alpha
        self.tol = tol
        self.given = given

    def _solve(self, moments: Moments) -> None:
        self._keep(*mean_differences(moments))

    def _learn_differences(self, X: FloatArray, rows: FloatArray, of_group: list[Any]) -> None:
        self._keep(rows, of_group)

    def _keep(self, rows: FloatArray, of_group: list[Any]) -> None:
        self.coef_, self.coef_groups_ = rows, of_group
        self.directions_, self.singular_values_ = orthonormal_rows(rows, self.tol)
        self.rank_ = len(self.directions_)
        self._warn_of_equal_means(rows)


class RandomProjection(ThinCorrection, DomainTransformer):
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
    domains_ : list

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

    def __init__(
        self, alpha: float = 1.0, *, rank: int | None = None, random_state: Any = 0
    ) -> None:
        self.alpha = alpha
        self.rank = rank
        self.random_state = random_state

    def _check_parameters(self) -> None:
        check_share(self.alpha, "alpha")
        if self.rank is not None and (
            isinstance(self.rank, bool)
            or not isinstance(self.rank, int | np.integer)
            or self.rank < 0
        ):
            raise ArgumentError(f"rank must be a whole number or None, not {self.rank!r}.")

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        rank = 0
        if domains is not None and self.rank is not None:
            rank = int(self.rank)
        elif domains is not None:
            rank = sum(
                len(np.unique(domains.codes[members])) - 1
                for _, members in _members(domains, groups)
            )
        gaussian = check_random_state(self.random_state).standard_normal(
            (X.shape[1], min(rank, X.shape[1]))
        )
        self.directions_ = np.linalg.qr(gaussian)[0].T
        self.rank_ = len(self.directions_)
