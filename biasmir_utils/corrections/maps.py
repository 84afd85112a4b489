"""Corrections that move each domain by a map of its own, and so need the domain of each row.

`DomainCenter` makes the domains' means equal; `CORAL` and `GaussianOT` their covariances, too.
`CommonShift`, a control for them, moves all domains by one vector.
With fewer rows than features, covariances and maps are kept as `SpanMatrix`: nothing of size
n_features x n_features is built or decomposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from biasmir_utils.corrections import base
from biasmir_utils.corrections.base import FloatArray, Labels, Method, Option, parameter
from biasmir_utils.corrections.covariance import SingularCovarianceError, shrunk
from biasmir_utils.corrections.moments import CellMoments, MomentCorrection, Moments
from biasmir_utils.errors import ArgumentError

_EPS = float(np.finfo(np.float64).eps)


class DomainMap(MomentCorrection):
    """Base of the corrections with one map for each domain.

    Rows whose domain was not seen in `fit`, or whose domain is not given (all of them together
    then), are treated as one unseen domain: ``unseen='training'`` maps them as if they had the
    statistics of all training rows together, one by one; ``unseen='own'`` takes the statistics
    of the rows that are transformed together, which uses unlabelled rows of the new domain.

    Warns
    -----
    DomainWarning
        In `transform` without `sample_domain`: rows of the domains that were seen would be moved
        wrongly, too, or not at all.
    """

    alpha: float = parameter(base.SHARE, default=1.0, kw_only=False)
    unseen: str = parameter(Option(("training", "own")), default="training")

    def _correct(self, X: FloatArray, sample_domain: Any) -> FloatArray:
        if len(self.domains_) < 2 or self.alpha == 0:
            return X.copy()
        if sample_domain is None:
            base.warn(
                "transform without sample_domain: the rows are taken for those of one dataset that "
                f"was not in the fit, and {self.unseen_rule()}. Give the domain of each row; those "
                f"of the fit are {', '.join(map(str, self.domains_))}."
            )
            labels = Labels(np.zeros(len(X), dtype=np.intp), [None])
        else:
            labels = base.domain_labels(sample_domain, len(X))
            alike = {str(domain): domain for domain in self.domains_}
            for domain in labels.names:
                if domain not in self.domains_ and (seen := alike.get(str(domain))) is not None:
                    raise ArgumentError(
                        f"sample_domain has {domain!r}, the fit had {seen!r}: give both as texts, "
                        "or both as numbers."
                    )
        out = np.empty_like(X)
        for code, domain in enumerate(labels.names):
            members = labels.codes == code
            rows = X[members]
            if domain in self.domains_:
                target = self._map_seen(rows, self.domains_.index(domain))
            elif self.unseen == "training":
                target = self._map_seen(rows, len(self.domains_))
            else:
                target = self._map_unseen(rows)
            if self.alpha != 1:
                target = rows + X.dtype.type(self.alpha) * (target - rows)
            out[members] = target
        return out

    def _map_seen(self, X: FloatArray, k: int) -> FloatArray:
        """Return the rows after the full map of domain k, or of all training rows if last."""
        raise NotImplementedError

    def _map_unseen(self, X: FloatArray) -> FloatArray:
        """Return the rows after the full map of a domain with their own statistics."""
        raise NotImplementedError

    def unseen_rule(self) -> str:
        """Return in words what becomes of rows of a domain that was not in the fit."""
        if self.unseen == "own":
            return "are moved to the target by the statistics of that dataset's rows, all together"
        return (
            f"{self._unseen_move()}, as there is no map for that dataset (unseen=training); a "
            "correction fitted with unseen=own would move them by their own statistics"
        )

    def _unseen_move(self) -> str:
        return "are moved as if they had the statistics of all rows of the fit together"


@Method(
    "center",
    "give the datasets equal means",
    aliases={"zscore": "center:scale=true"},
    sets={"standard": ("center",), "all": ("zscore",)},
    place=2,
)
class DomainCenter(DomainMap):
    r"""Give every domain the same mean, and with `scale` the same variance of each feature.

    A row x of domain d becomes ``x - mean_d + mean``, with `scale`
    ``(x - mean_d) s / s_d + mean``: the mean of all rows and s, the standard deviation within the
    domains, are the same for all, and the rows stay in their units (per-domain z-scores up to
    one common shift and scale). Without `scale` it is the least change that makes the domains'
    means equal when the domain is known. What else tells them apart, such as the spread,
    stays, and may be read by something that is not linear as well as before.

    Needs the domain of each row in `fit` and in `transform`, no labels.

    Parameters
    ----------
    alpha : float, default 1.0
        Dose in [0, 1]: the share of the way that each row moves.
    scale : bool, default False
        Whether the standard deviations are made equal, too. A feature that is constant in a
        domain is only shifted.
    unseen : {'training', 'own'}, default 'training'
        Statistics for rows of an unseen domain, or without one: those of all training rows, or
        those of the rows that are transformed together.

    Attributes
    ----------
    means_ : ndarray, (n_domains + 1, n_features)
        Of each domain, then of all rows.
    deviations_ : ndarray, (n_domains + 1, n_features)
        Standard deviations of each domain, then of all rows.
    mean_ : ndarray, (n_features,)
        Of the target: the mean of all rows.
    deviation_ : ndarray, (n_features,)
        Of the target: the standard deviation within the domains.
    domains_ : list
        The domains seen in `fit`, sorted.

    Notes
    -----
    For a row of domain z, with :math:`\bar x_z` its mean and :math:`\mu` that of all rows,

    .. math:: x' = x - \alpha\, (\bar x_z - \mu),

    and with `scale`, feature by feature, :math:`x' = x + \alpha\,(\mu + (x - \bar x_z)\, s / s_z
    - x)`.

    Information used: unlabelled rows of all domains, with their domain,
    and the domain of each row at transform time; with ``unseen='own'`` also the other rows of an
    unseen domain that are transformed together.

    Guarantee: with alpha 1 the domains have equal means on the rows of `fit`, with `scale` also
    equal variances of each feature that varies in them. So no affine predictor of the domain has
    a lower expected loss there than the best constant, for any convex loss. Differences of the
    means that are due to what the domains hold (their labels) are removed as well.

    Without `scale` all rows of one domain move alike. So it cannot change the ROC-AUC on the rows
    of one domain of a recogniser that is trained on another, but through a penalised intercept and
    the strength of the penalty that was chosen with it: with a free intercept the change is zero.

    References
    ----------
    N. Belrose et al., "LEACE: perfect linear concept erasure in closed form", NeurIPS 2023: the
    oracle form, for a concept that is known at transform time.
    """

    scale: bool = parameter(Option((True, False)), default=False)
    required_scatter = "variance"

    def _solve(self, moments: Moments) -> None:
        cells = [moments.cells[domain, None] for domain in moments.domains]
        if not cells:  # the identity
            cells = [CellMoments(1, *np.zeros((2, moments.n_features)))]
        counts = np.array([cell.count for cell in cells], dtype=float)
        means = np.array([cell.mean for cell in cells])
        variances = np.array([cell.covariance for cell in cells])
        weights = counts / counts.sum()
        self.mean_ = weights @ means
        within = weights @ variances
        total = within + weights @ (means - self.mean_) ** 2
        self.means_ = np.vstack([means, self.mean_])
        self.deviations_ = np.sqrt(np.vstack([variances, total]))
        self.deviation_ = np.sqrt(within)

    def _map_seen(self, X: FloatArray, k: int) -> FloatArray:
        return self._to_target(X, self.means_[k], self.deviations_[k])

    def _map_unseen(self, X: FloatArray) -> FloatArray:
        own = Moments(X.shape[1], self.required_scatter).update(X, np.zeros(len(X)))
        (cell,) = own.cells.values()
        return self._to_target(X, cell.mean, np.sqrt(cell.covariance))

    def _to_target(self, X: FloatArray, mean: FloatArray, deviation: FloatArray) -> FloatArray:
        if not self.scale:
            return X + (self.mean_ - mean).astype(X.dtype)
        positive = deviation > 1e-12 * np.abs(mean)
        ratio = np.where(positive, self.deviation_ / np.where(positive, deviation, 1.0), 1.0)
        return ((X - mean) * ratio + self.mean_).astype(X.dtype)

    def _unseen_move(self) -> str:
        return super()._unseen_move() if self.scale else "stay where they are"


@Method(
    "shift",
    "subtract the mean of all rows from every row (a control)",
    sets={"standard": ("shift",)},
    place=0.5,
)
class CommonShift(MomentCorrection):
    r"""Subtract one and the same vector, the mean of all rows, from every row.

    A control for corrections that move the rows: it does the same to both domains, so that every
    difference between them stays as it is. What a recogniser gains by it, it gains by where the
    origin lies: one with a penalised intercept, as the paper's, is not blind to that, and one with
    a free intercept is.

    Parameters
    ----------
    alpha : float, default 1.0
        Dose in [0, 1]; 0 is the identity.

    Attributes
    ----------
    mean_ : ndarray, (n_features,)
        What is subtracted: the mean of the rows of all domains, each row counting alike.
    domains_ : list
        The domains seen in `fit`, sorted.

    Notes
    -----
    With :math:`\mu` the mean of all rows,

    .. math:: x' = x - \alpha\, \mu.

    Information used: unlabelled rows of all domains, without their domain. Nothing at transform
    time.

    Guarantee: differences of rows are those of before, and so are all distances, the difference of
    the domains' means, and what any recogniser finds that does not depend on the origin.

    References
    ----------
    R.-E. Fan et al., "LIBLINEAR: a library for large linear classification", JMLR 9, 2008: the
    objective in which the intercept is penalised.
    """

    alpha: float = parameter(base.SHARE, default=1.0, kw_only=False)
    sees_domains = False

    def _solve(self, moments: Moments) -> None:
        self.mean_: FloatArray = moments.mean() if moments.cells else np.zeros(moments.n_features)

    def _correct(self, X: FloatArray, sample_domain: Any) -> FloatArray:
        moved: FloatArray = X - (self.alpha * self.mean_).astype(X.dtype)
        return moved


@dataclass(frozen=True)
class SpanMatrix:
    """The matrix ``B' inner B + outer (I - B'B)`` with orthonormal rows B.

    Attributes
    ----------
    inner : ndarray, (m, m)
    outer : float
        What the matrix does to vectors orthogonal to B.
    basis : ndarray, (m, n_features), or None
        B; None means that B is the identity, and then `outer` has nothing to act on.
    """

    inner: FloatArray
    outer: float = 0.0
    basis: FloatArray | None = None

    @cached_property
    def eigen(self) -> tuple[FloatArray, FloatArray]:
        """Eigenvalues of a covariance on the basis, ascending, and eigenvectors in columns.

        Negative values, which are rounding, are zero.
        """
        values, vectors = np.linalg.eigh((self.inner + self.inner.T) / 2)
        return np.maximum(values, 0.0), vectors

    def power(self, exponent: float) -> FloatArray:
        """Return a power of a covariance on the basis, (m, m)."""
        values, vectors = self.eigen
        return (vectors * values**exponent) @ vectors.T

    def on_basis(self, inner: FloatArray, outer: float) -> SpanMatrix:
        """Return another matrix on the same basis; `outer` does not matter without one."""
        return SpanMatrix(inner, 0.0 if self.basis is None else float(outer), self.basis)

    def rows_times(self, X: FloatArray) -> FloatArray:
        """Return the rows of `X` times the matrix, each row x giving ``matrix' x``."""
        if self.basis is None:
            return X @ self.inner
        coordinates = X @ self.basis.T
        change = coordinates @ self.inner - self.outer * coordinates
        return self.outer * X + change @ self.basis

    def in_basis(self, basis: FloatArray | None) -> SpanMatrix:
        """Return the same matrix on a basis that spans this one's, None for all directions."""
        if self.basis is None or self.basis is basis:
            return self
        turn = self.basis if basis is None else self.basis @ basis.T
        inner = turn.T @ (self.inner - self.outer * np.eye(len(self.inner))) @ turn
        inner.flat[:: len(inner) + 1] += self.outer
        return SpanMatrix(inner, self.outer, basis)


class CovarianceMap(DomainMap):
    """Base of the maps from one covariance to another.

    Attributes
    ----------
    means_ : ndarray, (n_domains + 1, n_features)
        Of each domain, then of all rows.
    mean_ : ndarray, (n_features,)
        Of the target.
    covariance_ : SpanMatrix
        Of the target.
    maps_ : list of SpanMatrix
        For each domain the transposed map to the target; with ``unseen='training'`` then that
        of all rows. Empty for the identity, when there is no target either.
    domains_ : list
        The domains seen in `fit`, sorted.
    """

    to: Any = parameter(None, default="")
    shrinkage: Any = parameter(base.SHRINKAGE, default="auto")
    required_scatter = "domain"

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        if domains is None or len(X) >= X.shape[1]:
            super()._learn(X, y, domains, None)
            return
        # Fewer rows than features: work in the span of the rows around their mean, which holds
        # every domain's rows around theirs.
        mean = X.mean(axis=0)
        basis, Z = _span_coordinates(X - mean)
        self._solve(Moments(Z.shape[1], self.required_scatter).update(Z, domains), basis, mean)

    def _solve(self, moments: Moments, basis: FloatArray | None = None, center: Any = 0.0) -> None:
        """Find means, target and maps from moments, of all features or on a basis, centred."""
        self.maps_: list[SpanMatrix] = []
        for name in ("means_", "mean_", "covariance_"):  # none of an earlier fit stays
            self.__dict__.pop(name, None)
        if not moments.cells:
            return
        names, count = moments.domains, moments.count
        k = self._target_position(names)
        cells = [moments.cells[name, None] for name in names]
        sources = [
            self._covariance(cell.covariance, cell.count, f"domain {name!r}", basis)
            for cell, name in zip(cells, names, strict=True)
        ]
        means: FloatArray = np.vstack([*(cell.mean for cell in cells), moments.mean()])
        if k is None:
            mean, target = self._default_target(moments, means, sources)
        else:
            mean, target = means[k], sources[k]
        if basis is not None:
            means, mean = means @ basis + center, mean @ basis + center
        self.means_, self.mean_ = means, mean
        if self.unseen == "training":
            total = moments.total_covariance()
            sources.append(self._covariance(total, count, "all rows", basis))
        self.covariance_ = target.on_basis(target.power(1.0), target.outer)
        self.maps_ = [self._map(source, target) for source in sources]

    def _check_parameters(self, domains: Sequence[Any] = ()) -> None:
        super()._check_parameters()
        if len(domains) > 1:
            self._target_position(domains)

    def _target_position(self, domains: Sequence[Any]) -> int | None:
        """Return the position of the domain that is the target, None for the default."""
        default = type(self).to
        if self.to == default:
            return None
        for k, domain in enumerate(domains):
            if domain == self.to or str(domain) == str(self.to):
                return k
        raise ArgumentError(
            f"to must be {default!r} or one of the domains "
            f"{', '.join(repr(d) for d in domains)}, not {self.to!r}."
        )

    def _covariance(
        self, inner: FloatArray, n_samples: int, what: str, basis: FloatArray | None
    ) -> SpanMatrix:
        """Return the shrunk form of a sample covariance, given on a basis that it stays in."""
        inner, level = shrunk(inner, n_samples, self.n_features_in_, self.shrinkage)
        found = SpanMatrix(inner, level, basis)
        values, _ = found.eigen
        smallest = values[0] if basis is None else min(values[0], level)
        if not smallest > len(inner) * _EPS * values[-1]:
            raise SingularCovarianceError(
                f"the shrunk covariance of {what} is singular: it has one row, or too few "
                "different ones, or a constant feature without shrinkage. Give more rows, drop "
                "constant features, or set shrinkage to a number above 0."
            )
        return found

    def _map_seen(self, X: FloatArray, k: int) -> FloatArray:
        return (self.maps_[k].rows_times(X - self.means_[k]) + self.mean_).astype(X.dtype)

    def _map_unseen(self, X: FloatArray) -> FloatArray:
        rows = X.astype(np.float64)
        mean = rows.mean(axis=0)
        rows -= mean
        basis, Z = _span_coordinates(rows) if len(X) < X.shape[1] else (None, rows)
        own = self._covariance(Z.T @ Z / len(X), len(X), "the rows of the unseen domain", basis)
        joint, other = None, self.covariance_.basis
        if basis is not None and other is not None and len(basis) + len(other) < X.shape[1]:
            joint, _ = _span_coordinates(np.concatenate([basis, other]))
        source = own.on_basis(own.power(1.0), own.outer).in_basis(joint)
        linear = self._map(source, self.covariance_.in_basis(joint))
        return (linear.rows_times(X - mean) + self.mean_).astype(X.dtype)

    def _map(self, source: SpanMatrix, target: SpanMatrix) -> SpanMatrix:
        """Return the transposed linear map to a covariance on the same basis."""
        # Orthogonal to the basis both covariances are multiples of the identity.
        outer = np.sqrt(target.outer / source.outer) if source.outer else 0.0
        return source.on_basis(self._map_inside(source, target), outer)

    def _default_target(
        self, moments: Moments, means: FloatArray, sources: list[SpanMatrix]
    ) -> tuple[FloatArray, SpanMatrix]:
        """Return mean and covariance of the target that no domain is."""
        raise NotImplementedError

    def _map_inside(self, source: SpanMatrix, target: SpanMatrix) -> FloatArray:
        """Return the transposed map on the basis, (m, m)."""
        raise NotImplementedError


@Method(
    "coral", "give the datasets equal means and covariances", sets={"standard": ("coral",)}, place=5
)
class CORAL(CovarianceMap):
    r"""Correlation alignment: give every domain the same mean and covariance.

    A row x of domain d becomes ``C^(1/2) C_d^(-1/2) (x - mean_d) + mean``: it is centred,
    whitened with its domain's covariance, and coloured and shifted like the target.

    Needs the domain of each row in `fit` and in `transform`, no labels.

    Parameters
    ----------
    alpha : float, default 1.0
        Dose in [0, 1]: the share of the way that each row moves.
    to : 'pooled' or name of a domain, default 'pooled'
        The target: the mean of all rows and the covariance within the domains, or those of one
        domain, whose rows then stay where they are.
    shrinkage : 'auto' or float in [0, 1], default 'auto'
        Share of each covariance that is replaced by its mean variance on the diagonal: by the
        oracle approximating formula, or fixed.
    unseen : {'training', 'own'}, default 'training'
        Statistics for rows of an unseen domain, or without one: those of all training rows, or
        those of the rows that are transformed together.

    Attributes
    ----------
    means_ : ndarray, (n_domains + 1, n_features)
        Of each domain, then of all rows.
    mean_ : ndarray, (n_features,)
        Of the target.
    covariance_ : SpanMatrix
        Of the target.
    maps_ : list of SpanMatrix
        For each domain the transposed map to the target; with ``unseen='training'`` then that
        of all rows. Empty for the identity.
    domains_ : list
        The domains seen in `fit`.

    Raises
    ------
    SingularCovarianceError
        If the covariance of a domain is singular: one row, or too few without shrinkage.

    Notes
    -----
    For a row of domain z with mean :math:`\bar x_z` and covariance :math:`\Sigma_z`, and a target
    with :math:`\mu_t, \Sigma_t`,

    .. math:: x' = (1 - \alpha)\, x
        + \alpha\, \bigl(\mu_t + \Sigma_t^{1/2} \Sigma_z^{-1/2} (x - \bar x_z)\bigr).

    Information used: unlabelled rows of all domains, with their domain,
    and the domain of each row at transform time; with ``unseen='own'`` also the other rows of an
    unseen domain that are transformed together.

    Guarantee: with alpha 1 the domains have equal means on the rows of `fit`, and equal
    covariances if there is no shrinkage; with shrinkage, as nearly as the shrunk covariances are
    those of the rows. None beyond the second moments. Differences in what the domains hold are
    removed as well.

    References
    ----------
    B. Sun, J. Feng and K. Saenko, "Return of frustratingly easy domain adaptation", AAAI 2016. Y.
    Chen et al., "Shrinkage algorithms for MMSE covariance estimation", IEEE Transactions on
    Signal Processing 58, 2010, for the shrinkage.
    """

    to: Any = parameter(None, default="pooled")

    def _default_target(
        self, moments: Moments, means: FloatArray, sources: list[SpanMatrix]
    ) -> tuple[FloatArray, SpanMatrix]:
        within = moments.within_scatter() / moments.count
        covariance = self._covariance(within, moments.count, "all rows", sources[0].basis)
        return means[-1], covariance

    def _map_inside(self, source: SpanMatrix, target: SpanMatrix) -> FloatArray:
        return source.power(-0.5) @ target.power(0.5)


@Method(
    "gaussian_ot",
    "transport the datasets, taken as Gaussians, to one target",
    sets={"standard": ("gaussian_ot",)},
    place=6,
)
class GaussianOT(CovarianceMap):
    r"""Optimal transport of every domain, taken as Gaussian, to one target.

    A row x of domain d becomes ``T (x - mean_d) + mean`` with
    ``T = C_d^(-1/2) (C_d^(1/2) C C_d^(1/2))^(1/2) C_d^(-1/2)``: of all maps that give the domain
    this target's mean and covariance, the one that moves the rows least. Another target may be
    nearer: the barycentre counts domains alike, not rows, and moves more than `CORAL` where one
    domain has most of the rows.

    Needs the domain of each row in `fit` and in `transform`, no labels. The cost is that of a few
    eigenproblems of min(n, D) dimensions for each domain, with more than two domains for each
    step of the barycentre.

    Parameters
    ----------
    alpha : float, default 1.0
        Dose in [0, 1]: the share of the way that each row moves.
    to : 'barycenter' or name of a domain, default 'barycenter'
        The target: the Gaussian with the least mean squared Wasserstein distance to the
        domains, each counted alike; or one domain, whose rows then stay where they are.
    shrinkage : 'auto' or float in [0, 1], default 'auto'
        As in `CORAL`.
    unseen : {'training', 'own'}, default 'training'
        As in `CORAL`.

    Attributes
    ----------
    means_ : ndarray, (n_domains + 1, n_features)
        Of each domain, then of all rows.
    mean_ : ndarray, (n_features,)
        Of the target.
    covariance_ : SpanMatrix
        Of the target.
    maps_ : list of SpanMatrix
        For each domain the transposed map to the target; with ``unseen='training'`` then that
        of all rows. Empty for the identity.
    domains_ : list
        The domains seen in `fit`.

    Raises
    ------
    SingularCovarianceError
        If the covariance of a domain is singular: one row, or too few without shrinkage.

    Notes
    -----
    For a row of domain z with mean :math:`\bar x_z` and covariance :math:`\Sigma_z`, and a target
    with :math:`\mu_t, \Sigma_t`,

    .. math::

        x' &= (1 - \alpha)\, x + \alpha\, \bigl(\mu_t + T_z (x - \bar x_z)\bigr), \\
        T_z &= \Sigma_z^{-1/2} \bigl(\Sigma_z^{1/2} \Sigma_t \Sigma_z^{1/2}\bigr)^{1/2}
            \Sigma_z^{-1/2}.

    Information used: unlabelled rows of all domains, with their domain,
    and the domain of each row at transform time; with ``unseen='own'`` also the other rows of an
    unseen domain that are transformed together.

    Guarantee: with alpha 1 the domains have equal means on the rows of `fit`, and equal
    covariances if there is no shrinkage, as `CORAL`; of all maps from the shrunk Gaussian of a
    domain to that of the target it is the one with the least mean squared change. None beyond the
    second moments.

    References
    ----------
    R. Flamary, K. Lounici and A. Ferrari, "Concentration bounds for linear Monge mapping
    estimation and optimal transport domain adaptation", 2019. P. C. Alvarez-Esteban et al., "A
    fixed-point approach to barycenters in Wasserstein space", Journal of Mathematical Analysis
    and Applications 441, 2016. Y. Chen et al., "Shrinkage algorithms for MMSE covariance
    estimation", IEEE Transactions on Signal Processing 58, 2010, for the shrinkage.
    """

    to: Any = parameter(None, default="barycenter")

    def _default_target(
        self, moments: Moments, means: FloatArray, sources: list[SpanMatrix]
    ) -> tuple[FloatArray, SpanMatrix]:
        inner = barycenter([source.power(1.0) for source in sources])
        outer = np.mean([np.sqrt(source.outer) for source in sources]) ** 2
        return means[:-1].mean(axis=0), sources[0].on_basis(inner, outer)

    def _map_inside(self, source: SpanMatrix, target: SpanMatrix) -> FloatArray:
        return monge_map(source, target.power(1.0))


def monge_map(source: SpanMatrix, target: FloatArray) -> FloatArray:
    """Return the optimal linear map between centred Gaussians, a symmetric matrix.

    Parameters
    ----------
    source : SpanMatrix
    target : ndarray, (m, m)
        Covariance on the basis of the source.
    """
    half, inverse_half = source.power(0.5), source.power(-0.5)
    return inverse_half @ SpanMatrix(half @ target @ half).power(0.5) @ inverse_half


def barycenter(
    covariances: list[FloatArray], tol: float = 1e-10, max_steps: int = 200
) -> FloatArray:
    """Return the Wasserstein barycentre of centred Gaussians, each counted alike.

    For two it is known in closed form; for more, the fixed-point iteration of Alvarez-Esteban
    et al. is run until the relative change is below `tol`.
    """
    if len(covariances) == 2:
        one, other = covariances
        middle = (np.eye(len(one)) + monge_map(SpanMatrix(one), other)) / 2
        return middle @ one @ middle
    matrix = np.mean(covariances, axis=0)
    for _ in range(max_steps):
        current = SpanMatrix(matrix)
        step = np.mean([monge_map(current, other) for other in covariances], axis=0)
        new = step @ matrix @ step
        change = np.linalg.norm(new - matrix) / np.linalg.norm(new)
        matrix = (new + new.T) / 2
        if change < tol:
            break
    return matrix


def _span_coordinates(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return an orthonormal basis that spans fewer rows than features, and their coordinates."""
    basis, triangle = np.linalg.qr(rows.T)
    return np.ascontiguousarray(basis.T), triangle.T
